"""The command that looks into a file of cells."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from sklperturb.cli._app import app, out


@app.command()
def describe(
    path: Annotated[Path, typer.Argument(help="An .h5ad file or a .zarr folder.")],
    perturbations: Annotated[
        bool, typer.Option(help="List every perturbation with its number of cells.")
    ] = False,
):
    """Say what a file of cells holds, and what is wrong with it.

    The matrix is not read into memory. The exit code is 0 whether there are problems
    or not.
    """
    from sklperturb.datasets import describe_perturbseq

    found = describe_perturbseq(path)
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, value in found.facts.items():
        table.add_row(name, value)
    out.print(table)
    if found.schema is not None:
        out.print(f"\n{found.schema}", markup=False)
    if perturbations:
        out.print()
        for name, n_cells in found.cells_per_perturbation.items():
            out.print(f"{n_cells:>8} {name}", markup=False)
    out.print()
    for problem in found.problems:
        out.print(f"problem: {problem}", markup=False)
    if not found.problems:
        out.print("no problems found")
