"""The command that looks into a file of cells."""

from typing import Annotated

import typer
from rich.table import Table
from typer import Option

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
