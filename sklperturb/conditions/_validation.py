"""Validate tables of conditions and responses the same way everywhere; find rows."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
from sklearn.utils import check_array, check_consistent_length
from sklearn.utils.validation import validate_data

from sklperturb.conditions._frames import (
    as_block,
    as_pandas,
    as_table,
    column_names,
    read_column,
)
from sklperturb.conditions._labels import (
    as_text,
    control_rows,
    each_label,
    take_labels,
)
from sklperturb.conditions._near import spelling_hint
from sklperturb.conditions._schema import PerturbationSchema

# Roles that make up a condition.
_PARTS = ("perturbation", "context", "dose")


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


def check_list(wanted, parameter):
    """Refuse a string, whose letters would be taken for names."""
    if isinstance(wanted, str):
        raise TypeError(
            f"{parameter}={wanted!r} is a string; give a list of names, such as "
            f"{parameter}=[{wanted!r}]."
        )


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
        as_block(y),
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


def name_conditions(X, schema):
    """Return the condition of each row as text, such as ``Idelalisib in B cells``.

    Parameters
    ----------
    X : DataFrame or array-like of shape (n_samples, n_columns)
    schema : PerturbationSchema or None

    Returns
    -------
    names : list of str
    """
    X = as_table(X)
    schema = resolve_schema(schema, X)
    roles = [role for role in _PARTS if getattr(schema, role) is not None]
    schema.require(X, *roles)
    return [" in ".join(row) for row in take_labels(X, schema.columns(*roles))]


def find_condition(X, schema, condition):
    """Return the positions of the rows of one condition.

    Parameters
    ----------
    X : DataFrame or array-like of shape (n_samples, n_columns)
    schema : PerturbationSchema or None
    condition : str or dict
        The name of a perturbation, or values by role or column.

    Returns
    -------
    rows : ndarray of int

    Raises
    ------
    ValueError
        If there is no such role, value or condition, or if there are several.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklperturb.conditions._validation import find_condition
    >>> X = pd.DataFrame({"cell_type": ["B", "NK"], "sm_name": ["u", "u"]})
    >>> find_condition(X, None, {"perturbation": "u", "cell_type": "NK"})
    array([1])
    """
    if not isinstance(condition, Mapping):
        condition = {"perturbation": condition}
    X = as_table(X)
    schema = resolve_schema(schema, X)
    found = np.ones(len(X), dtype=bool)
    for role, value in condition.items():
        labels = read_column(X, _column_of(X, schema, role), allow_missing=True)
        labels = each_label(labels, as_text)
        same = labels == as_text(value)
        if not same.any():
            levels = sorted(set(labels))
            more = f" and {len(levels) - 10} more" if len(levels) > 10 else ""
            raise ValueError(
                f"No row has {role}={value!r}; there are {levels[:10]}{more}."
                f"{spelling_hint([value], levels)}"
            )
        found &= same
    rows = np.flatnonzero(found)
    if not len(rows):
        raise ValueError(
            f"No row is the condition {condition}, though its parts occur apart. It "
            "was not measured."
        )
    all_names = name_conditions(X, schema)
    names = list(dict.fromkeys(all_names[row] for row in rows))
    if len(names) > 1:
        raise ValueError(
            f"{len(rows)} rows have {condition}, of {len(names)} different "
            f"conditions, such as {names[0]!r} and {names[1]!r}. Say which, by more "
            "roles or columns or by the position of a row."
        )
    return rows


def _column_of(X, schema, role):
    """Return the column that a condition names by its role or by its own name."""
    columns = column_names(X)
    if role in columns:
        return role
    roles = [part for part in _PARTS if getattr(schema, part) is not None]
    if role not in roles:
        raise ValueError(
            f"The condition names {role!r}, which is neither a column of X nor a role "
            f"of the schema. X has {columns[:20]}; roles are {roles}."
        )
    schema.require(X, role)
    return getattr(schema, role)
