"""Searches tell scikit-learn's callbacks of trials, folds and what is nested."""

import warnings

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.model_selection import cross_val_score

from sklperturb.neural_network import LatentNetRegressor
from sklperturb.testing._callbacks import Listener
from sklperturb.tuning import PerturbationSearchCV

callback = pytest.importorskip("sklearn.callback")


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 4))
    return X, X @ rng.normal(size=(4, 3))


def search_of(estimator, space=None, **params):
    space = {"alpha": [0.1, 1.0, 10.0]} if space is None else space
    params = {"cv": 2, "n_trials": 3, "random_state": 0, "verbose": 0} | params
    return PerturbationSearchCV(estimator, space, **params)


def names(listener):
    return [tuple(task for _, task, _ in path) for path in listener.ended]


def test_trials_folds_and_the_last_fit_are_told(data):
    listener = Listener()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # that Ridge has no callbacks is no matter
        search = search_of(Ridge()).set_callbacks(listener).fit(*data)
    fold = ("fit", "search", "trial", "fold")
    trial = [fold, fold, fold[:3]]
    end = [fold[:2], ("fit", "refit-with-best-params"), ("fit",)]
    assert names(listener) == trial * 3 + end
    assert sorted(map(str, listener.begun)) == sorted(map(str, listener.ended))
    numbers = [path[2][2] for path in listener.ended if len(path) == 3]
    assert numbers == [0, 1, 2]
    told, X = listener.last
    np.testing.assert_array_equal(told.predict(X), search.predict(X))


def test_a_callback_can_end_the_search(data):
    class Stopper(Listener):
        def on_fit_task_end(self, estimator, context):
            return context.task_name == "trial" and context.task_id == 1

    search = search_of(Ridge(), n_trials=50).set_callbacks(Stopper()).fit(*data)
    assert len(search.cv_results_["params"]) == 2
    assert search.predict(data[0]).shape == (30, 3)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_epochs_within_trials(data, n_jobs):
    monitor = callback.ScoringMonitor(scoring="r2")
    net = LatentNetRegressor(max_epochs=2, target_components=None, random_state=0)
    search = search_of(
        net.set_callbacks(monitor), {"dropout": [0.0, 0.1]}, n_trials=2, n_jobs=n_jobs
    )
    search.set_callbacks(callback.ProgressBar()).fit(*data)
    [log] = monitor.get_logs("all")
    assert log.estimator_name == "PerturbationSearchCV"
    paths = [row["task_id_path"] for row in log.data if row["task_name"] == "epoch"]
    # Search 0, of which 2 trials of 2 folds of 2 epochs; and the last fit, 1.
    nested = [(0, 0, i, j, k) for i in (0, 1) for j in (0, 1) for k in (0, 1)]
    assert sorted(paths) == sorted(nested + [(0, 1, 0), (0, 1, 1)])


def test_a_search_goes_on_whatever_listens(data, tmp_path):
    storage = tmp_path / "study.log"
    space = {"dropout": [0.0, 0.1]}
    net = LatentNetRegressor(max_epochs=1, target_components=None, random_state=0)
    search_of(net, space, storage=storage, n_trials=2).fit(*data)
    listener = Listener()
    net.set_callbacks(callback.ScoringMonitor(scoring="r2"))
    search = search_of(net, space, storage=storage, n_trials=4)
    search.set_callbacks(listener).fit(*data)
    assert len(search.cv_results_["params"]) == 4
    trials = [path[2][2] for path in listener.ended if len(path) == 3]
    assert trials == [2, 3]


def test_within_cross_validation(data):
    search = search_of(Ridge()).set_callbacks(Listener())
    assert np.isfinite(cross_val_score(search, *data, cv=2)).all()


def test_bars_are_for_the_outermost(data):
    net = LatentNetRegressor(max_epochs=1, target_components=None)
    search = search_of(net.set_callbacks(callback.ProgressBar()), {"dropout": [0.0]})
    with pytest.raises(TypeError, match="Register them directly"):
        search.set_callbacks(Listener()).fit(*data)
