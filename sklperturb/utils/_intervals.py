"""Intervals of means over units that come with several values each."""

import numpy as np
import pandas as pd
from scipy import stats

_N_DRAWS = 20_000  # of the largest of several t


def mean_interval(values, units):
    """Return the mean of the units' means, and its 95 % interval by Student's t.

    Infinite where there are fewer than two units.
    """
    means = pd.Series(values).groupby(np.asarray(units)).mean().to_numpy()
    mean = float(means.mean())
    if len(means) < 2:
        return mean, -np.inf, np.inf
    half = stats.t.ppf(0.975, len(means) - 1) * means.std(ddof=1) / len(means) ** 0.5
    half = float(half)
    return mean, mean - half, mean + half


def simultaneous_intervals(values, units):
    """Return means over units and their 95 % intervals, which hold together.

    All intervals cover at once with 95 %, so that the best of several may be picked
    and tested by its own: as wide as the largest of correlated Student's t asks for.
    Of a single column they are those of `mean_interval`.

    Parameters
    ----------
    values : ndarray of shape (n_values, n_columns)
    units : array-like of shape (n_values,)

    Returns
    -------
    means, lows, highs : ndarray of shape (n_columns,)
        Limits are infinite where there are fewer than two units.
    """
    means = pd.DataFrame(values).groupby(np.asarray(units)).mean().to_numpy()
    mean, (n_units, n_columns) = means.mean(axis=0), means.shape
    if n_units < 2:
        return mean, np.full(n_columns, -np.inf), np.full(n_columns, np.inf)
    errors = means.std(axis=0, ddof=1) / n_units**0.5
    if n_columns == 1:
        widest = stats.t.ppf(0.975, n_units - 1)
    else:
        scores = (means - mean) / np.maximum(errors, 1e-300) / (n_units - 1) ** 0.5
        rng = np.random.default_rng(0)
        # Sums over units of normal numbers have the correlations of the columns.
        drawn = rng.standard_normal((_N_DRAWS, n_units)) @ scores / n_units**0.5
        drawn /= np.sqrt(rng.chisquare(n_units - 1, (_N_DRAWS, 1)) / (n_units - 1))
        widest = np.quantile(np.abs(drawn).max(axis=1), 0.95)
    half = widest * errors
    return mean, mean - half, mean + half
