"""Fit and score one fold of one trial; this is what workers run."""

import pickle
import time
from contextlib import nullcontext

import joblib
import numpy as np
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _check_method_params

from sklperturb.utils._epochs import watching_epochs
from sklperturb.utils._threads import one_thread


class EndOfTrial(Exception):
    """The pruner has seen enough."""


class StoredData:
    """Data in a file, read by each worker once and mapped into its memory."""

    _loaded = {}

    def __init__(self, path):
        self.path = str(path)

    def load(self):
        if self.path not in self._loaded:
            self._loaded.clear()
            self._loaded[self.path] = joblib.load(self.path, mmap_mode="r")
        return self._loaded[self.path]


def run_fold(data, estimator, params, fold, train, test, folds, view, scoring):
    """Fit a clone on the training rows and score the others.

    Parameters
    ----------
    data : tuple or StoredData
        X, y, and the metadata for `fit` and for the scorers.
    estimator : estimator
    params : dict
        Parameters of this trial.
    fold : int
    train, test : ndarray of int
    folds : list of dict
        Results of the trial's earlier folds.
    view : PruningView or None
    scoring : dict of str to scorer, str
        Scorers by name, and the name of the one that is optimised.

    Returns
    -------
    result : dict
        "scores", "fit_time", "score_time", "curve" (reported steps and values),
        "notes" (of the pruner), "pruned", and "error" with the text of what went
        wrong, or None; plain values, so that a study can keep them. Beside an error,
        "exception" is what was raised, if it can travel.
    """
    result = {"scores": {}, "curve": [], "notes": {}, "pruned": False, "error": None}
    start = time.perf_counter()
    try:
        with one_thread():
            _fit_and_score(
                result, data, estimator, params, fold, train, test, folds, view, scoring
            )
    except EndOfTrial:
        result["pruned"] = True
    except Exception as error:
        result["error"] = f"{type(error).__name__}: {error}"
        result["exception"] = _portable(error)
    result.setdefault("fit_time", time.perf_counter() - start)
    result.setdefault("score_time", 0.0)
    if view is not None and hasattr(view, "trial"):
        result["curve"], result["notes"] = view.curve, view.notes
    return result


def _fit_and_score(
    result, data, estimator, params, fold, train, test, folds, view, scoring
):
    X, y, fit_params, score_params = (
        data.load() if isinstance(data, StoredData) else data
    )
    scorers, metric = scoring
    X_train, y_train = _safe_indexing(X, train), _take(y, train)
    X_test, y_test = _safe_indexing(X, test), _take(y, test)
    fit_params = _check_method_params(X, fit_params, indices=train)
    score_params = {
        name: _check_method_params(X, given, indices=test)
        for name, given in score_params.items()
    }

    def score(fitted, name):
        arguments = (X_test,) if y is None else (X_test, y_test)
        value = float(scorers[name](fitted, *arguments, **score_params.get(name, {})))
        if not np.isfinite(value):
            raise ValueError(f"The score {name!r} is {value}.")
        return value

    own = {name: clone(value, safe=False) for name, value in params.items()}
    fitted = clone(estimator).set_params(**own)
    watch = nullcontext()
    if view is not None:
        view.begin(folds)
        if view.pruning.by_epoch:
            watch = watching_epochs(
                _EpochJudge(fitted, fold, folds, view, score, metric)
            )
    start = time.perf_counter()
    with watch:
        if y is None:
            fitted.fit(X_train, **fit_params)
        else:
            fitted.fit(X_train, y_train, **fit_params)
    fitted_at = time.perf_counter()
    result["fit_time"] = fitted_at - start
    result["scores"] = {name: score(fitted, name) for name in scorers}
    result["score_time"] = time.perf_counter() - fitted_at
    if view is not None:
        pruning = view.pruning
        value = result["scores"][metric]
        if not pruning.paired:
            value = float(np.mean([f["scores"][metric] for f in folds] + [value]))
        step = (fold + 1) * pruning.steps_per_fold - (1 if not pruning.by_epoch else 0)
        result["pruned"] = view.report(step, value)


class _EpochJudge:
    """Score the held-out rows after an epoch, and end the trial if that looks bad."""

    def __init__(self, estimator, fold, folds, view, score, metric):
        self.estimator = estimator
        self.before = [f["scores"][metric] for f in folds]
        self.first_step = fold * view.pruning.steps_per_fold
        self.view = view
        self.score = score
        self.metric = metric

    def __call__(self, net, epoch):
        if getattr(predicting_part(self.estimator), "net_", None) is not net:
            return  # a network of the encoders, or of the latent space
        pruning = self.view.pruning
        # The last epoch is judged with the whole fold.
        if epoch % pruning.report_every or epoch >= pruning.steps_per_fold:
            return
        value = float(np.mean([*self.before, self.score(self.estimator, self.metric)]))
        if self.view.report(self.first_step + epoch, value):
            raise EndOfTrial


def predicting_part(estimator):
    """Return the estimator at the end of pipelines and wrappers."""
    while True:
        if isinstance(estimator, Pipeline):
            estimator = estimator.steps[-1][1]
        elif hasattr(estimator, "regressor_"):
            estimator = estimator.regressor_
        elif getattr(estimator, "regressor", None) is not None:
            estimator = estimator.regressor
        else:
            return estimator


def _portable(error):
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return None
    return error


def _take(y, rows):
    return None if y is None else _safe_indexing(y, rows)
