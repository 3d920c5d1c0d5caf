"""Whether expression is counts or logarithms, and how one becomes the other."""

from itertools import pairwise

import numpy as np
from scipy import sparse

from sklperturb.cells._blocks import sample_places, stored_values
from sklperturb.cells._cells import open_cells

# log(1 + x) of a count, at any usual depth, is below.
_LARGEST_LOG = 20.0
# Multiples of the smallest value of a cell that are tried as its unit, and how far from
# whole numbers the values may then be.
_MAX_MULTIPLE, _FROM_WHOLE = 10, 0.05


def value_kind(values, *, largest_log=_LARGEST_LOG):
    """Return what values of expression are, by one rule for the whole toolkit.

    Parameters
    ----------
    values : sparse matrix or ndarray
        Some rows; zeros need not be stored.
    largest_log : float, default=20
        The largest value that a logarithm may be.

    Returns
    -------
    kind : {"counts", "log1p", "normalised", "signed", "binary", "zeros", "invalid"}
        "counts" are whole numbers, some of them above one; "binary" are zeros and ones,
        which may be counts or not; "signed" has negative values; "normalised" has
        fractions too large for logarithms; "log1p" is all else; "invalid" has NaN or
        infinite values.
    """
    values = stored_values(values)
    if not np.isfinite(values).all():
        return "invalid"
    if values.min(initial=0) < 0:
        return "signed"
    largest = values.max(initial=0)
    if largest == 0:
        return "zeros"
    if np.array_equal(values, np.rint(values)):
        return "counts" if largest > 1 else "binary"
    return "normalised" if largest > largest_log else "log1p"


def looks_like_counts(cells, *, layer=None):
    """Return whether cells hold raw counts: whole numbers, and some above one.

    Parameters
    ----------
    cells : AnnData, DataFrame, array-like, sparse matrix, str or path-like
        Cells by genes; 512 rows, evenly spread, are looked at.
    layer : str, default=None
        Layer to look at instead of `X`.

    Returns
    -------
    raw : bool

    See Also
    --------
    log_normalise : What to do with counts before models that expect logarithms.

    Examples
    --------
    >>> from sklperturb.cells import looks_like_counts
    >>> looks_like_counts([[0, 3], [1, 0]]), looks_like_counts([[0, 1.5], [1, 0]])
    (True, False)
    """
    with open_cells(cells, layer=layer) as opened:
        return value_kind(sample_places(opened.matrix)[0]) == "counts"


def log_normalise(values, target_sum=1e4):
    """Scale each cell to one depth and take log(1 + x), in double precision.

    Parameters
    ----------
    values : sparse matrix or ndarray of shape (n_cells, n_genes)
        Counts.
    target_sum : float or None, default=1e4
        The depth. None gives `values` back as they are.

    Returns
    -------
    logarithms : sparse matrix or ndarray of shape (n_cells, n_genes), float64

    See Also
    --------
    looks_like_counts : Whether that is needed.

    Examples
    --------
    >>> import numpy as np
    >>> from sklperturb.cells import log_normalise
    >>> np.expm1(log_normalise(np.array([[1, 3], [0, 0]]), 100)).round().tolist()
    [[25.0, 75.0], [0.0, 0.0]]
    """
    if target_sum is None:
        return values
    totals = np.asarray(values.sum(axis=1), dtype=np.float64).ravel()
    scale = target_sum / np.maximum(totals, 1e-12)
    if sparse.issparse(values):
        values = sparse.csr_array(values, dtype=np.float64, copy=True)
        values.data *= np.repeat(scale, np.diff(values.indptr))
        values.data = np.log1p(values.data)
        return values
    return np.log1p(values * scale[:, None])


def whole_counts(logarithms):
    """Return the counts of which cells are log1p, each at some depth of its own.

    The counts of a cell are the smallest whole numbers whose ratios are those of its
    values: counts that all have a common factor come without it.

    Parameters
    ----------
    logarithms : sparse matrix or ndarray of shape (n_cells, n_genes)

    Returns
    -------
    counts : csr_array of shape (n_cells, n_genes), float64
        Where there are no such numbers, expm1 of the values.
    found : ndarray of bool of shape (n_cells,)
    """
    cells = sparse.csr_array(logarithms, dtype=np.float64, copy=True)
    cells.eliminate_zeros()
    cells.data = np.expm1(cells.data)
    found = np.ones(cells.shape[0], dtype=bool)
    for row, bounds in enumerate(pairwise(cells.indptr)):
        own = cells.data[slice(*bounds)]
        if len(own):
            counts = _in_whole_units(own)
            found[row] = counts is not None
            cells.data[slice(*bounds)] = own if counts is None else counts
    return cells, found


def _in_whole_units(values):
    """Return the smallest whole numbers that have the ratios of the values, or None."""
    if values.min() <= 0:
        return None
    ratios = values / values.min()
    for multiple in range(1, _MAX_MULTIPLE + 1):
        counts = np.rint(ratios * multiple)
        if np.abs(ratios * multiple - counts).max() < _FROM_WHOLE:
            return counts
    return None
