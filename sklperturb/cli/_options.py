"""Options that several commands share; each means the same in all of them."""

from pathlib import Path
from typing import Annotated

from typer import Argument, BadParameter, Option

from sklperturb.cli._choices import Cv
from sklperturb.utils._choices import (
    SCORER_NAMES,
    AnyScoring,
    OnNonfinite,
    PlotFormat,
    Scoring,
    one_of,
)

_MOST_JOBS = 1024


def number(value: float | None):
    """Refuse what is no number; that it is in a range is checked before."""
    if value != value:
        raise BadParameter("nan is no number.")
    return value


def positive(value: float | None):
    """Refuse zero and less."""
    if value is not None and not value > 0:
        raise BadParameter(f"{value:g} is not allowed; pass a number above 0.")
    return value


def _workers(value: int):
    if not 1 <= value <= _MOST_JOBS and value != -1:
        raise BadParameter(
            f"{value} is not allowed; pass a number from 1 to {_MOST_JOBS}, or -1."
        )
    return value


Cells = Annotated[
    Path,
    Argument(
        metavar="CELLS", exists=True, help="Cells: an .h5ad file or a .zarr folder."
    ),
]
Data = Annotated[
    Path,
    Option(
        exists=True,
        file_okay=False,
        help="Folder with a screen in the layout of OP2, or of VCPI 2026.",
    ),
]

DataOrCells = Annotated[
    Path,
    Option(
        exists=True,
        help="Folder with a screen in the layout of OP2, or of VCPI 2026; or cells: an "
        ".h5ad file or a .zarr folder.",
    ),
]

Perturbation = Annotated[
    str | None,
    Option(
        help="Column that names the perturbation; of cells, of obs. By default one "
        "with a name in public use, such as target_gene or sm_name."
    ),
]
Context = Annotated[
    str | None,
    Option(
        help="Column that names the cell type or cell line; of cells, of obs. By "
        "default one with a name in public use, such as cell_type."
    ),
]
Control = Annotated[
    str | None,
    Option(
        help="Label of the control cells in the column of the perturbation. By default "
        "a column of control flags, or a spelling in public use, such as non-targeting."
    ),
]
Batch = Annotated[
    str | None,
    Option(
        help="Column of obs that names the technical batch. By default a column with a "
        "name in public use, such as batch or plate."
    ),
]
Layer = Annotated[
    str | None, Option(help="Layer of the file with the expression. By default X.")
]
Obsm = Annotated[
    str | None,
    Option(
        help="Embedding of the cells in obsm, such as X_state, in place of expression. "
        "By default that of a file with one and no X."
    ),
]

Latent = Annotated[
    str | None,
    Option(
        metavar="[pca|autoencoder|se|KEY]",
        help="Space in which cells are generated: principal components or an "
        "autoencoder of counts, State Embedding (needs --checkpoint), or a key of "
        "obsm, as --obsm names it. By default pca, of a file without X its embedding.",
    ),
]
Checkpoint = Annotated[
    Path | None,
    Option(exists=True, help="Weights of State Embedding: a folder or file."),
]
MaxSteps = Annotated[int | None, Option(help="Steps of the training of flow.", min=1)]

ResponseLayer = Annotated[
    str | None,
    Option(
        "--layer",
        help="Layer of de_train.h5ad with the response, such as logFC or t. By default "
        "clipped_sign_log10_pval.",
    ),
]
Clip = Annotated[
    float | None,
    Option(
        help="Limit responses to plus and minus this value, above 0.", callback=positive
    ),
]
NonFinite = Annotated[
    OnNonfinite,
    Option(
        help="What to do with NaN and infinite responses: an error, or to replace "
        "them by 0 and by the largest finite value."
    ),
]
Splitter = Annotated[
    Cv,
    Option(
        help="What the folds hold out. auto: what the conditions to predict hold, "
        "unseen pairs of known perturbations and contexts, or unseen perturbations."
    ),
]
NSplits = Annotated[
    int,
    Option(
        help="Number of folds. With --cv auto, fewer where there is less to hold out.",
        min=2,
    ),
]


def _named_by(scores):
    """Return what makes one of the scores of its name, or of that of its scorer."""

    def parse(value: str):
        try:
            return scores(one_of(SCORER_NAMES.get(value, value), scores, "score"))
        except ValueError as error:
            raise BadParameter(str(error)) from None

    return {"parser": parse, "metavar": f"<{'|'.join(scores)}>"}


Metric = Annotated[
    Scoring,
    Option(
        **_named_by(Scoring),
        help="Mean score of a row. mrrmse, mrmae and wmse are errors, lower is better; "
        "of pearson, spearman and cosine, higher is better. wmse is weighted, by the "
        "weights.parquet of a VCPI folder.",
    ),
]

MetricOrCells = Annotated[
    AnyScoring | None,
    Option(
        **_named_by(AnyScoring),
        help="Mean score of a row, by default mrrmse: mrrmse, mrmae and wmse are "
        "errors, lower is better; of pearson, spearman and cosine, higher is better. "
        "Of cells, by default energy: of discrimination and pearson_delta higher is "
        "better, of the others lower.",
    ),
]

Embedding = Annotated[
    list[Path] | None,
    Option(
        exists=True,
        help="What is known of genes, perturbed ones or targets of compounds: gene "
        "sets (.gmt), or a table with a vector for each gene (.parquet, .csv, .tsv, "
        ".npz, .safetensors). May be given several times.",
    ),
]
Source = Annotated[
    list[Path] | None,
    Option(
        exists=True,
        help="Another screen of the same perturbations: a folder in the layout of OP2, "
        "or .h5ad or .zarr with cells and controls, or with signatures. May be given "
        "several times.",
    ),
]
Dask = Annotated[
    str | None,
    Option(
        help="Address of a Dask scheduler to compute on, tcp://host:port or "
        "tls://host:port, in place of --jobs. Who reaches it can run any program on "
        "its workers and here: name one of your own only."
    ),
]
Jobs = Annotated[
    int, Option(help="Processes at a time; -1 is one a core.", callback=_workers)
]
Seed = Annotated[
    int, Option(help="Seed of all that is drawn at random.", min=0, max=2**32 - 1)
]
Overwrite = Annotated[
    bool, Option("--overwrite", help="Replace the output where it exists.")
]
PlanFile = Annotated[
    Path | None,
    Option(
        exists=True,
        dir_okay=False,
        help="Next experiments to show, the table that `suggest --output` has written. "
        "By default suggestions.csv in RUN_DIR, where there is one.",
    ),
]
Plots = Annotated[
    PlotFormat,
    Option(help="Format of the plots in --output; svg and pdf keep lines and text."),
]
Intervals = Annotated[
    bool,
    Option(
        "--intervals",
        help="Learn what `predict --interval` needs, from folds that hold out what the "
        "folder asks: as long as a cross-validation.",
    ),
]
IntervalOf = Annotated[
    float | None,
    Option(
        help="Share of the entries to cover, such as 0.9, with a model that was fitted "
        "with --intervals. Files beside the output, its name with _lower and _upper, "
        "hold the ends of the intervals.",
    ),
]
