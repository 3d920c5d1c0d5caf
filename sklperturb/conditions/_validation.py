"""Read tables of conditions the same way in every estimator."""

import numpy as np
import pandas as pd
from sklearn.utils import check_array, check_consistent_length
from sklearn.utils.validation import validate_data

from sklperturb.conditions._schema import PerturbationSchema


def validate_conditions(estimator, X, y="no_validation", *, reset):
    """Check a table of conditions, and a target where one is given.

    A DataFrame keeps its columns and their dtypes, since conditions are names
    and not numbers; anything else goes through scikit-learn's array checks.

    Returns
    -------
    X : DataFrame or ndarray of shape (n_samples, n_columns)
    y : ndarray of shape (n_samples,) or (n_samples, n_outputs), float64
        Only where `y` was given.
    """
    if isinstance(X, pd.DataFrame):
        validate_data(estimator, X, y, reset=reset, skip_check_array=True)
        if len(X) == 0:
            raise ValueError(
                f"Found array with 0 sample(s) (shape={X.shape}) while a minimum of 1 "
                f"is required by {type(estimator).__name__}."
            )
    else:
        no_target = y is None or isinstance(y, str)
        X = validate_data(
            estimator, X, y if no_target else "no_validation", dtype=None, reset=reset
        )
    if isinstance(y, str):
        return X
    return X, validate_target(estimator, X, y)


def validate_target(estimator, X, y):
    """Return `y` as a finite float64 array with one row per row of `X`."""
    y = check_array(
        y,
        ensure_2d=False,
        dtype=np.float64,
        input_name="y",
        estimator=estimator,
    )
    check_consistent_length(X, y)
    return y


def resolve_schema(schema, X):
    """Return `schema`, or the one that the columns of `X` suggest."""
    if schema is None:
        return PerturbationSchema.infer(X)
    if not isinstance(schema, PerturbationSchema):
        raise TypeError(
            f"schema must be a PerturbationSchema or None, got {type(schema).__name__}."
        )
    return schema


def take_columns(X, columns):
    """Return some columns of `X` as an object array without missing values.

    Raises
    ------
    ValueError
        If a value is missing: a condition without a name cannot be learnt.
    """
    if isinstance(X, pd.DataFrame):
        table = X.loc[:, columns].astype(object)
    else:
        table = pd.DataFrame(np.asarray(X)[:, columns], columns=columns, dtype=object)
    missing = table.isna().sum()
    if missing.any():
        counts = ", ".join(f"{c!r}: {n}" for c, n in missing[missing > 0].items())
        raise ValueError(
            f"Missing values in the condition columns ({counts}). Every row needs its "
            "perturbation and context; drop these rows or name the level."
        )
    return table.to_numpy(dtype=object)
