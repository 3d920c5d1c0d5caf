"""The program, its two consoles, and the options that commands share."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from sklperturb._version import __version__

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Predict how cells respond to a perturbation.",
)
# A table with its columns cut off says nothing: on a narrow screen, lines wrap instead.
out = Console(highlight=False, soft_wrap=True, width=max(Console().width, 130))
log = Console(stderr=True, highlight=False, soft_wrap=True)

Data = Annotated[Path, typer.Option(help="Folder with a screen in the OP2 layout.")]
Layer = Annotated[
    str | None, typer.Option(help="Layer of de_train.h5ad to learn; see the docs.")
]
Clip = Annotated[
    float | None, typer.Option(help="Clip responses to +- this value.", min=0)
]
Seed = Annotated[int, typer.Option(help="Seed of folds and models.")]


def _version(value: bool):
    if value:
        out.print(f"sklperturb {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True)
    ] = False,
):
    """Predict how cells respond to a perturbation."""
