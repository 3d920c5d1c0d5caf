"""Open files of cells, h5ad and zarr, and read what is in them."""

from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from sklperturb.files._reading import (
    PACKED,
    FileError,
    check_file,
    reading,
    short,
)
from sklperturb.files._store_checks import (
    DAMAGED,
    KIND,
    check_dense,
    check_matrices,
    check_sparse_group,
    count_absent,
    path_of,
    place_of,
    refuse_folder,
    refuse_links,
)

_SUFFIXES = (".h5ad", ".h5", ".zarr")


def check_store_path(path):
    """Return `path` as a Path if there is such a file, with the name of one of cells.

    Raises
    ------
    OSError, FileError
        As `check_file`, or if the name ends otherwise.
    """
    path = Path(path)
    advice = "pass an .h5ad file or a .zarr folder"
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; {advice}.")
    if path.suffix not in _SUFFIXES:
        advice = "unpack it first" if path.suffix in PACKED else advice
        raise FileError(
            f"{path.name} ends in {path.suffix!r}, and is no file of cells; {advice}."
        )
    check_file(path, folder=path.suffix == ".zarr")
    if path.suffix == ".zarr" and not path.is_dir():
        raise FileError(f"{path} is a file, and a .zarr is a folder; unpack it first.")
    return path


def open_store(path):
    """Open an .h5ad file or a .zarr folder for reading.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    store : h5py.File or zarr.Group
        For `close_store`.

    Raises
    ------
    OSError
        If there is no such file.
    FileError
        If it cannot be read as AnnData, or leads to other files: by links, or by
        values that HDF5 keeps elsewhere.
    """
    path = check_store_path(path)
    with reading(path, KIND):
        if path.suffix == ".zarr":
            import zarr

            refuse_folder(path)
            store = zarr.open_group(str(path), mode="r")
        else:
            import h5py

            store = h5py.File(path, "r")
    try:
        with reading(path, KIND):
            if path.suffix != ".zarr":
                refuse_links(store, path)
            _check_tables(store, path)
    except BaseException:
        close_store(store)
        raise
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


def read_part(store, name):
    """Return an element of a store, read into memory.

    Raises
    ------
    FileError
        If it cannot be read; a sparse matrix in it is checked first.
    """
    from anndata.io import read_elem

    path = path_of(store)
    with reading(path, KIND):
        element = store[name]
        check_matrices(element, path)
        found = read_elem(element)
    return decoded(found, path) if isinstance(found, pd.DataFrame) else found


def check_parts(store):
    """Check all that a store holds, for those who read it by themselves."""
    path = path_of(store)
    with reading(path, KIND):
        for name in store:
            check_matrices(store[name], path)


def read_names(store, table):
    """Return the names of the rows of `obs` or `var`, as an Index of text."""
    from anndata.io import read_elem

    path = path_of(store)
    with reading(path, KIND):
        group = store[table]
        element = group[group.attrs["_index"]]
        if element.dtype.kind in "OTU" and count_absent(element):
            raise FileError(f"{path}: names of {table} are absent. {DAMAGED}")
        names = pd.Index(read_elem(element))
    return decoded(pd.DataFrame(index=names), path).index


def decoded(table, source):
    """Return a table of which text is text, where some was kept as bytes.

    Strings of fixed length are bytes in HDF5, and would become labels such as "b'A'".
    Names of rows that are numbers become text too, as in an AnnData. A table without
    any of these is given back.
    """
    found = {}
    for place, name in enumerate(table.columns):
        column = table.iloc[:, place]
        if isinstance(column.dtype, pd.CategoricalDtype):
            if _is_bytes(column.cat.categories):
                text = _text_of(column.cat.categories, source, name)
                found[place] = column.cat.rename_categories(text)
        elif _is_bytes(column):
            text = _text_of(column, source, name)
            found[place] = pd.Series(text, table.index, dtype=object)
    index = table.index
    if _is_bytes(index):
        text = _text_of(index, source, "the index")
        index = pd.Index(text, dtype=object, name=index.name)
    elif pd.api.types.is_numeric_dtype(index.dtype):
        index = index.astype(str)
    if not found and index is table.index:
        return table
    again = table.copy(deep=False)
    for place, column in found.items():
        again.isetitem(place, column)
    return again.set_axis(index)


def stored_element(element, shape=None):
    """Return a matrix on disk that can be sliced, or a table read into memory.

    Parameters
    ----------
    element : data set or group of a store
    shape : tuple of (int, int or None), default=None
        What the table of the cells and that of the genes say; None is any number.

    Raises
    ------
    FileError
        If a sparse matrix cannot be one, the shape is another, or values are absent.
    """
    from anndata.io import read_elem, sparse_dataset

    path = path_of(element)
    with reading(path, KIND):
        if hasattr(element, "shape"):
            check_dense(element, path)
            found = element
        elif element.attrs.get("encoding-type") == "dataframe":
            found = decoded(read_elem(element), path)
        else:
            check_sparse_group(element)
            found = sparse_dataset(element)
        for axis, (size, wanted) in enumerate(
            zip(found.shape, shape or (), strict=False)
        ):
            if wanted is not None and size != wanted:
                what = ("rows for {} cells", "columns for {} genes")[axis]
                raise FileError(
                    f"{path}: {place_of(element)} has {size} {what.format(wanted)}. "
                    f"{DAMAGED}"
                )
    return found


def stored_x(store):
    """Return the `X` of a store, None where there is none."""
    with reading(path_of(store), KIND):
        if "X" not in store or store["X"].attrs.get("encoding-type") == "null":
            return None
        return store["X"]


def _check_tables(store, path):
    """Refuse a file without tables of cells and genes, or with other kinds of parts."""
    for table in ("obs", "var"):
        # Before anndata 0.7 a table was one data set of records.
        if table not in store or hasattr(store[table], "shape"):
            raise FileError(
                f"{path.name} cannot be read as AnnData: it has no {table} of anndata "
                f"0.7 or later; it holds {short(sorted(store))}. Pass a file written "
                "by write_h5ad or write_zarr of a newer anndata."
            )
        kind = store[table].attrs.get("encoding-type")
        if kind != "dataframe":
            raise FileError(f"{path}: {table} is {short(kind)}, not a table. {DAMAGED}")
    for name in ("layers", "obsm", "obsp", "uns", "varm", "varp"):
        if name in store and hasattr(store[name], "shape"):
            raise FileError(f"{path}: {name} is an array, not a group. {DAMAGED}")


def _is_bytes(values):
    return values.dtype == object and pd.api.types.infer_dtype(values) == "bytes"


def _text_of(values, source, name):
    """Return bytes as text; what is missing stays so."""
    try:
        return [v.decode() if isinstance(v, bytes) else v for v in values]
    except UnicodeDecodeError as error:
        raise FileError(
            f"{source}: {short(name)} holds bytes that are no text in UTF-8: {error}. "
            "Store it as text."
        ) from error
