"""Bootstrap intervals for means over rows that come in clusters."""

import numpy as np
from scipy import stats

# Of two clusters nothing is known about how much clusters differ.
FEWEST_UNITS = 3
# With fewer degrees of freedom there are too few resamples that differ.
_FEWEST_FREE = 4.0
# By how much intervals of differences are wider where a few clusters make them, and how
# far ends are at most, in those of Student. Chosen on screens of other seeds than those
# that benchmarks/trust/interval_coverage.py reports.
_TAILS, _MOST = 14.0, 3.0
# So many clusters show their tails, and more of them need less of that.
_SHOWN = 40


class ClusterBootstrap:
    """Studentised bootstrap of whole clusters, the same ones for every model.

    Rows of one perturbation, or of one context, fail together, so an interval from
    resampled rows is too narrow; and differences between models need the same draws
    for both. The distance of a resampled mean from the mean is divided by the
    resample's own standard error, since scores of clusters are skewed: a few compounds
    make most of the error, and where a sample has too few of them, its mean and its
    spread are both too small [1]_. The ends are never nearer than Student's, and not
    more than three times as far: a resample that happens to lack the few clusters that
    make the spread has next to no standard error, and its ratio says nothing. With
    three or four clusters the ends are Student's, and with fewer there are none.

    Parameters
    ----------
    clusters : array-like of shape (n_rows,) or (n_rows, 2)
        Two columns are two kinds of clusters that cross. Both are resampled at once,
        and a row counts as often as its clusters were drawn, multiplied [2]_; standard
        errors are those of clusters of two kinds [3]_, and Student's degrees of freedom
        those of the kinds, each by its part of the variance [4]_.
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
    .. [4] Satterthwaite, "An approximate distribution of estimates of variance
       components", Biometrics Bulletin 2(6), 1946. :doi:`10.2307/3002019`
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
        ones. Many clusters show their tails: beyond 40 the factor fades.

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
        return self._interval(values, divisors, _TAILS)

    def interval_of_ratio(self, values, divisors):
        """Return that of the sum of `values` over the sum of `divisors`.

        NaN where the divisors of a resample add up to another sign than theirs all, so
        that the ratio could be anything.
        """
        return self._interval(values, divisors, 0.0)

    def _interval(self, values, divisors, tails):
        """Return the interval of a ratio, as much wider as `tails` says."""
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
        if error == 0:
            return mean, mean
        longest, free = self._shape(sums, error * np.abs(total))
        miss = (1 - self._confidence) / 2
        usual = stats.t.ppf(1 - miss, free)
        ends = np.array([usual, usual])
        if free >= _FEWEST_FREE:
            moved, errors = self._mean_and_error(self._times, sums, counts)
            with np.errstate(divide="ignore", invalid="ignore"):
                ratios = moved / errors
            ratios = ratios[np.isfinite(ratios)]
            if len(ratios):
                low, high = np.quantile(ratios, [miss, 1 - miss])
                ends = np.maximum(ends, [high, -low])
        wider = np.sqrt(1 + tails * longest)
        below, above = error * np.minimum(wider * ends, _MOST * usual)
        return mean - below, mean + above

    def _shape(self, sums, error):
        """Return how long the tails of the clusters are, and how much is free.

        Of two kinds the tails are the longer ones, and the degrees of freedom are
        nearer to those of the kind that makes more of the variance.
        """
        tails, parts = 0.0, 0.0
        for kind, size in enumerate(self.sizes):
            others = tuple(i for i in range(sums.ndim) if i != kind)
            squares = sums.sum(axis=others) ** 2
            total = squares.sum()
            if total > 0:
                kurtosis = size * np.sum(squares**2) / total**2
                fading = min(1.0, _SHOWN / size)
                tails = max(tails, fading * (kurtosis - 3) / size)
            parts += (total * size / (size - 1)) ** 2 / (size - 1)
        return tails, max(error**4 / parts, min(self.sizes) - 1)

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
