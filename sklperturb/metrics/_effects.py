"""Compare effects of perturbations: against a reference, and weighted by gene."""

import numpy as np

from sklperturb.metrics._checks import check_truth_values, finite_pair
from sklperturb.metrics._rowwise import rowwise_pearson


def pearson_delta(y_true, y_pred, *, reference=None):
    r"""Compute the Pearson correlation of measured and predicted effects, per row.

    Parameters
    ----------
    y_true : array-like or DataFrame of shape (n_perturbations, n_genes)
        Measured pseudobulks, one row per perturbation.
    y_pred : array-like or DataFrame of shape (n_perturbations, n_genes)
        Predicted pseudobulks, in the same order.
    reference : array-like of shape (n_genes,), default=None
        What both are measured from, in the order of the genes of `y_true`. None is
        the mean of the measured perturbations. The pseudobulk of the control is the
        older choice, by which what all perturbations have in common, such as stress,
        counts as a prediction.

    Returns
    -------
    correlations : ndarray of shape (n_perturbations,)
        1 is best. An effect that is constant over the genes counts as 0.

    Raises
    ------
    ValueError
        If the shapes differ, or the truth or the reference is not finite.

    Notes
    -----
    One reference serves both sides: where a prediction brings its own, moving it
    raises the correlation without any better prediction.

    References
    ----------
    .. [1] Vinas Torne et al. "Systema". Nature Biotechnology, 2025.
       :doi:`10.1038/s41587-025-02777-8`

    Examples
    --------
    >>> from sklperturb.metrics import pearson_delta
    >>> y_true = [[5.0, 1.0, 1.0], [5.0, 3.0, 4.0]]
    >>> y_pred = [[5.0, 2.0, 2.5], [5.0, 2.0, 2.5]]
    >>> pearson_delta(y_true, y_pred, reference=[3.0, 2.0, 2.0]).round(2)
    array([0.97, 0.69])
    >>> pearson_delta(y_true, y_pred)
    array([0., 0.])
    """
    truth, prediction = finite_pair(y_true, y_pred)
    reference = _reference(truth, reference)
    return rowwise_pearson(truth - reference, prediction - reference)


def weighted_squared_error(y_true, y_pred, *, weights):
    r"""Compute the mean squared error of each row, weighted by gene.

    .. math::
        e_i = \frac{\sum_j w_{ij} (\hat y_{ij} - y_{ij})^2}{\sum_j w_{ij}}

    Parameters
    ----------
    y_true : array-like or DataFrame of shape (n_perturbations, n_genes)
        Measured pseudobulks or effects.
    y_pred : array-like or DataFrame of shape (n_perturbations, n_genes)
        Predicted ones, in the same order.
    weights : array-like of shape (n_perturbations, n_genes) or (n_genes,)
        At least 0, and not all 0 in a row; see :func:`differential_weights`. They
        must come from the measured data alone.

    Returns
    -------
    errors : ndarray of shape (n_perturbations,)
        In the squared unit of `y_true`; 0 is best.

    Raises
    ------
    ValueError
        If shapes differ, or the weights are negative, not finite or all 0 in a row.

    References
    ----------
    .. [1] Mejia et al. "Diversity by design: addressing mode collapse improves
       scRNA-seq perturbation modeling on well-calibrated metrics". arXiv 2506.22641,
       2025.

    Examples
    --------
    >>> from sklperturb.metrics import weighted_squared_error
    >>> weighted_squared_error([[1.0, 0.0]], [[0.0, 2.0]], weights=[[3.0, 1.0]])
    array([1.75])
    """
    truth, prediction = finite_pair(y_true, y_pred)
    weights = gene_weights(weights, truth.shape)
    return (weights * (prediction - truth) ** 2).sum(axis=1) / weights.sum(axis=1)


def weighted_r2(y_true, y_pred, *, weights, reference=None):
    r"""Compute the coefficient of determination of each row, weighted by gene.

    .. math::
        R^2_i = 1 - \frac{\sum_j w_{ij} (\hat y_{ij} - y_{ij})^2}
        {\sum_j w_{ij} (\Delta_{ij} - \bar\Delta_i)^2}, \quad
        \Delta_{ij} = y_{ij} - r_j

    where :math:`\bar\Delta_i` is the weighted mean of a row and :math:`r` the
    reference.

    Parameters
    ----------
    y_true : array-like or DataFrame of shape (n_perturbations, n_genes)
        Measured pseudobulks.
    y_pred : array-like or DataFrame of shape (n_perturbations, n_genes)
        Predicted pseudobulks, in the same order.
    weights : array-like of shape (n_perturbations, n_genes) or (n_genes,)
        As in :func:`weighted_squared_error`.
    reference : array-like of shape (n_genes,), default=None
        What effects are measured from; None is the mean of the measured
        perturbations.

    Returns
    -------
    r2 : ndarray of shape (n_perturbations,)
        1 is best. A row without a measured effect, all of whose weighted genes move
        alike, counts as 1 if it is predicted exactly and as 0 otherwise, as in
        scikit-learn.

    Raises
    ------
    ValueError
        As :func:`weighted_squared_error`.

    References
    ----------
    .. [1] Mejia et al. "Diversity by design: addressing mode collapse improves
       scRNA-seq perturbation modeling on well-calibrated metrics". arXiv 2506.22641,
       2025.

    Examples
    --------
    >>> from sklperturb.metrics import weighted_r2
    >>> weighted_r2([[2.0, 0.0], [0.0, 2.0]], [[1.5, 0.0], [0.0, 2.0]],
    ...             weights=[1.0, 1.0])
    array([0.875, 1.   ])
    """
    truth, prediction = finite_pair(y_true, y_pred)
    weights = gene_weights(weights, truth.shape)
    effects = truth - _reference(truth, reference)
    residual = (weights * (prediction - truth) ** 2).sum(axis=1)
    centre = (weights * effects).sum(axis=1) / weights.sum(axis=1)
    total = (weights * (effects - centre[:, None]) ** 2).sum(axis=1)
    exact = (residual == 0).astype(np.float64)
    ratio = np.divide(residual, total, out=1.0 - exact, where=total > 0)
    return 1.0 - ratio


def differential_weights(scores):
    r"""Turn scores of differential expression into weights of genes.

    Parameters
    ----------
    scores : array-like of shape (n_perturbations, n_genes)
        How strongly a gene differs between a perturbation and all others, such as
        t statistics of measured cells. The sign does not matter.

    Returns
    -------
    weights : ndarray of shape (n_perturbations, n_genes)
        Absolute scores, scaled to [0, 1] in each row, squared. A row of equal scores
        weighs all genes alike.

    References
    ----------
    .. [1] Mejia et al. "Diversity by design: addressing mode collapse improves
       scRNA-seq perturbation modeling on well-calibrated metrics". arXiv 2506.22641,
       2025.

    Examples
    --------
    >>> from sklperturb.metrics import differential_weights
    >>> differential_weights([[-4.0, 0.0, 2.0]])
    array([[1.  , 0.  , 0.25]])
    """
    strength = np.abs(check_truth_values(np.atleast_2d(scores)))
    low = strength.min(axis=1, keepdims=True)
    spread = strength.max(axis=1, keepdims=True) - low
    scaled = np.ones_like(strength)
    np.divide(strength - low, spread, out=scaled, where=spread > 0)
    return scaled**2


def _reference(truth, reference):
    if reference is None:
        return truth.mean(axis=0)
    reference = np.asarray(reference, dtype=np.float64)
    if reference.shape != truth.shape[1:] or not np.isfinite(reference).all():
        raise ValueError(
            f"reference has shape {reference.shape}; it needs one finite value for "
            f"each of the {truth.shape[1]} genes."
        )
    return reference


def gene_weights(weights, shape):
    """Return weights as float64 of a shape, or raise if they are none."""
    weights = np.asarray(weights, dtype=np.float64)
    if weights.shape not in (shape, shape[1:]):
        raise ValueError(
            f"weights has shape {weights.shape}; allowed are {shape} and {shape[1:]}."
        )
    weights = np.broadcast_to(weights, shape)
    finite = np.isfinite(weights).all() and (weights >= 0).all()
    if not finite or not weights.any(axis=1).all():
        raise ValueError(
            "weights must be finite and at least 0, and not all 0 in a row."
        )
    return weights
