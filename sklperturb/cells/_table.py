"""Expression of the genes that vary most, as a table in memory."""

import numpy as np
import pandas as pd

from sklperturb.cells._blocks import sample_places, to_dense
from sklperturb.cells._cells import open_cells
from sklperturb.cells._counts import log_normalise, value_kind


def expression_table(cells, rows=None, n_genes=2000):
    """Return log-normalised expression of the genes that vary most in some cells.

    Parameters
    ----------
    cells : AnnData, DataFrame, array-like, str, path-like or Cells
        Counts, which are scaled to 10,000 a cell, or logarithms, which are taken as
        they are. Read a block at a time.
    rows : ndarray of bool of shape (n_cells,), default=None
        Cells that choose the genes, such as controls: what perturbed cells that are
        held out look like plays no part in it then. None takes all.
    n_genes : int, default=2000

    Returns
    -------
    table : DataFrame of shape (n_cells, n_genes), float32
        Genes in the order of the cells.

    Raises
    ------
    ValueError
        If the values are neither counts nor logarithms, or not finite.
    """
    cells = open_cells(cells, needs="finite")
    kind = value_kind(sample_places(cells.matrix)[0])
    if kind == "normalised":
        raise ValueError(
            f"{cells.source} holds fractions too large for logarithms; models of cells "
            "take raw counts or log1p-normalised values. Take log1p first, or pass the "
            "layer with the counts."
        )
    target_sum = 1e4 if kind == "counts" else None
    if rows is None:
        rows = np.ones(cells.shape[0], dtype=bool)
    sums, squares = np.zeros((2, cells.shape[1]))
    for block, values in cells.blocks():
        chosen = rows[block]
        if chosen.any():
            logs = log_normalise(values[np.flatnonzero(chosen)], target_sum)
            sums += np.asarray(logs.sum(axis=0)).ravel()
            squares += np.asarray((logs * logs).sum(axis=0)).ravel()
    variance = squares / rows.sum() - np.square(sums / rows.sum())
    genes = np.sort(np.argsort(-variance, kind="stable")[:n_genes])
    table = np.empty((cells.shape[0], len(genes)), dtype=np.float32)
    for block, values in cells.blocks():
        table[block] = to_dense(log_normalise(values, target_sum)[:, genes])
    names = np.arange(cells.shape[1]) if cells.genes is None else cells.genes
    return pd.DataFrame(table, columns=pd.Index(names)[genes].astype(str))
