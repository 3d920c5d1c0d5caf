"""Wasserstein distances between populations of cells, computed by POT."""

from numbers import Real

from sklearn.utils._param_validation import Interval, validate_params

from sklperturb.metrics._cells import check_populations
from sklperturb.metrics._populations import SAMPLING, median_distance
from sklperturb.utils._optional import import_extra


@validate_params(
    {**SAMPLING, "p": [Interval(Real, 1, None, closed="left")]},
    prefer_skip_nested_validation=True,
)
def wasserstein_distance(y_true, y_pred, *, p=2, max_cells=2000, random_state=0):
    r"""Compute the exact p-Wasserstein distance of two populations of cells.

    .. math::
        W_p = \left(\min_{T} \sum_{ij} T_{ij} \|x_i - y_j\|^p\right)^{1/p}

    over the couplings :math:`T` of the two populations.

    Parameters
    ----------
    y_true : array-like, sparse matrix or AnnData of shape (n_cells, n_features)
        Measured cells.
    y_pred : array-like, sparse matrix or AnnData of shape (n_predicted, n_features)
        Predicted cells.
    p : float, default=2
        Order of the distance, at least 1.
    max_cells : int or None, default=2000
        Larger populations are sub-sampled to this size: time grows with the third
        power of it.
    random_state : int, RandomState instance or None, default=0
        Seed of the sub-sampling.

    Returns
    -------
    distance : float
        In the unit of the features; 0 is best.

    Raises
    ------
    ImportError
        If POT is not installed.
    ValueError
        As :func:`energy_distance`; and if `p` is below 1.

    See Also
    --------
    sinkhorn_divergence : Regularised, and faster for many cells.
    sliced_wasserstein_distance : Needs no further package.

    Notes
    -----
    In many dimensions the distance of two samples of one population is far from 0
    and shrinks slowly with their size. Compare it with the distance of two halves of
    the measured cells, or reduce the dimension first.

    References
    ----------
    .. [1] Flamary et al. "POT: Python Optimal Transport". Journal of Machine
       Learning Research 22, 2021.

    Examples
    --------
    >>> from sklperturb.metrics import wasserstein_distance
    >>> wasserstein_distance([[0.0], [2.0]], [[5.0], [7.0]])  # doctest: +SKIP
    5.0
    """
    ot = import_extra("wasserstein_distance", "transport", "ot")
    x, y = check_populations(y_true, y_pred, max_cells, random_state)
    cost = ot.dist(x, y, metric="euclidean") ** p
    return float(max(ot.emd2([], [], cost, numItermax=1_000_000), 0.0) ** (1 / p))


@validate_params(
    {**SAMPLING, "regularization": [Interval(Real, 0, None, closed="neither")]},
    prefer_skip_nested_validation=True,
)
def sinkhorn_divergence(
    y_true, y_pred, *, regularization=0.1, max_cells=2000, random_state=0
):
    r"""Compute the debiased Sinkhorn divergence with the squared Euclidean cost.

    .. math::
        S = \mathrm{OT}_\epsilon(x, y) - \tfrac12 \mathrm{OT}_\epsilon(x, x)
        - \tfrac12 \mathrm{OT}_\epsilon(y, y)

    Parameters
    ----------
    y_true : array-like, sparse matrix or AnnData of shape (n_cells, n_features)
        Measured cells.
    y_pred : array-like, sparse matrix or AnnData of shape (n_predicted, n_features)
        Predicted cells.
    regularization : float, default=0.1
        The entropic term :math:`\epsilon`, in units of the median squared distance
        of the measured cells, so that it does not depend on the scale of the data.
    max_cells : int or None, default=2000
        Larger populations are sub-sampled to this size.
    random_state : int, RandomState instance or None, default=0
        Seed of the sub-sampling.

    Returns
    -------
    divergence : float
        In the squared unit of the features; 0 is best.

    Raises
    ------
    ImportError
        If POT is not installed.
    ValueError
        As :func:`energy_distance`; and if the regularisation is not positive, or all
        measured cells are equal.

    References
    ----------
    .. [1] Genevay, Peyre and Cuturi. "Learning generative models with Sinkhorn
       divergences". International Conference on Artificial Intelligence and
       Statistics, 2018.

    Examples
    --------
    >>> from sklperturb.metrics import sinkhorn_divergence
    >>> sinkhorn_divergence([[0.0], [2.0]], [[5.0], [7.0]])  # doctest: +SKIP
    25.0
    """
    ot = import_extra("sinkhorn_divergence", "transport", "ot")
    x, y = check_populations(y_true, y_pred, max_cells, random_state)
    regularization *= median_distance(ot.dist(x, x), "Use wasserstein_distance.")
    return float(
        ot.bregman.empirical_sinkhorn_divergence(
            x, y, reg=regularization, numIterMax=10_000, log=False
        )
    )
