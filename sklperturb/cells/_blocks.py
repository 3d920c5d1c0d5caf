"""Read rows or genes of a matrix, in memory or on disk, a block at a time."""

import copy
import warnings
from itertools import pairwise

import numpy as np
from scipy import sparse

from sklperturb.cells._checks import read_lines

# Stored values that a pass over a file may hold: 1 GiB of float32 with its indices,
# and as much again while it is turned from rows to columns.
_PASS_VALUES = 2**27
# Stored values that are computed on at once.
_BLOCK_VALUES = 2**21
# Rows of a file are read in one piece where fewer than this are left out between two.
_NEAR = 8


class LazyMatrix:
    """Some rows and columns of a matrix, read when asked for: ``matrix[rows]``.

    Parameters
    ----------
    matrix : ndarray, sparse matrix, LazyMatrix or data set on disk
    rows, columns : slice or ndarray of int, default=slice(None)
    convert : callable, default=None
        What a block of rows becomes when it is read.
    dtype : dtype, default=None
        Of what is converted; None is that of the matrix.

    Attributes
    ----------
    shape : tuple of int
    dtype : dtype
    nnz : int
        Stored values, about.
    """

    format = None

    def __init__(
        self, matrix, rows=slice(None), columns=slice(None), *, convert=None, dtype=None
    ):
        self._matrix = self.stored = by_row(matrix)
        chosen = zip((rows, columns), matrix.shape, strict=True)
        self._rows, self._columns = (_places(places, n) for places, n in chosen)
        self._convert = convert
        self.shape = tuple(
            n if places is None else len(places)
            for places, n in zip((self._rows, self._columns), matrix.shape, strict=True)
        )
        self.dtype = np.dtype(matrix.dtype if dtype is None else dtype)
        self.nnz = n_stored(matrix) * self.shape[0] // max(matrix.shape[0], 1)

    def of(self, matrix):
        """Return the same of another matrix: of what is on disk, opened once more."""
        other = copy.copy(self)
        other._matrix = other.stored = matrix
        return other

    def __getitem__(self, rows):
        values = rows_of(self._matrix, rows if self._rows is None else self._rows[rows])
        if self._columns is not None:
            values = values[:, self._columns]
        if self._convert is None:
            return values
        return self._convert(values).astype(self.dtype)


def _places(chosen, size):
    """Return which of `size` places a slice or an array picks; None is all of them."""
    places = np.arange(size)
    picked = places[chosen]
    return None if np.array_equal(picked, places) else picked


def to_dense(values):
    """Return the values of a sparse or dense matrix, in memory or not, as ndarray."""
    return values.toarray() if hasattr(values, "toarray") else np.asarray(values)


def stored_values(values):
    """Return the stored values of a block as a flat ndarray."""
    return values.data if sparse.issparse(values) else np.asarray(values).ravel()


def n_stored(matrix):
    """Return the number of values that a matrix stores."""
    if hasattr(matrix, "nnz"):
        return int(matrix.nnz)
    if hasattr(matrix, "group"):  # a sparse matrix on disk
        return matrix.group["data"].shape[0]
    return int(np.prod(matrix.shape))


def by_row(matrix, source="The matrix"):
    """Return a matrix of which rows can be read; one stored by columns is converted.

    Warns
    -----
    UserWarning
        If all of a file has to be read for it.
    """
    if getattr(matrix, "format", None) in (None, "csr"):
        return matrix
    if not sparse.issparse(matrix):
        warnings.warn(
            f"{source} is stored by columns, so that all of it is read into memory. "
            "Store it as CSR to stream it.",
            UserWarning,
            stacklevel=4,
        )
        matrix = read_lines(matrix, slice(None))
    return matrix.tocsr()


def rows_of(matrix, rows):
    """Return some rows of a matrix that is stored by row, in memory.

    Parameters
    ----------
    matrix : ndarray, csr_array, LazyMatrix or data set on disk
    rows : slice or ndarray of int

    Returns
    -------
    values : csr_array or ndarray
    """
    if _in_memory(matrix):
        values = matrix[rows]
    elif isinstance(rows, slice):
        values = read_lines(matrix, rows)
    else:
        values = _read_rows(matrix, np.asarray(rows))
    return sparse.csr_array(values) if sparse.issparse(values) else np.asarray(values)


def columns_of(matrix, columns):
    """Return some columns of a matrix that is stored by column, in memory.

    Parameters
    ----------
    matrix : csc_array or sparse matrix on disk
    columns : slice

    Returns
    -------
    values : csc_array
    """
    if _in_memory(matrix):
        return matrix[:, columns]
    return read_lines(matrix, columns)


def on_disk(matrix):
    """Return whether a matrix is a data set on disk, or some rows of such a one."""
    matrix = getattr(matrix, "stored", matrix)
    package = type(matrix).__module__.partition(".")[0]
    return package in ("h5py", "zarr", "anndata") and hasattr(matrix, "shape")


def _in_memory(matrix):
    return isinstance(matrix, np.ndarray | LazyMatrix) or sparse.issparse(matrix)


def _read_rows(matrix, rows):
    """Return rows from disk, which has to be read in order, and each once."""
    wanted, back = np.unique(rows, return_inverse=True)
    if not len(wanted):
        return read_lines(matrix, slice(0, 0))
    # Rows that are near to each other are read in one piece, and some left out of it.
    pieces = np.split(wanted, np.flatnonzero(np.diff(wanted) > _NEAR) + 1)
    found = [
        read_lines(matrix, slice(int(piece[0]), int(piece[-1]) + 1))[piece - piece[0]]
        for piece in pieces
    ]
    if len(found) == 1:
        return found[0][back]
    if sparse.issparse(found[0]):
        return sparse.vstack(found, format="csr")[back]
    return np.concatenate(found)[back]


def iter_rows(matrix, block_size=2048):
    """Yield (slice of rows, CSR or dense block) over any matrix of cells."""
    matrix = by_row(matrix)
    for start in range(0, matrix.shape[0], block_size):
        rows = slice(start, min(start + block_size, matrix.shape[0]))
        yield rows, rows_of(matrix, rows)


def sample_places(matrix, *, n_places=8, n_rows=64, n_columns=8):
    """Return rows at evenly spread places; columns, where these are contiguous.

    A matrix on disk that is stored by column would have to be read whole for a row.

    Returns
    -------
    values : csr_array or ndarray of shape (at most n_places * n_rows, n_genes)
        Of a matrix on disk that is stored by column, of shape (n_cells, at most
        n_places * n_columns).
    whole_rows : bool
    """
    whole_rows = getattr(matrix, "format", None) != "csc"
    size = matrix.shape[0 if whole_rows else 1]
    width = n_rows if whole_rows else n_columns
    width = min(width, -(-size // n_places)) or 1
    starts = np.unique(np.linspace(0, max(size - width, 0), n_places).astype(int))
    places = [slice(at, min(at + width, b)) for at, b in pairwise([*starts, size])]
    if not whole_rows:
        columns = [columns_of(matrix, place) for place in places]
        return sparse.hstack(columns, format="csr"), False
    found = [rows_of(matrix, place) for place in places]
    stack = sparse.vstack if sparse.issparse(found[0]) else np.concatenate
    return stack(found), True


def iter_gene_blocks(matrices, kept, *, chunk_size=None):
    """Yield (slice of genes, CSC block) of the kept cells of several matrices.

    Blocks are to be read: they may be views of a matrix.

    Where the matrices differ in precision, all values are rounded to the lowest one:
    those that are equal but for rounding are then equal.

    Parameters
    ----------
    matrices : list
        Cells by genes, with the same genes; in memory or on disk, sparse or dense.
    kept : list of ndarray of bool
        Which cells of each matrix to take; they come one matrix below the other.
    chunk_size : int, default=None
        Genes to read in one pass over the matrices. By default as many as have 134
        million stored values, about 1 GiB.
    """
    for genes in gene_passes(matrices, chunk_size):
        yield from blocks_of_pass(matrices, kept, genes)


def gene_passes(matrices, chunk_size=None, n_least=1):
    """Return slices of genes, each to be read in one pass over the matrices.

    Parameters
    ----------
    matrices, chunk_size
        As of `iter_gene_blocks`.
    n_least : int, default=1
        How many to make at least, where there are as many genes.
    """
    n_genes = matrices[0].shape[1]
    if chunk_size is None:
        stored = sum(n_stored(matrix) for matrix in matrices)
        n_passes = min(max(n_least, -(-stored // _PASS_VALUES)), n_genes)
    else:
        n_passes = -(-n_genes // chunk_size)
    bounds = np.linspace(0, n_genes, n_passes + 1).astype(int)
    return [slice(int(start), int(stop)) for start, stop in pairwise(bounds)]


def blocks_of_pass(matrices, kept, genes):
    """Read a slice of genes, and yield what `iter_gene_blocks` does."""
    start, stop = genes.start, genes.stop
    dtype = lowest_precision(matrix.dtype for matrix in matrices)
    parts = [
        part.astype(dtype, copy=False)
        for matrix, cells in zip(matrices, kept, strict=True)
        for part in _columns(matrix, cells, start, stop)
    ]
    n_blocks = max(1, -(-sum(part.nnz for part in parts) // _BLOCK_VALUES))
    cuts = np.linspace(0, stop - start, min(n_blocks, stop - start) + 1).astype(int)
    for left, right in pairwise(cuts):
        yield slice(start + left, start + right), _stacked(parts, slice(left, right))


def lowest_precision(dtypes):
    """Return float32 if one of the types is as coarse, and else float64."""
    coarse = any(np.dtype(t).kind == "f" and np.dtype(t).itemsize <= 4 for t in dtypes)
    return np.dtype(np.float32 if coarse else np.float64)


def _columns(matrix, cells, start, stop):
    """Yield columns start to stop of the kept cells, as CSC, some cells at a time."""
    everything = stop - start == matrix.shape[1]
    if getattr(matrix, "format", None) == "csc":
        columns = columns_of(matrix, slice(start, stop))
        yield sparse.csc_array(columns if cells.all() else columns.tocsr()[cells])
        return
    if sparse.issparse(matrix) and everything:
        yield sparse.csc_array(matrix if cells.all() else matrix[cells])
        return
    for rows, block in iter_rows(matrix, 4096):
        block = block[:, start:stop] if not everything else block
        yield sparse.csc_array(sparse.csr_array(block[np.flatnonzero(cells[rows])]))


def _stacked(parts, columns):
    """Return some columns of CSC arrays, one below the other; those of one as a view.

    The parts are not joined as a whole, which would take their memory twice more.
    """
    pointers = [part.indptr[columns.start : columns.stop + 1] for part in parts]
    if len(parts) == 1:
        (part,), (own,) = parts, pointers
        stored = slice(own[0], own[-1])
        shape = (part.shape[0], len(own) - 1)
        return sparse.csc_array(
            (part.data[stored], part.indices[stored], own - own[0]), shape=shape
        )
    sizes = np.array([np.diff(own) for own in pointers], dtype=np.int64)
    indptr = np.concatenate([[0], np.cumsum(sizes.sum(axis=0))])
    data = np.empty(indptr[-1], parts[0].dtype)
    indices = np.empty(indptr[-1], np.int32)
    free, row = indptr[:-1].copy(), 0
    for part, own, size in zip(parts, pointers, sizes, strict=True):
        stored = slice(own[0], own[-1])
        # What is left of a column's place here and there, for each of its values.
        places = np.repeat(free - (own[:-1] - own[0]), size)
        places += np.arange(len(places))
        data[places] = part.data[stored]
        indices[places] = part.indices[stored]
        indices[places] += row
        free += size
        row += part.shape[0]
    shape = (row, columns.stop - columns.start)
    return sparse.csc_array((data, indices, indptr), shape=shape)
