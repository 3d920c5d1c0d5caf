"""Find the rows of one condition by its names."""

from collections.abc import Mapping

import numpy as np

from sklperturb.conditions._frames import as_table, column_names, read_column
from sklperturb.conditions._labels import as_text, each_label, take_labels
from sklperturb.conditions._near import spelling_hint
from sklperturb.conditions._validation import resolve_schema

# Roles that make up a condition.
_PARTS = ("perturbation", "context", "dose")


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
    >>> from sklperturb.conditions._find import find_condition
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
