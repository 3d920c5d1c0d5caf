"""Noise between measurements of the same conditions: its size, shape and spread."""

from dataclasses import dataclass

import numpy as np

# Rows that quantities of the whole screen are worked out from, and values of them.
_MANY_ROWS, _MANY_VALUES = 500, 100_000
_GRID = np.linspace(0.05, 8, 160)  # of the characteristic function
# With more genes to tell by, the noise of a row's own size hardly matters.
_MANY_GENES = 200
_MANY_DRAWS = 4000


@dataclass(frozen=True)
class Contrasts:
    """Rows less the mean of other measurements of their conditions.

    Attributes
    ----------
    rows : ndarray of int of shape (n_measured,)
        Those whose condition was measured more than once.
    n_others : ndarray of int of shape (n_measured,)
        How many measurements the mean is of.
    values : ndarray of shape (n_measured, n_genes)
        Scaled to the variance of a row's own error.
    spread : ndarray of shape (n_measured,)
        Variance between the others, the mean over genes; NaN where there is one.
    """

    rows: np.ndarray
    n_others: np.ndarray
    values: np.ndarray
    spread: np.ndarray


def contrasts_of(y, partners):
    """Return the contrasts of the rows that have partners.

    Parameters
    ----------
    y : ndarray of shape (n_samples, n_genes)
    partners : list of ndarray of int
        See `partners_of`.

    Returns
    -------
    contrasts : Contrasts
    """
    n_others = np.array([len(own) for own in partners])
    rows = np.flatnonzero(n_others)
    values = np.empty((len(rows), y.shape[1]))
    spread = np.full(len(rows), np.nan)
    for place, row in enumerate(rows):
        others = y[partners[row]]
        n = len(others)
        values[place] = (y[row] - others.mean(axis=0)) * np.sqrt(n / (n + 1))
        if n > 1:
            spread[place] = others.var(axis=0, ddof=1).mean()
    return Contrasts(rows, n_others[rows], values, spread)


def effective_genes(residuals, codes):
    r"""Return the number of independent genes that would give as much chance agreement.

    With noise of covariance :math:`\Sigma` it is
    :math:`\mathrm{tr}(\Sigma)^2 / \mathrm{tr}(\Sigma^2)`, from the squared cosines of
    residuals of different conditions. Without two conditions it is that of all genes.

    Parameters
    ----------
    residuals : ndarray of shape (n_rows, n_genes)
    codes : ndarray of int of shape (n_rows,)
        Conditions; the first row of each is taken.

    Returns
    -------
    n_genes : float
    """
    _, first = np.unique(codes, return_index=True)
    size = np.linalg.norm(residuals[first], axis=1)
    first = some_of(first[size > 0])
    n = len(first)
    if n < 2:
        return float(residuals.shape[1])
    unit = residuals[first] / np.linalg.norm(residuals[first], axis=1)[:, None]
    squares = (unit @ unit.T) ** 2
    mean = (squares.sum() - np.trace(squares)) / (n * (n - 1))
    return float(min(1 / max(mean, 1e-12), residuals.shape[1]))


def rooted(values, noise, weights):
    """Return the roots of unbiased estimates, without those of their noise.

    A root of something noisy is too small on average, and more so the noisier it is.
    The estimates are drawn towards their mean, so far that they vary as much as what
    they estimate, before the root is taken.

    Parameters
    ----------
    values, noise, weights : ndarray of shape (n,)
        Estimates, the variance of their errors, and how much each counts.

    Returns
    -------
    roots : ndarray of shape (n,)
        At least 0.
    """
    mean = np.average(values, weights=weights)
    if mean <= 0:
        return np.zeros_like(values)
    total = np.average((values - mean) ** 2, weights=weights)
    true = max(total - np.average(noise, weights=weights), 0.0)
    kept = np.sqrt(np.divide(true, true + noise, where=true + noise > 0, out=noise * 0))
    return np.sqrt(np.maximum(mean + kept * (values - mean), 0.0))


def row_spread(contrasts, codes, n_genes, random_state):
    """Return by how much sizes of contrasts exceed those of rows whose noise differs.

    Where some wells are noisier than others of their condition, a contrast has the
    noise of several, and the root of a mean exceeds the mean of roots. Of three
    measurements or more, two differences from a third tell its own squared error.

    Parameters
    ----------
    contrasts : Contrasts
    codes : ndarray of int of shape (n_measured,)
        Conditions of its rows.
    n_genes : float
        Effective ones.
    random_state : RandomState

    Returns
    -------
    factor : float
        At most 1; mean size of a row's error over that of its contrast.
    """
    known = contrasts.n_others > 1
    if not known.any():
        return 1.0
    m = contrasts.n_others[known]
    size = np.einsum("ij,ij->i", contrasts.values[known], contrasts.values[known])
    size = size / contrasts.values.shape[1]
    own = size * (m + 1) / m - contrasts.spread[known] / m
    factor = _root_ratio(size, own, codes[known], m, n_genes)
    if n_genes < _MANY_GENES:
        factor /= _by_chance(np.bincount(m), n_genes, random_state)
    return min(factor, 1.0)


def tail_factors(contrasts, partners, y, codes, random_state):
    """Return the mean absolute error of a row over that of its contrast.

    A mean of several errors is nearer to the normal distribution than one of them, and
    a mean absolute value depends on that. The characteristic function of a difference
    of two rows is the square of that of one, if errors are symmetric.

    Parameters
    ----------
    contrasts : Contrasts
    partners : list of ndarray of int
    y : ndarray of shape (n_samples, n_genes)
    codes : ndarray of int of shape (n_measured,)
    random_state : RandomState

    Returns
    -------
    factors : dict of int to float
        By the number of others; at most 1.
    """
    _, first = np.unique(codes, return_index=True)
    rows = contrasts.rows[some_of(first)]
    pairs = y[rows] - y[[partners[row][0] for row in rows]]
    for axis in (0, 1):
        size = np.sqrt(np.mean(pairs**2, axis=axis, keepdims=True))
        pairs = np.divide(pairs, size, out=np.zeros_like(pairs), where=size > 0)
    values = pairs.ravel()
    if len(values) > _MANY_VALUES:
        values = random_state.choice(values, _MANY_VALUES, replace=False)
    rate = _decay(values)
    of_row = np.exp(-(_GRID**2) * rate(_GRID) / 2)
    factors = {}
    for m in np.unique(contrasts.n_others):
        of_others = np.exp(-(_GRID**2) * rate(_GRID / m) / (2 * m))
        scaled = _mean_absolute(of_row * of_others) * np.sqrt(m / (m + 1))
        factors[int(m)] = min(_mean_absolute(of_row) / scaled, 1.0)
    return factors


def _decay(values):
    """Return how fast the characteristic function of differences decays.

    Where it is lost in noise it goes on as that of a normal distribution.

    Parameters
    ----------
    values : ndarray of shape (n,)

    Returns
    -------
    rate : callable
        -log of the function of a difference, over the square of the argument.
    """
    curve = np.array([np.cos(t * values).mean() for t in _GRID])
    lost = np.flatnonzero(curve < 3 / np.sqrt(len(values)))
    end = max(lost[0] if len(lost) else len(curve), 1)
    rates = -np.log(np.maximum(curve[:end], 1e-12)) / _GRID[:end] ** 2
    return lambda t: np.interp(t, _GRID[:end], rates)


def _mean_absolute(characteristic):
    """Return the mean absolute value behind a characteristic function on the grid."""
    step = _GRID[0]
    curve = (1 - characteristic) / _GRID**2
    inside = (curve.sum() - curve[-1] / 2 + curve[0] / 2) * step
    return 2 / np.pi * (inside + 1 / _GRID[-1])


def _root_ratio(size, own, codes, m, n_genes):
    """Return the mean root of squared errors over the mean root of contrasts'."""
    counts = np.bincount(codes)
    scale = (np.bincount(codes, weights=size) / np.maximum(counts, 1))[codes]
    keep = scale > 0
    if not keep.any():
        return 1.0
    size, own, scale, m = size[keep], own[keep], scale[keep], m[keep]
    relative = own / scale
    noise = (4 * np.maximum(relative, 0) / m + 2 / (m * (m - 1))) / n_genes
    roots = rooted(relative, noise, np.sqrt(scale)) * np.sqrt(scale)
    return float(roots.sum() / np.sqrt(size).sum())


def _by_chance(counts, n_genes, random_state):
    """Return the same ratio where the noise of all rows is alike and normal."""
    n_genes = max(round(n_genes), 1)
    parts = []
    for m in np.flatnonzero(counts):
        n = max(_MANY_DRAWS * counts[m] // (counts.sum() * (m + 1)), 50)
        noise = random_state.normal(size=(n, m + 1, n_genes))
        total, squares = noise.sum(axis=1), (noise**2).sum(axis=1)
        for row in range(m + 1):
            mean = (total - noise[:, row]) / m
            spread = (squares - noise[:, row] ** 2 - m * mean**2) / (m - 1)
            size = np.mean((noise[:, row] - mean) ** 2, axis=1) * m / (m + 1)
            own = size * (m + 1) / m - spread.mean(axis=1) / m
            label = np.arange(n) + m * _MANY_DRAWS
            parts.append((size, own, label, np.full(n, m)))
    size, own, codes, m = map(np.concatenate, zip(*parts, strict=True))
    codes = np.unique(codes, return_inverse=True)[1]
    return _root_ratio(size, own, codes, m, n_genes)


def some_of(places):
    """Return some of many places, evenly."""
    if len(places) <= _MANY_ROWS:
        return places
    return places[np.linspace(0, len(places) - 1, _MANY_ROWS).astype(int)]
