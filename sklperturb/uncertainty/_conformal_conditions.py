"""The conditions of training as codes, and other conditions in the same codes."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from sklperturb.conditions._doubts import warn
from sklperturb.conditions._frames import as_pandas, read_column
from sklperturb.conditions._labels import as_text, each_label
from sklperturb.conditions._levels import number_levels
from sklperturb.model_selection._folds import has_structures, join_structures
from sklperturb.model_selection._meta import out_of_fold

# Fewer perturbations do not tell the quantile of a context by itself.
_LEAST_UNITS = 20


class TrainingConditions:
    """The contexts and perturbations of training rows.

    Parameters
    ----------
    X : DataFrame, array or sparse array of shape (n_samples, n_columns)
    schema : PerturbationSchema or None
        None takes each row for a perturbation of its own, in one context.

    Attributes
    ----------
    context, perturbation : ndarray of int of shape (n_samples,)
        Codes of the rows.
    contexts, names : ndarray of object
        What the codes stand for.
    """

    def __init__(self, X, schema):
        self.schema = schema
        contexts, names = self._labels(X)
        if schema is None:
            names = np.array(list(map(str, range(len(names)))), dtype=object)
        self.context, self.contexts = number_levels(contexts)
        self.perturbation, self.names = number_levels(names)

    @property
    def n_levels(self):
        """Numbers of contexts and of perturbations."""
        return len(self.contexts), len(self.names)

    def units(self, X):
        """Return the unit of each training row: its perturbation, under any name.

        Raises
        ------
        ValueError
            If there is one only.
        """
        units = self.perturbation
        if self.schema is not None and has_structures(X, self.schema):
            units = join_structures(units, X, self.schema)
        n_units = len(np.unique(units))
        if n_units < 2:
            raise ValueError(
                f"X has {n_units} perturbation, and n_samples = {len(units)}; "
                "intervals are learnt from perturbations that are held out, and need "
                "many more."
            )
        return units

    def read(self, X):
        """Return codes and names of other rows.

        Returns
        -------
        context, perturbation : ndarray of int of shape (n_samples,)
            -1 for what is in no training row.
        contexts, names : ndarray of object of shape (n_samples,)
        """
        contexts, names = self._labels(X)
        context, perturbation = (
            pd.Index(levels, dtype=object).get_indexer(labels)
            for levels, labels in ((self.contexts, contexts), (self.names, names))
        )
        return context, perturbation, contexts, names

    def _labels(self, X):
        """Return the names of contexts and perturbations as text, empty without any."""
        nothing = np.full(X.shape[0], "", dtype=object)
        if self.schema is None:
            return nothing, nothing
        with_context = () if self.schema.context is None else ("context",)
        self.schema.require(X, "perturbation", *with_context)
        return tuple(
            nothing if column is None else each_label(read_column(X, column), as_text)
            for column in (self.schema.context, self.schema.perturbation)
        )


class HeldOut:
    """Rows that folds hold out: their errors, fold by fold and together.

    Parameters
    ----------
    estimator : regressor
    X : array-like or DataFrame of shape (n_samples, n_columns)
    y : ndarray of shape (n_samples,) or (n_samples, n_genes)
    columns : Index or None
        Names of the columns of `y`.
    cv : splitter or iterable
    n_jobs : int or None
    fit_params : dict of {str: object}
        Metadata for each `fit`.

    Attributes
    ----------
    rows : ndarray of int of shape (n_held_out,)
    errors : ndarray of shape (n_held_out, n_genes)
    """

    def __init__(self, estimator, X, y, columns, cv, n_jobs, fit_params):
        self._folds, [self._predicted], truth = out_of_fold(
            [estimator],
            *(X, y, cv),
            columns=columns,
            n_jobs=n_jobs,
            fit_params=fit_params,
        )
        self.errors = np.subtract(truth, self._predicted, out=truth)
        self.rows = np.concatenate([test for _, test in self._folds])

    def __iter__(self):
        """Yield the training rows, the held-out rows and what is predicted of these."""
        start = 0
        for train, test in self._folds:
            yield train, test, self._predicted[start : start + len(test)]
            start += len(test)


def contexts_to_tell_apart(context, contexts, units):
    """Return the codes of contexts with enough units for a quantile; warn of others.

    Parameters
    ----------
    context : ndarray of int of shape (n_rows,)
    contexts : ndarray of object
        What the codes stand for.
    units : ndarray of int of shape (n_rows,)
    """
    found, few = [], []
    for code, name in enumerate(contexts):
        enough = len(np.unique(units[context == code])) >= _LEAST_UNITS
        (found if enough else few).append((code, str(name)))
    if few:
        shown = ", ".join(repr(name) for _, name in few[:3]) + ", ..." * (len(few) > 3)
        warn(
            f"by_context=True, and in {len(few)} contexts ({shown}) fewer than "
            f"{_LEAST_UNITS} perturbations were held out; they get the quantile of "
            "all contexts."
        )
    return [code for code, _ in found]


@dataclass(frozen=True)
class Asked:
    """What the intervals of some rows are made from."""

    y_pred: np.ndarray
    scale: np.ndarray
    group: np.ndarray
    kind: np.ndarray
    distance: np.ndarray
    size: np.ndarray
    context: np.ndarray
    names: np.ndarray


def as_rows(X):
    """Return conditions as a frame or an array."""
    X = as_pandas(X)
    return X if hasattr(X, "shape") else np.asarray(X, dtype=object)
