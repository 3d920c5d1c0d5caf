"""Open the cells that are compared, and bring them to the scale that is scored."""

import logging

import numpy as np
from scipy import sparse

from sklperturb.cells._blocks import (
    LazyMatrix,
    by_row,
    n_stored,
    rows_of,
    sample_places,
)
from sklperturb.cells._counts import log_normalise, value_kind, whole_counts
from sklperturb.cells._files import check_unique_genes
from sklperturb.evaluation._summary import Population

_logger = logging.getLogger("sklperturb")
# Counts a cell is scaled to, and how far from it, as a share, a cell may be that is
# not scaled again.
_DEPTH, _DEPTH_TOLERANCE = 1e4, 1e-3
_WHAT = {
    "log1p": "logarithms",
    "normalised": "fractions too large for logarithms",
    "signed": "negative values",
}


def read_side(cells, name, perturbation):
    """Return a `Population` of open cells; its values are as they were stored.

    Parameters
    ----------
    cells : Cells
    name : str
        What the caller calls the cells, for messages.
    perturbation : str
        Column of `obs`.
    """
    if perturbation not in cells.obs:
        raise ValueError(
            f"perturbation={perturbation!r} is no column of obs of {name}: "
            f"{list(cells.obs)}."
        )
    check_unique_genes(cells.genes, name)
    labels = cells.obs[perturbation]
    if labels.isna().any():
        raise ValueError(
            f"{int(labels.isna().sum())} cells of {name} have no label in "
            f"{perturbation!r}; leave them out."
        )
    labels = labels.astype(str).to_numpy(dtype=object)
    return Population(cells.matrix, labels, cells.genes)


def on_one_scale(sides, values):
    """Bring all sides to what a convention scores, alike and block by block.

    Parameters
    ----------
    sides : dict of str to Population
    values : {"log1p", "counts", "any"}

    Returns
    -------
    sides : dict of str to Population

    Raises
    ------
    ValueError
        If a side holds what cannot become that.
    """
    if values == "any":
        return {
            name: side.with_matrix(by_row(side.matrix, name))
            for name, side in sides.items()
        }
    kinds = {}
    for name, side in sides.items():
        kinds[name] = value_kind(sample_places(side.matrix)[0])
        if kinds[name] == "invalid":
            raise ValueError(f"{name} holds NaN or infinite values; drop those cells.")
    bring = _to_counts if values == "counts" else _to_logarithms
    return bring(sides, kinds)


def _to_logarithms(sides, kinds):
    for name, kind in kinds.items():
        if kind == "normalised":
            raise ValueError(
                f"This convention scores log1p-normalised cells, and {name} holds "
                f"{_WHAT[kind]}. Take log1p first, or pass raw counts."
            )
    if "counts" not in kinds.values():
        return sides
    _logger.info(
        "Scaled each cell to 10,000 counts and took log1p, which the convention "
        "scores: %s.",
        ", ".join(
            f"{name} holds {'counts' if kind == 'counts' else 'logarithms'}"
            for name, kind in kinds.items()
        ),
    )
    return {
        name: side.with_matrix(
            _Converted(
                side.matrix,
                _rescaled if kinds[name] in ("log1p", "signed") else log_normalise,
                np.float32,
            )
        )
        for name, side in sides.items()
    }


def _to_counts(sides, kinds):
    found = {}
    for name, side in sides.items():
        if kinds[name] in ("counts", "binary", "zeros"):
            found[name] = side
            continue
        sample, whole_rows = sample_places(side.matrix)
        if not whole_rows:
            sample = rows_of(by_row(side.matrix, name), slice(0, 64))
        if kinds[name] != "log1p" or not whole_counts(sample)[1].all():
            raise ValueError(_no_counts(name, kinds[name]))
        _logger.info("%s holds log1p of counts; the counts were worked out.", name)

        def counts_of(block, name=name):
            counts, found = whole_counts(block)
            if not found.all():
                raise ValueError(_no_counts(name, "log1p"))
            return counts

        matrix = _Converted(side.matrix, counts_of, np.float64)
        found[name] = side.with_matrix(matrix)
    return found


def _no_counts(name, kind):
    return (
        f"This convention scores raw counts, and {name} holds {_WHAT[kind]} that no "
        "whole counts lead to. Pass the layer with the counts."
    )


class _Converted(LazyMatrix):
    """A matrix whose rows are converted when they are read."""

    def __init__(self, matrix, function, dtype):
        self._matrix = by_row(matrix)
        self._function = function
        self.shape = matrix.shape
        self.dtype = np.dtype(dtype)
        self.nnz = n_stored(matrix)

    def __getitem__(self, rows):
        return self._function(rows_of(self._matrix, rows)).astype(self.dtype)


def _rescaled(logarithms):
    """Return cells that are log1p at a depth of their own at the common depth.

    Cells of that depth stay as they are, so that values that tie still do.
    """
    cells = sparse.csr_array(logarithms)
    totals = np.asarray(cells.expm1().sum(axis=1), dtype=np.float64).ravel()
    other = (totals > 0) & (np.abs(totals / _DEPTH - 1) >= _DEPTH_TOLERANCE)
    if not other.any():
        return cells
    own = np.flatnonzero(other)
    rescaled = log_normalise(whole_counts(cells[own])[0], _DEPTH)
    stacked = sparse.vstack([cells[np.flatnonzero(~other)], rescaled], format="csr")
    back = np.argsort(np.concatenate([np.flatnonzero(~other), own]))
    return stacked[back]
