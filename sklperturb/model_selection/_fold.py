"""Fit and judge an estimator on one fold: what comparisons and searches share."""

import time

import numpy as np
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _check_method_params

from sklperturb.conditions._frames import with_columns, without_annotation
from sklperturb.conditions._named_predictions import arrays_only
from sklperturb.utils._callbacks import FitTask

# Metadata for `fit` with rows of its own.
_WHOLE = ("X_unlabeled",)


class FoldFit:
    """A clone of an estimator on one fold: fitted on its training rows only.

    Parameters
    ----------
    estimator : estimator
        Left as it is.
    X : DataFrame or array-like of shape (n_samples, n_features)
    y : array-like, DataFrame or AnnData of shape (n_samples, n_genes), or None
    train, test : ndarray of int
        Rows to learn from, and rows held out.
    params : dict, default=()
        Parameters of the clone.
    fit_params : dict, default=()
        Metadata for `fit`; those that have a value a row are cut to the training rows.
        The rows to predict are not, though they may be as many as those of `X`.
    score_params : dict of str to dict, default=()
        Metadata for each scorer by name, cut to the held-out rows.
    columns : Index, default=None
        Names of the columns of a `y` that is an array, for estimators that know genes
        by their names.
    fit_task : FitTask, default=None
        Task of another estimator's fit that the clone's is part of.

    Attributes
    ----------
    X_test, y_test : the held-out rows
    estimator_ : estimator
        The clone, from the moment that `fit` is called.
    fit_time, score_time : float
        Seconds.
    """

    def __init__(
        self,
        estimator,
        X,
        y,
        train,
        test,
        *,
        params=(),
        fit_params=(),
        score_params=(),
        columns=None,
        fit_task=None,
    ):
        self._fit_task = FitTask() if fit_task is None else fit_task
        self._estimator = estimator
        self._params = dict(params)
        self._columns = columns
        self._train = (_safe_indexing(X, train), *_rows_of(y, train))
        self.X_test = _safe_indexing(X, test)
        self._y_test = _rows_of(y, test)
        fit_params = dict(fit_params)
        whole = {name: fit_params.pop(name) for name in _WHOLE if name in fit_params}
        self._fit_params = _check_method_params(X, fit_params, indices=train) | whole
        self._score_params = {
            name: _check_method_params(X, given, indices=test)
            for name, given in dict(score_params).items()
        }

    @property
    def y_test(self):
        return self._y_test[0] if self._y_test else None

    def fit(self):
        """Fit the clone; return self."""
        params = {name: clone(v, safe=False) for name, v in self._params.items()}
        self.estimator_ = clone(self._estimator)
        if params:  # set_params of a FrozenEstimator returns nothing
            self.estimator_.set_params(**params)
        start = time.perf_counter()
        with self._fit_task.around(self.estimator_), arrays_only():
            X, *y = self._train
            # Cut as an array, whose rows stay as near to each other as they were.
            y = [
                responses_for(self.estimator_, with_columns(each, self._columns))
                for each in y
            ]
            self.estimator_.fit(X, *y, **self._fit_params)
        self.fit_time = time.perf_counter() - start
        return self

    def predict(self):
        """Return what the clone predicts for the held-out rows."""
        with arrays_only():
            return self.estimator_.predict(self.X_test)

    def score(self, scorers):
        """Return the score of the held-out rows by each scorer, all of them finite.

        Parameters
        ----------
        scorers : dict of str to callable

        Returns
        -------
        scores : dict of str to float

        Raises
        ------
        ValueError
            If a score is not finite.
        """
        start = time.perf_counter()
        scores = {}
        for name, scorer in scorers.items():
            given = self._score_params.get(name, {})
            with arrays_only():
                value = scorer(self.estimator_, self.X_test, *self._y_test, **given)
            value = float(value)
            if not np.isfinite(value):
                raise ValueError(f"The score {name!r} is {value}.")
            scores[name] = value
        self.score_time = time.perf_counter() - start
        return scores


def responses_for(estimator, y):
    """Return `y` as an estimator takes it: for scikit-learn's own, AnnData as a frame.

    What counts is the last step of a pipeline, and what a search searches.
    """
    while (is_pipeline := isinstance(estimator, Pipeline)) or type(
        estimator
    ).__module__.partition(".")[0] == "sklearn":
        if is_pipeline:
            inner = estimator.steps[-1][1]
        else:
            inner = getattr(estimator, "estimator", None)
        if not hasattr(inner, "fit"):
            return without_annotation(y)
        estimator = inner
    return y


def _rows_of(y, rows):
    """Return the arguments behind X: the rows of `y`, or none without it."""
    return () if y is None else (_safe_indexing(y, rows),)


def describe_error(error):
    """Return an exception as one line of text."""
    return f"{type(error).__name__}: {error}"
