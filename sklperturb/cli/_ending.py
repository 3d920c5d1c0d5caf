"""How a command ends: on an error, on a signal, and where nobody reads its output."""

import ast
import contextlib
import errno
import logging
import os
import re
import shlex
import signal
import sys
import threading
import traceback
import warnings
from pathlib import Path

from sklperturb.utils._printable import printable

_PACKAGE = Path(__file__).parents[1]
# A message is for reading; what is longer holds somebody's file.
_LENGTH = 1000
_UNFINISHED = re.compile(r"\.unfinished-[^/\\'\"\s]+[/\\]?")
_PASSWORD = re.compile(r"(://[^:/@\s]*:)[^@/\s]+@")
_PATIENCE = 10  # seconds that ending well may take, with workers and folders
# Parameters of the library that have another name on the command line.
_RENAMED = {
    "n_jobs": "jobs",
    "random_state": "seed",
    "control_labels": "control",
    "confidence": "interval",
    "costs": "cost_column",
    "clusters": "cluster_column",
}
_SCHEMA = re.compile(r"schema=PerturbationSchema\((?:.*, )?(\w+)=(\.\.\.|'[^']*')\)")
# How scikit-learn speaks of a parameter.
_PARAMETER = re.compile(r"The '(\w+)' parameter of \w+ must")
# ``name=value`` or a name with an underscore; not within a quoted label or a path.
_NAMED = re.compile(
    r"(?<![\w'\"/.\-])(?:(\w+)=(True|False|\{[^{}]*\})?|(\w+_\w+)(?!\w))"
)
# Codes, as shells give them to what a signal ends.
_SIGNALS = [getattr(signal, name, None) for name in ("SIGINT", "SIGTERM", "SIGHUP")]


class Stopped(KeyboardInterrupt):
    """A signal has asked the command to end; its code is that of the process."""

    told = False  # whether the user knows

    def __init__(self, signum):
        super().__init__()
        self.code = 128 + signum


def say(message, *, one_line=True):
    """Write to the error stream, without what could act on a terminal."""
    if one_line:
        message = printable(" ".join(message.split()), length=_LENGTH)
    with contextlib.suppress(OSError, ValueError):  # closed: nobody reads it
        print(_hidden(printable(message, keep="\n")), file=sys.stderr, flush=True)


def _hidden(message):
    """Return the message without passwords, nor names that are ours for a while."""
    return _PASSWORD.sub(r"\1***@", _UNFINISHED.sub("", message))


@contextlib.contextmanager
def keeping(what):
    """Let the message of a command that is stopped in the block say what is kept."""
    try:
        yield
    except KeyboardInterrupt as stop:
        stop.add_note(what)
        raise


@contextlib.contextmanager
def stopping():
    """Let a signal end the block by an exception, and a second one at once.

    Yield a list that gets the exception: a library may swallow it, and raise another.
    Where one swallows it and goes on, as some do while they are imported, it is raised
    again after a while.
    """
    received, before = [], {}
    can_wait = hasattr(signal, "setitimer")

    def stop(signum, frame):
        for each in before:
            signal.signal(each, signal.SIG_DFL)
        received.append(Stopped(signum))
        _hush_workers()
        if can_wait:
            signal.signal(signal.SIGALRM, stop_again)
            signal.setitimer(signal.ITIMER_REAL, _PATIENCE)
        raise received[0]

    def stop_again(signum, frame):
        raise received[0]

    if threading.current_thread() is threading.main_thread():
        for signum in filter(None, _SIGNALS):
            # What was started with a signal ignored, as by nohup, goes on ignoring it.
            if signal.getsignal(signum) is not signal.SIG_IGN:
                before[signum] = signal.signal(signum, stop)
    try:
        yield received
    finally:
        if received and can_wait:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for signum, handler in before.items():
            signal.signal(signum, handler)


def _hush_workers():
    """Let workers that are stopped too say nothing of what they had to do."""
    logging.getLogger("concurrent.futures").setLevel(logging.CRITICAL + 1)
    warnings.filterwarnings("ignore", "[0-9]+ tasks", UserWarning, "joblib")


def report(error, parameters, *, received=(), inputs=(), show_traceback=False):
    """Tell the user what ended the command; return its exit code.

    Parameters
    ----------
    error : BaseException
    parameters : list of click.Parameter
        Those of the command, whose names the message is to use.
    received : list of Stopped
    inputs : list of str
        Files and folders that the command was given.
    show_traceback : bool, default=False
    """
    if isinstance(error, BrokenPipeError):
        silence(sys.stdout)
        return 128 + 13
    if isinstance(error, KeyboardInterrupt):
        notes = getattr(error, "__notes__", None) or ["no output was written"]
        say(f"stopped; {'; '.join(notes)}")
        for stop in received:
            stop.told = True
        code = received[0].code if received else 128 + signal.SIGINT
    elif _is_of_user(error):
        say(f"error: {_source(error, inputs)}{in_options(_told(error), parameters)}")
        code = 2
    else:
        told = _told(error)[: _LENGTH // 2].rstrip(".")
        say(
            f"error: unexpected {type(error).__name__}: {told}. This is a fault of the "
            "program; run again with --traceback, and report what it shows."
        )
        code = 1
    if show_traceback:
        say("".join(traceback.format_exception(error)).rstrip(), one_line=False)
    return code


def _source(error, inputs):
    """Return which files an error is about that a library raised: it names none."""
    of_options = type(error).__name__ == "InvalidParameterError"  # of scikit-learn
    named = of_options or isinstance(error, OSError | ImportError) or _is_ours(error)
    if named or any(Path(path).name in str(error) for path in inputs):
        return ""
    return f"{', '.join(inputs)}: " if inputs else ""


def _is_of_user(error):
    """Whether the user can mend it: the input, the machine or what is installed."""
    if isinstance(error, TypeError) and not isinstance(error, ValueError):
        return _is_ours(error)
    known = isinstance(error, ValueError | OSError | ImportError)
    return known or _lacks_memory(error) or _lacks_space(error)


def _is_ours(error):
    """Whether the package raised the error, and not a library that it calls."""
    trace = error.__traceback__
    while trace.tb_next is not None:
        trace = trace.tb_next
    return Path(trace.tb_frame.f_code.co_filename).is_relative_to(_PACKAGE)


def _lacks_memory(error):
    # Of torch it is a RuntimeError.
    return isinstance(error, MemoryError) or "OutOfMemory" in type(error).__name__


def _lacks_space(error):
    # h5py says it in the middle of a long text, in errors of several classes.
    return os.strerror(errno.ENOSPC) in str(error)


def _told(error):
    """Return what an exception and its notes say."""
    if _lacks_space(error) and (getattr(error, "errno", None) or "errno" in str(error)):
        return "There is no space left on the disk; free some, or write elsewhere."
    text = str(error)[: 10 * _LENGTH]
    if isinstance(error, OSError) and error.strerror:
        names = [os.fsdecode(n) for n in (error.filename, error.filename2) if n]
        text = ": ".join([error.strerror, " -> ".join(names)] if names else [text])
    if _lacks_memory(error):
        text = f"There is not enough memory for this. {text}".rstrip()
    notes = getattr(error, "__notes__", ())
    return " ".join([text or type(error).__name__, *notes])


def silence(stream):
    """Let what is still written to a stream go nowhere: nobody reads it."""
    with contextlib.suppress(OSError, ValueError):
        descriptor = stream.fileno()
        os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)


@contextlib.contextmanager
def process():
    """Let no character, closed stream or failed clean-up end in a traceback."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # as a shell closes it by >&-
            setattr(sys, name, open(os.devnull, "w"))
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # names may hold what it cannot encode
            stream.reconfigure(errors="backslashreplace")
    sys.unraisablehook = lambda _: None  # the cause has been told
    try:
        yield
    finally:
        try:
            sys.stdout.flush()
        except (OSError, ValueError):  # told already; Python would tell it once more
            silence(sys.stdout)


def in_options(message, parameters):
    """Return a message of the library with options in place of parameters.

    Parameters
    ----------
    message : str
    parameters : list of click.Parameter
        Those of the command that runs.

    Returns
    -------
    message : str
        Without the sentences that only a schema in Python could follow.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from sklperturb.cli._ending import in_options
    >>> option = SimpleNamespace(name="layer", opts=["--layer"], secondary_opts=[])
    >>> in_options("The cells have no X. Pass layer= to name what to read.", [option])
    'The cells have no X. Pass --layer to name what to read.'
    """
    options = {
        parameter.name: [*parameter.opts, *parameter.secondary_opts]
        for parameter in parameters
        if parameter.opts[0].startswith("--")
    }

    def of_schema(found):
        role = _RENAMED.get(found[1], found[1])
        if role not in options:
            return found[0]
        return options[role][0] + ("" if found[2] == "..." else f" {found[2]}")

    def of_parameter(found):
        name = found[1] or found[3]
        spelled = options.get(_RENAMED.get(name, name))
        if spelled is None:
            return found[0]
        if (found[2] or "").startswith("{"):
            return _in_pairs(spelled[0], found[2])
        if found[3] or found[2]:
            return spelled[-1 if found[2] == "False" else 0]
        # "layer= to" has its blank, "layer='counts'" needs one.
        after = found.string[found.end() : found.end() + 1]
        return spelled[0] + ("" if after in " .,;" else " ")

    def of_constraint(found):
        name = _RENAMED.get(found[1], found[1])
        return f"{options[name][0]} must" if name in options else found[0]

    message = _PARAMETER.sub(of_constraint, _SCHEMA.sub(of_schema, message))
    message = _NAMED.sub(of_parameter, message)
    # Of "--layer or obsm= to", what this command does not have.
    message = re.sub(r"(--[\w-]+) or \w+= ", r"\1 ", message)
    sentences = re.split(r"(?<=\.) (?=[A-Z])", message)
    return " ".join(s for s in sentences if "schema=" not in s)


def _in_pairs(option, text):
    """Return an option as often as a mapping of Python has items, as it is given."""
    try:
        given = dict(ast.literal_eval(text))
    except (SyntaxError, TypeError, ValueError):
        return f"{option} {text}"
    pairs = (shlex.quote(f"{name}={value}") for name, value in given.items())
    return " ".join(f"{option} {pair}" for pair in pairs) or option
