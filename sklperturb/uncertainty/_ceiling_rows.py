"""Which rows measure the same condition again."""

import numpy as np
import pandas as pd

from sklperturb.conditions._doubts import fold_column
from sklperturb.conditions._frames import (
    as_table,
    column_names,
    read_column,
    take_columns,
)
from sklperturb.conditions._labels import as_text, each_label
from sklperturb.conditions._levels import number_levels
from sklperturb.conditions._quantities import read_dose
from sklperturb.conditions._validation import resolve_schema

# Columns that no role of a schema names, and that tell conditions apart all the same.
_AMOUNTS = {"time", "timepoint", "timehr", "timeh", "timepointhr", "hour", "duration"}
_AMOUNTS |= {"dose", "doseum", "dosenm", "doseval", "dosevalue", "dosage", "conc"}
_AMOUNTS |= {"concentration"}

# With hundreds of controls, a mean of all others is no better than one of so many.
MOST_PARTNERS = 24


def condition_columns(X, schema):
    """Return the columns that say which condition a row is.

    They are those of perturbation, context and dose, and others that a time or a dose
    is commonly called by.

    Parameters
    ----------
    X : DataFrame or array-like of shape (n_samples, n_columns)
    schema : PerturbationSchema

    Returns
    -------
    columns : list of str or int
    """
    named = schema.columns("perturbation", "context", "dose")
    taken = {*named, *schema.columns("batch", "replicate")}
    return named + [
        name
        for name in column_names(as_table(X))
        if name not in taken and isinstance(name, str) and fold_column(name) in _AMOUNTS
    ]


def number_conditions(X, schema=None, columns=None):
    """Return the number of each row's condition, the same for the same condition.

    Parameters
    ----------
    X : DataFrame or array-like of shape (n_samples, n_columns)
    schema : PerturbationSchema, default=None
    columns : list of str or int, default=None
        None takes those of `condition_columns`.

    Returns
    -------
    codes : ndarray of int of shape (n_samples,)
    """
    schema = resolve_schema(schema, X)
    columns = condition_columns(X, schema) if columns is None else list(columns)
    table = take_columns(X, columns, allow_missing=True)
    for j, name in enumerate(columns):
        spell = _spell_dose if name == schema.dose else as_text
        if name == schema.perturbation:
            spell = _speller(schema)
        table[:, j] = each_label(table[:, j], spell)
    grouped = pd.DataFrame(table).groupby(list(range(len(columns))), sort=False)
    return grouped.ngroup().to_numpy()


def number_replicates(X, codes, column):
    """Return the number of each row's replicate.

    Parameters
    ----------
    X : DataFrame or array-like of shape (n_samples, n_columns)
    codes : ndarray of int of shape (n_samples,)
        Of the conditions.
    column : str, int or None
        None takes every row for a measurement of its own.

    Returns
    -------
    levels : ndarray of int of shape (n_samples,)
        -1 where it has no name: it cannot be told whose noise the row has in common.
    """
    if column is None:
        return np.arange(len(codes))
    return number_levels(read_column(X, column, allow_missing=True))[0]


def partners_of(codes, levels):
    """Return for each row one row of every other replicate of its condition.

    Of very many, some, evenly: more would make a mean hardly less noisy.

    Parameters
    ----------
    codes, levels : ndarray of int of shape (n_samples,)
        Rows of a level below 0 are nobody's partners, and have none.

    Returns
    -------
    partners : list of ndarray of int
        Of length n_samples; empty where the condition was measured once.
    """
    partners = [np.empty(0, dtype=np.intp)] * len(codes)
    for rows in pd.Series(np.arange(len(codes))).groupby(codes).indices.values():
        rows = rows[levels[rows] >= 0]
        if len(rows) < 2:
            continue
        own = [rows[levels[rows] == level] for level in np.unique(levels[rows])]
        steps = np.linspace(1, len(own) - 1, min(len(own) - 1, MOST_PARTNERS))
        for place, group in enumerate(own):
            others = [own[i] for i in (place + steps.astype(int)) % len(own)]
            for turn, row in enumerate(group):
                # One of each, so that no replicate weighs more for having more rows.
                picked = [other[turn % len(other)] for other in others]
                partners[row] = np.array(picked, dtype=np.intp)
    return partners


def _speller(schema):
    # Controls of two names, such as DMSO and untreated, are two conditions.
    return lambda label: (
        as_text(label) if schema.names_control(label) else schema.spell(label)
    )


def _spell_dose(value):
    kind, amount = read_dose(value)
    return as_text(value) if kind == "unread" else f"{kind} {amount!r}"
