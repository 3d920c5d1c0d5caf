"""What estimators that wrap others have in common: folds, tags, names of columns."""

from numbers import Integral

import numpy as np
from joblib import delayed
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold, check_cv
from sklearn.utils import check_array, get_tags, indexable
from sklearn.utils._param_validation import HasMethods
from sklearn.utils.validation import has_fit_parameter

from sklperturb.cells._files import gene_names
from sklperturb.conditions._documented import DocumentedMixin
from sklperturb.conditions._frames import as_block, as_pandas, without_annotation
from sklperturb.conditions._named_predictions import NamedPredictionsMixin
from sklperturb.conditions._validation import require_y
from sklperturb.model_selection._fold import FoldFit
from sklperturb.utils._calls import run_calls


class ShapedMixin:
    """Let an estimator around others predict in the shape of `y`, whatever they do."""

    # Of a model that was saved without it, predictions are shaped as they come.
    _learnt_since = {"_y_ndim": None}

    def _check_rows(self, X, y):
        """Return what `check_rows` does, and remember the dimensions of `y`."""
        X, targets = check_rows(self, X, y)
        self._y_ndim = targets.ndim
        return X, targets

    def _shaped(self, y_pred):
        """Return a prediction with as many dimensions as `y` had in fit.

        Those of scikit-learn's that are for one output drop the dimension of one gene.
        """
        y_pred = np.asarray(y_pred)
        if self._y_ndim == 1:
            return y_pred.ravel()
        if self._y_ndim == 2 and y_pred.ndim == 1:
            return y_pred[:, None]
        return y_pred


class MetaRegressor(
    ShapedMixin, DocumentedMixin, NamedPredictionsMixin, RegressorMixin, BaseEstimator
):
    """Base of the regressors around one inner regressor."""

    # Of all subclasses; each has some of these parameters.
    _parameter_constraints = {
        "estimator": [HasMethods(["fit", "predict"]), None],
        "cv": ["cv_object"],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
    }

    def _estimator(self):
        return Ridge() if self.estimator is None else self.estimator

    def _fit_estimator(self, X, y, **fit_params):
        self.estimator_ = clone(self._estimator())
        self.estimator_.fit(X, without_annotation(y), **fit_params)
        copy_feature_names(self, self.estimator_)

    def _out_of_fold(self, X, targets, y):
        folds, [predictions], truth = out_of_fold(
            [self._estimator()],
            X,
            targets,
            self.cv,
            columns=gene_names(y),
            n_jobs=self.n_jobs,
            random_state=self.random_state,
        )
        return folds, predictions, truth

    def __sklearn_tags__(self):
        return inherit_tags(super().__sklearn_tags__(), self._estimator())


def check_rows(estimator, X, y):
    """Return `X` such that rows can be taken from it, and `y` as a float array.

    What is inside of `X` is for the wrapped estimators to check.
    """
    require_y(estimator, y)
    X, y = indexable(as_pandas(X), as_block(y))
    return X, check_array(
        y, ensure_2d=False, dtype=np.float64, input_name="y", estimator=estimator
    )


def unlabeled_for(estimator, X_unlabeled):
    """Return the conditions to predict as metadata for `fit`, none if they are None.

    Raises
    ------
    ValueError
        If `fit` of the estimator does not take them.
    """
    if X_unlabeled is None:
        return {}
    if not has_fit_parameter(estimator, "X_unlabeled"):
        raise ValueError(
            f"X_unlabeled is given, and fit of {type(estimator).__name__} does not "
            "take it; leave it out, or pass another estimator."
        )
    return {"X_unlabeled": as_pandas(X_unlabeled)}


def inherit_tags(tags, wrapped):
    """Return a wrapping estimator's tags, with what the wrapped one accepts."""
    inner = get_tags(wrapped)
    tags.input_tags = inner.input_tags
    tags.target_tags = inner.target_tags
    tags.regressor_tags.poor_score = inner.regressor_tags.poor_score
    return tags


def out_of_fold(
    estimators,
    X,
    y,
    cv,
    *,
    columns=None,
    n_jobs=None,
    random_state=None,
    fit_params=None,
):
    """Return the folds, and predictions and truth of the rows that they hold out.

    A splitter need not hold out every row, and may hold out one more than once.
    `columns` and `fit_params` are those of `FoldFit`.

    Returns
    -------
    folds : list of tuple of ndarray
        Training and held-out rows.
    predictions : ndarray of shape (n_estimators, n_held_out, n_genes)
        Held-out rows fold by fold.
    truth : ndarray of shape (n_held_out, n_genes), float64
    """
    if cv is None or isinstance(cv, Integral):
        # Screens come sorted by compound or context, and folds of neighbouring rows
        # would hold out whole ones.
        n_splits = 5 if cv is None else int(cv)
        cv = KFold(n_splits, shuffle=True, random_state=random_state)
    folds = list(check_cv(cv).split(X, y))
    if not folds:
        raise ValueError(f"cv={cv!r} gives no folds; there is nothing to learn from.")
    fit_params = fit_params or {}
    calls = (
        delayed(_fit_and_predict)(estimator, X, y, train, test, columns, fit_params)
        for estimator in estimators
        for train, test in folds
    )
    shared = [X, y, columns, *estimators, *fit_params.values()]
    done = list(run_calls(calls, n_jobs, shared=shared, ordered=True))
    predictions = [
        np.concatenate(done[start : start + len(folds)])
        for start in range(0, len(done), len(folds))
    ]
    held_out = np.concatenate([test for _, test in folds])
    truth = np.asarray(y, dtype=np.float64).reshape(len(y), -1)[held_out]
    return folds, np.stack(predictions), truth


def copy_feature_names(estimator, fitted):
    """Copy what a fitted estimator knows of the columns that it was fitted on."""
    for name in ("n_features_in_", "feature_names_in_"):
        if hasattr(fitted, name):
            setattr(estimator, name, getattr(fitted, name))


def _fit_and_predict(estimator, X, y, train, test, columns, fit_params):
    fold = FoldFit(estimator, X, y, train, test, columns=columns, fit_params=fit_params)
    predicted = fold.fit().predict()
    return np.asarray(predicted, dtype=np.float64).reshape(len(test), -1)
