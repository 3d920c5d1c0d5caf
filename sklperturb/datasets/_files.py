"""Read the files of a folder; errors name the one that is missing or broken."""

from pathlib import Path

import pandas as pd

from sklperturb.cells import Cells, open_cells
from sklperturb.cells._blocks import to_dense
from sklperturb.files._identifiers import as_identifiers
from sklperturb.files._stores import opened_store, read_part, stored_element
from sklperturb.files._tables import check_unique_columns

LAYOUTS = (
    "Allowed are the Kaggle layout (de_train.parquet or de_train.csv, with id_map.csv "
    "where something is to be predicted, and sample_submission.csv where the genes are "
    "to be fixed) and the benchmark's (de_train.h5ad, with de_test.h5ad or id_map.csv)"
)
DEFAULT_LAYER = "clipped_sign_log10_pval"


def open_folder(folder, layouts=LAYOUTS):
    """Return `folder` as a path, or raise if it is not a folder.

    `layouts` says in the message what it may hold.
    """
    folder = Path(folder)
    if not folder.exists():
        raise FileNotFoundError(f"The folder {folder} does not exist. {layouts}.")
    if not folder.is_dir():
        raise NotADirectoryError(
            f"{folder} is a file; pass the folder that holds it. {layouts}."
        )
    return folder


def missing_file(folder, name, layouts=LAYOUTS):
    """Return the error that names the missing file and what is there."""
    present = sorted(path.name for path in folder.iterdir())
    if len(present) > 12:
        present = [*present[:12], f"... {len(present) - 12} more"]
    return FileNotFoundError(
        f"{name} is not in {folder}, which holds {present or 'nothing'}. {layouts}."
    )


def read_layer(path, layer):
    """Read the conditions and one layer of an h5ad file.

    Parameters
    ----------
    path : Path
    layer : str or None
        None stands for the layer that the benchmark scores.

    Returns
    -------
    obs : DataFrame of shape (n_samples, n_columns)
    y : DataFrame of shape (n_samples, n_genes)
    """
    # Only what is needed: the other layers and the single cells in `uns` can be
    # many times larger.
    with opened_store(path) as store:
        layers = sorted(store["layers"]) if "layers" in store else []
        wanted = DEFAULT_LAYER if layer is None else layer
        obs, var = read_part(store, "obs"), read_part(store, "var")
        values = None
        if wanted in layers:
            matrix = stored_element(store[f"layers/{wanted}"], (len(obs), len(var)))
            with open_cells(Cells(matrix, path.name)) as cells:
                values = cells.rows(slice(None))
    if values is None:
        if layers:
            raise ValueError(
                f"{path.name} has no layer {wanted!r}; it has {layers}. Pass one of "
                "them as layer=."
            )
        raise ValueError(
            f"{path.name} has no layers, and the responses are read from one; X is not "
            f"read. Keep them in layers[{wanted!r}], or in another that layer= names."
        )
    genes = var.index.astype(str)
    check_unique_columns(genes, path.name)
    values = to_dense(values)
    return obs.reset_index(drop=True), pd.DataFrame(values, columns=genes)


def check_unique_ids(ids, name):
    """Raise if an id occurs twice, be it once as 1 and once as "1"."""
    known = as_identifiers(ids)
    if not known.is_unique:
        repeated = pd.Index(ids)[known.duplicated()].tolist()
        raise ValueError(
            f"{name} has {len(repeated)} repeated ids, such as {repeated[0]!r}. Each "
            "row needs its own."
        )
