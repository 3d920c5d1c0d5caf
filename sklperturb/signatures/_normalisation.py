"""Effective library sizes, and which genes are expressed."""

import numpy as np
from scipy.stats import rankdata


def tmm_factors(counts, *, trim_ratio=0.3, trim_level=0.05):
    """Return factors by which library sizes are multiplied, with geometric mean 1.

    The trimmed mean of M-values [1]_: each sample is compared with a reference sample;
    the weighted mean of the log ratios of genes that are neither extreme in their ratio
    nor in their level says how much of its depth went to other genes.

    Parameters
    ----------
    counts : ndarray of shape (n_samples, n_genes)
    trim_ratio, trim_level : float
        Share of genes cut off at either end, by log ratio and by mean log level.

    Returns
    -------
    factors : ndarray of shape (n_samples,)

    References
    ----------
    .. [1] Robinson and Oshlack, "A scaling normalization method for differential
       expression analysis of RNA-seq data", Genome Biology 11, R25, 2010.
       :doi:`10.1186/gb-2010-11-3-r25`
    """
    counts = counts[:, counts.any(axis=0)]
    depth = counts.sum(axis=1)
    upper = np.quantile(counts, 0.75, axis=1) / depth
    if np.median(upper) < 1e-20:
        reference = int(np.argmax(np.sqrt(counts).sum(axis=1)))
    else:
        reference = int(np.argmin(np.abs(upper - upper.mean())))
    logs = [
        _log_factor(
            row, counts[reference], size, depth[reference], trim_ratio, trim_level
        )
        for row, size in zip(counts, depth, strict=True)
    ]
    return np.exp2(logs - np.mean(logs))


def _log_factor(sample, reference, depth, reference_depth, trim_ratio, trim_level):
    both = (sample > 0) & (reference > 0)
    share, reference_share = sample[both] / depth, reference[both] / reference_depth
    ratio = np.log2(share) - np.log2(reference_share)
    if np.abs(ratio).max(initial=0.0) < 1e-6:
        return 0.0
    level = (np.log2(share) + np.log2(reference_share)) / 2
    variance = (1 - share) / sample[both] + (1 - reference_share) / reference[both]
    kept = _between(ratio, trim_ratio) & _between(level, trim_level)
    if not kept.any():
        return 0.0
    return np.average(ratio[kept], weights=1 / variance[kept])


def _between(values, trim):
    ranks, n = rankdata(values), len(values)
    low = np.floor(n * trim) + 1
    return (ranks >= low) & (ranks <= n + 1 - low)


def median_ratio_factors(counts):
    """Return factors of the library sizes from medians of ratios, geometric mean 1.

    References
    ----------
    .. [1] Anders and Huber, "Differential expression analysis for sequence count data",
       Genome Biology 11, R106, 2010. :doi:`10.1186/gb-2010-11-10-r106`
    """
    everywhere = (counts > 0).all(axis=0)
    if not everywhere.any():
        raise ValueError(
            "No gene has counts in all samples, so there are no size factors. Use "
            "normalization='tmm', or leave out samples of few cells."
        )
    logs = np.log(counts[:, everywhere])
    size = np.median(logs - logs.mean(axis=0), axis=1)
    factors = size - np.log(counts.sum(axis=1))
    return np.exp(factors - factors.mean())


def expressed(counts, groups, min_count, *, min_total=15, large=10, share=0.7):
    """Return which genes have enough counts in enough samples, as edgeR's filter does.

    Parameters
    ----------
    counts : ndarray of shape (n_samples, n_genes)
    groups : ndarray of shape (n_samples,)
        Codes of the conditions.
    min_count : float
        Counts that a gene needs, in a sample of median depth, in as many samples as the
        smallest group has (of more than `large`, in that `share`).
    min_total : float
        Counts over all samples.

    Returns
    -------
    mask : ndarray of shape (n_genes,)

    References
    ----------
    .. [1] Chen, Lun and Smyth, "From reads to genes to pathways", F1000Research 5,
       1438, 2016. :doi:`10.12688/f1000research.8987.2`
    """
    sizes = np.bincount(groups)
    smallest = sizes[sizes > 0].min()
    if smallest > large:
        smallest = large + (smallest - large) * share
    depth = counts.sum(axis=1)
    rate = counts / depth[:, None] >= min_count / np.median(depth)
    enough = rate.sum(axis=0) >= smallest - 1e-14
    return enough & (counts.sum(axis=0) >= min_total - 1e-14)
