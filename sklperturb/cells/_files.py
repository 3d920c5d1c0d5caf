"""Read cells in memory, backed, or from a file, some genes at a time."""

from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import numpy as np
from scipy import sparse

# Stored values that a pass over a file may hold: 1 GiB of float32 with its indices,
# and as much again while it is turned from rows to columns.
_PASS_VALUES = 2**27
# Stored values that are computed on at once.
_BLOCK_VALUES = 2**23
_ROWS = 4096


@contextmanager
def opened_cells(cells, layer=None):
    """Give obs, var, and a matrix that can be sliced by row or column.

    Parameters
    ----------
    cells : AnnData, str or path-like
        In memory or backed; a path names an .h5ad file or a .zarr folder, whose
        matrix is not loaded.
    layer : str, default=None
        Layer in place of `X`.
    """
    if isinstance(cells, str | Path):
        with _opened_file(Path(cells), layer) as parts:
            yield parts
        return
    if not all(hasattr(cells, name) for name in ("obs", "var", "layers")):
        raise TypeError(
            "cells must be an AnnData or the path of an h5ad file, got "
            f"{type(cells).__name__}."
        )
    if layer is not None:
        _check_layer(layer, cells.layers, "The AnnData")
    matrix = cells.X if layer is None else cells.layers[layer]
    if matrix is None:
        raise ValueError("The cells have no X. Pass layer= to name what to read.")
    yield cells.obs, cells.var, matrix


@contextmanager
def _opened_file(path, layer):
    from anndata.io import read_elem

    file = open_store(path)
    try:
        if layer is not None:
            _check_layer(layer, file.get("layers", ()), path.name)
        name = "X" if layer is None else f"layers/{layer}"
        missing = [part for part in (name, "obs", "var") if part not in file]
        if missing:
            raise ValueError(
                f"{path.name} has no {missing[0]}; it holds {sorted(file)}. Pass a "
                "file written by AnnData.write_h5ad or write_zarr."
            )
        matrix = stored_matrix(file[name])
        yield read_elem(file["obs"]), read_elem(file["var"]), matrix
    finally:
        close_store(file)


def open_store(path):
    """Open an .h5ad file or a .zarr folder for reading.

    Parameters
    ----------
    path : Path

    Returns
    -------
    store : h5py.File or zarr.Group
        For `close_store`.
    """
    if not path.exists():
        raise FileNotFoundError(
            f"{path} does not exist; pass an .h5ad file or a .zarr folder."
        )
    if path.suffix not in (".h5ad", ".h5", ".zarr"):
        raise ValueError(f"{path} must end in .h5ad or .zarr.")
    if path.suffix == ".zarr":
        import zarr

        return zarr.open_group(str(path), mode="r")
    import h5py

    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise ValueError(
            f"{path} cannot be read as h5ad; it may be cut off or of another kind. The "
            f"reader said: {error}"
        ) from error


def close_store(store):
    """Close what `open_store` has opened; a zarr folder needs no closing."""
    if hasattr(store, "close"):
        store.close()


def stored_matrix(element):
    """Return a matrix on disk, dense or sparse, that can be sliced."""
    from anndata.io import sparse_dataset

    return element if hasattr(element, "shape") else sparse_dataset(element)


def _check_layer(layer, layers, name):
    if layer not in layers:
        raise ValueError(f"{name} has no layer {layer!r}; it has {sorted(layers)}.")


def iter_rows(matrix, rows_at_once=_ROWS):
    """Yield (slice of rows, CSR or dense block) from any matrix of cells."""
    if getattr(matrix, "format", None) == "csc":
        if not sparse.issparse(matrix):  # backed by column: rows cannot be read alone
            matrix = matrix.to_memory()
        matrix = matrix.tocsr()
    for start in range(0, matrix.shape[0], rows_at_once):
        rows = slice(start, min(start + rows_at_once, matrix.shape[0]))
        yield rows, matrix[rows]


def iter_gene_blocks(matrices, kept, *, pass_values=_PASS_VALUES):
    """Yield (slice of genes, CSC block) of the kept cells of several matrices.

    Parameters
    ----------
    matrices : list
        Cells by genes, with the same genes; in memory or backed, sparse or dense.
    kept : list of ndarray of bool
        Which cells of each matrix to give; they come one matrix below the other.
    pass_values : int
        Stored values to hold at once; more are read in several passes.
    """
    n_genes = matrices[0].shape[1]
    stored = sum(_n_stored(matrix) for matrix in matrices)
    n_passes = max(1, -(-stored // pass_values))
    bounds = np.linspace(0, n_genes, min(n_passes, n_genes) + 1).astype(int)
    for start, stop in pairwise(bounds):
        parts = [
            _columns(matrix, cells, start, stop)
            for matrix, cells in zip(matrices, kept, strict=True)
        ]
        columns = parts[0] if len(parts) == 1 else sparse.vstack(parts, format="csc")
        del parts
        n_blocks = max(1, -(-columns.nnz // _BLOCK_VALUES))
        cuts = np.linspace(0, stop - start, min(n_blocks, stop - start) + 1).astype(int)
        for left, right in pairwise(cuts):
            yield slice(start + left, start + right), columns[:, left:right]


def _n_stored(matrix):
    if hasattr(matrix, "nnz"):
        return matrix.nnz
    if hasattr(matrix, "group"):  # a sparse matrix on disk
        return matrix.group["data"].shape[0]
    return int(np.prod(matrix.shape))


def _columns(matrix, cells, start, stop):
    """Return columns start to stop of the kept cells, as CSC."""
    everything = stop - start == matrix.shape[1]
    if getattr(matrix, "format", None) == "csc":
        columns = matrix[:, start:stop]
        return sparse.csc_array(columns if cells.all() else columns.tocsr()[cells])
    if sparse.issparse(matrix) and everything:
        return sparse.csc_array(matrix if cells.all() else matrix[cells])
    parts = []
    for rows, block in iter_rows(matrix):
        block = block[:, start:stop] if not everything else block
        parts.append(sparse.csr_array(block[np.flatnonzero(cells[rows])]))
    return sparse.vstack(parts, format="csc")
