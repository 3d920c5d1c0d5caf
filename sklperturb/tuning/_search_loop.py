"""Claim trials, run their folds on the workers, and record the results."""

import time
import warnings
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, CancelledError, wait
from dataclasses import dataclass

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import FitFailedWarning

from sklperturb.model_selection._fold import describe_error
from sklperturb.tuning._fold_task import no_result, run_fold
from sklperturb.tuning._propose import Proposer
from sklperturb.tuning._prune import Pruning
from sklperturb.tuning._trial_store import TrialStore
from sklperturb.tuning._workers import Workers
from sklperturb.utils._callbacks import FitTask
from sklperturb.utils._calls import SUBMISSIONS, WorkerLost

# Seconds between two looks at the trials of other processes.
_PATIENCE = 1.0


@dataclass
class SearchLoop:
    """Run trials until there are `n_trials`, or time is up.

    Parameters
    ----------
    folds : list of tuple (ndarray, ndarray)
    scoring : tuple (dict of str to scorer, str)
        Scorers by name, and the name of the one that is optimised.
    deadline : float or None
        In the time of ``time.monotonic``.
    error_score : "raise" or float
    callback : callable
        ``callback(number)`` is called when a trial is over.
    task : FitTask
        Of the search; trials are told of as its parts, and folds as theirs.
    """

    store: TrialStore
    proposer: Proposer
    pruning: Pruning
    workers: Workers
    estimator: BaseEstimator
    folds: list
    scoring: tuple
    n_trials: int | None
    deadline: float | None
    error_score: str | float
    callback: Callable
    task: FitTask
    first_error: Exception | None = None

    def __post_init__(self):
        self._latest = -1
        self._active = {}  # position -> (trial, view)
        self._futures = {}  # future -> (position, times submitted)
        self._tasks = {}  # position -> [of the trial, of the fold that it is in]
        self._stopped = False  # by a callback

    def run(self):
        exhausted = False
        while True:
            while not exhausted and self._may_start():
                exhausted = not self._start()
            if self._futures:
                self._collect()
            elif self._is_over() or not self._others_run():
                return
            else:
                # Their trials may become ours, should their process die.
                time.sleep(_PATIENCE)
                exhausted = False

    def _may_start(self):
        if self._is_over() or len(self._active) >= self.workers.n_workers:
            return False
        # What a trial may know has to be known before it starts.
        behind = self._latest + 1 - min(self._active, default=self._latest + 1)
        return behind < self.proposer.ask_ahead

    def _start(self):
        trial = self.store.claim(self.n_trials, self.proposer)
        if trial is None:
            return False
        ahead, name = self.proposer.ask_ahead, self.store.study.study_name
        view = self.pruning.view(self.store.trials(), trial.position, ahead, name)
        self._latest = max(self._latest, trial.position)
        self._active[trial.position] = trial, view
        parts = {"number": trial.position, "n_parts": len(self.folds), "ordered": False}
        self._tasks[trial.position] = [self.task.part("trial", **parts).begin(), None]
        self._advance(trial.position)
        return True

    def _advance(self, position, submissions=0):
        """Submit the trial's next fold, or end the trial."""
        trial, view = self._active[position]
        done = trial.folds
        if done and done[-1]["error"] is not None:
            self._finish(position, self.store.fail, done[-1]["error"])
        elif len(done) == len(self.folds) and done[-1]["scores"]:
            metric = self.scoring[1]
            mean = float(np.mean([fold["scores"][metric] for fold in done]))
            self._finish(position, self.store.complete, mean)
        elif done and done[-1]["pruned"]:
            self._finish(position, self.store.prune)
        else:
            params = self.proposer.space.decode(trial.frozen.params)
            rows = self.folds[len(done)]
            tasks = self._tasks[position]
            if not submissions:
                tasks[1] = tasks[0].part("fold", number=len(done))
                tasks[1].shared_with(self.estimator).begin()
            task = (self.estimator, params, rows, done, view, self.scoring, tasks[1])
            future = self.workers.submit(run_fold, *task)
            self._futures[future] = position, submissions + 1

    def _collect(self):
        """Record the folds that are done, and submit the next ones."""
        done, _ = wait(self._futures, return_when=FIRST_COMPLETED)
        lost = []
        for future in done:
            position, submissions = self._futures.pop(future)
            # A cluster cancels a fold whose data went with its worker.
            error = CancelledError() if future.cancelled() else future.exception()
            if error is None:
                self._record(position, future.result())
            else:
                lost.append((position, submissions, error))
        if lost:
            self._resubmit(lost)

    def _resubmit(self, lost):
        self.workers.renew()
        for position, submissions, error in lost:
            if submissions >= SUBMISSIONS:
                trial, _ = self._active[position]
                message = (
                    f"Trial {trial.frozen.number} was given to {submissions} workers, "
                    f"and each died: {describe_error(error)}"
                )
                if self.error_score == "raise":
                    self.store.fail(trial, message)
                    raise WorkerLost(message) from error
                self._record(position, no_result(message))
            else:
                self._advance(position, submissions)

    def _record(self, position, result):
        trial, _ = self._active[position]
        cause = result.pop("exception", None)
        if result["error"] is not None:
            number, params = trial.frozen.number, trial.frozen.params
            where = f"Trial {number} in fold {len(trial.folds)} with {params}"
            cause = cause or RuntimeError(result["error"])
            if self.error_score == "raise":
                self.store.fail(trial, result["error"])
                cause.add_note(f"This was {where}.")
                raise cause
            self.first_error = self.first_error or cause
            warnings.warn(f"{where}: {result['error']}", FitFailedWarning, stacklevel=2)
            if not np.isnan(self.error_score):
                scores = dict.fromkeys(self.scoring[0], float(self.error_score))
                result |= {"error": None, "scores": scores}
        self.store.save_fold(trial, len(trial.folds), result)
        self._tasks[position][1].end()
        self._advance(position)

    def _finish(self, position, verdict, *arguments):
        trial, _ = self._active.pop(position)
        verdict(trial, *arguments)
        self._stopped |= self._tasks.pop(position)[0].end()
        self.callback(trial.frozen.number)

    def _others_run(self):
        return any(t is not None and t.status == "running" for t in self.store.trials())

    def _is_over(self):
        """Whether no trial is begun any more: time is up, or a callback said so."""
        timed_out = self.deadline is not None and time.monotonic() > self.deadline
        return self._stopped or timed_out
