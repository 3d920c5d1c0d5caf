"""The search on a Dask cluster whose workers come and go."""

import os
import signal

import joblib
import numpy as np
import pytest
from optuna.distributions import FloatDistribution
from sklearn.linear_model import Ridge

from sklperturb.tuning import PerturbationSearchCV


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 10))
    return X, X @ rng.normal(size=(10, 4)) + rng.normal(size=(80, 4))


def search(**params):
    return PerturbationSearchCV(
        Ridge(),
        {"alpha": FloatDistribution(1e-2, 1e3, log=True)},
        cv=4,
        n_trials=14,
        random_state=0,
        **params,
    )


@pytest.fixture(scope="module")
def serial(table):
    return search().fit(*table)


def assert_equal(found, expected):
    for column in ("params", "state", "mean_test_score", "split3_test_score"):
        np.testing.assert_array_equal(
            found.cv_results_[column], expected.cv_results_[column]
        )
    assert found.best_params_ == expected.best_params_


def test_cluster_gives_what_one_process_gives(dask_client, table, serial):
    with joblib.parallel_config("dask", client=dask_client):
        found = search().fit(*table)
    assert_equal(found, serial)


def test_killed_worker_loses_nothing(dask_client, table, serial, tmp_path):
    pids = list(dask_client.run(os.getpid).values())
    killed = []

    def kill(study, trial):
        if not killed:
            killed.append(pids[0])
            os.kill(pids[0], signal.SIGKILL)

    with joblib.parallel_config("dask", client=dask_client):
        found = search(storage=tmp_path / "study.log", callbacks=[kill]).fit(*table)
    assert killed
    assert_equal(found, serial)
    assert len(found.study_.trials) == 14
