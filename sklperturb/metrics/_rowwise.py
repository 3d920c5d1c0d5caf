"""Scores of single rows: one number per condition, over all its genes."""

import numpy as np
from scipy.stats import rankdata
from sklearn.utils import gen_batches

from sklperturb.metrics._checks import (
    check_pair,
    check_truth_values,
    fill_prediction_values,
    warn_missing_predictions,
)


def rowwise_root_mean_squared_error(y_true, y_pred):
    r"""Compute the root mean squared error of each row.

    .. math::
        e_i = \sqrt{\frac{1}{n} \sum_{j=1}^{n} (y_{ij} - \hat y_{ij})^2}

    Parameters
    ----------
    y_true : array-like of shape (n_samples, n_outputs) or (n_samples,)
        Measured responses, one row per condition and one column per gene. A
        1-d array is a single gene.
    y_pred : array-like of shape (n_samples, n_outputs) or (n_samples,)
        Predicted responses. When both are DataFrames, the columns are matched
        by name; rows are always compared by position.

    Returns
    -------
    errors : ndarray of shape (n_samples,)
        In the unit of `y_true`; 0 is best.

    Raises
    ------
    TypeError
        If an input is sparse.
    ValueError
        If the inputs are empty or differ in shape or columns, if the truth
        holds NaN or infinity, or if the prediction holds infinity.

    Warns
    -----
    UserWarning
        If the prediction holds NaN, which count as 0.

    See Also
    --------
    mean_rowwise_root_mean_squared_error : The mean over the rows.
    rowwise_absolute_error : Less sensitive to a few strong genes.

    Examples
    --------
    >>> from sklperturb.metrics import rowwise_root_mean_squared_error
    >>> rowwise_root_mean_squared_error([[3.0, 0.0], [0.0, 2.0]],
    ...                                 [[0.0, 4.0], [0.0, 2.0]])
    array([3.53553391, 0.        ])
    """
    return _score_rows(_root_mean_squared_error, y_true, y_pred)


def rowwise_absolute_error(y_true, y_pred):
    r"""Compute the mean absolute error of each row.

    .. math::
        e_i = \frac{1}{n} \sum_{j=1}^{n} |y_{ij} - \hat y_{ij}|

    Parameters
    ----------
    y_true : array-like of shape (n_samples, n_outputs) or (n_samples,)
        Measured responses.
    y_pred : array-like of shape (n_samples, n_outputs) or (n_samples,)
        Predicted responses.

    Returns
    -------
    errors : ndarray of shape (n_samples,)
        In the unit of `y_true`; 0 is best.

    See Also
    --------
    mean_rowwise_absolute_error : The mean over the rows.
    rowwise_root_mean_squared_error : States what is raised and warned of here
        too.

    Examples
    --------
    >>> from sklperturb.metrics import rowwise_absolute_error
    >>> rowwise_absolute_error([[3.0, 0.0]], [[0.0, 4.0]])
    array([3.5])
    """
    return _score_rows(_absolute_error, y_true, y_pred)


def rowwise_pearson(y_true, y_pred):
    r"""Compute the Pearson correlation of each row, over its genes.

    .. math::
        r_i = \frac{\sum_j (y_{ij} - \bar y_i)(\hat y_{ij} - \bar{\hat y}_i)}
        {\sqrt{\sum_j (y_{ij} - \bar y_i)^2}
         \sqrt{\sum_j (\hat y_{ij} - \bar{\hat y}_i)^2}}

    Parameters
    ----------
    y_true : array-like of shape (n_samples, n_outputs) or (n_samples,)
        Measured responses.
    y_pred : array-like of shape (n_samples, n_outputs) or (n_samples,)
        Predicted responses.

    Returns
    -------
    correlations : ndarray of shape (n_samples,)
        Between -1 and 1; 1 is best. A row that is constant in the truth or in
        the prediction, which has no correlation, counts as 0. With a single
        gene every row is constant.

    See Also
    --------
    mean_rowwise_pearson : The mean over the rows.
    rowwise_root_mean_squared_error : States what is raised and warned of here
        too.

    Examples
    --------
    >>> from sklperturb.metrics import rowwise_pearson
    >>> rowwise_pearson([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]],
    ...                 [[2.0, 4.0, 6.0], [0.0, 0.0, 0.0]])
    array([1., 0.])
    """
    return _score_rows(_pearson, y_true, y_pred)


def rowwise_spearman(y_true, y_pred):
    r"""Compute the Spearman rank correlation of each row, over its genes.

    It is the Pearson correlation of the ranks; tied values share the average
    of their ranks.

    Parameters
    ----------
    y_true : array-like of shape (n_samples, n_outputs) or (n_samples,)
        Measured responses.
    y_pred : array-like of shape (n_samples, n_outputs) or (n_samples,)
        Predicted responses.

    Returns
    -------
    correlations : ndarray of shape (n_samples,)
        Between -1 and 1; 1 is best. Constant rows count as 0.

    See Also
    --------
    mean_rowwise_spearman : The mean over the rows.
    rowwise_root_mean_squared_error : States what is raised and warned of here
        too.

    Examples
    --------
    >>> from sklperturb.metrics import rowwise_spearman
    >>> rowwise_spearman([[1.0, 2.0, 3.0]], [[1.0, 2.0, 30.0]])
    array([1.])
    """
    return _score_rows(_spearman, y_true, y_pred)


def rowwise_cosine(y_true, y_pred):
    r"""Compute the cosine similarity of each row.

    .. math::
        c_i = \frac{\sum_j y_{ij} \hat y_{ij}}
        {\sqrt{\sum_j y_{ij}^2} \sqrt{\sum_j \hat y_{ij}^2}}

    Parameters
    ----------
    y_true : array-like of shape (n_samples, n_outputs) or (n_samples,)
        Measured responses.
    y_pred : array-like of shape (n_samples, n_outputs) or (n_samples,)
        Predicted responses.

    Returns
    -------
    similarities : ndarray of shape (n_samples,)
        Between -1 and 1; 1 is best. Rows that are 0 throughout count as 0.

    See Also
    --------
    mean_rowwise_cosine : The mean over the rows.
    rowwise_root_mean_squared_error : States what is raised and warned of here
        too.

    Examples
    --------
    >>> from sklperturb.metrics import rowwise_cosine
    >>> rowwise_cosine([[3.0, 4.0]], [[4.0, 3.0]])
    array([0.96])
    """
    return _score_rows(_cosine, y_true, y_pred)


def _score_rows(score_block, y_true, y_pred, *, block_size=2**20):
    """Apply `score_block` to blocks of rows of float64 values.

    A block has about `block_size` numbers, 8 MB, so that a screen of 600 conditions by
    18,000 genes is never copied as a whole.
    """
    truth, prediction, columns = check_pair(y_true, y_pred)
    n_samples, n_outputs = truth.shape
    scores = np.empty(n_samples)
    n_missing = 0
    for rows in gen_batches(n_samples, max(1, block_size // n_outputs)):
        truth_block = check_truth_values(truth[rows])
        prediction_block, n_nan = fill_prediction_values(prediction[rows, columns])
        scores[rows] = score_block(truth_block, prediction_block)
        n_missing += n_nan
    warn_missing_predictions(n_missing)
    return scores


def _root_mean_squared_error(truth, prediction):
    difference = truth - prediction
    return np.sqrt(_row_products(difference, difference) / truth.shape[1])


def _absolute_error(truth, prediction):
    return np.abs(truth - prediction).mean(axis=1)


def _cosine(truth, prediction):
    # One root of the product, so that a perfect match gives 1 to the last digit.
    norms = np.sqrt(_row_products(truth, truth) * _row_products(prediction, prediction))
    with np.errstate(divide="ignore", invalid="ignore"):
        cosine = _row_products(truth, prediction) / norms
    # Rounding can carry a row a last digit beyond 1.
    return np.where(np.isfinite(cosine), np.clip(cosine, -1.0, 1.0), 0.0)


def _pearson(truth, prediction):
    correlation = _cosine(
        truth - truth.mean(axis=1, keepdims=True),
        prediction - prediction.mean(axis=1, keepdims=True),
    )
    # The mean of a constant row is rounded, and what is left after taking it
    # away would correlate with anything.
    constant = (np.ptp(truth, axis=1) == 0) | (np.ptp(prediction, axis=1) == 0)
    return np.where(constant, 0.0, correlation)


def _spearman(truth, prediction):
    return _pearson(rankdata(truth, axis=1), rankdata(prediction, axis=1))


def _row_products(a, b):
    return np.einsum("ij,ij->i", a, b)
