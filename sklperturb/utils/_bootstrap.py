"""Bootstrap intervals for means over rows that come in clusters."""

import numpy as np
from scipy import stats

# Of two clusters nothing is known about how much clusters differ.
FEWEST_UNITS = 3
# Below this there are too few resamples that differ.
_FEWEST_RESAMPLED = 5
# By how much intervals of differences are wider where a few clusters make them. Chosen
# with benchmarks/trust/interval_coverage.py.
_TAILS = 6.0


class ClusterBootstrap:
    """Studentised bootstrap of whole clusters, the same ones for every model.

    Rows of one perturbation, or of one context, fail together, so an interval from
    resampled rows is too narrow; and differences between models need the same draws
    for both. The distance of a resampled mean from the mean is divided by the
    resample's own standard error, since scores of clusters are skewed: a few compounds
    make most of the error, and where a sample has too few of them, its mean and its
    spread are both too small [1]_. The ends are never nearer than Student's; with three
    or four clusters they are Student's, and with fewer there are none.

    Parameters
    ----------
    clusters : array-like of shape (n_rows,) or (n_rows, 2)
        Two columns are two kinds of clusters that cross. Both are resampled at once,
        and a row counts as often as its clusters were drawn, multiplied [2]_; standard
        errors are those of clusters of two kinds [3]_.
    n_resamples : int
    confidence : float
    rng : RandomState

    Attributes
    ----------
    sizes : list of int
        Number of clusters of each kind.

    References
    ----------
    .. [1] Hesterberg, "What teachers should know about the bootstrap", The American
       Statistician 69(4), 2015. :doi:`10.1080/00031305.2015.1089789`
    .. [2] Owen, "The pigeonhole bootstrap", The Annals of Applied Statistics 1(2),
       2007. :doi:`10.1214/07-AOAS122`
    .. [3] Cameron, Gelbach and Miller, "Robust inference with multiway clustering",
       Journal of Business & Economic Statistics 29(2), 2011.
       :doi:`10.1198/jbes.2010.07136`
    """

    def __init__(self, clusters, n_resamples, confidence, rng):
        columns = np.asarray(clusters, dtype=str)
        columns = columns.reshape(len(columns), -1).T
        self._codes = [np.unique(c, return_inverse=True)[1] for c in columns]
        self.sizes = [int(codes.max()) + 1 for codes in self._codes]
        # How often each cluster was drawn: a resampled mean is then two products.
        self._times = [
            rng.multinomial(size, np.full(size, 1 / size), size=n_resamples) * 1.0
            for size in self.sizes
        ]
        self._confidence = confidence

    def interval(self, values):
        """Return the interval of the mean of `values`, (n_rows,); NaN if there is none.

        Parameters
        ----------
        values : ndarray of shape (n_rows,)

        Returns
        -------
        low, high : float
        """
        return self.interval_of_ratio(values, np.ones(len(values)))

    def interval_of_difference(self, values, divisors=None):
        """Return the interval of a mean of differences, or of their share of another.

        Scores are skewed, and resamples show it. Differences have tails on both sides,
        which resamples of the clusters that happen to be there do not show, so that the
        interval is wider by what the tails leave open: the standard error of clusters
        whose kurtosis is k is itself uncertain by (k - 3) / n more than that of normal
        ones. Of clusters without such tails it is that of `interval`.

        Parameters
        ----------
        values : ndarray of shape (n_rows,)
        divisors : ndarray of shape (n_rows,), default=None
            As `interval_of_ratio` takes them; None for the mean.

        Returns
        -------
        low, high : float
        """
        divisors = np.ones(len(values)) if divisors is None else divisors
        low, high = self.interval_of_ratio(values, divisors)
        if np.isnan(low) or low == high:
            return low, high
        ratio = values.sum() / divisors.sum()
        sums, tails = self._in_cells(values - ratio * divisors), 0.0
        for kind, size in enumerate(self.sizes):
            others = tuple(i for i in range(sums.ndim) if i != kind)
            squares = sums.sum(axis=others) ** 2
            kurtosis = size * np.sum(squares**2) / np.sum(squares) ** 2
            tails = max(tails, (kurtosis - 3) / size)
        wider = np.sqrt(1 + _TAILS * tails)
        return ratio - wider * (ratio - low), ratio + wider * (high - ratio)

    def interval_of_ratio(self, values, divisors):
        """Return that of the sum of `values` over the sum of `divisors`.

        NaN where the divisors of a resample add up to another sign than theirs all, so
        that the ratio could be anything.
        """
        missing = np.isnan(values).any() or np.isnan(divisors).any()
        if min(self.sizes) < FEWEST_UNITS or missing:
            return np.nan, np.nan
        total, counts = divisors.sum(), self._in_cells(divisors)
        if total == 0 or (_drawn(self._times, counts) * np.sign(total) < 0).any():
            return np.nan, np.nan
        mean = values.sum() / total
        sums = self._in_cells(values - mean * divisors)
        once = [np.ones((1, size)) for size in self.sizes]
        error = self._mean_and_error(once, sums, counts)[1][0]
        miss = (1 - self._confidence) / 2
        high = stats.t.ppf(1 - miss, min(self.sizes) - 1)
        low = -high
        if min(self.sizes) >= _FEWEST_RESAMPLED and error > 0:
            moved, errors = self._mean_and_error(self._times, sums, counts)
            with np.errstate(divide="ignore", invalid="ignore"):
                ratios = moved / errors
            ratios = ratios[np.isfinite(ratios)]
            if len(ratios):
                drawn = np.quantile(ratios, [miss, 1 - miss])
                low, high = min(low, drawn[0]), max(high, drawn[1])
        return mean - high * error, mean - low * error

    def _in_cells(self, values):
        """Return the sum of `values` in each cluster, or pair of clusters."""
        cell = np.ravel_multi_index(self._codes, self.sizes)
        total = np.bincount(cell, weights=values, minlength=np.prod(self.sizes))
        return total.reshape(self.sizes)

    def _mean_and_error(self, times, sums, counts):
        """Return the mean of each resample, and its standard error."""
        # Each drawn cluster is one of its own, even if it is drawn again.
        factors = [size / (size - 1) for size in self.sizes]
        with np.errstate(divide="ignore", invalid="ignore"):
            size = _drawn(times, counts)
            mean = _drawn(times, sums) / size
            variance = _drawn(times, sums**2) - 2 * mean * _drawn(times, sums * counts)
            variance += mean**2 * _drawn(times, counts**2)
            if len(times) == 1:
                variance *= factors[0]
            else:
                one = _spread(*times, sums, counts, mean) * factors[0]
                other = _spread(*times[::-1], sums.T, counts.T, mean) * factors[1]
                variance = np.maximum(one + other - variance, np.maximum(one, other))
            return mean, np.sqrt(np.maximum(variance, 0)) / np.abs(size)


def _drawn(times, cells):
    """Return the sum of the cells as often as they were drawn, for each resample."""
    if len(times) == 1:
        return times[0] @ cells
    return ((times[0] @ cells) * times[1]).sum(axis=1)


def _spread(own, other, sums, counts, mean):
    """Return the sum of squared deviations of the clusters of one kind."""
    deviations = other @ sums.T - mean[:, None] * (other @ counts.T)
    return (own * deviations**2).sum(axis=1)
