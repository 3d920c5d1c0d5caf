"""Columns that a model was fitted with, and those that it asks for afterwards."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline

from sklperturb.baseline import AdditiveRegressor
from sklperturb.datasets import make_chemical_screen
from sklperturb.linear_model import TanimotoKernelRidge
from sklperturb.models import make_model
from sklperturb.preprocessing import TargetStatisticsEncoder

NAMES = ["sm_name", "cell_type"]


@pytest.fixture(scope="module")
def screen():
    return make_chemical_screen(4, 12, 20, random_state=0)


@pytest.mark.parametrize("name", ["additive_joint", "ridge", "dual_branch", "boosting"])
def test_only_what_is_read_is_asked_for(screen, name):
    pytest.importorskip("lightgbm")
    model = make_model(name, schema=screen.schema, random_state=0)
    if name == "dual_branch":
        model.set_params(max_epochs=1)
    model.fit(screen.X, screen.y)
    y_pred = model.predict(screen.X_test)
    # In another order, without columns that describe compounds, and with one more.
    asked = screen.X_test[NAMES].assign(well="A1")
    assert np.array_equal(model.predict(asked), y_pred)


def test_what_is_read_is_asked_for(screen):
    model = AdditiveRegressor().fit(screen.X, screen.y)
    with pytest.raises(ValueError, match="yet now missing:\n- cell_type"):
        model.predict(screen.X_test[["sm_name"]])
    pytest.importorskip("rdkit")
    model = TanimotoKernelRidge().fit(screen.X, screen.y)
    with pytest.raises(ValueError, match=r"yet now missing:\n- SMILES\n*$"):
        model.predict(screen.X_test[NAMES])
    few = screen.X_test[[*NAMES, "SMILES"]]
    assert np.array_equal(model.predict(few), model.predict(screen.X_test))


def test_pipelines_pass_it_on(screen):
    model = make_pipeline(TargetStatisticsEncoder(["mean"]), Ridge())
    model.fit(screen.X, screen.y)
    y_pred = model.predict(screen.X_test)
    assert np.array_equal(model.predict(screen.X_test[NAMES]), y_pred)


def test_ambiguous_columns_are_refused(screen):
    model = AdditiveRegressor().fit(screen.X, screen.y)
    twice = pd.concat([screen.X_test[NAMES], screen.X_test[["sm_name"]]], axis=1)
    # The first is said by newer versions of scikit-learn.
    said = "Expected unique column names|feature names should match"
    with pytest.raises(ValueError, match=said):
        model.predict(twice)


def test_best_asks_for_structures_where_it_reads_them(screen):
    pytest.importorskip("rdkit")
    new = screen.X_test.assign(sm_name="New", SMILES="CCO")
    asked = pd.concat([screen.X_test, new])
    for parts in (["ridge", "context"], ["ridge", "structure"]):
        model = make_model("best", schema=screen.schema, random_state=0)
        model.set_params(parts=parts, n_jobs=1)
        model.fit(screen.X, screen.y, X_unlabeled=asked)
        if "structure" in parts:
            # Whatever is asked: a column that is needed for some rows is needed.
            for table in (asked, screen.X_test):
                with pytest.raises(ValueError, match=r"now missing:\n- SMILES\n*$"):
                    model.predict(table[NAMES])
        else:
            assert model.predict(asked[NAMES]).shape == (len(asked), 20)
