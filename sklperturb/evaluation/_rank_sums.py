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
    # A coordinate stored twice is one value; a slice of a file is a copy, not ours.
    block.sum_duplicates()
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
    order, ordered = _sorted_groups(group, x, n_groups)
    stored = np.bincount(order, minlength=n_groups)
    zeros = sizes - stored
    # Were no two values equal, a place would be the count of references before it.
    place = np.cumsum(order == 0, dtype=np.float64)
    tied = 0.0
    equal = ordered[1:] == ordered[:-1]
    if equal.any():
        tied = _resolve_ties(order, equal, place, n_groups)
    above = np.bincount(order, place, n_groups)
    # Every stored value exceeds every zero of the reference; zeros tie with zeros.
    u = above + stored * float(zeros[0]) + zeros * (zeros[0] / 2)
    both = (zeros + zeros[0]).astype(np.float64)
    return u, tied + _cubed_less_itself(both)


def _sorted_groups(group, x, n_groups):
    """Sort by value; return the groups in that order, and what tells values apart."""
    narrow = x.astype(np.float32)
    bits = int(n_groups - 1).bit_length()
    if bits < 32 and (x.dtype == np.float32 or np.array_equal(narrow, x)):
        # Value and group share one integer, which sorts several times faster than an
        # index. The bits of a float are ordered as it is, but for the sign; adding
        # 0 makes the two zeros one.
        key = (narrow + np.float32(0)).view(np.int32)
        key = np.where(key < 0, key ^ 0x7FFFFFFF, key) if (key < 0).any() else key
        packed = key.astype(np.int64) << bits
        packed |= group
        packed.sort()
        order = packed & ((1 << bits) - 1)
        packed >>= bits
        ordered = packed
    else:
        index = np.argsort(x)
        order, ordered = group[index], x[index]
    return order, ordered


def _resolve_ties(order, equal, place, n_groups):
    """Set tied values to their mean place; return t^3 - t summed by group."""
    inside = np.zeros(len(order), dtype=bool)
    inside[1:] = equal
    inside[:-1] |= equal
    at = np.flatnonzero(inside)
    first = np.append(True, ~equal)[at]
    run = np.cumsum(first) - 1
    starts = np.flatnonzero(first)
    ends = np.append(starts[1:], len(at)) - 1
    group = order[at]
    until = place[at[ends]]
    before = place[at[starts]] - (group[starts] == 0)
    place[at] = ((before + until) / 2)[run]
    references = until - before
    return _ties(group, run, references, n_groups)


def _ties(group, run, references, n_groups):
    """Sum t^3 - t over the runs, of the references and one group at a time."""
    r = references.astype(np.float64)
    alone = _cubed_less_itself(r)
    others = group != 0
    cell = run[others] * n_groups + group[others]
    if (cell[1:] < cell[:-1]).any():
        cell.sort()
    first = np.flatnonzero(np.append(True, cell[1:] != cell[:-1])[: len(cell)])
    counts = np.diff(np.append(first, len(cell)))
    at, member = np.divmod(cell[first], n_groups)
    t = counts + r[at]
    gained = np.bincount(member, _cubed_less_itself(t) - alone[at], n_groups)
    return alone.sum() + gained


def _cubed_less_itself(t):
    return t * (t * t - 1.0)
