"""Correlation of measurements with the truth, from that of measurements."""

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from sklperturb.uncertainty._ceiling_noise import effective_genes, rooted, some_of

_DRAWS = 1000  # responses that are generated


def _centred(y):
    return y - y.mean(axis=1, keepdims=True)


# Two rows correlate by the cosine of these.
TRANSFORMS = {
    "pearson": _centred,
    "spearman": lambda y: _centred(rankdata(y, axis=1)),
    "cosine": lambda y: y,
}


def agreement_with_truth(metric, y, codes, levels, *, n_merged=1, random_state):
    """Return the correlation of rows with the true means of their conditions.

    Parameters
    ----------
    metric : {"pearson", "spearman", "cosine"}
    y : ndarray of shape (n_rows, n_genes)
        Rows of conditions that were measured more than once.
    codes, levels : ndarray of int of shape (n_rows,)
        Conditions, from 0, and replicates.
    n_merged : {1, 2}, default=1
        Of how many such measurements the response is the mean.
    random_state : RandomState

    Returns
    -------
    correlations : ndarray of shape (n_conditions,)
        With the noise of each estimate, so that their spread is that of the mean.
    n_genes : float
        Effective number of genes.
    """
    transform = TRANSFORMS[metric]
    unit = _to_unit(transform(y))
    agreement, counts = _pair_means(unit, codes, levels)
    deviations = unit - _condition_means(unit, codes)[codes]
    n_genes = effective_genes(deviations, codes)
    roots = _root(agreement, counts, n_genes, n_merged)
    roots = _with_noise(roots, agreement, counts, n_genes, n_merged)
    if metric == "spearman":
        # The true mean is not the best prediction of ranks: expected ranks are.
        roots = roots * _ranks_of_truth(y, codes, n_genes, n_merged, random_state)
    return roots, n_genes


def stepped_up(agreement, n_merged):
    """Return the agreement of means of `n_merged` rows, by Spearman and Brown."""
    return n_merged * agreement / (1 + (n_merged - 1) * agreement)


def gene_reliability(y, codes, genes, n_merged=1):
    """Return the share of each gene's variance that conditions have, not noise.

    Parameters
    ----------
    y : ndarray of shape (n_rows, n_genes)
    codes : ndarray of int of shape (n_rows,)
        Conditions, from 0.
    genes : sequence
        Names.
    n_merged : int, default=1

    Returns
    -------
    reliability : Series of float
        By analysis of variance, so that it may be below 0; NaN for a constant gene.
    """
    counts = np.bincount(codes).astype(float)
    n, n_rows = len(counts), len(y)
    reliability = np.full(y.shape[1], np.nan)
    if n > 1 and n_rows > n:
        means = _condition_means(y, codes)
        within = ((y - means[codes]) ** 2).sum(axis=0) / (n_rows - n)
        shift = means - y.mean(axis=0)
        between = (counts[:, None] * shift**2).sum(axis=0) / (n - 1)
        size = (n_rows - (counts**2).sum() / n_rows) / (n - 1)
        signal, noise = (between - within) / size, within / n_merged
        total = signal + noise
        np.divide(signal, total, out=reliability, where=total > 0)
    return pd.Series(reliability, index=genes, name="reliability")


def _root(agreement, counts, n_genes, n_merged):
    """Return the roots of the agreement of conditions, less their noise."""
    noise = _noise(agreement, counts, n_genes)
    squared = np.minimum(rooted(agreement, noise, counts) ** 2, 1.0)
    return np.sqrt(stepped_up(squared, n_merged))


def _noise(agreement, counts, n_genes):
    """Return the variance of the agreement of single conditions by chance."""
    rho = np.clip(np.average(agreement, weights=counts), 0.0, 1.0)
    noise = 4 / counts * rho * (1 - rho) + 2 / (counts * (counts - 1))
    return (1 - rho) ** 2 * (noise + 2 / counts * rho**2) / n_genes


def _with_noise(roots, agreement, counts, n_genes, n_merged):
    """Return values of the same mean that vary as the estimates do, to first order."""
    mean = np.average(roots, weights=counts)
    rho = np.average(agreement, weights=counts)
    # Where there is next to nothing, the root is steep: no more than chance is.
    chance = np.average(_noise(agreement, counts, n_genes)) / len(counts)
    chance = stepped_up(np.sqrt(chance), n_merged)
    slope = n_merged / (1 + (n_merged - 1) * max(rho, 0.0)) ** 2
    slope /= 2 * max(mean, np.sqrt(chance), 1e-12)
    return mean + slope * (agreement - rho)


def _ranks_of_truth(y, codes, n_genes, n_merged, random_state):
    """Return how far true means are behind expected ranks, on responses made alike."""
    means, residuals = _condition_means(y, codes), y.copy()
    residuals -= means[codes]
    counts = np.bincount(codes)
    residuals *= np.sqrt(counts / (counts - 1))[codes][:, None]
    noise = np.bincount(codes, weights=(residuals**2).mean(axis=1)) / counts
    centred = _centred(means)
    size = (centred**2).mean(axis=1)
    # Means of few rows spread more than the truth.
    signal = size - noise / counts
    chosen = some_of(np.flatnonzero(signal > 0))
    if len(chosen) < 2:
        return 1.0
    chosen = np.tile(chosen, -(-_DRAWS // len(chosen)))
    truth = centred[chosen] * np.sqrt(signal[chosen] / size[chosen])[:, None]
    rows, others = random_state.randint(len(y), size=(2, len(chosen)))
    # Residuals of one condition are no independent noise.
    while (clash := codes[rows] == codes[others]).any():
        others[clash] = random_state.randint(len(y), size=clash.sum())
    first, second = truth + residuals[rows], truth + residuals[others]
    scored = [first, second] if n_merged == 1 else [(first + second) / 2]
    reached = np.mean([_correlate(each, truth) for each in scored])
    pairs = _correlate(first, second)
    best = _root(pairs, np.full(len(pairs), 2), n_genes, n_merged).mean()
    return min(reached / best, 1.0) if best > 0 else 1.0


def _correlate(first, second):
    ranks = (_to_unit(TRANSFORMS["spearman"](part)) for part in (first, second))
    return np.einsum("ij,ij->i", *ranks)


def _pair_means(unit, codes, levels):
    """Return the mean cosine of rows of different replicates, and sizes."""
    n = codes.max() + 1
    own = np.unique(np.stack([codes, levels]), axis=1, return_inverse=True)
    (of, _), group = own[0], np.ravel(own[1])
    sums = np.zeros((len(of), unit.shape[1]))
    np.add.at(sums, group, unit)
    sizes = np.bincount(group)
    totals = np.zeros((n, unit.shape[1]))
    np.add.at(totals, of, sums)
    all_rows = np.bincount(codes, minlength=n)
    cross = np.einsum("ij,ij->i", totals, totals)
    cross -= np.bincount(of, weights=np.einsum("ij,ij->i", sums, sums), minlength=n)
    n_pairs = all_rows**2 - np.bincount(of, weights=sizes**2, minlength=n)
    return cross / n_pairs, np.bincount(of, minlength=n)


def _condition_means(y, codes):
    sums = np.zeros((codes.max() + 1, y.shape[1]))
    np.add.at(sums, codes, y)
    return sums / np.bincount(codes)[:, None]


def _to_unit(y):
    norms = np.linalg.norm(y, axis=1, keepdims=True)
    return np.divide(y, norms, out=np.zeros_like(y, dtype=float), where=norms > 0)
