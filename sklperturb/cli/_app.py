"""The program: what it writes where, and how it ends on an error."""

import contextlib
import logging
import os
import warnings
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from typer import Option
from typer.core import TyperGroup

from sklperturb._version import __version__
from sklperturb.cli._messages import in_options

# Results go to the standard output; what is reported on the way, to the error stream.
# A table with its columns cut off says nothing: on a narrow screen, lines wrap instead.
out = Console(
    highlight=False, markup=False, soft_wrap=True, width=max(Console().width, 130)
)
log = logging.getLogger(__name__)
_RESUMING = ("embed", "leaderboard", "tune")
_PACKAGE = Path(__file__).parents[1]


class _Program(TyperGroup):
    """The commands; an error of the user's input is one line, and exit code 2."""

    def invoke(self, ctx):
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            goes_on = ctx.invoked_subcommand in _RESUMING
            advice = "; the same command goes on where it was" if goes_on else ""
            log.error("stopped%s", advice)
            raise typer.Exit(130) from None
        except BrokenPipeError:
            raise
        except (ValueError, TypeError, OSError, ImportError) as error:
            # A parameter out of range is an error of both kinds.
            if not (
                isinstance(error, ValueError | OSError | ImportError) or _is_ours(error)
            ):
                raise
            log.error("error: %s", in_options(str(error), _parameters(ctx)))
            raise typer.Exit(2) from None


app = typer.Typer(
    cls=_Program,
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Predict how cells respond to a perturbation.",
)


def _is_ours(error):
    """Whether the package raised the error, and not a library that it calls."""
    traceback = error.__traceback__
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    return Path(traceback.tb_frame.f_code.co_filename).is_relative_to(_PACKAGE)


def _parameters(ctx):
    return ctx.command.commands[ctx.invoked_subcommand].params


@contextlib.contextmanager
def _reporting(ctx, level):
    """Write what the package logs, and warnings, to the error stream."""
    logger = logging.getLogger("sklperturb")
    handler, before = logging.StreamHandler(), logger.level
    logger.addHandler(handler)
    logger.setLevel(level)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_, **__: log.warning(
                "warning: %s", in_options(str(message), _parameters(ctx))
            )
            yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


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
    version: Annotated[
        bool,
        Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
):
    """Predict how cells respond to a perturbation."""
    os.environ.setdefault("MPLBACKEND", "agg")  # plots go to files, not to windows
    ctx.with_resource(_reporting(ctx, logging.ERROR if quiet else logging.INFO))
