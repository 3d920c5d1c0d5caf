"""The program: what it writes where, and its options before the command."""

import contextlib
import itertools
import logging
import os
import re
import shlex
import sys
import warnings
from typing import Annotated

import typer
from rich.console import Console
from typer import Option
from typer.core import TyperGroup

from sklperturb._version import __version__
from sklperturb.cli._ending import in_options, report, say, silence, stopping
from sklperturb.utils._choices import did_you_mean
from sklperturb.utils._printable import printable

_TRACEBACK = "--traceback"
# Of click; its place depends on the version of typer.
_CLICK_ERROR = typer.BadParameter.__mro__[2]


class Screen(Console):
    """A console for text of any origin: what looks like a command is shown as it is."""

    def __init__(self, **options):
        plain = {"highlight": False, "markup": False, "emoji": False}
        super().__init__(soft_wrap=True, **plain, **options)

    def render_str(self, text, **options):
        """Return text as it is shown; cells of tables come here too."""
        return super().render_str(printable(text), **options)

    def print(self, *objects, **options):
        """Print; where nobody reads on, the work still goes on."""
        try:
            super().print(*objects, **options)
        except BrokenPipeError:
            silence(self.file)

    def on_broken_pipe(self):
        """Leave it to `print`, in place of ending the program."""
        raise


# Results go to the standard output; what is reported on the way, to the error stream.
# A table with its columns cut off says nothing: on a narrow screen, lines wrap instead.
out = Screen(width=max(Console().width, 130))
log = logging.getLogger(__name__)


class _Program(TyperGroup):
    """The commands; whatever ends one is one line."""

    def main(self, args=None, standalone_mode=True, **options):
        args = list(sys.argv[1:] if args is None else args)
        self.given = shlex.join(["sklperturb", *args])  # for what a run tells of itself
        if _TRACEBACK in args:  # wherever it stands
            args = [_TRACEBACK, *(a for a in args if a != _TRACEBACK)]
        no_text = [a for a in args if a != a.encode("utf-8", "replace").decode()]
        if no_text:  # libraries that write files would fail after the work
            say(f"error: {no_text[0]!r} is no UTF-8 text; rename the file.")
            sys.exit(2)
        outputs = _given(args, ("--output",))
        self._inputs = [a for a in args if a not in outputs and os.path.exists(a)]
        with stopping() as received:
            options |= {"obj": received, "standalone_mode": False}
            try:
                code = super().main(args, **options)
            except _CLICK_ERROR as error:
                if not args:  # its message is the help
                    error.show()
                else:
                    say(f"error: {_usage(error, args)}")
                code = error.exit_code
            except BrokenPipeError as error:  # of --help
                code = report(error, [])
        if received and not received[0].told:  # before the command began
            code = report(received[0], [], received=received)
        if standalone_mode:
            sys.exit(code or 0)
        return code

    def invoke(self, ctx):
        try:
            return super().invoke(ctx)
        except (SystemExit, typer.Exit, _CLICK_ERROR):
            raise
        except BaseException as error:
            code = report(
                error,
                _parameters(ctx),
                received=ctx.obj or (),
                inputs=self._inputs,
                show_traceback=ctx.params.get("traceback"),
            )
            raise typer.Exit(code) from None


app = typer.Typer(
    cls=_Program,
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Predict how cells respond to a perturbation.",
)


def _usage(error, args):
    """Return what is wrong with the arguments, and where to look."""
    message = error.format_message().rstrip()
    for noise in ("Value error, ", " (env var: 'None')"):  # of some versions of typer
        message = message.replace(noise, "")
    param, ctx = (getattr(error, name, None) for name in ("param", "ctx"))
    for given in _given(args, param.opts if param else ()):
        if given not in message:
            message = message.replace(": ", f": {given!r}: ", 1)
        allowed = re.findall("'([^']*)'", message.partition(" is not one of ")[2])
        message = f"{message.rstrip('.')}. {did_you_mean(given, allowed)}".rstrip()
    if ctx is None:
        return message
    end = "" if message.endswith((".", "?")) else "."
    return f"{message}{end} See: {ctx.command_path} --help"


def _given(args, options):
    """Return the values that `args` give to an option."""
    pairs = itertools.pairwise(args)
    return [value for name, value in pairs if name in options] + [
        arg.partition("=")[2]
        for arg in args
        if arg.partition("=")[0] in options and "=" in arg
    ]


def _parameters(ctx):
    command = ctx.command.commands.get(ctx.invoked_subcommand)
    return [] if command is None else command.params


class _Printable(logging.Formatter):
    """What is reported, without control characters."""

    def format(self, record):
        return printable(super().format(record), keep="\n", length=4000)


@contextlib.contextmanager
def _reporting(ctx, level):
    """Write what the package logs, and warnings, to the error stream."""
    logger = logging.getLogger("sklperturb")
    handler, before = logging.StreamHandler(), logger.level
    handler.setFormatter(_Printable())
    handler.handleError = lambda record: None  # the stream is closed: nobody reads it
    logger.addHandler(handler)
    logger.setLevel(level)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_, **__: warn(
                in_options(str(message), _parameters(ctx))
            )
            yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


def warn(message):
    """Say what the user should know of; on one line."""
    if log.isEnabledFor(logging.WARNING):
        say(f"warning: {message}")


def _version(value: bool):
    if value:
        out.print(f"sklperturb {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    ctx: typer.Context,
    quiet: Annotated[
        bool,
        Option(
            "--quiet",
            "-q",
            help="Report errors only; results still go to the standard output.",
        ),
    ] = False,
    traceback: Annotated[
        bool,
        Option(
            _TRACEBACK,
            help="After the line that tells of an error, show where it came from. May "
            "stand after the command too.",
        ),
    ] = False,
    version: Annotated[
        bool,
        Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
):
    """Predict how cells respond to a perturbation."""
    os.environ.setdefault("MPLBACKEND", "agg")  # plots go to files, not to windows
    ctx.with_resource(_reporting(ctx, logging.ERROR if quiet else logging.INFO))
