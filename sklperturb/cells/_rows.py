"""Read rows of expression from whatever holds them, some at a time."""

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse

from sklperturb.cells._files import close_store, open_store, stored_matrix


class Cells:
    """Expression, row by row, with the names of genes and cells.

    Parameters
    ----------
    matrix : array, sparse matrix or a data set on disk
    kind : str
        What holds it, for messages.
    genes, obs_names : Index or None
    var : DataFrame or None
    read_obs : callable, default=None
        Returns the table of cells.
    close : callable, default=None
    """

    def __init__(
        self,
        matrix,
        kind,
        genes=None,
        var=None,
        obs_names=None,
        read_obs=None,
        close=None,
    ):
        if matrix is None:
            raise ValueError(f"The {kind} has no X; pass the layer with expression.")
        if len(matrix.shape) != 2:
            raise ValueError(
                f"X must have two dimensions, cells and genes; it has {matrix.shape}."
            )
        if np.dtype(matrix.dtype).kind not in "biuf":
            raise ValueError(
                f"X must hold real numbers; it is of dtype {matrix.dtype}."
            )
        self.kind, self.genes, self.var, self.obs_names = kind, genes, var, obs_names
        self.n_cells, self.n_genes = (int(size) for size in matrix.shape)
        self._matrix = matrix
        self.read_obs, self._close = read_obs, close

    def read(self, start, stop):
        """Return rows as a CSR matrix without repeated entries."""
        block = sparse.csr_matrix(self._matrix[start:stop])
        if not block.has_canonical_format:
            block = block.copy()
            block.sum_duplicates()
        return block

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if self._close is not None:
            self._close()


def open_cells(X, layer=None):
    """Return the `Cells` of an AnnData, a table, an array or a file.

    Parameters
    ----------
    X : AnnData, DataFrame, array, sparse matrix, str or Path
    layer : str or None

    Returns
    -------
    cells : Cells
    """
    if isinstance(X, (str, Path)):
        return _of_file(Path(X), layer)
    if hasattr(X, "var_names") and hasattr(X, "layers"):
        return _of_anndata(X, layer)
    if layer is not None:
        raise ValueError(
            f"layer={layer!r} needs an AnnData, got {type(X).__name__}. Pass "
            "layer=None."
        )
    if isinstance(X, pd.DataFrame):
        return Cells(X.to_numpy(), "DataFrame", genes=X.columns, obs_names=X.index)
    if sparse.issparse(X):
        return Cells(X if X.format == "csr" else X.tocsr(), "sparse matrix")
    array = np.asarray(X)
    if array.ndim == 1:
        raise ValueError(
            "Expected 2D array, got 1D array instead. Reshape your data either using "
            "array.reshape(-1, 1) if it has a single feature or array.reshape(1, -1) "
            "if it contains a single sample."
        )
    return Cells(array, type(X).__name__)


def _of_anndata(X, layer):
    if layer is not None and layer not in X.layers:
        raise ValueError(
            f"X has no layer {layer!r}; it has {list(X.layers)}. layer=None takes X."
        )
    known = {
        "kind": "AnnData",
        "genes": X.var_names,
        "var": X.var,
        "obs_names": X.obs_names,
        "read_obs": lambda: X.obs,
    }
    # Of a backed AnnData this is a data set on disk; of a view of one, its rows.
    matrix = X.X if layer is None else X.layers[layer]
    return Cells(_row_wise(matrix, "AnnData"), **known)


def _of_file(path, layer):
    from anndata.io import read_elem

    file = open_store(path)
    try:
        if layer is not None and layer not in file.get("layers", {}):
            raise ValueError(
                f"{path} has no layer {layer!r}; it has "
                f"{sorted(file.get('layers', {}))}. Without a layer, X is taken."
            )
        if "var" not in file or "obs" not in file:
            raise ValueError(f"{path} is no AnnData file: it has no obs or no var.")
        element = file.get("X") if layer is None else file["layers"][layer]
        if element is not None:
            element = stored_matrix(element)
        var = read_elem(file["var"])
        obs = file["obs"]
        return Cells(
            _row_wise(element, str(path)),
            str(path),
            genes=var.index,
            var=var,
            obs_names=pd.Index(read_elem(obs[obs.attrs["_index"]])),
            read_obs=lambda: read_elem(obs),
            close=lambda: close_store(file),
        )
    except BaseException:
        close_store(file)
        raise


def _row_wise(matrix, where):
    """Return `matrix` in a form from which rows are quickly read."""
    if getattr(matrix, "format", "csr") == "csr":
        return matrix
    if hasattr(matrix, "to_memory"):
        warnings.warn(
            f"{where} is stored by columns, so that all of it is read into memory. "
            "Store it as CSR to stream it.",
            UserWarning,
            stacklevel=2,
        )
        matrix = matrix.to_memory()
    return matrix.tocsr()
