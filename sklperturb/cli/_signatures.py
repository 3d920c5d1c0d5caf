"""The command from counts to signatures."""

from pathlib import Path
from typing import Annotated

from typer import Option

from sklperturb.cli._app import app, out
from sklperturb.cli._choices import names, read_schema, refuse_inputs
from sklperturb.cli._options import (
    Cells,
    Clip,
    Context,
    Control,
    Layer,
    Overwrite,
    Perturbation,
    Seed,
    number,
)
from sklperturb.utils._choices import Contexts, ExpressedIn, Method, Normalization


@app.command()
def signatures(
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
    seed: Seed = 0,
    overwrite: Overwrite = False,
):
    """Compute signatures from raw counts and write a folder for the leaderboard.

    Cells are added up by sample, and each perturbation is compared with the controls of
    its context. To predict are the conditions held out or, if none are, those of the
    perturbation by context grid that were not measured.
    """
    from sklperturb.datasets import write_signatures
    from sklperturb.datasets._write import check_signature_folder
    from sklperturb.signatures import make_signature_screen

    check_signature_folder(output, overwrite)
    refuse_inputs([cells], [output / "de_train.h5ad", output / "de_test.h5ad"])
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
    )
    write_signatures(output, screen, overwrite=overwrite)
    out.print(f"{screen.DESCR}: {output}")
