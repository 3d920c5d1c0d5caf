"""Validate tables of conditions and responses the same way in every estimator."""

from dataclasses import replace

import numpy as np
import pandas as pd
from sklearn.utils import check_array, check_consistent_length
from sklearn.utils.validation import validate_data

from sklperturb.conditions._frames import as_pandas, without_annotation
from sklperturb.conditions._labels import control_rows
from sklperturb.conditions._schema import PerturbationSchema


def validate_conditions(
    estimator, X, y="no_validation", *, reset, ensure_all_finite=True
):
    """Check a table of conditions, and a target where one is given.

    A data frame keeps its columns and their dtypes, since conditions are names and
    not numbers; anything else goes through scikit-learn's array checks.

    Parameters
    ----------
    estimator : estimator
        Whose `n_features_in_` and `feature_names_in_` are set or compared.
    X : DataFrame or array-like of shape (n_samples, n_columns)
        Conditions; a data frame of pandas, polars, pyarrow or others.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=not given
        Responses.
    reset : bool
        Whether the columns are to be remembered, as in `fit`, or compared.
    ensure_all_finite : bool, default=True
        Whether numbers in an array must be finite; those of a data frame need not be.

    Returns
    -------
    X : pandas DataFrame or ndarray of shape (n_samples, n_columns)
    y : ndarray of shape (n_samples,) or (n_samples, n_outputs), float64
        Only where `y` was given.

    Raises
    ------
    ValueError
        If there are no rows, the columns are others than in `fit`, or the target is
        not finite or of another length.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn.base import BaseEstimator
    >>> from sklperturb.conditions import validate_conditions
    >>> estimator = BaseEstimator()
    >>> X = pd.DataFrame({"sm_name": ["u", "v"]})
    >>> X, y = validate_conditions(estimator, X, [1, 2], reset=True)
    >>> estimator.feature_names_in_, y
    (array(['sm_name'], dtype=object), array([1., 2.]))
    """
    X = as_pandas(X)
    if isinstance(X, pd.DataFrame):
        X = X if reset else _columns_of_fit(estimator, X)
        validate_data(estimator, X, y, reset=reset, skip_check_array=True)
        if len(X) == 0:
            raise ValueError(
                f"Found array with 0 sample(s) (shape={X.shape}) while a minimum of 1 "
                f"is required by {type(estimator).__name__}."
            )
    else:
        no_target = y is None or isinstance(y, str)
        X = validate_data(
            estimator,
            X,
            y if no_target else "no_validation",
            dtype=None,
            reset=reset,
            ensure_all_finite=ensure_all_finite,
        )
    if isinstance(y, str):
        return X
    return X, validate_target(estimator, X, y)


def _columns_of_fit(estimator, X):
    """Return `X` with the columns of `fit`, but for those it lacks and needs.

    Columns that the estimator does not read may be absent, and others be there: a table
    of conditions to predict need not repeat what was known of those that were measured.
    """
    names = getattr(estimator, "feature_names_in_", None)
    used = getattr(estimator, "_used_columns", None)
    if names is None or used is None or list(names) == list(X.columns):
        return X
    if X.columns.is_unique and not set(used()).isdisjoint(X.columns):
        lacking = set(used()).difference(X.columns)
        return X.reindex(columns=[name for name in names if name not in lacking])
    return X


def require_y(estimator, y):
    """Refuse to fit without responses, in the words of scikit-learn."""
    if y is None:
        raise ValueError(
            f"This {type(estimator).__name__} estimator requires y to be passed, but "
            "the target y is None."
        )


def validate_target(estimator, X, y):
    """Return `y` as a finite float64 array with one row per row of `X`."""
    y = check_array(
        without_annotation(y),
        ensure_2d=False,
        dtype=np.float64,
        input_name="y",
        estimator=estimator,
    )
    check_consistent_length(X, y)
    return y


def check_schema(schema):
    """Refuse what is neither a schema nor None."""
    if schema is not None and not isinstance(schema, PerturbationSchema):
        raise TypeError(
            f"schema must be a PerturbationSchema or None, got {type(schema).__name__}."
        )


def resolve_schema(schema, X, control=None):
    """Return `schema`, or the one that the columns of `X` suggest.

    Parameters
    ----------
    schema : PerturbationSchema or None
        What the user gave.
    X : DataFrame or array-like of shape (n_samples, n_columns)
        Conditions.
    control : str, default=None
        The label of controls that the user gave. It becomes the schema's
        `control_labels`, and outweighs a control column that was only inferred.

    Returns
    -------
    schema : PerturbationSchema

    Raises
    ------
    TypeError
        If `schema` is of another type.
    ValueError
        If no column is known as the perturbation, or `control` contradicts the
        control column that `schema` names.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklperturb.conditions import resolve_schema
    >>> X = pd.DataFrame({"sm_name": ["u", "water"], "cell_type": ["B", "B"]})
    >>> schema = resolve_schema(None, X, control="water")
    >>> schema.perturbation, schema.context, schema.control_labels
    ('sm_name', 'cell_type', ('water',))
    """
    check_schema(schema)
    found = PerturbationSchema.infer(X) if schema is None else schema
    if control is None:
        return found
    labelled = replace(found, control=None, control_labels=str(control))
    if schema is not None and schema.control is not None:
        differ = control_rows(X, schema) != control_rows(X, labelled)
        if differ.any():
            raise ValueError(
                f"Column {schema.control!r}, which the schema names, and "
                f"control={control!r} disagree on which rows are controls, in "
                f"{int(differ.sum())} of them. Pass one of the two."
            )
    return labelled
