"""What a file of cells may not hold: values from elsewhere, or a broken matrix."""

import math
import os
import warnings
from pathlib import Path

import numpy as np

from sklperturb.files._documents import read_json
from sklperturb.files._reading import FileError, reading, short

KIND = "AnnData"
DAMAGED = "The file is damaged; get it again, or write it anew with write_h5ad."
_COPY = "so that cells would come from elsewhere. Write the file anew with write_h5ad."
_FORMATS = ("csr", "csc")
_OLD_CATEGORIES = "__categories"  # of anndata before 0.8
_NO_COLUMNS = (*_FORMATS, "dataframe", "dict", "anndata", "raw")
_METADATA = {".zarray", ".zmetadata", "zarr.json"}
_CODECS = ("codecs", "compressor", "filters")


def path_of(element):
    """Return the path of the file that an element of a store, or a matrix, is in."""
    element = getattr(element, "stored", element)  # some rows of a matrix
    element = getattr(element, "group", element)  # of a sparse matrix of anndata
    if hasattr(element, "file"):
        return Path(element.file.filename)
    return Path(str(getattr(element.store, "root", element.store)))


def check_sparse_group(group):
    """Raise an error unless the arrays of a group make a sparse matrix.

    The pointers are read in full; the indices are checked as they are read.
    """
    path, name = path_of(group), place_of(group)
    with reading(path, KIND):
        attrs = group.attrs
        kind = str(attrs.get("encoding-type", attrs.get("h5sparse_format", "nothing")))
        if kind.removesuffix("_matrix") not in _FORMATS:
            raise FileError(
                f"{path}: {name} is stored as {short(kind)}; cells by genes must be an "
                "array, or a sparse matrix in CSR or CSC."
            )
        wrong = _wrong_in_sparse(group, kind)
    if wrong:
        raise FileError(f"{path}: {name} is no sparse matrix: {wrong}. {DAMAGED}")


def _wrong_in_sparse(group, kind):
    """Return what is wrong with the arrays of a sparse matrix, or None."""
    shape = group.attrs.get("shape", group.attrs.get("h5sparse_shape", ()))
    shape = [int(size) for size in np.ravel(shape)]
    absent = [part for part in ("indptr", "indices", "data") if part not in group]
    if absent:
        return f"it has no {absent[0]}"
    if len(shape) != 2 or min(shape) < 0:
        return f"its shape is {short(shape)}"
    parts = {part: group[part] for part in ("indptr", "indices", "data")}
    for part, array in parts.items():
        _refuse_foreign(array, path_of(group))
        if getattr(array, "shape", None) is None or len(array.shape) != 1:
            return f"{part} is no array of one dimension"
        if part != "data" and array.dtype.kind not in "iu":
            return f"{part} is of dtype {array.dtype}, not integers"
    n_values, n_lines = parts["data"].shape[0], shape[kind.startswith("csc")]
    if parts["indices"].shape[0] != n_values:
        return f"it has {parts['indices'].shape[0]} indices for {n_values} values"
    if parts["indptr"].shape[0] != n_lines + 1:
        return f"indptr has {parts['indptr'].shape[0]} entries for {n_lines} lines"
    pointers = parts["indptr"][:]
    if pointers[0] != 0 or pointers[-1] != n_values or _falls(pointers):
        return f"indptr does not rise from 0 to the {n_values} values"
    if count_absent(parts["data"]):
        return "stored values are absent"
    if count_absent(parts["indices"]):  # left out where all indices are 0
        zeros = np.append(0, np.cumsum(parts["indices"][:] == 0))[pointers]
        if (np.diff(zeros) > 1).any():
            return "indices are absent"
    return None


def _falls(pointers):
    return bool((pointers[1:] < pointers[:-1]).any())


def check_dense(array, path):
    """Refuse a matrix of which chunks are absent; warn where that stands for zeros.

    zarr leaves out chunks that hold nothing else, so that whether one was lost cannot
    be told.
    """
    _refuse_foreign(array, path)
    n_absent = count_absent(array)
    if not n_absent:
        return
    fill = array.fillvalue if hasattr(array, "fillvalue") else array.fill_value
    # HDF5 leaves nothing out, and zarr what holds nothing but the fill value.
    if hasattr(array, "file") or fill is None or fill != 0:
        raise FileError(
            f"{path}: {n_absent} chunks of {place_of(array)} are absent. {DAMAGED}"
        )
    warnings.warn(
        f"{path}: {n_absent} chunks of {place_of(array)} are absent, and read as zeros."
        " If they should hold other values, the file is damaged: get it again.",
        UserWarning,
        stacklevel=5,
    )


def count_absent(array):
    """Return how many chunks of a data set were never written."""
    if not math.prod(array.shape):
        return 0
    if not hasattr(array, "file"):
        return max(array.nchunks - array.nchunks_initialized, 0)
    if array.chunks is None:
        return int(array.id.get_storage_size() == 0)
    sizes = zip(array.shape, array.chunks, strict=True)
    return math.prod(-(-n // size) for n, size in sizes) - array.id.get_num_chunks()


def check_matrices(element, path):
    """Check all matrices in an element, which anndata would take as they are."""
    if hasattr(element, "shape"):
        # A column of a table may well hold nothing but zeros, which zarr leaves out.
        if element.shape and (hasattr(element, "file") or len(element.shape) > 1):
            check_dense(element, path)
        return
    kind = _kind_of(element)
    if kind in _FORMATS or "h5sparse_format" in element.attrs:
        check_sparse_group(element)
        return
    if kind == "dataframe":
        _check_columns(element, path)
    for name in element:
        check_matrices(element[name], path)


def _check_columns(table, path):
    """Refuse columns that are not one value for each row."""
    columns = {name: table[name] for name in table if name != _OLD_CATEGORIES}
    index = table.attrs.get("_index")
    if index not in columns:
        return  # said where the names are read
    n_rows = _n_rows(columns[index])
    for name, column in columns.items():
        if _kind_of(column) in _NO_COLUMNS or _n_rows(column) != n_rows:
            raise FileError(
                f"{path}: {place_of(table, name)} is no column of a table. {DAMAGED}"
            )


def _n_rows(column):
    """Return the number of rows of a column, None where there is no such number."""
    if hasattr(column, "shape"):
        parts = [column]
    else:  # codes of categories, or values and where they are missing
        parts = [column[part] for part in column or () if part != "categories"]
    shapes = {getattr(part, "shape", ()) for part in parts}
    [shape] = shapes if len(shapes) == 1 else [()]
    return shape[0] if len(shape) == 1 else None


def _kind_of(element):
    return str(element.attrs.get("encoding-type", "")).removesuffix("_matrix")


def refuse_links(file, path):
    """Refuse an HDF5 file that takes anything from another file.

    Links are looked at before any is followed: where none leads out of the file, those
    to places in it do not either.
    """
    import h5py

    seen, waiting, soft = set(), [file], []
    while waiting:
        group = waiting.pop()
        for name in group:
            link = group.get(name, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                raise FileError(
                    f"{path}: {place_of(group, name)} is a link to the file "
                    f"{short(link.filename)}, {_COPY}"
                )
            if isinstance(link, h5py.SoftLink):
                soft.append((group, name))
                continue  # what it leads to is met on its own
            found = group[name]
            if isinstance(found, h5py.Dataset):
                _refuse_foreign(found, path)
            elif isinstance(found, h5py.Group):
                address = h5py.h5o.get_info(found.id).addr
                if address not in seen:
                    seen.add(address)
                    waiting.append(found)
    for group, name in soft:
        if group.get(name) is None:
            raise FileError(
                f"{path}: {place_of(group, name)} is a link to what does not exist. "
                f"{DAMAGED}"
            )


def _refuse_foreign(array, path):
    """Refuse an HDF5 data set whose values are in another file."""
    if getattr(array, "is_virtual", False) or getattr(array, "external", None):
        raise FileError(
            f"{path}: the values of {place_of(array)} are in other files, {_COPY}"
        )


def refuse_folder(path):
    """Refuse a .zarr folder with links to what is outside of it, or with pickles."""
    if not {".zgroup", "zarr.json"}.intersection(os.listdir(path)):
        raise FileError(
            f"{path} cannot be read as AnnData: the folder holds no .zgroup and no "
            "zarr.json, so that it is no zarr store."
        )
    inside = os.path.realpath(path)
    for folder, _, files in os.walk(path):
        with os.scandir(folder) as entries:
            links = [entry.path for entry in entries if entry.is_symlink()]
        for link in links:
            if os.path.commonpath([inside, os.path.realpath(link)]) != inside:
                raise FileError(f"{path}: {link} is a link out of the folder, {_COPY}")
        for name in _METADATA.intersection(files):
            about = read_json(Path(folder, name), allow_nan=True)
            if _has_pickles(about):
                raise FileError(
                    f"{path}: {Path(folder, name)} asks for pickles, which can run "
                    "code. Write the folder anew with write_zarr."
                )


def _has_pickles(about, is_codec=False):
    """Return whether the metadata of arrays name a codec that unpickles."""
    if isinstance(about, list):
        return any(_has_pickles(item, is_codec) for item in about)
    if not isinstance(about, dict):
        return False
    names = f"{about.get('id')} {about.get('name')}"
    return (is_codec and "pickle" in names) or any(
        _has_pickles(value, is_codec or key in _CODECS) for key, value in about.items()
    )


def place_of(element, child=None):
    """Return the place of an element, or of one in it, in its file."""
    names = [element.name.strip("/"), *[child] * (child is not None)]
    return short("/".join(name for name in names if name))
