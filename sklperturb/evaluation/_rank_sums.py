"""The rank-sum kernel: one gene against one reference, all groups at once."""

import numpy as np
from scipy import sparse, special


def rank_sums(block, codes, n_groups, transforms=()):
    r"""Compute U statistics and sums of all groups against group 0, gene by gene.

    All stored values of a gene are sorted once, with those of the reference among
    them. A value's place among the reference follows from a running count, so that
    neither groups nor reference are sorted again; zeros that are not stored are one
    long tie whose place is known.

    Parameters
    ----------
    block : sparse matrix or ndarray of shape (n_cells, n_genes)
    codes : ndarray of shape (n_cells,), int64
        Group of each cell; 0 is the reference.
    n_groups : int
        With the reference.
    transforms : sequence of callables
        Of values; must give 0 for 0.

    Returns
    -------
    u : ndarray of shape (n_groups, n_genes)
        U of the group: pairs in which its cell is greater than the reference's, ties
        counting one half.
    ties : ndarray of shape (n_groups, n_genes)
        Sum of :math:`t^3 - t` over the ties of group and reference together.
    sums : list of ndarray of shape (n_groups, n_genes)
        Sum of each of `transforms` over the cells of each group.
    """
    block = sparse.csc_array(block)
    if not block.has_canonical_format:
        block = block.copy()  # what it views is not ours
        block.sum_duplicates()  # a coordinate stored twice is one value
    values = block.data
    if values.dtype not in (np.float32, np.float64):
        values = values.astype(np.float64)
    groups = codes[block.indices]
    sizes = np.bincount(codes, minlength=n_groups)
    shape = (n_groups, block.shape[1])
    u, ties = np.empty(shape), np.empty(shape)
    sums = [np.empty(shape) for _ in transforms]
    transformed = [transform(values) for transform in transforms]
    negative = bool((values < 0).any())
    for gene in range(shape[1]):
        own = slice(block.indptr[gene], block.indptr[gene + 1])
        group, x = groups[own], values[own]
        for total, weights in zip(sums, transformed, strict=True):
            total[:, gene] = np.bincount(group, weights[own], n_groups)
        if negative:
            # Zeros are no longer the smallest values, so they are ranked as any other.
            present = np.zeros(len(codes), x.dtype)
            present[block.indices[own]] = x
            group, x = codes, present
        elif not x.all():
            group, x = group[x != 0], x[x != 0]
        u[:, gene], ties[:, gene] = _one_gene(group, x, sizes)
    return u, ties, sums


def p_values(u, ties, sizes):
    """Return two-sided p-values of U statistics, with corrections.

    The normal approximation, corrected for ties and continuity. Where all values of
    group and reference are equal, p is 1.

    Parameters
    ----------
    u, ties : ndarray of shape (n_groups, n_genes)
    sizes : ndarray of shape (n_groups,)
        Cells of each group; the reference is the first.
    """
    n_reference = float(sizes[0])
    n_group = sizes.astype(np.float64)[:, None]
    n = n_reference + n_group
    mean = n_reference * n_group / 2
    # A group of one cell against one has n = 2, never 1.
    variance = n_reference * n_group / 12 * ((n + 1) - ties / (n * (n - 1)))
    with np.errstate(divide="ignore", invalid="ignore"):
        z = (np.abs(u - mean) - 0.5) / np.sqrt(variance)
    p = 2 * special.ndtr(-z)
    return np.where(variance > 0, np.minimum(p, 1.0), 1.0)


def _one_gene(group, x, sizes):
    """Return U and ties of a gene whose values, other than zeros, are given."""
    n_groups = len(sizes)
    stored = np.bincount(group, minlength=n_groups)
    zeros = sizes - stored
    # Every stored value exceeds every zero of the reference; zeros tie with zeros.
    u = stored * float(zeros[0]) + zeros * (zeros[0] / 2)
    ties = _cubed_less_itself((zeros + zeros[0]).astype(np.float64))
    if not len(x):
        return u, ties
    packed, bits = _sorted_with_groups(x, group, n_groups)
    # Equal values of one group are neighbours, and those of the reference come first.
    starts, counts = _runs(packed)
    counts = counts.astype(np.float64)
    packed = packed[starts]
    group = packed & ((1 << bits) - 1)
    packed >>= bits
    first, lengths = _runs(packed)
    # Of each value: how many of the reference equal it, and how many are less.
    equal = counts[first] * (group[first] == 0)
    below = np.cumsum(equal) - equal
    u += np.bincount(group, counts * np.repeat(below + equal / 2, lengths), n_groups)
    alone = _cubed_less_itself(equal)
    together = counts + np.repeat(equal, lengths)
    gained = _cubed_less_itself(together) - np.repeat(alone, lengths)
    gained = np.bincount(group, gained, n_groups)
    gained[0] = 0.0
    return u, ties + alone.sum() + gained


def _sorted_with_groups(x, group, n_groups):
    """Return sorted integers, ordered as value and group, and the bits of the group."""
    bits = int(n_groups - 1).bit_length()
    narrow = x.astype(np.float32, copy=False)
    if bits < 32 and (x.dtype == np.float32 or np.array_equal(narrow, x)):
        # The bits of a float are ordered as it is, but for the sign; adding 0 makes
        # the two zeros one.
        key = (narrow + np.float32(0)).view(np.int32)
        key = np.where(key < 0, key ^ 0x7FFFFFFF, key) if (key < 0).any() else key
    else:
        # What does not fit goes by its rank.
        index = np.argsort(x)
        x, group = x[index], group[index]
        key = np.cumsum(np.append(False, x[1:] != x[:-1]))
    # One integer sorts several times faster than an index.
    packed = key.astype(np.int64) << bits
    packed |= group
    packed.sort()
    return packed, bits


def _runs(ordered):
    """Return where runs of equal values start, and how long they are."""
    new = np.ones(len(ordered) + 1, dtype=bool)  # as if another value came behind
    np.not_equal(ordered[1:], ordered[:-1], out=new[1:-1])
    bounds = np.flatnonzero(new)
    return bounds[:-1], np.diff(bounds)


def _cubed_less_itself(t):
    return t * (t * t - 1.0)
