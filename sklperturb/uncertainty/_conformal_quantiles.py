"""Quantiles of scores for which a perturbation, and not an entry, is the unit."""

import numpy as np

# Probabilities that are told apart, and values at which distributions are kept.
_STEPS = 400
_N_VALUES = 1000
_MOST_SAMPLED = 10**6


def unit_weights(units):
    """Return a weight for each row, with which every unit counts as much."""
    codes = np.unique(units, return_inverse=True)[1]
    return 1.0 / np.bincount(codes)[codes]


def calibrated_quantiles(scores, units, levels):
    """Return the score below which a share of a new unit's entries is expected.

    The distribution of the scores is the mean of those of the units. Its quantile at
    the level would cover too little, since it was learnt from the units that it is to
    cover; so the level is raised until the units are covered as often as is promised,
    each by the quantile of all others. With one entry a unit this is the quantile of
    split conformal prediction, up to rounding.

    Parameters
    ----------
    scores : ndarray of shape (n_rows, n_genes)
        Not negative.
    units : ndarray of int of shape (n_rows,)
        The perturbation of each row.
    levels : ndarray of shape (n_levels,)
        Shares to cover, above 0 and below 1.

    Returns
    -------
    quantiles : ndarray of shape (n_levels,)
        Infinite where there are too few units.
    """
    values = _values(scores)
    codes, order = np.unique(units, return_inverse=True)[1], np.argsort(units)
    bounds = np.flatnonzero(np.diff(codes[order], prepend=-1))
    parts = np.split(order, bounds[1:])
    covered = np.stack([_distribution(scores[rows], values) for rows in parts])
    n_units = len(parts)
    if n_units < 2:
        return np.full(len(levels), np.inf)
    total = covered.sum(axis=0)
    raised = np.unique(np.concatenate([levels, np.linspace(0, 1, _STEPS + 1)[1:]]))
    found = np.zeros(len(raised))
    for own in covered:
        others = (total - own) / (n_units - 1)
        found += own[_first_at_least(others, raised)] / n_units
    pooled = values[_first_at_least(total / n_units, raised)]
    quantiles = np.full(len(levels), np.inf)
    for number, level in enumerate(levels):
        enough = (raised >= level) & (found >= level - 1e-9)
        if enough.any():
            # The last of the levels that make no difference to a unit left out.
            least = found[enough.argmax()]
            quantiles[number] = pooled[np.flatnonzero(enough & (found <= least))[-1]]
    return quantiles


def _values(scores):
    """Return the scores at which distributions are compared, the largest among them."""
    flat = scores.ravel()
    if flat.size > _N_VALUES:
        sample = flat[:: -(-flat.size // _MOST_SAMPLED)]
        ends = np.linspace(0, 1, _N_VALUES)
        # Half of them among the largest tenth, where most levels that are asked lie.
        shares = np.where(ends < 0.5, 1.8 * ends, 0.8 + 0.2 * ends)
        flat = np.append(np.quantile(sample, shares), flat.max())
    return np.unique(flat)


def _distribution(scores, values):
    """Return the share of scores up to each of the values."""
    ordered = np.sort(scores, axis=None)
    return np.searchsorted(ordered, values, side="right") / ordered.size


def _first_at_least(distribution, levels):
    """Return the index of the first value at which a distribution reaches a level."""
    found = np.searchsorted(distribution, levels - 1e-9)
    return np.minimum(found, len(distribution) - 1)
