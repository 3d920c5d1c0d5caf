"""Matrices of cells as computations need them, or an error that says what is wrong."""

import numpy as np
import pandas as pd
from scipy import sparse

from sklperturb.files._reading import FileError, reading
from sklperturb.files._store_checks import (
    DAMAGED,
    KIND,
    check_dense,
    check_sparse_group,
    path_of,
)

# Beyond, floating point has no whole numbers one apart, and sums overflow.
_LARGEST = {"finite": np.finfo(np.float64).max, "counts": 2.0**53}


def settled(matrix, source):
    """Return a matrix that is in memory or on disk, known to be whole.

    Parameters
    ----------
    matrix : ndarray, sparse matrix or data set on disk
    source : str
        What holds it, for messages.

    Returns
    -------
    matrix : ndarray, csr or csc matrix, or data set on disk
        In memory, of a type of numbers that all computations know, and without
        entries that are stored twice.

    Raises
    ------
    ValueError
        If it has no two dimensions, is not of real numbers, or is a sparse matrix with
        indices that point nowhere.
    """
    if len(matrix.shape) != 2:
        raise ValueError(
            f"Expected 2D array, cells by genes, got shape {matrix.shape} of {source}. "
            "Reshape your data, as with array.reshape(-1, 1) if it has a single gene."
        )
    if isinstance(matrix, np.ndarray) and matrix.dtype == object:
        matrix = _of_objects(matrix, source)
    if np.dtype(matrix.dtype).kind not in "biuf":
        raise ValueError(
            f"{source}: X must hold real numbers; it is of dtype {matrix.dtype}."
        )
    if sparse.issparse(matrix):
        return _usual_type(_sound(matrix, source))
    if isinstance(matrix, np.ndarray):
        return _usual_type(matrix)
    if hasattr(matrix, "group"):
        check_sparse_group(matrix.group)
    elif type(matrix).__module__.startswith("h5py"):
        check_dense(matrix, path_of(matrix))
    return matrix


def read_lines(matrix, lines):
    """Return some lines of a matrix on disk, in memory and checked.

    Parameters
    ----------
    matrix : data set on disk
    lines : slice
        Rows or, of a matrix that is stored by column, columns.

    Returns
    -------
    block : ndarray, csr_array or csc_array

    Raises
    ------
    FileError
        If they cannot be read, or an index points nowhere.
    """
    path = path_of(matrix)
    with reading(path, KIND):
        if not hasattr(matrix, "group"):
            return _usual_type(np.asarray(matrix[lines]))
        is_csr = matrix.format == "csr"
        start, stop, _ = lines.indices(matrix.shape[not is_csr])
        pointers = matrix.group["indptr"][start : max(start, stop) + 1]
        values = slice(int(pointers[0]), int(pointers[-1]))
        indices = matrix.group["indices"][values]
        width = matrix.shape[is_csr]
        if len(indices):
            ends = int(indices.min()), int(indices.max())
            if ends[0] < 0 or ends[1] >= width:
                raise FileError(
                    f"{path}: the sparse matrix has the index {ends[ends[0] >= 0]}, "
                    f"and there are {width} places, from 0. {DAMAGED}"
                )
        data = _usual_type(matrix.group["data"][values])
        shape = (len(pointers) - 1, width) if is_csr else (width, len(pointers) - 1)
        kind = sparse.csr_array if is_csr else sparse.csc_array
        block = kind((data, indices, pointers - pointers[0]), shape)
    if not block.has_canonical_format:
        block.sum_duplicates()
    return block


def first_not_allowed(block, needs):
    """Return which value of a block is not allowed, or None.

    Parameters
    ----------
    block : sparse matrix or ndarray of shape (n_rows, n_columns)
    needs : {"finite", "counts"}
        "counts" are finite, not negative, and at most 2**53.

    Returns
    -------
    found : tuple of (int, int, str) or None
        Row and column of the first, and of what kind it is.
    """
    values = block.data if sparse.issparse(block) else block
    low, high = values.min(initial=0), values.max(initial=0)
    most = _LARGEST[needs]
    # NaN passes no comparison.
    if (0 if needs == "counts" else -most) <= low and high <= most:
        return None
    found = sparse.coo_array(block)
    wrong, what = ~np.isfinite(found.data), "NaN or infinite"
    if not wrong.any():
        wrong, what = found.data < 0, "negative"
    if not wrong.any():
        wrong, what = found.data > most, "impossibly large"
    row, column = (places[wrong][0] for places in (found.row, found.col))
    return row, column, f"{what} values"


def sums_allowed(block, sums, needs):
    """Return whether sums of its rows show that a block has no value it may not have.

    They are fewer than the values. Where it is false, the values themselves tell.

    Parameters
    ----------
    block : sparse matrix or ndarray of shape (n_rows, n_columns)
    sums : ndarray of shape (n_groups, n_columns)
        Each row of the block is in one of them.
    needs : {"finite", "counts"}
    """
    values = block.data if sparse.issparse(block) else block
    if needs == "counts" and not values.min(initial=0) >= 0:
        return False
    # NaN and infinity stay what they are, or become NaN, which passes no comparison;
    # and of numbers that are not negative none is larger than their sum.
    return bool((np.abs(sums) <= _LARGEST[needs]).all())


def _sound(matrix, source):
    """Return a sparse matrix in memory as CSR or CSC with valid indices."""
    try:
        if matrix.format == "coo":
            for places, size in zip(
                (matrix.row, matrix.col), matrix.shape, strict=True
            ):
                if len(places) and not 0 <= places.min() <= places.max() < size:
                    raise ValueError("a coordinate is outside of the matrix")
        elif matrix.format in ("csr", "csc") and _is_ordered(matrix):
            return matrix
        elif matrix.format in ("csr", "csc", "bsr"):
            matrix.check_format(full_check=True)
        if matrix.format not in ("csr", "csc"):
            matrix = matrix.tocsr()
            matrix.check_format(full_check=True)
    except (ValueError, IndexError) as error:
        raise ValueError(
            f"{source} holds a sparse matrix that cannot be one: {error}. Make it "
            "anew from its values, rows and columns."
        ) from error
    if matrix.has_canonical_format:
        return matrix
    again = matrix.copy()
    again.sum_duplicates()
    return again


def _is_ordered(matrix):
    """Return whether a CSR or CSC matrix is sound, each of its lines in order.

    Then the first and the last index of each line tell whether all are inside.
    """
    # Made anew, since a matrix remembers what its indices were.
    kind = sparse.csr_array if matrix.format == "csr" else sparse.csc_array
    matrix = kind((matrix.data, matrix.indices, matrix.indptr), matrix.shape)
    ends = matrix.indptr
    sizes = np.diff(ends)
    if not (sizes >= 0).all():
        return False
    stored = matrix.indices[: ends[-1]]
    first, last = stored[ends[:-1][sizes > 0]], stored[ends[1:][sizes > 0] - 1]
    width = matrix.shape[matrix.format == "csr"]
    inside = first.min(initial=0) >= 0 and last.max(initial=0) < width
    return bool(inside and matrix.has_canonical_format)


def _usual_type(values):
    """Return values as numbers that scipy and the processor know.

    Half and extended precision, other byte orders and booleans are none of these.
    """
    dtype = values.dtype
    if dtype.kind == "b" or (dtype.kind == "f" and dtype.itemsize == 2):
        return values.astype(np.float32)
    if dtype.kind == "f" and dtype.itemsize > 8:
        return values.astype(np.float64)
    return values if dtype.isnative else values.astype(dtype.newbyteorder("="))


def _of_objects(matrix, source):
    """Return numbers that are kept as objects, such as those of a mixed table."""
    is_text = any(isinstance(value, str | bytes) for value in matrix.ravel())
    if not is_text:
        try:
            return pd.DataFrame(matrix).to_numpy(np.float64, na_value=np.nan)
        except (TypeError, ValueError):  # neither text nor numbers
            pass
    raise ValueError(
        f"{source}: X must hold real numbers; it holds "
        f"{'text' if is_text else 'objects'}."
    )
