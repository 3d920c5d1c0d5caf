"""A flow tells scikit-learn's callbacks of its trainings."""

import numpy as np
import pandas as pd
import pytest

from sklperturb.flow import FlowMatchingRegressor
from sklperturb.testing._callbacks import Listener

callback = pytest.importorskip("sklearn.callback")
pytestmark = pytest.mark.filterwarnings("ignore:FlowMatchingRegressor")


@pytest.fixture(scope="module")
def cells():
    rng = np.random.default_rng(0)
    genes = ["control", "GATA1", "KLF1", "MYC", "SPI1", "TP53"]
    X = pd.DataFrame({"target_gene": np.repeat(genes, 20)})
    return X, rng.normal(size=(120, 3))


def make(**params):
    params = {"mean_estimator": "shift", "patience": None} | params
    return FlowMatchingRegressor(
        max_steps=250, cells_per_condition=4, hidden_dim=8, random_state=0, **params
    )


def names(listener):
    return [tuple(task for _, task, _ in path) for path in listener.ended]


def test_looks_are_tasks_and_change_nothing(cells):
    X, y = cells
    listener = Listener()
    model = make().set_callbacks(listener).fit(X, y)
    steps, train = ("fit", "train", "steps"), ("fit", "train")
    assert names(listener) == [steps] * 3 + [train, ("fit",)]
    assert len(listener.begun) == len(listener.ended)
    assert [entry["step"] for entry in model.history_] == [100, 200, 250]
    np.testing.assert_array_equal(model.predict(X), make().fit(X, y).predict(X))


def test_a_callback_can_stop_the_training(cells):
    class Stopper(Listener):
        def on_fit_task_end(self, estimator, context):
            return context.task_name == "steps"

    model = make(validation_fraction=0.0).set_callbacks(Stopper()).fit(*cells)
    assert [entry["step"] for entry in model.history_] == [100]
