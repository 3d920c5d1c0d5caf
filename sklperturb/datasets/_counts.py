"""Draw negative binomial counts of many genes that are mostly zero, fast."""

import numpy as np
from scipy import sparse

# Above this mean, a search through the distribution from zero upwards takes too long.
_LARGE = 20.0
_LAST = 400  # a count of mean 20 and dispersion 0.5 is below, but for one in 1e8


def draw_counts(means, dispersion, dropout, rng):
    """Draw counts.

    One uniform number for each cell and gene says how many counts there are: most are
    decided by the probability of none, and only the others are looked at again. That
    is some five times as fast as a gamma and a Poisson number for each.

    Parameters
    ----------
    means : ndarray of float32 of shape (n_cells, n_genes)
    dispersion : ndarray of shape (n_genes,)
        The size parameter: the variance is ``mean + mean ** 2 / dispersion``.
    dropout : float
        Probability that the counts of a gene in a cell are lost.
    rng : numpy.random.Generator

    Returns
    -------
    counts : csr_matrix of float32 of shape (n_cells, n_genes)
    """
    none = np.exp(-dispersion * np.log1p(means / dispersion))
    uniform = rng.random(means.shape, dtype=np.float32)
    rows, columns = np.nonzero(uniform >= none)
    mean = means[rows, columns].astype(np.float64)
    size = dispersion[columns].astype(np.float64)
    counts = np.empty(len(rows))
    large = mean > _LARGE
    rate = rng.gamma(size[large], mean[large] / size[large])
    counts[large] = rng.poisson(rate)
    small = np.flatnonzero(~large)
    counts[small] = _invert(
        uniform[rows[small], columns[small]].astype(np.float64),
        none[rows[small], columns[small]].astype(np.float64),
        mean[small],
        size[small],
    )
    kept = (counts > 0) & (rng.random(len(counts)) >= dropout)
    indptr = np.zeros(len(means) + 1, dtype=np.int64)
    np.cumsum(np.bincount(rows[kept], minlength=len(means)), out=indptr[1:])
    return sparse.csr_matrix(
        (counts[kept].astype(np.float32), columns[kept].astype(np.int32), indptr),
        shape=means.shape,
    )


def _invert(uniform, cumulated, mean, size):
    """Return the counts at which the distribution function reaches `uniform`."""
    counts = np.ones(len(uniform))
    mass = cumulated.copy()
    odds = mean / (mean + size)
    active = np.arange(len(uniform))
    for k in range(1, _LAST):
        mass *= odds[active] * (k - 1 + size[active]) / k
        cumulated = cumulated + mass
        going = uniform[active] >= cumulated
        counts[active[going]] = k + 1
        active, mass, cumulated = active[going], mass[going], cumulated[going]
        if not len(active):
            break
    return counts
