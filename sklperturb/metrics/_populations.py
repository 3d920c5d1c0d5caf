"""Distances between two populations of cells, and between them per condition."""

from numbers import Integral, Real

import numpy as np
import pandas as pd
from sklearn.kernel_approximation import RBFSampler
from sklearn.metrics import pairwise_distances, pairwise_distances_chunked
from sklearn.utils import check_random_state, resample
from sklearn.utils._param_validation import Interval, StrOptions, validate_params

from sklperturb.metrics._cells import (
    cells_of,
    check_populations,
    check_same_conditions,
    rows_by_condition,
)

# Distances to all cells are quadratic: 40,000 controls need 13 GB and hours.
_MAX_CELLS = 2000
# What the parameters that several metrics share may be.
SAMPLING = {
    "max_cells": [Interval(Integral, 2, None, closed="left"), None],
    "random_state": ["random_state"],
}


@validate_params(
    {**SAMPLING, "unbiased": ["boolean"]}, prefer_skip_nested_validation=True
)
def energy_distance(
    y_true, y_pred, *, max_cells=_MAX_CELLS, unbiased=False, random_state=0
):
    r"""Compute the Euclidean energy distance of two populations of cells.

    .. math::
        D = 2\,E\|x - y\| - E\|x - x'\| - E\|y - y'\|

    It is 0 if and only if the two distributions are the same.

    Parameters
    ----------
    y_true : array-like, sparse matrix or AnnData of shape (n_cells, n_features)
        Measured cells: expression or an embedding, one row per cell.
    y_pred : array-like, sparse matrix or AnnData of shape (n_predicted, n_features)
        Predicted cells. Their number may differ; they are not paired.
    max_cells : int or None, default=2000
        Larger populations are sub-sampled to this size. None takes all cells,
        whose number enters quadratically into time, not into memory.
    unbiased : bool, default=False
        If True, a cell is not compared with itself (U-statistic): the expected
        value is then 0 for two samples of one population of any size, and single
        values may be negative. If False, the V-statistic, never negative.
    random_state : int, RandomState instance or None, default=0
        Seed of the sub-sampling.

    Returns
    -------
    distance : float
        In the unit of the features; 0 is best.

    Raises
    ------
    ValueError
        If a population is empty, holds NaN or infinity, or if the numbers of
        features differ; with `unbiased`, if a population has a single cell.

    See Also
    --------
    maximum_mean_discrepancy : Less ruled by a few far cells.
    population_scores : Distances of all conditions at once.

    References
    ----------
    .. [1] Szekely and Rizzo. "Energy statistics: A class of statistics based on
       distances". Journal of Statistical Planning and Inference 143, 2013.
       :doi:`10.1016/j.jspi.2013.03.018`

    Examples
    --------
    >>> from sklperturb.metrics import energy_distance
    >>> energy_distance([[0.0], [2.0]], [[5.0], [7.0]])
    8.0
    >>> energy_distance([[0.0], [2.0]], [[2.0], [0.0]])
    0.0
    """
    x, y = check_populations(y_true, y_pred, max_cells, random_state)
    within = [mean_of_pairs(side, unbiased=unbiased) for side in (x, y)]
    return 2.0 * mean_of_pairs(x, y) - within[0] - within[1]


@validate_params(
    {
        **SAMPLING,
        "bandwidth": [
            Interval(Real, 0, np.inf, closed="neither"),
            StrOptions({"median"}),
        ],
        "n_random_features": [Interval(Integral, 1, None, closed="left"), None],
        "unbiased": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def maximum_mean_discrepancy(
    y_true,
    y_pred,
    *,
    bandwidth="median",
    max_cells=_MAX_CELLS,
    n_random_features=None,
    unbiased=False,
    random_state=0,
):
    r"""Compute the squared maximum mean discrepancy with a Gaussian kernel.

    .. math::
        \mathrm{MMD}^2 = E\,k(x, x') - 2\,E\,k(x, y) + E\,k(y, y'), \quad
        k(x, y) = \exp\left(-\frac{\|x - y\|^2}{2 \sigma^2}\right)

    Parameters
    ----------
    y_true : array-like, sparse matrix or AnnData of shape (n_cells, n_features)
        Measured cells.
    y_pred : array-like, sparse matrix or AnnData of shape (n_predicted, n_features)
        Predicted cells.
    bandwidth : float or "median", default="median"
        The kernel's :math:`\sigma`. "median" is the median distance of two measured
        cells, estimated on at most 1,000 of them; the prediction has no say, since
        a wider one would otherwise be judged with a softer kernel.
    max_cells : int or None, default=2000
        Larger populations are sub-sampled to this size. None takes all cells.
    n_random_features : int, default=None
        If given, the kernel is approximated by so many random Fourier features,
        in time and memory linear in the number of cells; `max_cells` and
        `unbiased` then have no effect.
    unbiased : bool, default=False
        If True, a cell is not compared with itself (U-statistic).
    random_state : int, RandomState instance or None, default=0
        Seed of the sub-sampling and of the random features.

    Returns
    -------
    discrepancy : float
        Without unit, at most 2; 0 is best.

    Raises
    ------
    ValueError
        As :func:`energy_distance`; and if the bandwidth is not positive, or all
        measured cells are equal so that their median distance is 0.

    References
    ----------
    .. [1] Gretton et al. "A kernel two-sample test". Journal of Machine Learning
       Research 13, 2012.
    .. [2] Rahimi and Recht. "Random features for large-scale kernel machines".
       Advances in Neural Information Processing Systems 20, 2007.

    Examples
    --------
    >>> from sklperturb.metrics import maximum_mean_discrepancy
    >>> maximum_mean_discrepancy([[0.0], [2.0]], [[5.0], [7.0]])
    1.399...
    """
    limit = max_cells if n_random_features is None else None
    x, y = check_populations(y_true, y_pred, limit, random_state)
    sigma = _bandwidth(x, bandwidth, random_state)
    if n_random_features is not None:
        features = RBFSampler(
            gamma=0.5 / sigma**2,
            n_components=n_random_features,
            random_state=random_state,
        ).fit(x)
        difference = _mean_features(features, x) - _mean_features(features, y)
        return float(difference @ difference)
    within = [mean_of_pairs(side, unbiased=unbiased, sigma=sigma) for side in (x, y)]
    return within[0] + within[1] - 2.0 * mean_of_pairs(x, y, sigma=sigma)


@validate_params(
    {
        **SAMPLING,
        "n_projections": [Interval(Integral, 1, None, closed="left")],
        "p": [Interval(Real, 1, None, closed="left")],
    },
    prefer_skip_nested_validation=True,
)
def sliced_wasserstein_distance(
    y_true, y_pred, *, n_projections=100, p=2, max_cells=None, random_state=0
):
    r"""Compute the Wasserstein distance averaged over random directions.

    .. math::
        \mathrm{SW}_p = \left(E_\theta\,
        W_p^p(\theta^\top x, \theta^\top y)\right)^{1/p}

    On a line the distance follows from sorting, for populations of any two sizes,
    which makes all cells affordable.

    Parameters
    ----------
    y_true : array-like, sparse matrix or AnnData of shape (n_cells, n_features)
        Measured cells.
    y_pred : array-like, sparse matrix or AnnData of shape (n_predicted, n_features)
        Predicted cells.
    n_projections : int, default=100
        Number of directions, drawn uniformly from the sphere.
    p : float, default=2
        Order of the distance, at least 1.
    max_cells : int or None, default=None
        Larger populations are sub-sampled to this size. None takes all cells.
    random_state : int, RandomState instance or None, default=0
        Seed of the directions and of the sub-sampling.

    Returns
    -------
    distance : float
        In the unit of the features; 0 is best.

    Raises
    ------
    ValueError
        As :func:`energy_distance`; and if `p` is below 1 or there are no projections.

    See Also
    --------
    wasserstein_distance : Not projected; cubic in the number of cells.

    References
    ----------
    .. [1] Bonneel et al. "Sliced and Radon Wasserstein barycenters of measures".
       Journal of Mathematical Imaging and Vision 51, 2015.
       :doi:`10.1007/s10851-014-0506-3`

    Examples
    --------
    >>> from sklperturb.metrics import sliced_wasserstein_distance
    >>> sliced_wasserstein_distance([[0.0], [2.0]], [[5.0], [7.0]])
    5.0
    """
    rng = check_random_state(random_state)
    x, y = check_populations(y_true, y_pred, max_cells, rng)
    directions = rng.standard_normal((x.shape[1], n_projections))
    directions /= np.linalg.norm(directions, axis=0)
    x = np.sort(x @ directions, axis=0)
    y = np.sort(y @ directions, axis=0)
    # Between two neighbouring levels of this grid both quantile functions are flat.
    levels = np.union1d(np.arange(len(x) + 1) / len(x), np.arange(len(y) + 1) / len(y))
    middles = (levels[1:] + levels[:-1]) / 2
    rows = [(middles * len(z)).astype(np.intp) for z in (x, y)]
    powers = np.abs(x[rows[0]] - y[rows[1]]) ** p
    return float((np.diff(levels) @ powers).mean() ** (1 / p))


def variance_ratio(y_true, y_pred):
    """Compute how much of the measured spread between cells is predicted.

    Parameters
    ----------
    y_true : array-like, sparse matrix or AnnData of shape (n_cells, n_features)
        Measured cells.
    y_pred : array-like, sparse matrix or AnnData of shape (n_predicted, n_features)
        Predicted cells.

    Returns
    -------
    ratio : float
        Summed variance of the predicted features over that of the measured ones; 1
        is best, 0 means that all predicted cells are equal. NaN where the measured
        cells do not vary.

    Raises
    ------
    ValueError
        As :func:`energy_distance`.

    Examples
    --------
    >>> from sklperturb.metrics import variance_ratio
    >>> variance_ratio([[0.0], [2.0]], [[5.0], [6.0]])
    0.25
    """
    x, y = check_populations(y_true, y_pred, None, None)
    measured = x.var(axis=0).sum()
    return float(y.var(axis=0).sum() / measured) if measured > 0 else np.nan


POPULATION_METRICS = {
    "energy": energy_distance,
    "mmd": maximum_mean_discrepancy,
    "sliced_wasserstein": sliced_wasserstein_distance,
    "variance_ratio": variance_ratio,
}


def population_scores(
    y_true,
    y_pred,
    *,
    conditions,
    conditions_pred=None,
    metrics=("energy", "mmd", "sliced_wasserstein", "variance_ratio"),
):
    """Compare the measured and predicted cells of each condition.

    Parameters
    ----------
    y_true : array-like, sparse matrix or AnnData of shape (n_cells, n_features)
        Measured cells.
    y_pred : array-like, sparse matrix or AnnData of shape (n_predicted, n_features)
        Predicted cells.
    conditions : array-like of shape (n_cells,)
        The condition of each measured cell.
    conditions_pred : array-like of shape (n_predicted,), default=None
        The condition of each predicted cell. None takes `conditions`.
    metrics : sequence of str or callable
        Keys of ``POPULATION_METRICS``, or functions of two populations, whose name
        becomes the column.

    Returns
    -------
    scores : DataFrame of shape (n_conditions, n_metrics)
        The index is named "condition", in sorted order. ``scores.mean()`` weighs all
        conditions alike, however many cells they have.

    Raises
    ------
    ValueError
        If a metric is not known, or the two sides do not hold the same conditions.

    Examples
    --------
    >>> from sklperturb.metrics import population_scores
    >>> cells = [[0.0], [2.0], [5.0], [7.0]]
    >>> predicted = [[0.0], [2.0], [6.0], [8.0]]
    >>> population_scores(cells, predicted, conditions=["a", "a", "b", "b"],
    ...                   metrics=["energy", "sliced_wasserstein"])
               energy  sliced_wasserstein
    condition
    a             0.0                 0.0
    b             1.0                 1.0
    """
    functions = dict(_named_metric(metric) for metric in metrics)
    y_true, y_pred = cells_of(y_true), cells_of(y_pred)
    groups = rows_by_condition(conditions, y_true.shape[0], "conditions")
    if conditions_pred is None:
        conditions_pred = conditions
    predicted = rows_by_condition(conditions_pred, y_pred.shape[0], "conditions_pred")
    check_same_conditions(groups, predicted)
    rows = [
        [
            function(y_true.rows(groups[name]), y_pred.rows(predicted[name]))
            for function in functions.values()
        ]
        for name in groups
    ]
    index = pd.Index(list(groups), name="condition")
    return pd.DataFrame(rows, index=index, columns=list(functions))


def _named_metric(metric):
    if callable(metric):
        return getattr(metric, "__name__", repr(metric)), metric
    if metric not in POPULATION_METRICS:
        raise ValueError(
            f"metric {metric!r} is not known; allowed are "
            f"{sorted(POPULATION_METRICS)} and functions of two populations."
        )
    return metric, POPULATION_METRICS[metric]


def mean_of_pairs(x, y=None, unbiased=False, sigma=None):
    """Return the mean distance of two cells or, with `sigma`, that of their kernel.

    Without `y` both are of `x`: any two or, if `unbiased`, two that differ.
    """

    def row_sums(distances, _):
        if sigma is not None:
            distances = np.exp(distances * (-0.5 / sigma**2))
        return distances.sum(axis=1)

    metric = "euclidean" if sigma is None else "sqeuclidean"
    chunks = pairwise_distances_chunked(x, y, metric=metric, reduce_func=row_sums)
    total = float(sum(chunk.sum() for chunk in chunks))
    n_pairs = len(x) * len(x if y is None else y)
    if y is None and unbiased:
        if len(x) < 2:
            raise ValueError("unbiased=True needs at least two cells in a population.")
        n_pairs -= len(x)
        total -= 0.0 if sigma is None else len(x)  # each cell with itself
    return total / n_pairs


def _mean_features(features, cells):
    """Average random features over cells, block by block."""
    blocks = range(0, len(cells), 10_000)
    total = sum(features.transform(cells[i : i + 10_000]).sum(axis=0) for i in blocks)
    return total / len(cells)


def _bandwidth(cells, bandwidth, random_state):
    if bandwidth != "median":
        return float(bandwidth)
    if len(cells) > 1000:
        cells = resample(
            cells, replace=False, n_samples=1000, random_state=random_state
        )
    return median_distance(pairwise_distances(cells), "Give a number for bandwidth.")


def median_distance(distances, advice):
    """Return the median of the distances between cells, which sets a scale."""
    between = distances[np.triu_indices(len(distances), 1)]
    median = np.median(between) if len(between) else 0.0
    if not median > 0:
        raise ValueError(f"The median distance between measured cells is 0. {advice}")
    return float(median)
