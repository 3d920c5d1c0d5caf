"""Fit and score one fold of one trial; this is what workers run."""

import pickle
import time
from contextlib import nullcontext

import joblib
import numpy as np
from sklearn.pipeline import Pipeline

from sklperturb.model_selection._fold import FoldFit, describe_error
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


def run_fold(data, estimator, params, rows, folds, view, scoring, fit_task):
    """Fit a clone on the training rows and score the others.

    Parameters
    ----------
    data : tuple or StoredData
        X, y, and the metadata for `fit` and for the scorers.
    estimator : estimator
    params : dict
        Parameters of this trial.
    rows : tuple (ndarray of int, ndarray of int)
        To train on, and to test on.
    folds : list of dict
        Results of the trial's earlier folds.
    view : PruningView or None
    scoring : dict of str to scorer, str
        Scorers by name, and the name of the one that is optimised.
    fit_task : FitTask
        Of the search, of which this fit is.

    Returns
    -------
    result : dict
        "scores", "fit_time", "score_time", "curve" (reported steps and values),
        "notes" (of the pruner), "pruned", and "error" with the text of what went
        wrong, or None; plain values, so that a study can keep them. Beside an error,
        "exception" is what was raised, if it can travel.
    """
    result = no_result()
    start = time.perf_counter()
    try:
        with one_thread():
            X, y, fit_params, score_params = (
                data.load() if isinstance(data, StoredData) else data
            )
            metadata = {"fit_params": fit_params, "score_params": score_params}
            metadata["fit_task"] = fit_task
            task = FoldFit(estimator, X, y, *rows, params=params, **metadata)
            _fit_and_score(result, task, folds, view, scoring)
    except EndOfTrial:
        result["pruned"] = True
    except Exception as error:
        result["error"] = describe_error(error)
        result["exception"] = _portable(error)
    result["fit_time"] = result["fit_time"] or time.perf_counter() - start
    if view is not None and hasattr(view, "trial"):
        result["curve"], result["notes"] = view.curve, view.notes
    return result


def no_result(error=None):
    """Return the result of a fold that has not come to its scores."""
    return {
        "scores": {},
        "curve": [],
        "notes": {},
        "pruned": False,
        "error": error,
        "fit_time": 0.0,
        "score_time": 0.0,
    }


def _fit_and_score(result, task, folds, view, scoring):
    """Fit and score, and ask the pruner: after epochs, or after the fold."""
    scorers, metric = scoring
    watch = nullcontext()
    if view is not None:
        view.begin(folds)
        if view.pruning.by_epoch:
            optimised = {metric: scorers[metric]}
            watch = watching_epochs(_EpochJudge(task, folds, view, optimised))
    with watch:
        task.fit()
    result["fit_time"] = task.fit_time
    result["scores"] = task.score(scorers)
    result["score_time"] = task.score_time
    if view is not None:
        pruning = view.pruning
        value = result["scores"][metric]
        if not pruning.paired:
            value = float(np.mean([f["scores"][metric] for f in folds] + [value]))
        step = (len(folds) + 1) * pruning.steps_per_fold - (not pruning.by_epoch)
        result["pruned"] = view.report(step, value)


class _EpochJudge:
    """Score the held-out rows after an epoch, and end the trial if that looks bad."""

    def __init__(self, task, folds, view, scorer):
        self.task = task
        self.scorer = scorer
        (self.metric,) = scorer
        self.before = [f["scores"][self.metric] for f in folds]
        self.first_step = len(folds) * view.pruning.steps_per_fold
        self.view = view

    def __call__(self, net, epoch):
        if getattr(predicting_part(self.task.estimator_), "net_", None) is not net:
            return  # a network of the encoders, or of the latent space
        pruning = self.view.pruning
        # The last epoch is judged with the whole fold.
        if epoch % pruning.report_every or epoch >= pruning.steps_per_fold:
            return
        score = self.task.score(self.scorer)[self.metric]
        if self.view.report(
            self.first_step + epoch, float(np.mean([*self.before, score]))
        ):
            raise EndOfTrial


def predicting_part(estimator):
    """Return the estimator at the end of pipelines and wrappers."""
    while True:
        if isinstance(estimator, Pipeline):
            inner = estimator.steps[-1][1]
        else:
            inner = getattr(estimator, "regressor", None)
            inner = getattr(estimator, "regressor_", inner)
        if inner is None:
            return estimator
        estimator = inner


def _portable(error):
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return None
    return error
