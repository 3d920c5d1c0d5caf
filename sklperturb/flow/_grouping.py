"""Sort cells by condition, measure effects, and hold perturbations out."""

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA

_FEWEST_PERTURBATIONS = 10  # to hold some out


def group_cells(keys, rows, pools):
    """Return the cells of each condition by pool, and the condition of each row.

    Parameters
    ----------
    keys : list of hashable
        Condition of each of `rows`.
    rows : ndarray of int
        Cells that are no controls.
    pools : ndarray of int
        Pool of controls of each of `rows`.

    Returns
    -------
    members : list of list of (int, ndarray of int)
        For each condition: pool, and cells.
    codes : ndarray of int of shape (n_rows,)
    """
    codes, levels = pd.factorize(pd.Series(keys, dtype=object))
    members = [[] for _ in range(len(levels))]
    order = np.lexsort((pools, codes))
    pairs = np.column_stack([codes, pools])[order]
    starts = np.flatnonzero(np.r_[True, (np.diff(pairs, axis=0) != 0).any(axis=1)])
    for start, stop in zip(starts, np.r_[starts[1:], len(order)], strict=True):
        condition, pool = pairs[start]
        members[condition].append((int(pool), rows[order[start:stop]]))
    return members, codes


def measure_effects(cells, members, means):
    """Return the effect of each condition, and its squared standard error.

    The mean of the cells less that of their controls, and the sum over features of
    the variance of the former.
    """
    effects, noise = [], []
    for populations in members:
        changes = np.concatenate(
            [cells[rows] - means[pool] for pool, rows in populations]
        )
        effects.append(changes.mean(axis=0))
        noise.append(changes.var(axis=0).sum() / len(changes))
    noise = np.array(noise)
    sizes = np.array([sum(len(rows) for _, rows in m) for m in members])
    # A single cell has no spread of its own; it is given that of the others.
    alone = sizes < 2
    if alone.any():
        several = noise[~alone] * sizes[~alone]
        noise[alone] = several.mean() if len(several) else 0.0
    return np.array(effects), noise


def hold_out(keys, fraction, rng):
    """Return which conditions are held out: those with a held-out perturbation."""
    parts = sorted({part for _, parts, _ in keys for part in parts})
    n_held_out = round(fraction * len(parts))
    if len(parts) < _FEWEST_PERTURBATIONS or n_held_out < 1:
        return np.zeros(len(keys), dtype=bool)
    chosen = set(rng.choice(parts, n_held_out, replace=False))
    held_out = np.array([bool(chosen & set(parts)) for _, parts, _ in keys])
    return held_out & (not held_out.all())


def principal_axes(cells, n_components):
    """Return orthonormal axes (n_components, n_features) of the largest spread.

    Of fewer cells than that, as many axes as cells.
    """
    pca = PCA(min(n_components, len(cells)), svd_solver="covariance_eigh").fit(cells)
    return pca.components_.astype(np.float32)
