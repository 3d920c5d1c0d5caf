"""The recommended models tell scikit-learn's callbacks of their parts."""

import numpy as np
import pandas as pd
import pytest

from sklperturb.models import BestCellsRegressor, BestRegressor
from sklperturb.testing._callbacks import Listener

callback = pytest.importorskip("sklearn.callback")


def ends(listener):
    return [tuple(task for _, task, _ in path)[1:] for path in listener.ended]


@pytest.mark.parametrize("budget", ["fast", 3600])
def test_parts_and_their_folds(screen, budget):
    listener = Listener()
    model = BestRegressor(budget, parts=["response", "ridge"], random_state=0)
    expected = model.fit(screen.X, screen.y).predict(screen.X_test)
    model.set_callbacks(listener).fit(screen.X, screen.y)
    np.testing.assert_array_equal(model.predict(screen.X_test), expected)
    found = ends(listener)
    for name in ("response", "ridge"):
        assert found.count(("weigh-seen", name, "fold")) == 5
        assert found.count(("weigh-seen", name)) == 1
    used = set(model.parts_["seen"])
    assert {path[-1] for path in found if path[:1] == ("fit-seen",)} >= used
    assert ("fit-unseen", "context") in found
    assert sorted(map(str, listener.begun)) == sorted(map(str, listener.ended))


def test_models_of_cells():
    genes = ["control", "GATA1", "KLF1", "MYC", "SPI1", "TP53"]
    X = pd.DataFrame({"target_gene": np.repeat(genes, 20)})
    y = np.random.default_rng(0).normal(size=(120, 3))
    y[20:] += 3.0
    listener = Listener()
    model = BestCellsRegressor(n_splits=2, max_steps=2, random_state=0)
    model.set_callbacks(listener).fit(X, y)
    found = ends(listener)
    assert found.count(("compare", "fold")) == 2
    assert found.count(("compare", "fold", "flow")) == 2
    assert found[-2:] == [("fit-best",), ()]
