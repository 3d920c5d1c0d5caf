"""Commands on cells that need no model: describe, signatures."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from typer import Option

from sklperturb.cli._app import app, out
from sklperturb.cli._choices import (
    connected,
    names,
    on_cluster,
    read_schema,
    refuse_inputs,
)
from sklperturb.cli._ending import in_options
from sklperturb.cli._options import (
    Batch,
    Cells,
    Clip,
    Context,
    Control,
    Dask,
    Jobs,
    Layer,
    Obsm,
    Overwrite,
    Perturbation,
    Seed,
    number,
)
from sklperturb.utils._choices import Contexts, ExpressedIn, Method, Normalization


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


@app.command()
def signatures(
    ctx: typer.Context,
    cells: Cells,
    output: Annotated[
        Path, Option(file_okay=False, help="Folder to write the signatures to.")
    ],
    groupby: Annotated[
        str,
        Option(
            help="Columns of obs, comma-separated, whose cells form one pseudobulk "
            "sample. By default those of context, perturbation, dose, batch and "
            "replicate."
        ),
    ] = "",
    perturbation: Perturbation = None,
    context: Context = None,
    control: Control = None,
    covariates: Annotated[
        str,
        Option(
            help="Columns of obs, comma-separated, whose effects are removed, such as "
            "donor,plate."
        ),
    ] = "",
    layer: Layer = None,
    hold_out_contexts: Annotated[
        str, Option(help="Contexts to predict, comma-separated.")
    ] = "",
    hold_out_share: Annotated[
        float,
        Option(
            help="Share of the other conditions to predict.",
            min=0,
            max=0.9,
            callback=number,
        ),
    ] = 0.0,
    min_cells: Annotated[
        int, Option(help="Leave out samples of fewer cells.", min=1)
    ] = 10,
    min_count: Annotated[
        float,
        Option(
            help="Leave out genes with fewer counts in a sample of median depth.",
            min=0,
            callback=number,
        ),
    ] = 10,
    expressed_in: Annotated[
        ExpressedIn,
        Option(help="Keep genes that are expressed in every context, or in any."),
    ] = ExpressedIn.every,
    normalization: Annotated[
        Normalization, Option(help="Correction of library sizes for composition.")
    ] = Normalization.tmm,
    method: Annotated[
        Method,
        Option(
            help="voom weights each observation by its expected variance; trend gives "
            "all the same weight."
        ),
    ] = Method.voom,
    contexts: Annotated[
        Contexts, Option(help="One fit for all contexts together, or one for each.")
    ] = Contexts.together,
    clip: Clip = 4.0,
    jobs: Jobs = 1,
    dask: Dask = None,
    seed: Seed = 0,
    overwrite: Overwrite = False,
):
    """Compute signatures from raw counts and write a folder for the leaderboard.

    Cells are added up by sample, and each perturbation is compared with the controls of
    its context. To predict are the conditions held out or, if none are, those of the
    perturbation by context grid that were not measured; in a single context there are
    none.
    """
    from sklperturb.datasets import write_signatures
    from sklperturb.datasets._write import check_signature_folder
    from sklperturb.signatures import make_signature_screen

    check_signature_folder(output, overwrite)
    refuse_inputs([cells], [output / "de_train.h5ad", output / "de_test.h5ad"])
    with on_cluster(ctx.with_resource(connected(dask))):
        screen = make_signature_screen(
            cells,
            names(groupby) or None,
            schema=read_schema(cells, perturbation=perturbation, context=context),
            control=control,
            covariates=names(covariates),
            layer=layer,
            hold_out_contexts=names(hold_out_contexts),
            hold_out_share=hold_out_share,
            min_cells=min_cells,
            random_state=seed,
            min_count=min_count,
            expressed_in=expressed_in,
            normalization=normalization,
            method=method,
            contexts=contexts,
            clip=clip,
            n_jobs=jobs,
        )
    write_signatures(output, screen, overwrite=overwrite)
    out.print(f"{screen.DESCR}: {output}")
