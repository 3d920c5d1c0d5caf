"""Intervals of means over units that come with several values each."""

import numpy as np
import pandas as pd
from scipy import stats


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
