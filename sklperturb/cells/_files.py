"""Ask an AnnData or a file of cells what it holds."""

from pathlib import Path

import pandas as pd

from sklperturb.conditions._frames import as_pandas, is_annotated
from sklperturb.files._stores import decoded, opened_store, read_part, stored_x


def gene_names(y):
    """Return the names of the columns of `y` as an Index of text, or None."""
    if is_annotated(y):
        return pd.Index(y.var_names).astype(str)
    y = as_pandas(y)
    if isinstance(y, pd.DataFrame):
        return y.columns.astype(str)
    return None


def check_unique_genes(genes, source):
    """Raise an error that names the genes that occur more than once."""
    genes = pd.Index(genes)
    if not genes.is_unique:
        repeated = genes[genes.duplicated()].unique()
        raise ValueError(
            f"{source} has {len(repeated)} genes that occur more than once, such as "
            f"{list(repeated[:3])}. Call var_names_make_unique() on the AnnData, and "
            "pass the AnnData."
        )


def read_obs(cells):
    """Return the table of the cells of an AnnData or a file, whatever else it holds."""
    if is_annotated(cells):
        return decoded(cells.obs, "The AnnData")
    if not isinstance(cells, str | Path):
        raise no_obs(type(cells).__name__)
    with opened_store(cells) as store:
        return read_part(store, "obs")


def no_obs(source):
    """Return the error for cells that come without a table."""
    return TypeError(
        "The cells must be an AnnData or the path of one, since columns of obs are "
        f"needed; got {source}."
    )


def sole_embedding(*sources):
    """Return the one entry of obsm that all sources have, where none has an X.

    Returns
    -------
    name : str or None
    """
    names = []
    for source in sources:
        if is_annotated(source):
            x = x_of(source._adata_ref if source.is_view else source)
            held = set(source.obsm)
        elif isinstance(source, str | Path):
            with opened_store(source) as store:
                x, held = stored_x(store), set(store.get("obsm", ()))
        else:
            return None
        names.append(held if x is None else set())
    common = set.intersection(*names)
    return common.pop() if len(common) == 1 else None


def x_of(cells):
    """Return the `X` of an AnnData that is no view, None where there is none."""
    try:
        return cells.X
    except KeyError:  # backed by a file without X
        return None
