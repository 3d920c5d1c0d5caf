"""Scores of a whole prediction: the mean of the scores of its rows."""

import numpy as np

from sklperturb.metrics._checks import average_by_condition, check_pair, check_weights
from sklperturb.metrics._rowwise import (
    rowwise_absolute_error,
    rowwise_cosine,
    rowwise_pearson,
    rowwise_root_mean_squared_error,
    rowwise_spearman,
)


def mean_rowwise_root_mean_squared_error(
    y_true, y_pred, *, sample_weight=None, conditions=None
):
    r"""Compute the mean rowwise root mean squared error (MRRMSE).

    The error of the OP2 benchmark and of the Kaggle competition before it
    [1]_: a root mean squared error over the genes of each condition, then the
    mean over the conditions.

    .. math::
        \mathrm{MRRMSE} = \frac{1}{R} \sum_{i=1}^{R}
        \sqrt{\frac{1}{n} \sum_{j=1}^{n} (y_{ij} - \hat y_{ij})^2}

    Parameters
    ----------
    y_true : array-like of shape (n_samples, n_outputs) or (n_samples,)
        Measured responses, one row per condition and one column per gene. A
        1-d array is a single gene.
    y_pred : array-like of shape (n_samples, n_outputs) or (n_samples,)
        Predicted responses. When both are DataFrames, the columns are matched
        by name; rows are always compared by position.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the rows in the mean.
    conditions : array-like of shape (n_samples,) or (n_samples, n_columns), \
            default=None
        The condition of each row, such as ``X[["cell_type", "sm_name"]]``.
        Rows of one condition (replicates, single cells) are averaged, truth
        and prediction alike, before they are scored, so that the score is not
        about the noise between replicates. `sample_weight` weights that
        average, and the weight of the condition is the sum of its rows'.

    Returns
    -------
    error : float
        In the unit of `y_true`; 0 is best.

    Raises
    ------
    TypeError
        If an input is sparse.
    ValueError
        If the inputs are empty or differ in shape or columns, if the truth
        holds NaN or infinity, if the prediction holds infinity, if a weight
        is negative or all are 0, or if a condition is missing.

    Warns
    -----
    UserWarning
        If the prediction holds NaN, which count as 0.

    See Also
    --------
    rowwise_root_mean_squared_error : The errors of the single rows.
    neg_mrrmse_scorer : For `cross_val_score` and searches.

    Notes
    -----
    In OP2 a response is the signed :math:`-\log_{10} p` of differential
    expression, and the benchmark clips the truth, not the prediction, to
    :math:`\pm 4`. Nothing is clipped here. The benchmark writes its scores
    with R's ``zapsmall(x, 10)``, which rounds to 10 digits relative to the
    largest score of the file; scores here are not rounded, since the rounding
    would depend on which scores are computed together.

    The square root is taken per row. It is neither the mean over genes of
    RMSEs (scikit-learn's `root_mean_squared_error`), nor the root of the mean
    over everything, which a few strong conditions would rule.

    References
    ----------
    .. [1] Szalata et al. "A benchmark for prediction of transcriptomic
       responses to chemical perturbations across cell types". NeurIPS Datasets
       and Benchmarks, 2024.

    Examples
    --------
    >>> from sklperturb.metrics import mrrmse
    >>> y_true = [[3.0, 0.0], [0.0, 2.0]]
    >>> y_pred = [[0.0, 4.0], [0.0, 2.0]]
    >>> round(mrrmse(y_true, y_pred), 6)
    1.767767
    >>> round(mrrmse(y_true, y_pred, sample_weight=[1, 3]), 6)
    0.883883

    The two rows are replicates of one condition:

    >>> mrrmse(y_true, y_pred, conditions=["a", "a"])  # [1.5, 1] against [0, 3]
    1.76...
    """
    return _mean(
        rowwise_root_mean_squared_error, y_true, y_pred, sample_weight, conditions
    )


def mean_rowwise_absolute_error(y_true, y_pred, *, sample_weight=None, conditions=None):
    r"""Compute the mean rowwise absolute error (MRMAE).

    .. math::
        \mathrm{MRMAE} = \frac{1}{R} \sum_{i=1}^{R}
        \frac{1}{n} \sum_{j=1}^{n} |y_{ij} - \hat y_{ij}|

    Parameters
    ----------
    y_true : array-like of shape (n_samples, n_outputs) or (n_samples,)
        Measured responses.
    y_pred : array-like of shape (n_samples, n_outputs) or (n_samples,)
        Predicted responses.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the rows in the mean.
    conditions : array-like of shape (n_samples,) or (n_samples, n_columns), \
            default=None
        The condition of each row; rows of one condition are averaged first.

    Returns
    -------
    error : float
        In the unit of `y_true`; 0 is best.

    See Also
    --------
    mean_rowwise_root_mean_squared_error : Describes the parameters and errors
        in full.
    rowwise_absolute_error : The errors of the single rows.

    Examples
    --------
    >>> from sklperturb.metrics import mrmae
    >>> mrmae([[3.0, 0.0], [0.0, 2.0]], [[0.0, 4.0], [0.0, 2.0]])
    1.75
    """
    return _mean(rowwise_absolute_error, y_true, y_pred, sample_weight, conditions)


def mean_rowwise_pearson(y_true, y_pred, *, sample_weight=None, conditions=None):
    """Compute the mean rowwise Pearson correlation.

    Parameters
    ----------
    y_true : array-like of shape (n_samples, n_outputs) or (n_samples,)
        Measured responses.
    y_pred : array-like of shape (n_samples, n_outputs) or (n_samples,)
        Predicted responses.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the rows in the mean.
    conditions : array-like of shape (n_samples,) or (n_samples, n_columns), \
            default=None
        The condition of each row; rows of one condition are averaged first.

    Returns
    -------
    correlation : float
        Between -1 and 1; 1 is best. Rows that are constant in the truth or in
        the prediction count as 0.

    See Also
    --------
    mean_rowwise_root_mean_squared_error : Describes the parameters and errors
        in full.
    rowwise_pearson : The correlations of the single rows, with the formula.

    Examples
    --------
    >>> from sklperturb.metrics import mean_rowwise_pearson
    >>> mean_rowwise_pearson([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]],
    ...                      [[2.0, 4.0, 6.0], [0.0, 0.0, 0.0]])
    0.5
    """
    return _mean(rowwise_pearson, y_true, y_pred, sample_weight, conditions)


def mean_rowwise_spearman(y_true, y_pred, *, sample_weight=None, conditions=None):
    """Compute the mean rowwise Spearman rank correlation.

    Parameters
    ----------
    y_true : array-like of shape (n_samples, n_outputs) or (n_samples,)
        Measured responses.
    y_pred : array-like of shape (n_samples, n_outputs) or (n_samples,)
        Predicted responses.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the rows in the mean.
    conditions : array-like of shape (n_samples,) or (n_samples, n_columns), \
            default=None
        The condition of each row; rows of one condition are averaged first.

    Returns
    -------
    correlation : float
        Between -1 and 1; 1 is best. Constant rows count as 0.

    See Also
    --------
    mean_rowwise_root_mean_squared_error : Describes the parameters and errors
        in full.
    rowwise_spearman : The correlations of the single rows.

    Examples
    --------
    >>> from sklperturb.metrics import mean_rowwise_spearman
    >>> mean_rowwise_spearman([[1.0, 2.0, 3.0]], [[1.0, 2.0, 30.0]])
    1.0
    """
    return _mean(rowwise_spearman, y_true, y_pred, sample_weight, conditions)


def mean_rowwise_cosine(y_true, y_pred, *, sample_weight=None, conditions=None):
    """Compute the mean rowwise cosine similarity.

    Parameters
    ----------
    y_true : array-like of shape (n_samples, n_outputs) or (n_samples,)
        Measured responses.
    y_pred : array-like of shape (n_samples, n_outputs) or (n_samples,)
        Predicted responses.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the rows in the mean.
    conditions : array-like of shape (n_samples,) or (n_samples, n_columns), \
            default=None
        The condition of each row; rows of one condition are averaged first.

    Returns
    -------
    similarity : float
        Between -1 and 1; 1 is best. Rows of zeros count as 0.

    See Also
    --------
    mean_rowwise_root_mean_squared_error : Describes the parameters and errors
        in full.
    rowwise_cosine : The similarities of the single rows, with the formula.

    Examples
    --------
    >>> from sklperturb.metrics import mean_rowwise_cosine
    >>> mean_rowwise_cosine([[3.0, 4.0]], [[4.0, 3.0]])
    0.96
    """
    return _mean(rowwise_cosine, y_true, y_pred, sample_weight, conditions)


mrrmse = mean_rowwise_root_mean_squared_error
mrmae = mean_rowwise_absolute_error


def _mean(row_function, y_true, y_pred, sample_weight, conditions):
    """Average `row_function` over the rows, or over the averaged conditions."""
    n_samples = len(check_pair(y_true, y_pred)[0])
    weight = check_weights(sample_weight, n_samples)
    if conditions is not None:
        y_true, y_pred, weight = average_by_condition(
            y_true, y_pred, weight, conditions
        )
    return float(np.average(row_function(y_true, y_pred), weights=weight))
