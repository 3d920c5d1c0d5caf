"""Turn truth and prediction into two arrays that can be compared."""

import warnings

import numpy as np
import pandas as pd
from sklearn.utils import check_array

from sklperturb.conditions._frames import as_pandas, without_annotation
from sklperturb.conditions._levels import indicator


def check_pair(y_true, y_pred):
    """Return truth and prediction as 2-d arrays, without copying where possible.

    Parameters
    ----------
    y_true, y_pred : array-like or DataFrame of shape (n_samples,) or \
            (n_samples, n_outputs)

    Returns
    -------
    truth, prediction : ndarray of shape (n_samples, n_outputs)
    columns : ndarray of shape (n_outputs,) or slice
        Where each column of the truth sits in the prediction. The reordering
        is left to the caller, who does it block by block.

    Raises
    ------
    TypeError
        If one of them is a sparse matrix.
    ValueError
        If they are empty, not numeric, of different shapes, or hold different
        genes.
    """
    y_true, y_pred = without_annotation(y_true), without_annotation(y_pred)
    columns = _match_columns(y_true, y_pred)
    truth, prediction = _as_2d(y_true, "y_true"), _as_2d(y_pred, "y_pred")
    if truth.shape != prediction.shape:
        raise ValueError(
            f"y_true has shape {truth.shape} and y_pred has shape "
            f"{prediction.shape}; both need one row per condition and one column "
            "per gene, in the same order."
        )
    if truth.size == 0:
        raise ValueError(
            f"y_true has shape {truth.shape}: there is nothing to score. Pass at "
            "least one row and one gene."
        )
    return truth, prediction, columns


def check_truth_values(truth):
    """Return `truth` as float64; refuse NaN and infinity."""
    truth = np.asarray(truth, dtype=np.float64)
    n_bad = truth.size - np.count_nonzero(np.isfinite(truth))
    if n_bad:
        raise ValueError(
            f"y_true holds NaN or infinite values ({n_bad} found in the rows read "
            "so far); the truth must be finite. Drop those genes or conditions."
        )
    return truth


def fill_prediction_values(prediction):
    """Return `prediction` as float64 with 0 for NaN, and how many NaN there were."""
    prediction = np.asarray(prediction, dtype=np.float64)
    if np.isinf(prediction).any():
        raise ValueError(
            "y_pred holds infinite values. A prediction must be finite, or NaN "
            "where the model predicts nothing (which counts as 0)."
        )
    missing = np.isnan(prediction)
    n_missing = np.count_nonzero(missing)
    if n_missing:
        prediction = np.where(missing, 0.0, prediction)
    return prediction, n_missing


def warn_missing_predictions(n_missing):
    """Warn the caller of a metric that NaN were scored as 0."""
    if n_missing:
        warnings.warn(
            f"y_pred holds {n_missing} NaN values, which count as 0 (no response), "
            "as in the OP2 benchmark. Fill them, or drop those genes, to choose "
            "otherwise.",
            UserWarning,
            stacklevel=4,
        )


def finite_pair(y_true, y_pred):
    """Return both as float64, in the truth's order of genes, with 0 for missing."""
    truth, prediction, columns = check_pair(y_true, y_pred)
    truth = check_truth_values(truth)
    prediction, n_missing = fill_prediction_values(prediction)
    warn_missing_predictions(n_missing)
    return truth, prediction[:, columns]


def check_weights(sample_weight, n_samples):
    """Return `sample_weight` as a float64 array; None means equal weights."""
    if sample_weight is None:
        return np.ones(n_samples)
    weight = np.asarray(sample_weight, dtype=np.float64)
    finite = np.isfinite(weight).all() and (weight >= 0).all()
    if weight.shape != (n_samples,) or not finite or not weight.any():
        raise ValueError(
            f"sample_weight has shape {weight.shape}; it needs one weight per row, "
            f"shape ({n_samples},), finite, at least 0, and not all of them 0."
        )
    return weight


def average_by_condition(y_true, y_pred, weight, conditions):
    """Average the rows of each condition, weighted.

    Returns
    -------
    truth, prediction : ndarray of shape (n_conditions, n_outputs)
    weight : ndarray of shape (n_conditions,)
        Summed weights. Conditions of total weight 0 are left out.
    """
    # NaN are filled before they could spread over the replicates.
    truth, prediction = finite_pair(y_true, y_pred)
    codes = _condition_codes(conditions, len(truth))
    # Relative to the condition's largest weight, so that equal weights are 1 to
    # the last digit: rounding would break ties between genes, which ranks see.
    largest = np.zeros(codes.max() + 1)
    np.maximum.at(largest, codes, weight)
    scored = largest > 0
    relative = weight / np.where(scored, largest, 1.0)[codes]
    # One row per condition, one column per sample: the product with it adds up.
    averaging = indicator(codes, len(largest)).multiply(relative[:, None]).T.tocsr()
    counts = np.bincount(codes, weights=relative)[scored, None]
    truth, prediction = (
        averaging[scored] @ side / counts for side in (truth, prediction)
    )
    return truth, prediction, np.bincount(codes, weights=weight)[scored]


def _match_columns(y_true, y_pred):
    """Find the truth's genes in the prediction, when both name their genes."""
    if not (isinstance(y_true, pd.DataFrame) and isinstance(y_pred, pd.DataFrame)):
        return slice(None)
    if y_true.columns.equals(y_pred.columns):
        return slice(None)
    missing = y_true.columns.difference(y_pred.columns, sort=False)
    extra = y_pred.columns.difference(y_true.columns, sort=False)
    if len(missing) or len(extra):
        raise ValueError(
            f"y_true and y_pred hold different columns. {len(missing)} only in "
            f"y_true: {list(missing[:5])}; {len(extra)} only in y_pred: "
            f"{list(extra[:5])}. Select the same columns in both, or pass arrays "
            "to compare by position."
        )
    for name, columns in (("y_true", y_true.columns), ("y_pred", y_pred.columns)):
        if not columns.is_unique:
            raise ValueError(
                f"{name} repeats columns, such as "
                f"{list(columns[columns.duplicated()][:5])}, so the columns cannot "
                "be matched by name. Make them unique or bring them in one order."
            )
    return y_pred.columns.get_indexer(y_true.columns)


def _as_2d(y, name):
    """View `y` as a 2-d numeric array; a 1-d `y` is a single gene."""
    if isinstance(y, pd.DataFrame):
        # Positions in place of names, which scikit-learn would have unique.
        y = y.copy(deep=False)
        y.columns = range(y.shape[1])
    values = check_array(
        y,
        ensure_2d=False,
        allow_nd=True,
        ensure_all_finite=False,
        ensure_min_samples=0,
        ensure_min_features=0,
        input_name=name,
    )
    if values.ndim not in (1, 2):
        raise ValueError(
            f"{name} has {values.ndim} dimensions; allowed are 2 (conditions by "
            "genes) or 1 (a single gene)."
        )
    return values[:, None] if values.ndim == 1 else values


def _condition_codes(conditions, n_samples):
    """Number the conditions of the rows, in order of first appearance."""
    conditions = as_pandas(conditions)
    frame = pd.DataFrame(
        conditions if hasattr(conditions, "columns") else np.asarray(conditions)
    )
    if len(frame) != n_samples or frame.shape[1] == 0:
        raise ValueError(
            f"conditions has shape {frame.shape}; it needs one row per sample "
            f"({n_samples}) and at least one column."
        )
    if frame.isna().any(axis=None):
        raise ValueError(
            "conditions holds missing values; name the condition of every row."
        )
    # Positions in place of names, so that repeated column names do no harm.
    frame.columns = range(frame.shape[1])
    grouped = frame.groupby(list(frame.columns), sort=False, observed=True)
    return grouped.ngroup().to_numpy()
