"""Options that several commands share; each means the same in all of them."""

from pathlib import Path
from typing import Annotated

import typer

from sklperturb.cli._choices import Cv
from sklperturb.utils._choices import OnNonfinite, Scoring

Cells = Annotated[
    Path,
    typer.Argument(
        metavar="CELLS", exists=True, help="Cells: an .h5ad file or a .zarr folder."
    ),
]
Data = Annotated[
    Path,
    typer.Option(
        exists=True, file_okay=False, help="Folder with a screen in the OP2 layout."
    ),
]

Perturbation = Annotated[
    str | None,
    typer.Option(
        help="Column of obs that names the perturbation of each cell. By default a "
        "column with a name in public use, such as target_gene or sm_name."
    ),
]
Context = Annotated[
    str | None,
    typer.Option(
        help="Column of obs that names the cell type or cell line. By default a column "
        "with a name in public use, such as cell_type."
    ),
]
Control = Annotated[
    str | None,
    typer.Option(
        help="Label of the control cells in the column of the perturbation. By default "
        "a column of control flags, or a spelling in public use, such as non-targeting."
    ),
]
Batch = Annotated[
    str | None,
    typer.Option(
        help="Column of obs that names the technical batch. By default a column with a "
        "name in public use, such as batch or plate."
    ),
]
Layer = Annotated[
    str | None,
    typer.Option(help="Layer of the file with the expression. By default X."),
]
Obsm = Annotated[
    str | None,
    typer.Option(
        help="Embedding of the cells in obsm, such as X_state, in place of expression. "
        "By default that of a file with one and no X."
    ),
]

ResponseLayer = Annotated[
    str | None,
    typer.Option(
        "--layer",
        help="Layer of de_train.h5ad with the response, such as logFC or t. By default "
        "clipped_sign_log10_pval.",
    ),
]
Clip = Annotated[
    float | None,
    typer.Option(help="Limit responses to plus and minus this value.", min=0),
]
NonFinite = Annotated[
    OnNonfinite,
    typer.Option(
        help="What to do with NaN and infinite responses: an error, or to replace "
        "them by 0 and by the largest finite value."
    ),
]
Splitter = Annotated[
    Cv,
    typer.Option(
        help="What the folds hold out. auto: what the conditions to predict hold, "
        "unseen pairs of known compounds and contexts, or unseen compounds."
    ),
]
NSplits = Annotated[int, typer.Option(help="Number of folds.", min=2)]
Metric = Annotated[
    Scoring,
    typer.Option(
        help="Mean score of a row. mrrmse and mrmae are errors, lower is better; of "
        "pearson, spearman and cosine, higher is better."
    ),
]

Dask = Annotated[
    str | None,
    typer.Option(help="Address of a Dask scheduler to compute on, tcp://host:port."),
]
Jobs = Annotated[int, typer.Option(help="Processes at a time; -1 is one a core.")]
Seed = Annotated[int, typer.Option(help="Seed of all that is drawn at random.")]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace the output where it exists.")
]
