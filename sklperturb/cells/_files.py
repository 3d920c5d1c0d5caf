"""Open files of cells, and ask an AnnData or a file what it holds."""

from contextlib import contextmanager
from pathlib import Path

import pandas as pd


def is_annotated(y):
    """Return whether `y` is an AnnData, without importing anndata."""
    return all(hasattr(y, name) for name in ("obs", "var_names", "layers", "obsm"))


def gene_names(y):
    """Return the names of the columns of `y` as an Index of text, or None."""
    if is_annotated(y):
        return pd.Index(y.var_names).astype(str)
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
        return cells.obs
    if not isinstance(cells, str | Path):
        raise no_obs(type(cells).__name__)
    from anndata.io import read_elem

    with opened_store(Path(cells)) as store:
        return read_elem(store["obs"])


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
            with opened_store(Path(source)) as store:
                x, held = stored_x(store), set(store.get("obsm", ()))
        else:
            return None
        names.append(held if x is None else set())
    common = set.intersection(*names)
    return common.pop() if len(common) == 1 else None


def check_path(path):
    """Raise an error if there is no such file, or its name is not one of cells."""
    if not path.exists():
        raise FileNotFoundError(
            f"{path} does not exist; pass an .h5ad file or a .zarr folder."
        )
    if path.suffix not in (".h5ad", ".h5", ".zarr"):
        raise ValueError(
            f"{path.name} ends in {path.suffix!r}; allowed are an .h5ad file and a "
            ".zarr folder."
        )


def open_store(path):
    """Open an .h5ad file or a .zarr folder for reading.

    Parameters
    ----------
    path : Path

    Returns
    -------
    store : h5py.File or zarr.Group
        For `close_store`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it cannot be read as AnnData.
    """
    check_path(path)
    try:
        if path.suffix == ".zarr":
            import zarr

            store = zarr.open_group(str(path), mode="r")
        else:
            import h5py

            store = h5py.File(path, "r")
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{path} cannot be read as AnnData; it may be truncated or of another "
            f"kind. The reader said: {error}"
        ) from error
    for table in ("obs", "var"):
        # Before anndata 0.7 a table was one data set of records.
        if table not in store or hasattr(store[table], "shape"):
            found = sorted(store)
            close_store(store)
            raise ValueError(
                f"{path.name} cannot be read as AnnData: it has no {table} of anndata "
                f"0.7 or later; it holds {found}. Pass a file written by write_h5ad or "
                "write_zarr of a newer anndata."
            )
    return store


@contextmanager
def opened_store(path):
    """Open an .h5ad file or a .zarr folder for a with statement."""
    store = open_store(path)
    try:
        yield store
    finally:
        close_store(store)


def close_store(store):
    """Close what `open_store` has opened; a zarr folder needs no closing."""
    if hasattr(store, "close"):
        store.close()


def stored_element(element):
    """Return a matrix on disk that can be sliced, or a table read into memory."""
    from anndata.io import read_elem, sparse_dataset

    if hasattr(element, "shape"):
        return element
    if element.attrs.get("encoding-type") == "dataframe":
        return read_elem(element)
    return sparse_dataset(element)


def x_of(cells):
    """Return the `X` of an AnnData that is no view, None where there is none."""
    try:
        return cells.X
    except KeyError:  # backed by a file without X
        return None


def stored_x(store):
    """Return the `X` of a store, None where there is none."""
    if "X" not in store or store["X"].attrs.get("encoding-type") == "null":
        return None
    return store["X"]
