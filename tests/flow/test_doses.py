"""Cells of a perturbation have the dose that is asked for; controls have none."""

import anndata
import numpy as np
import pandas as pd
import pytest

from sklperturb.compose import PerturbationEffectRegressor
from sklperturb.flow import CellScreenModel, FlowMatchingRegressor

N_GENES, DRUGS = 40, list("ABCDEF")


def make_cells(missing=0.0, spell=lambda dose: dose, doses=(0.1, 10.0)):
    """Return conditions, counts and effects, which are small at the lowest dose."""
    rng = np.random.default_rng(0)
    base = rng.uniform(1, 8, N_GENES)
    effects = {drug: rng.normal(0, 0.8, N_GENES) for drug in DRUGS}
    names = [("control", None)] * 90
    names += [(drug, dose) for drug in DRUGS for dose in doses for _ in range(30)]
    X = pd.DataFrame(
        {
            "drug": [drug for drug, _ in names],
            "dose": [missing if dose is None else spell(dose) for _, dose in names],
        }
    )
    rates = [
        base if dose is None else base * np.exp(effects[drug] * (dose + 1) / 11)
        for drug, dose in names
    ]
    var = pd.DataFrame(index=[f"g{i}" for i in range(N_GENES)])
    counts = rng.poisson(rates).astype(np.float32)
    obs = X.set_index(X.index.astype(str))
    return X, anndata.AnnData(counts, obs=obs, var=var), effects


def make_model():
    flow = FlowMatchingRegressor(max_steps=2, random_state=0, mean_estimator="kernel")
    return CellScreenModel(n_components=5, flow=flow)


def share(cells, controls, effect):
    """Return how much of an effect cells have."""
    means = (np.asarray(x.X.mean(axis=0)).ravel() for x in (cells, controls))
    change = np.subtract(*(np.log(mean + 0.01) for mean in means))
    return change @ effect / (effect @ effect)


@pytest.mark.parametrize("missing", [0.0, np.nan])
def test_predicted_cells_have_the_dose_that_is_asked_for(missing):
    X, y, effects = make_cells(missing)
    model = make_model().fit(X, y)
    controls = y[:90]
    for drug in "AB":
        low, high = (model.predict([drug], 200, dose=dose) for dose in (0.1, 10))
        assert share(low, controls, effects[drug]) < 0.3
        assert share(high, controls, effects[drug]) > 0.6
        assert set(high.obs["dose"]) == {10.0}
    again = model.sample(pd.DataFrame({"drug": ["A"] * 200, "dose": 10.0}))
    again = anndata.AnnData(again)
    assert share(again, controls, effects["A"]) > 0.6


def test_one_of_several_doses_has_to_be_named():
    X, y, _ = make_cells()
    model = make_model().fit(X, y)
    with pytest.raises(ValueError, match=r"from 0\.1 to 10 .*such as dose=10"):
        model.predict(["A"])
    for wrong in (-1.0, np.nan, "much", "5 nM"):
        with pytest.raises(ValueError, match=r"[Dd]ose"):
            model.predict(["A"], dose=wrong)
    # As the command gives it.
    assert set(model.predict(["A"], 5, dose="3").obs["dose"]) == {3.0}


def test_the_only_dose_need_not_be_named():
    X, y, effects = make_cells(doses=(10.0,))
    model = make_model().fit(X, y)
    cells = model.predict(["A"], 200, n_controls=3)
    assert share(cells[cells.obs["drug"] == "A"], y[:90], effects["A"]) > 0.6
    assert sorted(set(cells.obs["dose"])) == [0.0, 10.0]
    alone = y.copy()
    del alone.obs["dose"]
    model.fit(X[["drug"]], alone)
    with pytest.raises(ValueError, match="knows no doses"):
        model.predict(["A"], dose=10)


def test_doses_with_a_unit_are_named_with_one():
    X, y, effects = make_cells("0 uM", spell="{:g} uM".format)
    model = make_model().fit(X, y)
    cells = model.predict(["A"], 200, dose="10000 nM")
    assert share(cells, y[:90], effects["A"]) > 0.6
    assert set(cells.obs["dose"]) == {"10000 nM"}
    with pytest.raises(ValueError, match="unit"):
        model.predict(["A"], dose=10)


def test_controls_need_no_dose():
    X, y, _ = make_cells(np.nan)
    zero, _, _ = make_cells(0.0)
    flow = FlowMatchingRegressor(max_steps=2, random_state=0)
    for model in (flow, PerturbationEffectRegressor(target_sum=1e4)):
        given = y.X if model is flow else y
        found = model.fit(X, given).predict(X)
        np.testing.assert_array_equal(found, model.fit(zero, given).predict(zero))
    for column in ("drug", "dose"):  # but perturbations do
        lacking = X.copy()
        lacking.loc[100, column] = None
        with pytest.raises(ValueError, match=column):
            flow.fit(lacking, y.X)
