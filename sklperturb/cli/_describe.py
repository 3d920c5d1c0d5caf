"""The commands that fetch data, and look into a file of cells."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from typer import Argument, BadParameter, Option

from sklperturb.cli._app import app, out
from sklperturb.cli._choices import read_schema
from sklperturb.cli._messages import in_options
from sklperturb.cli._options import (
    Batch,
    Cells,
    Context,
    Control,
    Layer,
    Obsm,
    Perturbation,
)
from sklperturb.cli._tables import make_table
from sklperturb.utils._choices import did_you_mean


@app.command()
def fetch(
    name: Annotated[
        str | None,
        Argument(metavar="NAME", help="Screen to fetch; without one, list them."),
    ] = None,
    data_home: Annotated[
        Path | None,
        Option(
            file_okay=False,
            help="Folder that screens are kept in. By default that of the environment "
            "variable SKLPERTURB_DATA, or else sklperturb_data in your home.",
        ),
    ] = None,
):
    """Download a public screen, or list those that can be.

    What is there already is checked and not downloaded again. Mind the licence, and
    cite what is named.
    """
    from sklperturb.downloads._kept import fetch_screen
    from sklperturb.downloads._screens import SCREENS

    if name is None:
        table = make_table(["name", "content"], ["MB"])
        for screen in SCREENS.values():
            table.add_row(screen.name, screen.title, f"{screen.size / 1e6:,.0f}")
        out.print(table)
        return
    if name not in SCREENS:
        raise BadParameter(
            f"{name!r} is none of {', '.join(SCREENS)}. "
            f"{did_you_mean(name, SCREENS)}".rstrip()
        )
    for path in fetch_screen(name, data_home):
        out.print(str(path))
    screen = SCREENS[name]
    out.print(f"licence: {screen.license}")
    out.print(f"cite: {screen.citation}")


@app.command()
def describe(
    ctx: typer.Context,
    path: Cells,
    perturbation: Perturbation = None,
    context: Context = None,
    control: Control = None,
    batch: Batch = None,
    layer: Layer = None,
    obsm: Obsm = None,
    list_perturbations: Annotated[
        bool,
        Option(
            "--list-perturbations",
            help="List every perturbation with its number of cells.",
        ),
    ] = False,
):
    """Report what a file of cells holds, and what is wrong with it.

    The matrix is not read into memory. The exit code is 0 whether there are problems
    or not.
    """
    from sklperturb.cells._files import sole_embedding
    from sklperturb.datasets import describe_perturbseq

    schema = read_schema(
        path, perturbation=perturbation, context=context, control=control, batch=batch
    )
    if layer is None and obsm is None:
        obsm = sole_embedding(path)
    found = describe_perturbseq(path, schema=schema, layer=layer, obsm=obsm)
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, value in found.facts.items():
        table.add_row(name, value)
    out.print(table)
    if found.schema is not None:
        out.print()
        out.print(str(found.schema))
    if list_perturbations:
        out.print()
        for name, n_cells in found.cells_per_perturbation.items():
            out.print(f"{n_cells:>8} {name}")
    out.print()
    for problem in found.problems:
        out.print(f"problem: {in_options(problem, ctx.command.params)}")
    if not found.problems:
        out.print("no problems found")
