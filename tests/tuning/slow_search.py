"""A search that takes its time and leaves a trace, for processes that are killed."""

import json
import os
import time
from pathlib import Path

import numpy as np
from optuna.distributions import FloatDistribution
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold

from sklperturb.tuning import PerturbationSearchCV


class Slow(Ridge):
    """Each fit leaves a line: the penalty, and what tells its training rows apart."""

    def __init__(self, alpha=1.0, *, log=None, nap=0.0):
        super().__init__(alpha=alpha)
        self.log = log
        self.nap = nap

    def fit(self, X, y):
        with open(self.log, "a") as file:
            file.write(f"{self.alpha!r} {float(X[:, 0].sum())!r}\n")
        time.sleep(self.nap)
        return super().fit(X, y)


class Deadly(Slow):
    """Kills its process once, unless that is the spared one."""

    def __init__(self, alpha=1.0, *, log=None, nap=0.0, spared=None):
        super().__init__(alpha=alpha, log=log, nap=nap)
        self.spared = spared

    def fit(self, X, y):
        flag = Path(f"{self.log}.killed")
        if self.alpha > 4 and not flag.exists() and os.getpid() != self.spared:
            flag.touch()
            os.kill(os.getpid(), 9)
        return super().fit(X, y)


def search(estimator, storage=None, **params):
    """Return what a search of ten trials on four folds finds."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 5))
    y = X @ rng.normal(size=(5, 2)) + rng.normal(size=(40, 2))
    found = PerturbationSearchCV(
        estimator,
        {"alpha": FloatDistribution(1e-2, 1e2, log=True)},
        cv=KFold(4),
        n_trials=10,
        random_state=0,
        storage=storage,
        pruner=None,
        refit=False,
        **params,
    ).fit(X, y)
    return {
        "best": found.best_params_["alpha"],
        "score": found.best_score_,
        "alphas": [params["alpha"] for params in found.cv_results_["params"]],
    }


def run(storage, log, nap, result):
    """Search in a process of its own, and write what was found to a file."""
    Path(result).write_text(json.dumps(search(Slow(log=log, nap=nap), storage)))
