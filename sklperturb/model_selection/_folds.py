"""What the splitters share: reading conditions from X, dealing them into folds."""

import difflib
from numbers import Integral

import numpy as np
import pandas as pd
from sklearn.model_selection import BaseCrossValidator
from sklearn.utils import check_random_state

from sklperturb.conditions._validation import resolve_schema


class BaseConditionKFold(BaseCrossValidator):
    """Base of the splitters that deal conditions into `n_splits` folds."""

    def get_n_splits(self, X=None, y=None, groups=None):
        """Return the number of splits.

        Parameters
        ----------
        X, y, groups : object
            Ignored, present for scikit-learn's interface.

        Returns
        -------
        n_splits : int
        """
        return self.n_splits

    def _deal(self, n_rows, described):
        """Deal units into folds; give the fold of each, or -1 if it has no rows.

        The units are shuffled, and each goes in turn to the fold that has the
        fewest rows by then, so that two folds differ by at most the rows of the
        largest unit. Dealing from large to small would balance better, and
        leave the seed without effect where all sizes differ.

        Parameters
        ----------
        n_rows : ndarray of shape (n_units,)
            Rows of each unit.
        described : str
            What a unit is, for the error message.
        """
        units = np.flatnonzero(n_rows)
        check_n_splits(self.n_splits, len(units), described)
        load = np.zeros(self.n_splits, dtype=int)
        folds = np.full(len(n_rows), -1)
        for unit in check_random_state(self.random_state).permutation(units):
            folds[unit] = load.argmin()
            load[folds[unit]] += n_rows[unit]
        return folds

    def _masks(self, fold_of_row):
        for fold in range(self.n_splits):
            yield fold_of_row == fold


def check_n_splits(n_splits, n_available, described):
    """Refuse a number of folds that cannot be made from `n_available` units."""
    if not isinstance(n_splits, Integral) or isinstance(n_splits, bool):
        raise TypeError(f"n_splits={n_splits!r} is no integer; give 2 or more.")
    if n_splits < 2:
        raise ValueError(
            f"n_splits={n_splits} leaves nothing to train on; give 2 or more."
        )
    if n_splits > n_available:
        todo = (
            f"Lower n_splits to at most {n_available}."
            if n_available >= 2
            else "At least 2 are needed; measure more, or use another splitter."
        )
        raise ValueError(
            f"n_splits={n_splits} exceeds the number of {described}: "
            f"{n_available}. {todo}"
        )


def read_table(X, schema):
    """Return X as something with columns or a shape, and its schema."""
    if not hasattr(X, "columns"):
        # Objects, so that a list of mixed values keeps its numbers.
        X = X if hasattr(X, "shape") else np.asarray(X, dtype=object)
        if X.ndim != 2:
            raise ValueError(
                f"X has {X.ndim} dimensions; it must be a table with one row per "
                "sample, since the columns say which condition a row is."
            )
    return X, resolve_schema(schema, X)


def read_roles(X, schema, *roles):
    """Return one `(codes, names)` for each of the schema's `roles`."""
    X, schema = read_table(X, schema)
    schema.require(X, *roles)
    return [encode(complete_column(X, getattr(schema, role))) for role in roles]


def read_column(X, column):
    """Return a column of a DataFrame or array as objects."""
    values = X[column] if hasattr(X, "columns") else X[:, column]
    return np.asarray(values, dtype=object)


def complete_column(X, column):
    """Return a column; refuse missing values."""
    values = read_column(X, column)
    n_missing = np.count_nonzero(pd.isna(values))
    if n_missing:
        raise ValueError(
            f"Column {column!r} of X has {n_missing} missing values; every row needs "
            "one to be put on one side of a split. Fill them or drop those rows."
        )
    return values


def encode(values):
    """Number `values` by their sorted names.

    Sorting makes what is held out a matter of the names alone, so that the
    order of the rows does not change a split. Missing values get -1.

    Returns
    -------
    codes : ndarray of shape (n_samples,)
    names : ndarray of shape (n_names,)
    """
    codes, names = pd.factorize(values)
    # By text, since names of several types have no order among themselves.
    order = sorted(
        range(len(names)), key=lambda i: (str(names[i]), str(type(names[i])))
    )
    # The extra last entry keeps -1 for code -1.
    ranks = np.full(len(names) + 1, -1)
    ranks[order] = np.arange(len(names))
    return ranks[codes], names[order]


def check_list(wanted, parameter):
    """Refuse a string, whose letters would be taken for names."""
    if isinstance(wanted, str):
        raise TypeError(
            f"{parameter}={wanted!r} is a string; give a list of names, such as "
            f"{parameter}=[{wanted!r}]."
        )


def find_names(wanted, names, parameter, described):
    """Return the codes of the `wanted` names.

    Parameters
    ----------
    wanted : list-like
        What the user gave.
    names : ndarray
        What there is in X.
    parameter, described : str
        How the parameter is called and what it names, for the messages.
    """
    check_list(wanted, parameter)
    wanted, names = list(wanted), list(names)
    unknown = [name for name in wanted if name not in names]
    if unknown:
        # A screen may hold thousands of compounds: show those that look alike.
        there_are = names
        if len(names) > 20:
            text = [str(name) for name in names]
            near = difflib.get_close_matches(str(unknown[0]), text)
            there_are = [*near, f"... ({len(names)} in all)"]
        raise ValueError(
            f"{parameter} names {described} that X does not have: {unknown}. "
            f"X has {there_are}."
        )
    repeated = sorted({str(name) for name in wanted if wanted.count(name) > 1})
    if repeated:
        raise ValueError(f"{parameter} repeats {repeated}; name each of them once.")
    return np.array([names.index(name) for name in wanted], dtype=int)
