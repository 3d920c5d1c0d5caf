"""How commands end: on errors of every class, on signals, on closed outputs."""

import contextlib
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest

import sklperturb
from sklperturb.__main__ import main
from sklperturb.cli import _ending
from sklperturb.datasets import make_chemical_screen, write_screen

ROOT = Path(sklperturb.__file__).parents[1]
COMMAND = [sys.executable, "-m", "sklperturb"]
MAKE = "sklperturb.datasets.make_chemical_screen"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    screen = make_chemical_screen(3, 6, 10, random_state=0)
    return write_screen(tmp_path_factory.mktemp("endings") / "screen", screen)


def raising(error):
    def function(*args, **kwargs):
        raise error

    return function


@pytest.fixture
def simulate(cli, monkeypatch, tmp_path):
    """Return a function that runs a command in which an error is raised."""

    def run(error, *options, code):
        monkeypatch.setattr(MAKE, raising(error))
        return cli(*options, "simulate", "--output", tmp_path / "out", code=code)

    return run


class OutOfMemoryError(RuntimeError):
    """What torch raises."""


def noted(error):
    error.add_note("This was model 'x' in fold 0.")
    return error


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError("bad\n  value"), "error: bad value"),
        (ImportError("no torch"), "error: no torch"),
        (ValueError(), "error: ValueError"),
        (noted(ValueError("bad")), "error: bad This was model 'x' in fold 0."),
        (
            PermissionError(13, "Permission denied", "/x"),
            "error: Permission denied: /x",
        ),
        (
            FileNotFoundError(2, "No such file", "/a/.unfinished-k3x_/b.csv"),
            "error: No such file: /a/b.csv",
        ),
        (
            RuntimeError("unable to close (errno = 28, No space left on device)"),
            "error: There is no space left on the disk; free some, or write elsewhere.",
        ),
        (
            MemoryError("Unable to allocate 2 TiB"),
            "error: There is not enough memory for this. Unable to allocate 2 TiB",
        ),
        (
            OutOfMemoryError("CUDA"),
            "error: There is not enough memory for this. CUDA",
        ),
        (ValueError("x" * 5000), "error: " + "x" * 993 + " ..."),
        (ValueError("a\x1b[31m\u202eb[/b]:x:\udcff"), None),
        (
            OSError("postgresql://me:secret@host/db is closed"),
            "error: postgresql://me:***@host/db is closed",
        ),
    ],
)
def test_what_the_user_can_mend_is_one_line_and_code_2(simulate, error, told):
    told = told or r"error: a\x1b[31m\u202eb[/b]:x:\udcff"
    assert simulate(error, code=2).stderr.splitlines() == [told]


@pytest.mark.parametrize(
    "error",
    [
        *(KeyError("X"), RuntimeError("X"), RecursionError("X"), OverflowError("X")),
        *(TypeError("X"), AssertionError("X"), EOFError("X"), StopIteration("X")),
        *(NotImplementedError("X"), ExceptionGroup("X", [ValueError()])),
    ],
)
def test_a_fault_of_the_program_is_one_line_and_code_1(simulate, error):
    [line] = simulate(error, code=1).stderr.splitlines()
    assert line.startswith(f"error: unexpected {type(error).__name__}: ")
    assert "run again with --traceback" in line


@pytest.mark.parametrize("error", [ValueError("X\x1b"), KeyError("X\x1b")])
def test_traceback_follows_the_line(capsys, monkeypatch, tmp_path, error):
    from sklperturb.cli import app

    monkeypatch.setattr(MAKE, raising(error))
    arguments = ["simulate", "--output", str(tmp_path / "out")]
    for at in (0, len(arguments)):  # before the command, and after it
        with pytest.raises(SystemExit):
            app([*arguments[:at], "--traceback", *arguments[at:]])
        lines = capsys.readouterr().err.splitlines()
        assert lines[0].startswith("error: ")
        assert lines[1] == "Traceback (most recent call last):"
        assert lines[-1].startswith(type(error).__name__)
        assert "\x1b" not in "".join(lines)


def test_type_errors_are_the_users_if_the_package_raises_them(cli, monkeypatch, folder):
    from sklperturb.conditions import resolve_schema
    from sklperturb.datasets import load_op2

    for ours, message in (
        (lambda *_, **__: resolve_schema("gene", None), "must be a PerturbationSchema"),
        (lambda *_, **__: load_op2(folder, clip="much"), "Got 'much' instead"),
    ):
        monkeypatch.setattr(MAKE, ours)
        done = cli("simulate", "--output", folder / "new", code=2)
        assert message in done.stderr


def test_warnings_are_one_line_and_speak_of_options(cli, monkeypatch, tmp_path):
    def warn(*args, **kwargs):
        warnings.warn("Pass n_genes=5000\n for\x1b more.", UserWarning, stacklevel=1)
        raise ValueError("random_state=-1 is no seed.")

    monkeypatch.setattr(MAKE, warn)
    arguments = ["simulate", "--output", tmp_path / "out"]
    assert cli(*arguments, code=2).stderr.splitlines() == [
        r"warning: Pass --n-genes 5000 for\x1b more.",
        "error: --seed -1 is no seed.",
    ]
    assert cli("-q", *arguments, code=2).stderr == "error: --seed -1 is no seed.\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["leaderbord"], "error: No such command 'leaderbord'."),
        (["leaderboard"], "error: Missing option '--data'."),
        (["leaderboard", "--data", "{data}", "--dat", "x"], "--data"),
        (
            ["leaderboard", "--data", "{data}", "--cv", "unseen-pear"],
            "Did you mean 'unseen-pair'",
        ),
        (["leaderboard", "--data", "{data}", "--seed=-1"], "'-1'"),
        (["leaderboard", "--data", "{data}", "--seed", str(2**32)], "4294967296"),
        (
            ["leaderboard", "--data", "{data}", "--jobs", "0"],
            "from 1 to 1024, or -1",
        ),
        (["leaderboard", "--data", "{data}", "--jobs", "-5"], "-5 is not allowed"),
        (["leaderboard", "--data", "{data}", "--clip", "0"], "a number above 0"),
        (["leaderboard", "--data", "{data}", "--clip", "nan"], "a number above 0"),
        (["leaderboard", "--data", "{data}", "--output", "r\udcff"], "no UTF-8 text"),
    ],
)
def test_wrong_arguments_are_one_line(cli, folder, arguments, told):
    done = cli(*(a.format(data=folder) for a in arguments), code=2)
    [line] = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert told in line


def test_no_command_is_a_request_for_help(cli):
    assert "Commands:" in cli(code=2).stderr


def test_what_is_kept_is_told(simulate, cli, monkeypatch, folder, tmp_path):
    done = simulate(KeyboardInterrupt(), code=130)
    assert done.stderr == "stopped; no output was written\n"
    monkeypatch.setattr("sklperturb.comparison.compare", raising(KeyboardInterrupt()))
    board = ["leaderboard", "--data", folder, "--models", "ridge"]
    done = cli(*board, code=130)
    assert done.stderr.endswith("stopped; nothing is kept without --output\n")
    done = cli(*board, "--output", tmp_path / "r", code=130)
    assert f"finished folds are in {tmp_path / 'r'}; the same command" in done.stderr


def started(*arguments, **options):
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def test_a_signal_ends_a_command_in_one_line(folder, tmp_path):
    board = ["leaderboard", "--data", folder, "--models", "transformer", "--jobs", 2]
    # Sent to all of its processes, as a terminal does.
    process = started(*board, "--output", tmp_path / "r", start_new_session=True)
    kept = tmp_path / "r" / "folds"
    until = time.monotonic() + 60
    while not list(kept.glob("*.json")) and time.monotonic() < until:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143
    told = (
        f"stopped; finished folds are in {tmp_path / 'r'}; the same command goes on "
        "from there"
    )
    # On a busy machine, the tracker of joblib's workers may have a last word.
    assert told in err.splitlines()
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
def test_a_second_signal_ends_at_once(signum, code):
    script = (
        "import os, signal\n"
        "from sklperturb.cli._ending import stopping\n"
        "with stopping() as received:\n"
        "    try:\n"
        f"        os.kill(os.getpid(), {int(signum)})\n"
        "    except KeyboardInterrupt as stop:\n"
        "        print(stop.code, received == [stop], flush=True)\n"
        f"    os.kill(os.getpid(), {int(signum)})\n"
        "    print('still here')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.stdout == f"{code} True\n"
    assert done.returncode == -signum


def test_a_signal_that_a_library_swallows_comes_again(monkeypatch):
    monkeypatch.setattr(_ending, "_PATIENCE", 0.05)
    with pytest.raises(_ending.Stopped), _ending.stopping() as received:
        with contextlib.suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        assert len(received) == 1
        time.sleep(5)


def test_workers_that_are_stopped_too_say_nothing():
    """What joblib would start next fails, with a traceback each time."""
    program = (
        "import logging, os, signal, warnings\n"
        "from sklperturb.cli._ending import Stopped, stopping\n"
        "try:\n"
        "    with stopping():\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "except Stopped:\n"
        "    logging.getLogger('concurrent.futures').error('exception in callback')\n"
        "    about = UserWarning, 'joblib/parallel.py', 1, 'joblib.parallel'\n"
        "    warnings.warn_explicit('5 tasks have not been used', *about)\n"
        "    warnings.warn_explicit('something else', *about)\n"
    )
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0
    assert "exception" not in ended.stderr and "tasks" not in ended.stderr
    assert "something else" in ended.stderr


def test_handlers_of_signals_are_put_back():
    before = signal.getsignal(signal.SIGTERM)
    with _ending.stopping():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_reader_that_leaves_does_not_stop_the_work(folder, tmp_path):
    board = ["leaderboard", "--data", folder, "--models", "ridge", "--n-splits", 2]
    read, write = os.pipe()
    os.close(read)
    process = subprocess.run(
        [*COMMAND, *map(str, board), "--output", str(tmp_path / "r")],
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(write)
    assert process.returncode == 0, process.stderr
    assert "Broken" not in process.stderr
    assert (tmp_path / "r" / "leaderboard.csv").exists()


def test_names_that_the_output_cannot_encode(tmp_path):
    size = ["--n-contexts", "3", "--n-compounds", "6", "--n-genes", "5"]
    process = subprocess.run(
        [*COMMAND, "simulate", *size, "--output", "r\u00e9s[/b]\u202e:x:"],
        cwd=tmp_path,
        capture_output=True,
        env=os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert process.stdout.endswith(rb"5 genes: r\xe9s[/b]\u202e:x:" b"\n")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_output_is_one_line():
    with open("/dev/full", "w") as full:
        process = subprocess.run(
            [*COMMAND, "models"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert process.returncode == 2
    [line] = process.stderr.splitlines()
    assert "no space left" in line


@pytest.mark.parametrize("closed", [1, 2])
def test_a_stream_that_is_closed_from_the_start_is_no_error(closed):
    ended = subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}>&-', "sh", *COMMAND, "models"],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_stop_while_the_program_is_loaded_is_one_line(monkeypatch, capsys):
    def stopped():
        raise KeyboardInterrupt

    monkeypatch.setattr("sklperturb.cli.main", stopped)
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 130
    assert capsys.readouterr().err == "stopped; no output was written\n"


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("odd axes", "error: cells.h5ad: odd axes"),
        ("cells.h5ad?", "error: cells.h5ad?"),
    ],
)
def test_an_error_of_a_library_gets_the_names_of_the_files(capsys, message, told):
    try:
        raise ValueError(message)
    except ValueError as error:
        assert _ending.report(error, [], inputs=["cells.h5ad"]) == 2
    assert capsys.readouterr().err.strip() == told
