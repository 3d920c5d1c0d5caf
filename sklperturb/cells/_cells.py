"""Cells wherever they are kept, with one way to read their matrix."""

import copy
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse

from sklperturb.cells._blocks import LazyMatrix, by_row, iter_rows, on_disk, rows_of
from sklperturb.cells._checks import first_not_allowed, settled
from sklperturb.cells._files import is_annotated, no_obs, x_of
from sklperturb.files._reading import reading
from sklperturb.files._store_checks import KIND, path_of
from sklperturb.files._stores import (
    close_store,
    decoded,
    open_store,
    read_names,
    read_part,
    stored_element,
    stored_x,
)

_HELD = ("layers", "obsm")


class Cells:
    """Expression of cells, or another matrix of theirs, and the tables beside it.

    :func:`open_cells` makes it. The matrix may be in a file, of which a block is read
    at a time. As a context manager it closes the file at the end.

    Parameters
    ----------
    matrix : ndarray, sparse matrix or data set on disk of shape (n_cells, n_genes)
    source : str
        What holds it, for messages.
    genes, obs_names : Index, default=None
        Names of the columns and of the rows.
    read_obs, read_var : callable, default=None
        Return the table of the cells and that of the genes.

    Attributes
    ----------
    shape : tuple of int
        Number of cells and of genes.
    obs : DataFrame
        Table of the cells, read when asked for; a TypeError where there is none.
    var : DataFrame or None
        Table of the genes, read when asked for.

    Examples
    --------
    >>> from sklperturb.cells import open_cells
    >>> cells = open_cells([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    >>> cells.shape
    (3, 2)
    >>> [rows.stop for rows, _ in cells.blocks(2)]
    [2, 3]
    """

    def __init__(
        self,
        matrix,
        source,
        *,
        genes=None,
        obs_names=None,
        read_obs=None,
        read_var=None,
    ):
        self.matrix = matrix = settled(matrix, source)
        self.source = source
        self.genes = genes
        self.obs_names = obs_names
        self.shape = tuple(int(size) for size in matrix.shape)
        self.needs = None
        self._read_obs, self._read_var = read_obs, read_var
        self._files = ExitStack()

    @cached_property
    def obs(self):
        """Table of the cells."""
        if self._read_obs is None:
            raise no_obs(self.source)
        return self._read_obs()

    @cached_property
    def var(self):
        """Table of the genes, None where there is none."""
        return None if self._read_var is None else self._read_var()

    @cached_property
    def _by_row(self):
        return by_row(self.matrix, self.source)

    def rows(self, rows):
        """Return some rows in memory.

        Parameters
        ----------
        rows : slice or ndarray of int
            A file is read fastest where they are in order.

        Returns
        -------
        values : csr_array or ndarray of shape (n_rows, n_genes)
        """
        values = rows_of(self._by_row, rows)
        self.check(values, rows)
        return values

    def blocks(self, block_size=2048):
        """Yield all rows, some at a time.

        Parameters
        ----------
        block_size : int, default=2048
            Rows to read at once: at 18,000 genes some 300 MB where they are dense.

        Yields
        ------
        rows : slice
        values : csr_array or ndarray of shape (n_rows, n_genes)
        """
        for rows, values in iter_rows(self._by_row, block_size):
            self.check(values, rows)
            yield rows, values

    def check(self, values, rows=slice(None), columns=slice(None)):
        """Raise an error if a block holds values that are not allowed.

        Parameters
        ----------
        values : sparse matrix or ndarray of shape (n_rows, n_columns)
        rows, columns : slice or ndarray of int
            Where the block is.

        Raises
        ------
        ValueError
            Naming a cell and a gene.
        """
        found = None if self.needs is None else first_not_allowed(values, self.needs)
        if found is None:
            return
        row, column, what = found
        row, column = (
            np.arange(size)[places][place] if names is None else names[places][place]
            for place, places, names, size in (
                (row, rows, self.obs_names, self.shape[0]),
                (column, columns, self.genes, self.shape[1]),
            )
        )
        advice = "Correct them, or leave these cells out."
        if self.needs == "counts":
            advice = "Raw counts are needed: correct them, or name their layer."
        raise ValueError(
            f"{self.source} holds {what}, the first in cell {row!s}, gene {column!s}. "
            f"{advice}"
        )

    def scan(self):
        """Read all cells, so that values that are not allowed raise an error."""
        for _ in self.blocks():
            pass

    def close(self):
        """Close the file, if there is one."""
        self._files.close()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()


def open_cells(cells, *, layer=None, obsm=None, needs=None):
    """Open cells in memory or in a file, to be read a block at a time.

    Parameters
    ----------
    cells : AnnData, DataFrame, array-like, sparse matrix, str, path-like or Cells
        An AnnData may be backed by a file, or be a view of such a one. A path names an
        .h5ad file or a .zarr folder. `Cells` that are open already are given back, and
        not closed.
    layer : str, default=None
        Layer to read in place of `X`.
    obsm : str, default=None
        Entry of `obsm`, such as an embedding, to read in place of `X`.
    needs : {"finite", "counts"}, default=None
        What values must be, checked as they are read: finite; or finite and not
        negative. None is any, and leaves cells that are open already as they are.

    Returns
    -------
    cells : Cells

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file cannot be read, leads to other files, or holds no such matrix; if
        that is not of real numbers, or a sparse one with indices that point nowhere.

    See Also
    --------
    sum_by_group : Add up the cells of each group.

    Examples
    --------
    >>> import numpy as np
    >>> from anndata import AnnData
    >>> from sklperturb.cells import open_cells
    >>> counts = np.array([[3.0, 1.0], [0.0, 2.0]])
    >>> cells = AnnData(layers={"counts": counts}, shape=(2, 2))
    >>> with open_cells(cells, layer="counts") as opened:
    ...     opened.rows(slice(0, 1))
    array([[3., 1.]])
    """
    if isinstance(cells, Cells):
        if layer is not None or obsm is not None:
            raise ValueError(
                f"The cells are open already: layer={layer!r} and obsm={obsm!r} cannot "
                "be chosen any more; pass them when opening."
            )
        opened = copy.copy(cells)
        opened._files = ExitStack()
    else:
        opened = _opened(cells, layer, obsm)
    if needs is not None:
        opened.needs = needs
    return opened


def _opened(cells, layer, obsm):
    if layer is not None and obsm is not None:
        raise ValueError(f"layer={layer!r} and obsm={obsm!r}: pass one of them.")
    if isinstance(cells, str | Path):
        return _of_file(cells, layer, obsm)
    if is_annotated(cells):
        return of_anndata(cells, layer, obsm)
    for name, key in (("layer", layer), ("obsm", obsm)):
        if key is not None:
            raise ValueError(
                f"{name}={key!r} needs an AnnData or a file, got "
                f"{type(cells).__name__}. Pass {name}=None."
            )
    kind = type(cells).__name__
    if isinstance(cells, pd.DataFrame):
        values = cells.to_numpy()
        return Cells(values, kind, genes=cells.columns, obs_names=cells.index)
    if sparse.issparse(cells) or isinstance(cells, LazyMatrix) or on_disk(cells):
        return Cells(cells, kind)
    return Cells(np.asarray(cells), kind)


def _of_file(path, layer, obsm):
    with ExitStack() as files:
        store = open_store(path)
        files.callback(close_store, store)
        name = Path(path).name
        with reading(path, KIND):
            held = {part: store.get(part, {}) for part in _HELD}
        matrix = _choose(stored_x(store), held, layer, obsm, name)
        genes, obs_names = (read_names(store, table) for table in ("var", "obs"))
        shape = len(obs_names), None if obsm is not None else len(genes)
        cells = _make(
            stored_element(matrix, shape),
            name,
            obsm,
            genes=genes,
            obs_names=obs_names,
            read_obs=lambda: read_part(store, "obs"),
            read_var=lambda: read_part(store, "var"),
        )
        cells._files = files.pop_all()
        return cells


def of_anndata(cells, layer=None, obsm=None, source=None):
    """Return the `Cells` of an AnnData, which may be called as the file it is from."""
    # Of a view, what it is a view of is read: anndata reads all of a view at once, and
    # refuses a view of a view that is backed.
    whole = cells._adata_ref if cells.is_view else cells
    name = "The AnnData" if source is None else source
    if source is None and on_disk(x_of(whole)):
        name = path_of(x_of(whole)).name
    held = {"layers": whole.layers, "obsm": cells.obsm}
    matrix = _choose(x_of(whole), held, layer, obsm, name)
    if cells.is_view and obsm is None:
        matrix = settled(matrix, name)  # before rows of it are taken
        matrix = LazyMatrix(matrix, cells._oidx, cells._vidx)
    return _make(
        matrix,
        name,
        obsm,
        genes=cells.var_names,
        obs_names=cells.obs_names,
        read_obs=lambda: decoded(cells.obs, name),
        read_var=lambda: cells.var,
    )


def _choose(x, held, layer, obsm, source):
    """Return the layer, the entry of obsm, or `X`."""
    name, key = ("obsm", obsm) if layer is None else ("layers", layer)
    if key is None and x is None:
        has = "; ".join(f"{name}: {sorted(held[name])}" for name in _HELD)
        raise ValueError(
            f"{source} has no X. Pass layer= or obsm= to name what to read. It has "
            f"{has}."
        )
    if key is None:
        return x
    if key not in held[name]:
        raise ValueError(
            f"{source} has no {name.removesuffix('s')} {key!r}; it has "
            f"{sorted(held[name])}."
        )
    return held[name][key]


def _make(matrix, source, obsm, *, genes, read_var, **known):
    """Return the `Cells`; the columns of an embedding are no genes of `var`."""
    if obsm is not None:
        read_var = None
        if isinstance(matrix, pd.DataFrame):
            matrix, genes = matrix.to_numpy(), matrix.columns.astype(str)
        else:
            genes = pd.Index([f"{obsm}{i}" for i in range(matrix.shape[1])])
    return Cells(matrix, source, genes=genes, read_var=read_var, **known)
