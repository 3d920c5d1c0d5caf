"""Cells of one population that respond more and less: strengths, and their spread."""

from dataclasses import dataclass

import numpy as np
from scipy.special import betainc, betaincinv

LARGEST_SPREAD = 2.0  # variance of strengths, whose mean is one
_N_LEVELS = 24
_SMALLEST_SPREAD = 1e-4  # of which nothing is seen in counts
# Strengths are a beta distribution up to 1 / 0.6, and farther where they vary more.
_MEAN, _REACH = 0.6, 1.25
_STEEPEST = 3.0  # times the logarithm of the ratio, of a cell of strength one
_GRID = np.sinh(np.linspace(-4.5, 4.5, 451))  # logarithms, up to 45
_MOST_ROUNDS, _CLOSE = 50, 1e-5


def strength_levels(variance):
    """Return equally likely strengths of cells, with mean one and about a variance.

    The means of equal parts of a beta distribution from 0 to 1.67, or farther where
    the variance is above 0.53. With little variance it has one peak, and with much of
    it two: cells that hardly respond, and cells that do.

    Parameters
    ----------
    variance : float

    Returns
    -------
    levels : ndarray of shape (n_levels,)
        One level where there is no variance.
    """
    if variance < _SMALLEST_SPREAD:
        return np.ones(1)
    mean = min(_MEAN, 1 / (1 + _REACH * variance))
    size = (1 - mean) / (mean * variance) - 1
    a, b = mean * size, (1 - mean) * size
    edges = betaincinv(a, b, np.linspace(0, 1, _N_LEVELS + 1))
    return _N_LEVELS * np.diff(betainc(a + 1, b, edges))


def ratios_of_levels(levels, ratios, shares):
    r"""Return the ratios of genes in cells of each strength.

    A cell of strength `a` has the ratio :math:`\exp(a b_g - c_a)` of the gene `g`, with
    `b` and `c` such that the mean over levels is the ratio that is asked for, and the
    shares in a cell add up to what they did: the profile of the population is exactly
    the same, and sizes of cells are, but for rounding.

    Parameters
    ----------
    levels : ndarray of shape (n_levels,)
        Equally likely strengths.
    ratios : ndarray of shape (n_genes,)
        With ``shares @ ratios == shares.sum()``.
    shares : ndarray of shape (n_genes,)
        Of the counts of unperturbed cells.

    Returns
    -------
    ratios : ndarray of shape (n_levels, n_genes)
    """
    logs = np.log(ratios)
    if len(levels) == 1 or not logs.any():
        return ratios[None]
    # Sizes are found on a grid of logarithms, which stand for those of all genes.
    weights = _spread(logs, shares / shares.sum())
    powers = np.exp(levels[:, None] * _GRID)
    sizes = np.zeros(len(levels))
    for _ in range(_MOST_ROUNDS):
        before = sizes
        slopes = np.exp(levels[:, None] * _slopes(_GRID, powers, before))
        sizes = np.log(slopes @ weights)
        if np.abs(sizes - before).max() < _CLOSE:
            break
    slopes = _slopes(logs, powers, sizes)
    result = np.exp(levels[:, None] * slopes - sizes[:, None])
    return result * (ratios / result.mean(axis=0))


def _slopes(logs, powers, sizes):
    """Return the slopes at which the mean over levels has given logarithms."""
    found = np.log((powers * np.exp(-sizes)[:, None]).mean(axis=0))
    steepest = _STEEPEST * np.abs(logs)
    return np.clip(np.interp(logs, found, _GRID), -steepest, steepest)


def _spread(logs, weights):
    """Return the weights of points of the grid that stand for those of logarithms."""
    right = np.clip(np.searchsorted(_GRID, logs), 1, len(_GRID) - 1)
    left, step = _GRID[right - 1], _GRID[right] - _GRID[right - 1]
    part = np.clip((logs - left) / step, 0, 1)
    binned = np.bincount(right, weights * part, len(_GRID))
    return binned + np.bincount(right - 1, weights * (1 - part), len(_GRID))


@dataclass
class SpreadEvidence:
    """What measured cells say of the spread of strengths, one value a condition.

    Attributes
    ----------
    contexts : list of str
    excess : list of float
        Variance of measured cells along the effect, beyond that of cells which were
        generated with one strength.
    gain : list of float
        What a variance of strengths of one adds to that of generated cells.
    noise : list of float
        Variance of `excess` by the number of cells.
    """

    contexts: list
    excess: list
    gain: list
    noise: list

    def add(self, context, start, measured, made, tried):
        """Compare cells of one condition, as points of a space.

        Parameters
        ----------
        context : str
        start, measured : ndarray of shape (n_cells, n_dimensions)
            Controls and measured cells.
        made : tuple of two ndarray of shape (n_cells, n_dimensions)
            Cells that were generated with one strength, and with the spread `tried`.
        tried : float
        """
        order = np.random.default_rng(0).permutation(len(measured))
        halves = order[::2], order[1::2]
        found = []
        # The direction is of other cells than the variance, which it would raise.
        for half, other in (halves, halves[::-1]):
            move = measured[other].mean(axis=0) - start.mean(axis=0)
            move /= max(np.linalg.norm(move), 1e-300)
            found.append([(x @ move).var(ddof=1) for x in (measured[half], *made)])
        own, one, several = np.mean(found, axis=0)
        self.contexts.append(context)
        self.excess.append(own - one)
        self.gain.append((several - one) / tried)
        self.noise.append(2 * own**2 / len(measured) + 2 * one**2 / len(made[0]))

    def pooled(self):
        """Return the variance of strengths, shrunken to none by what chance makes.

        Returns
        -------
        spread : float
            Over all contexts.
        spreads : dict of str to float
            By context, moved towards `spread` by as much as chance tells them apart.
        """
        names = np.array(self.contexts, dtype=object)
        levels = sorted(set(self.contexts))
        found = [self._of(names == name) for name in levels]
        spread, error = self._of(np.full(len(names), True))
        if spread <= 0:
            return 0.0, dict.fromkeys(levels, 0.0)
        spread = min(spread * max(1 - error / spread**2, 0.0), LARGEST_SPREAD)
        if not spread or len(levels) < 2:
            return float(spread), dict.fromkeys(levels, float(spread))
        own, errors = np.transpose(found)
        # What contexts differ in by more than chance, by moments.
        weights = 1 / np.maximum(errors, 1e-300)
        beyond = weights @ np.square(own - weights @ own / weights.sum())
        scale = weights.sum() - np.square(weights).sum() / weights.sum()
        between = max((beyond - (len(own) - 1)) / scale, 0.0)
        own = spread + between / (between + errors) * (own - spread)
        own = np.clip(own, 0.0, LARGEST_SPREAD)
        return float(spread), dict(zip(levels, own.tolist(), strict=True))

    def _of(self, rows):
        """Return the spread in some conditions, and its squared error."""
        excess, gain, noise = (
            np.array(v)[rows] for v in (self.excess, self.gain, self.noise)
        )
        total = gain.sum()
        if not total > 0:
            return 0.0, np.inf
        spread = excess.sum() / total
        squares, n = np.square(excess - spread * gain).sum(), len(excess)
        # Perturbations differ in it as well, where there are several.
        if n > 1:
            squares *= n / (n - 1)
        return spread, max(squares, noise.sum()) / total**2
