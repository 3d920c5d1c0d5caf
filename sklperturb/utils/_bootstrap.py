"""Bootstrap intervals for means over rows that come in clusters."""

import numpy as np


class ClusterBootstrap:
    """Resample whole clusters, the same ones for every model.

    Rows of one perturbation, or of one context, fail together, so an interval from
    resampled rows is too narrow; and differences between models need the same draws
    for both.

    Parameters
    ----------
    clusters : array-like of shape (n_rows,)
    n_resamples : int
    confidence : float
    rng : RandomState
    """

    def __init__(self, clusters, n_resamples, confidence, rng):
        _, self._codes = np.unique(np.asarray(clusters, dtype=str), return_inverse=True)
        self.n_clusters = self._codes.max() + 1
        draws = rng.randint(self.n_clusters, size=(n_resamples, self.n_clusters))
        # How often each cluster was drawn: a resampled mean is then two products.
        self._times = np.stack(
            [np.bincount(draw, minlength=self.n_clusters) for draw in draws]
        )
        self._tails = [50 * (1 - confidence), 50 * (1 + confidence)]

    def interval(self, values):
        """Return the percentile interval of the mean of `values`, (n_rows,)."""
        if self.n_clusters < 2 or np.isnan(values).any():
            return np.nan, np.nan
        return self.interval_of_ratio(values, np.ones(len(values)))

    def interval_of_ratio(self, values, divisors):
        """Return that of the sum of `values` over the sum of `divisors`.

        NaN where the divisors of a resample add up to 0 or to another sign than theirs
        all, so that the ratio could be anything.
        """
        if self.n_clusters < 2 or np.isnan(values).any() or np.isnan(divisors).any():
            return np.nan, np.nan
        sums, counts = (
            np.bincount(self._codes, weights=part, minlength=self.n_clusters)
            for part in (values, divisors)
        )
        below = self._times @ counts
        if not (below * np.sign(counts.sum()) > 0).all():
            return np.nan, np.nan
        return tuple(np.percentile((self._times @ sums) / below, self._tails))
