"""What estimators that wrap others have in common."""

import numpy as np
from joblib import Parallel, delayed
from sklearn.base import clone
from sklearn.model_selection import KFold, check_cv
from sklearn.utils import _safe_indexing, check_array, get_tags, indexable

from sklperturb.conditions._frames import as_pandas


def check_rows(estimator, X, y):
    """Return `X` such that rows can be taken from it, and `y` as a float array.

    What is inside of `X` is for the wrapped estimators to check.
    """
    if y is None:
        raise ValueError(
            f"This {type(estimator).__name__} estimator requires y to be passed, but "
            "the target y is None."
        )
    X, y = indexable(as_pandas(X), as_pandas(y))
    return X, check_array(
        y, ensure_2d=False, dtype=np.float64, input_name="y", estimator=estimator
    )


def inherit_tags(tags, wrapped):
    """Return a wrapping estimator's tags, with what the wrapped one accepts."""
    inner = get_tags(wrapped)
    tags.input_tags = inner.input_tags
    tags.target_tags = inner.target_tags
    tags.regressor_tags.poor_score = inner.regressor_tags.poor_score
    return tags


def out_of_fold(estimators, X, y, cv, *, n_jobs=None, random_state=None):
    """Return (the folds, each estimator's predictions of the rows they hold out).

    A splitter need not hold out every row, and may hold out one more than once.

    Returns
    -------
    folds : list of tuple of ndarray
        Training and held-out rows.
    predictions : ndarray of shape (n_estimators, n_held_out, n_genes)
        Held-out rows fold by fold.
    """
    if cv is None or isinstance(cv, int):
        # Screens come sorted by compound or context, and folds of neighbouring rows
        # would hold out whole ones.
        cv = KFold(cv or 5, shuffle=True, random_state=random_state)
    folds = list(check_cv(cv).split(X, y))
    if not folds:
        raise ValueError(f"cv={cv!r} gives no folds; there is nothing to learn from.")
    done = Parallel(n_jobs=n_jobs)(
        delayed(_fit_and_predict)(estimator, X, y, train, test)
        for estimator in estimators
        for train, test in folds
    )
    predictions = [
        np.concatenate(done[start : start + len(folds)])
        for start in range(0, len(done), len(folds))
    ]
    return folds, np.stack(predictions)


def held_out(folds):
    """Return the rows that folds hold out, fold by fold."""
    return np.concatenate([test for _, test in folds])


def copy_feature_names(estimator, fitted):
    """Copy what a fitted estimator knows of the columns that it was fitted on."""
    for name in ("n_features_in_", "feature_names_in_"):
        if hasattr(fitted, name):
            setattr(estimator, name, getattr(fitted, name))


def _fit_and_predict(estimator, X, y, train, test):
    fitted = clone(estimator).fit(_safe_indexing(X, train), _safe_indexing(y, train))
    predicted = np.asarray(fitted.predict(_safe_indexing(X, test)), dtype=np.float64)
    return predicted.reshape(len(test), -1)
