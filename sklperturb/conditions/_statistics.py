"""Statistics of the response for every level of categorical columns."""

from dataclasses import dataclass
from itertools import pairwise
from numbers import Real

import numpy as np
from scipy import linalg, sparse

from sklperturb.conditions._levels import (
    indicator,
    level_counts,
    level_means,
    level_sums,
    take_levels,
)

# Levels of a column above which its equations are eliminated before the others.
_MANY_LEVELS = 1000
# Rows above which finding the inner products of all takes longer than it saves.
_MANY_ROWS = 2000


def parse_statistic(statistic):
    """Return (name, quantile or None) of a requested statistic."""
    if statistic in ("mean", "std"):
        return statistic, None
    if statistic == "median":
        return statistic, 0.5
    if isinstance(statistic, Real) and 0 < statistic < 1:
        return f"q{statistic:g}", float(statistic)
    raise ValueError(
        f"Statistic {statistic!r} is not known; allowed are 'mean', 'median', 'std' "
        "and a quantile as a float between 0 and 1."
    )


@dataclass
class LevelStatistics:
    """Shrunken statistics of one column.

    ``centre`` holds, a statistic, its value over all rows, (n_targets,), from which
    the levels' ``deviations``, (n_levels, n_targets), are measured and towards which
    they are shrunk.
    """

    deviations: list
    centre: list
    smooth: float

    @classmethod
    def of_columns(cls, codes, n_levels, y, plan, *, lambdas, balance, centres=None):
        """Return one LevelStatistics for each column of codes.

        `y` has the overall mean subtracted; `lambdas` shrinks each column, in rows.
        `centres`, one list a column, replaces the statistics over all rows of `y`.
        """
        residuals = [y] * len(codes)
        if balance and len(codes) > 1:
            residuals = _without_others(codes, n_levels, y, lambdas)
        centres = centres or [None] * len(codes)
        columns = zip(codes, n_levels, residuals, lambdas, centres, strict=True)
        return [
            cls._of_column(code, n, residual, plan, smooth, centre)
            for code, n, residual, smooth, centre in columns
        ]

    @classmethod
    def _of_column(cls, code, n_levels, residual, plan, smooth, centres):
        counts = level_counts(code, n_levels).astype(residual.dtype)
        sums = level_sums(code, n_levels, residual)
        mean = sums / np.maximum(counts, 1)[:, None]
        overall_mean = sums.sum(axis=0) / len(residual)
        # Each quantile needs the sorted rows of a level: sort them once for all.
        quantiles = [q for _, q in plan if q is not None]
        by_quantile = _level_quantiles(code, n_levels, residual, quantiles)
        found, weights = [], []
        for name, q in plan:
            if name == "std":
                squares = level_sums(code, n_levels, residual**2)
                values = _spread(squares, np.maximum(counts, 1)[:, None], mean)
                centre = _spread(squares.sum(axis=0), len(residual), overall_mean)
                found.append((values, centre))
                weights.append(counts - 1)  # one row says nothing about spread
            else:
                found.append((mean, overall_mean) if q is None else by_quantile[q])
                weights.append(counts)
        if centres is None:
            centres = [centre for _, centre in found]
        deviations = [
            _shrink(weight, smooth)[:, None] * (values - centre)
            for (values, _), weight, centre in zip(found, weights, centres, strict=True)
        ]
        return cls(deviations, centres, smooth)

    def projected(self, basis):
        """Return these statistics multiplied by an (n_targets, k) basis."""
        return LevelStatistics(
            [values @ basis for values in self.deviations],
            [values @ basis for values in self.centre],
            self.smooth,
        )


def joint_effects(codes, n_levels, centred, lambdas):
    """Return each column's level effects from one ridge fit on all columns.

    Solves the normal equations of the crossed design; with penalty lambda this is
    the best linear unbiased prediction of crossed random effects.
    """
    if max(n_levels) > _MANY_LEVELS:
        return _joint_effects_of_many(codes, n_levels, centred, lambdas)
    bounds = np.concatenate([[0], np.cumsum(n_levels)])
    gram = np.zeros((bounds[-1], bounds[-1]))
    right = np.empty((bounds[-1], centred.shape[1]), dtype=centred.dtype)
    for i, code in enumerate(codes):
        rows = slice(bounds[i], bounds[i + 1])
        right[rows] = level_sums(code, n_levels[i], centred)
        for j, other in enumerate(codes):
            pairs = _pair_counts(code, other, n_levels[i], n_levels[j])
            gram[rows, bounds[j] : bounds[j + 1]] = pairs
        # A crossed design is singular without a penalty; a level without rows too.
        gram[rows, rows] += np.eye(n_levels[i]) * _penalty(lambdas[i])
    solved = np.linalg.inv(gram).astype(centred.dtype) @ right
    return [solved[bounds[i] : bounds[i + 1]] for i in range(len(codes))]


def _pair_counts(first, second, n_first, n_second):
    """Return how many rows each pair of levels has, (n_first, n_second)."""
    seen = (first >= 0) & (second >= 0)
    pairs = first[seen] * n_second + second[seen]
    return np.bincount(pairs, minlength=n_first * n_second).reshape(n_first, n_second)


def joint_residuals(codes, n_levels, centred, lambdas, effects=None):
    """Return what the `joint_effects` of all columns, if known, leave of each row."""
    if effects is None:
        effects = joint_effects(codes, n_levels, centred, lambdas)
    return centred - sum(
        effect[code] for effect, code in zip(effects, codes, strict=True)
    )


def _penalty(smoothing):
    return max(min(smoothing, 1e6), 1e-3)


def _joint_effects_of_many(codes, n_levels, centred, lambdas):
    """Return what `joint_effects` does, in time that grows with the levels.

    A row has one level of a column, so that the equations of the column with the most
    levels are diagonal among themselves: they are eliminated, and the others solved.
    """
    most = int(np.argmax(n_levels))
    others = [i for i in range(len(codes)) if i != most]
    member = indicator(codes[most], n_levels[most])
    rest = [indicator(codes[i], n_levels[i]) for i in others]
    diagonal = np.asarray(member.sum(axis=0)).ravel() + _penalty(lambdas[most])
    right = (member.T @ centred) / diagonal[:, None]
    if not rest:
        return [right.astype(centred.dtype)]
    rest = sparse.hstack(rest, format="csr")
    crossed = (rest.T @ member).tocsr()
    sizes = [n_levels[i] for i in others]
    penalties = np.repeat([_penalty(lambdas[i]) for i in others], sizes)
    gram = (rest.T @ rest).toarray() + np.diag(penalties)
    gram -= (crossed.multiply(1 / diagonal) @ crossed.T).toarray()
    solved = np.linalg.solve(gram, rest.T @ centred - crossed @ right)
    own = right - (crossed.T @ solved) / diagonal[:, None]
    effects = np.split(solved, np.cumsum(sizes)[:-1])
    effects.insert(most, own)
    return [effect.astype(centred.dtype) for effect in effects]


def share_of_centre(code, n_levels, y):
    """Return which share, 0 to 1, of the mean of all rows holds for a new level.

    Each level's mean is predicted by a share of the mean of the others' rows. Levels
    count by their rows and not by how strong they are, as in a mean of row-wise errors.
    With a single level, nothing speaks against the mean: 1.
    """
    means, counts = level_means(code, n_levels, y)
    total = counts @ means
    along = energy = 0.0
    for mean, count in zip(means, counts, strict=True):
        size = np.linalg.norm(mean)
        if size > 0 and 0 < count < len(y):
            others = (total - count * mean) / (len(y) - count)
            along += count * (others @ mean) / size
            energy += count * (others @ others) / size
    return float(np.clip(along / energy, 0, 1)) if energy > 0 else 1.0


def share_of_mean(mean, residuals):
    """Return which share, 0 to 1, of the mean of all rows is more than their noise.

    The positive-part James-Stein estimate: the mean of rows of nothing but noise is
    long, however it points, and predicting it is worse than predicting zeros. Of one
    or two genes, and of a single row, it is 1.

    Parameters
    ----------
    mean : ndarray of shape (n_targets,)
    residuals : ndarray of shape (n_samples, n_targets)
        What the mean, and whatever else is predicted, leaves of each row; or rows as
        long, as of `compact_rows`.
    """
    n_samples, n_targets = len(residuals), len(mean)
    energy = float(mean @ mean)
    if n_samples < 2 or n_targets < 3 or energy == 0:
        return 1.0
    noise = float(np.vdot(residuals, residuals)) / (n_samples * (n_samples - 1))
    return max(1 - (1 - 2 / n_targets) * noise / energy, 0.0)


def compact_rows(y):
    """Return rows with the inner products of `y`'s rows, shorter where that pays.

    Variances pooled over targets depend on nothing else, and are far cheaper so, unless
    there are so many rows that it takes longer to find their inner products.
    """
    if y.shape[1] <= len(y) or len(y) > _MANY_ROWS:
        return y
    eigenvalues, vectors = linalg.eigh((y @ y.T).astype(np.float64))
    return vectors * np.sqrt(np.maximum(eigenvalues, 0))


def estimate_smoothing(codes, n_levels, y, *, crossed):
    """Return each column's shrinkage: variance within over variance between levels.

    With `crossed`, the variances of a column are those of what the other columns'
    effects leave; these depend on the shrinkage in turn, which is why the two are
    estimated in rounds. In one pass, the effect of a strong other column would count
    as noise and shrink everything.
    """
    residuals = [y] * len(codes)
    for _ in range(3):
        lambdas = list(map(_empirical_bayes, codes, n_levels, residuals))
        if not crossed or len(codes) == 1:
            break
        residuals = _without_others(codes, n_levels, y, lambdas)
    return lambdas


def _without_others(codes, n_levels, y, lambdas):
    """Return, for each column, what the joint effects of the others leave of `y`."""
    effects = joint_effects(codes, n_levels, y, lambdas)
    fitted = [
        take_levels(effect, code, 0.0)
        for effect, code in zip(effects, codes, strict=True)
    ]
    return [
        y - sum(part for j, part in enumerate(fitted) if j != i)
        for i in range(len(codes))
    ]


def _empirical_bayes(code, n_levels, centred):
    """Return within-level over between-level variance, pooled over targets."""
    counts = level_counts(code, n_levels)
    used = counts > 0
    n, n_used = counts.sum(), used.sum()
    total = float(np.einsum("ij,ij->", centred, centred, dtype=np.float64))
    sums = level_sums(code, n_levels, centred)
    between_ss = float((np.einsum("ij,ij->i", sums, sums)[used] / counts[used]).sum())
    if n_used < 2 or n <= n_used:
        # One level, or no replicate of any: no evidence on either variance.
        return 1.0
    within = max(total - between_ss, 0.0) / (n - n_used)
    # Method of moments for the random effect of an unbalanced one-way layout.
    effective = (n - (counts**2).sum() / n) / (n_used - 1)
    between = (between_ss / (n_used - 1) - within) / effective
    if between <= 1e-6 * max(within, 1e-300):
        return 1e6 if within > 0 else 0.0
    return within / between


def _spread(sum_of_squares, count, mean):
    return np.sqrt(np.maximum(sum_of_squares / count - mean**2, 0))


def _shrink(counts, smooth):
    counts = np.maximum(counts, 0).astype(np.float64)
    weight = np.zeros_like(counts)
    np.divide(counts, counts + smooth, out=weight, where=counts > 0)
    return weight.astype(np.float32)


def _level_quantiles(code, n_levels, residual, quantiles):
    """Return {quantile: ((n_levels, n_targets) values, (n_targets,) overall)}."""
    if not quantiles:
        return {}
    n_targets = residual.shape[1]
    values = {q: np.zeros((n_levels, n_targets), residual.dtype) for q in quantiles}
    # Genes along the first axis: each level's rows are then contiguous to sort.
    order = np.argsort(code, kind="stable")
    by_level = np.ascontiguousarray(residual[order].T)
    starts = np.searchsorted(code[order], np.arange(n_levels + 1))
    for level, (start, stop) in enumerate(pairwise(starts)):
        if start == stop:
            continue
        ordered = np.sort(by_level[:, start:stop], axis=1)
        for q in quantiles:
            values[q][level] = _interpolate(ordered, q)
    last = by_level.shape[1] - 1
    needed = {
        k for q in quantiles for k in (int(q * last), min(int(q * last) + 1, last))
    }
    by_level.partition(sorted(needed), axis=1)
    return {q: (values[q], _interpolate(by_level, q)) for q in quantiles}


def _interpolate(ordered, q):
    """Return quantile `q` along the last axis as numpy does.

    Its two neighbours must be in their sorted places.
    """
    position = q * (ordered.shape[1] - 1)
    low = int(position)
    high = min(low + 1, ordered.shape[1] - 1)
    return ordered[:, low] + (position - low) * (ordered[:, high] - ordered[:, low])
