"""Counts of perturbed cells, made of the counts of control cells."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.utils import check_random_state

from sklperturb.cells._blocks import stored_values, to_dense
from sklperturb.cells._counts import log_normalise
from sklperturb.cells._strengths import (
    LARGEST_SPREAD,
    ratios_of_levels,
    strength_levels,
)

_BLOCK_VALUES = 2**22  # drawn at once
# Of controls that a model keeps: cells, and counts that are not zero.
_MOST_CELLS, _MOST_VALUES = 5000, 2**24
_LARGEST_LOG = 12.0  # of expression; e^12 of 10^4 is absurd
_LARGEST_CHANGE = 12.0  # natural logarithm; e^12 counts for one are absurd
_DISPERSIONS = 1e-6, 100.0  # below, a gene is Poisson, the limit of none
# A gene that no control shows is taken to have so many counts in all of them.
_UNSEEN_COUNTS = 0.5
_SAME = 1e-12  # ratios nearer to one than that leave counts as they are


@dataclass(frozen=True)
class CountRates:
    """What the counts of a population say of its genes.

    Attributes
    ----------
    shares : ndarray of shape (n_genes,)
        Of all counts; of a gene without any that of half a count.
    floor : float
        The share of half a count.
    dispersion : ndarray of shape (n_genes,)
        Of a negative binomial: its variance is ``mean + dispersion * mean ** 2``, with
        the means of cells proportional to their sizes. By moments.
    """

    shares: np.ndarray
    floor: float
    dispersion: np.ndarray

    @classmethod
    def of(cls, counts):
        """Return the rates of a csr_array of counts (n_cells, n_genes)."""
        # Squares of counts do not fit the narrow types in which counts are kept.
        counts = counts.astype(np.float64)
        sizes = _totals(counts, axis=1)
        sums = _totals(counts, axis=0)
        total = max(sizes.sum(), 1.0)
        floor = _UNSEEN_COUNTS / total
        shares = np.maximum(sums / total, floor)
        # With y counts and m expected: E (y - m)^2 = m + dispersion * m^2.
        products = (counts.T @ sizes) * shares
        squares = np.maximum(shares**2 * np.square(sizes).sum(), 1e-300)
        own = _totals(counts.multiply(counts), axis=0)
        dispersion = (own - 2 * products + squares - sums) / squares
        dispersion = np.where(sums > 0, dispersion, 0.0).clip(*_DISPERSIONS)
        return cls(shares, floor, dispersion)

    def ratios(self, log_fold_change):
        """Return the ratio of each gene's share, so that shares add up to one."""
        limits = -_LARGEST_CHANGE, _LARGEST_CHANGE
        ratios = np.exp(np.clip(log_fold_change, *limits))
        ratios = ratios * (self.shares.sum() / (self.shares @ ratios))
        ratios[np.abs(ratios - 1.0) < _SAME] = 1.0
        return ratios


def perturb_counts(
    counts, log_fold_change, rows=None, *, spread=0.0, random_state=None
):
    r"""Return the counts of control cells as they would be after a change of rates.

    Counts are thinned where a gene falls, and added to where it rises, so that a gene
    that is negative binomial in the controls is so in the result, with its mean
    changed as asked for and its dispersion kept. Each cell stays the control that it
    was in all else: its size, its state, and what genes have in common. Without a
    change the counts come back as they are.

    Parameters
    ----------
    counts : sparse matrix or ndarray of shape (n_controls, n_genes)
        Whole counts of control cells of one context.
    log_fold_change : array-like of shape (n_genes,)
        Natural logarithm of the ratio of each gene's share of all counts, perturbed to
        control. It is shifted so that shares add up to one: sizes of cells stay. A
        gene without counts starts from half a count in all controls.
    rows : array-like of int of shape (n_cells,), default=None
        Controls to make cells of, once each time that they are named. None is all.
    spread : float, default=0.0
        Variance of the strength with which cells respond, whose mean is one: 0 is all
        alike, at most 2. The expected profile is the same with any.
    random_state : int, RandomState instance or None, default=None
        Seed.

    Returns
    -------
    perturbed : csr_array or ndarray of shape (n_cells, n_genes)
        Whole counts, sparse where `counts` are.

    Raises
    ------
    ValueError
        If `counts` are no counts, `log_fold_change` is not finite or has another
        length than there are genes, or `spread` is out of range.

    Notes
    -----
    A count of a gene with the ratio :math:`r < 1` is kept with probability `r`. With
    :math:`r > 1`, a Poisson count of mean :math:`(r - 1) \lambda` is added, where
    :math:`\lambda` is drawn from the gamma distribution that the rate of the cell has
    given its count. A gamma-Poisson count with rate :math:`r \lambda` is the sum of
    one of :math:`\lambda` and one of :math:`(r - 1) \lambda`, so that both are exact.

    With a `spread`, strengths have a beta distribution. A cell of strength `a` has
    ratios :math:`\exp(a b_g - c_a)`, where `b` is such that the mean over cells is the
    ratio that was asked for, and `c` such that the cell keeps its size.

    Examples
    --------
    >>> import numpy as np
    >>> from sklperturb.cells import perturb_counts
    >>> controls = np.random.default_rng(0).poisson(4, (500, 2))
    >>> cells = perturb_counts(controls, np.log([0.5, 1.5]), random_state=0)
    >>> (cells.mean(axis=0) / controls.mean(axis=0)).round(1).tolist()
    [0.5, 1.5]
    """
    is_sparse = sparse.issparse(counts)
    stored = stored_values(counts)
    if stored.size and not (stored.min() >= 0 and np.array_equal(stored, stored // 1)):
        raise ValueError("counts must be whole numbers, 0 or more; pass raw counts.")
    cells = sparse.csr_array(counts)
    change = np.asarray(log_fold_change, dtype=np.float64)
    if change.shape != cells.shape[1:] or not np.isfinite(change).all():
        raise ValueError(
            f"log_fold_change must be {cells.shape[1]} finite numbers, one for each "
            f"gene; it has the shape {change.shape}."
        )
    if not 0 <= spread <= LARGEST_SPREAD:
        raise ValueError(f"spread={spread!r} must be from 0 to {LARGEST_SPREAD:g}.")
    rows = np.arange(cells.shape[0]) if rows is None else np.asarray(rows)
    seed = check_random_state(random_state).randint(2**31 - 1)
    rng = np.random.default_rng(seed)
    perturbed = draw_perturbed(cells, change, rows, CountRates.of(cells), rng, spread)
    # The type of the counts, unless it is too narrow for those that rose.
    kind = np.min_scalar_type(int(perturbed.data.max(initial=0)))
    perturbed = perturbed.astype(np.promote_types(stored.dtype, kind))
    return perturbed if is_sparse else to_dense(perturbed)


def draw_perturbed(counts, log_fold_change, rows, rates, rng, spread=0.0):
    """Return perturbed counts (n_rows, n_genes) of rows of a csr_array of controls.

    What `perturb_counts` does, with the `rates` of the context that the controls are
    of, and a generator of random numbers.
    """
    ratios = rates.ratios(log_fold_change)
    ratios = ratios_of_levels(strength_levels(spread), ratios, rates.shares)
    n_levels, n_rising = len(ratios), int((ratios > 1).any(axis=0).sum())
    levels = np.zeros(len(rows), dtype=np.intp)
    if n_levels > 1:
        # Each strength as often as any other, so that few cells have the mean of many.
        rounds = -(-len(rows) // n_levels)
        dealt = [rng.permutation(n_levels) for _ in range(rounds)]
        levels = np.concatenate([*dealt, levels[:0]])[: len(rows)]
    step = max(_BLOCK_VALUES // max(n_rising, 1), 1)
    drawn = []
    for start in range(0, max(len(rows), 1), step):
        block = slice(start, start + step)
        drawn.append(_draw(counts[rows[block]], ratios, levels[block], rates, rng))
    return sparse.vstack(drawn, format="csr")


def log_fold_changes(before, after, floor):
    """Return logarithms of ratios of rates, from mean logarithms of expression.

    Parameters
    ----------
    before, after : ndarray of shape (n_genes,)
        Mean log(1 + counts at a common depth), of controls and of perturbed cells.
    floor : float
        Counts at that depth below which a gene is not seen.

    Returns
    -------
    log_fold_change : ndarray of shape (n_genes,)
    """
    rates = (np.expm1(np.maximum(logs, 0.0)) + floor for logs in (after, before))
    return np.log(next(rates)) - np.log(next(rates))


@dataclass(frozen=True)
class CountChange:
    """From changes of mean logarithms to ratios of rates, in one population."""

    rates: CountRates
    logs: np.ndarray
    target_sum: float

    @classmethod
    def of(cls, counts, target_sum):
        logs = log_normalise(counts, target_sum).mean(axis=0)
        return cls(CountRates.of(counts), np.asarray(logs).ravel(), target_sum)

    def fold(self, change):
        """Return log ratios of a change of mean log(1 + counts at `target_sum`).

        The logarithms that it starts at are measured, not decoded, so that what the
        way back gets wrong cancels.
        """
        floor = self.rates.floor * self.target_sum
        after = np.clip(self.logs + change, 0.0, _LARGEST_LOG)
        return log_fold_changes(self.logs, after, floor)


@dataclass
class ControlCells:
    """Counts of some measured cells, of which perturbed ones are made.

    Attributes
    ----------
    n_genes : int
    places : ndarray of int of shape (n_cells,)
        Rows among the conditions of the controls.
    counts : csr_array of shape (n_cells, n_genes)
        In the narrowest type of whole numbers.
    """

    n_genes: int
    places: np.ndarray
    counts: sparse.csr_array

    @classmethod
    def choose(cls, cells, rows, groups):
        """Keep some of `rows` of opened cells, of each group its share.

        As many as have `_MOST_VALUES` counts that are not zero, `_MOST_CELLS` at most.
        """
        order = np.argsort(np.asarray(groups), kind="stable")
        sample = rows[np.unique(np.linspace(0, len(rows) - 1, 64).astype(int))]
        stored = max(sparse.csr_array(cells.rows(sample)).nnz / len(sample), 1.0)
        n_kept = int(min(len(rows), _MOST_CELLS, max(_MOST_VALUES // stored, 1)))
        evenly = (np.arange(n_kept) + 0.5) * (len(rows) / n_kept)
        places = np.sort(order[evenly.astype(int)])
        counts = sparse.csr_array(cells.rows(rows[places]))
        counts.eliminate_zeros()
        kind = np.min_scalar_type(int(counts.data.max(initial=0)))
        return cls(counts.shape[1], places, counts.astype(kind))

    def perturb(self, drawn, groups, changes, contexts, target_sum, rng, spreads):
        """Return counts of perturbed cells in place of those that were drawn.

        Parameters
        ----------
        drawn : ndarray of int of shape (n_cells,)
        groups : ndarray of int of shape (n_cells,)
            What happens to each cell: the row of `changes`.
        changes : callable
            Of a group; returns the change of mean log(1 + counts at `target_sum`).
        contexts : ndarray of shape (n_kept,)
            Context of each cell that is kept.
        target_sum : float
        rng : numpy Generator
        spreads : callable
            Of a context; returns the variance of strengths in it.

        Returns
        -------
        perturbed : csr_array of shape (n_cells, n_genes), float32
        """
        codes, levels = pd.factorize(contexts, sort=True)
        keys = pd.DataFrame({"group": groups, "context": codes[drawn]})
        made, order, starts = [], [], {}
        for (group, context), rows in keys.groupby(
            ["group", "context"]
        ).indices.items():
            if context not in starts:
                own = self.counts[np.flatnonzero(codes == context)]
                starts[context] = CountChange.of(own, target_sum)
            start = starts[context]
            fold = start.fold(changes(group))
            given = self.counts, fold, drawn[rows], start.rates, rng
            made.append(draw_perturbed(*given, spreads(levels[context])))
            order.append(rows)
        back = np.argsort(np.concatenate(order))
        return sparse.vstack(made, format="csr")[back].astype(np.float32)


def _draw(cells, ratios, levels, rates, rng):
    """Return perturbed counts in place of those of cells, which are a copy.

    `ratios` has a row for each level of strength, and `levels` that of each cell.
    """
    rising = np.flatnonzero((ratios > 1).any(axis=0))
    shape = 1.0 / rates.dispersion[rising]
    sizes = _totals(cells, axis=1)
    expected = np.maximum(sizes[:, None] * rates.shares[rising], 1e-300)
    rate = rng.gamma(shape + to_dense(cells[:, rising])) / (shape / expected + 1.0)
    more = rng.poisson(rate * np.maximum(ratios[:, rising] - 1.0, 0.0)[levels])
    row, column = more.nonzero()
    added = (more[row, column], (row, rising[column]))
    of_counts = np.repeat(levels, np.diff(cells.indptr))
    kept = np.minimum(ratios, 1.0)[of_counts, cells.indices]
    whole = cells.data.astype(np.int64)
    cells = sparse.csr_array(
        (rng.binomial(whole, kept), cells.indices, cells.indptr), shape=cells.shape
    )
    cells = cells + sparse.csr_array(added, shape=cells.shape)
    cells.eliminate_zeros()
    return cells


def _totals(counts, axis):
    return np.asarray(counts.sum(axis=axis), dtype=np.float64).ravel()
