"""Training of a flow that goes on from the last fit."""

import numpy as np
import pandas as pd
import pytest

from sklperturb.conditions import PerturbationSchema
from sklperturb.flow import FlowMatchingRegressor
from sklperturb.persistence import load, save
from sklperturb.preprocessing import LookupEmbedding

GENES = [f"g{i}" for i in range(10)]
WIDTH = 5
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture(scope="module")
def table():
    return pd.DataFrame(np.random.default_rng(1).normal(size=(10, 3)), index=GENES)


@pytest.fixture(scope="module")
def cells(table):
    rng = np.random.default_rng(0)
    labels = np.repeat(["control", *GENES], 20)
    y = rng.normal(size=(len(labels), WIDTH))
    effects = pd.DataFrame(table.to_numpy() @ rng.normal(size=(3, WIDTH)), index=GENES)
    y += 3 * effects.reindex(labels).fillna(0).to_numpy()
    return pd.DataFrame({"target_gene": labels}), y


def make(table, **parameters):
    sizes = {"max_steps": 10, "hidden_dim": 8, "n_layers": 1, "embedding_dim": 4}
    sizes |= {"n_components": 3, "cells_per_condition": 8, "n_solver_steps": 2}
    embedding = None if table is None else LookupEmbedding(table)
    sizes |= {"mean_estimator": "shift", "validation_fraction": 0}
    options = sizes | {"warm_start": True, "random_state": 0} | parameters
    return FlowMatchingRegressor(embedding, **options)


def weights(model):
    return {name: v.numpy().copy() for name, v in model.net_.state_dict().items()}


def same(one, other):
    return all(np.array_equal(one[name], other[name]) for name in one)


def state(model, X):
    """What a fitted flow says and draws, and what it shows."""
    X = X[::10]
    shown = [entry.copy() for entry in model.history_], model.n_features_in_
    return model.predict(X), model.sample(X, 2), weights(model), shown


def check_same(one, other):
    assert np.array_equal(one[0], other[0])
    assert np.array_equal(one[1], other[1])
    assert same(one[2], other[2])
    assert one[3] == other[3]


@pytest.mark.parametrize("mean_estimator", ["auto", "none"])
def test_goes_on(table, cells, mean_estimator):
    model = make(table, mean_estimator=mean_estimator).fit(*cells)
    net, first, history = model.net_, weights(model), list(model.history_)
    model.fit(*cells)
    assert model.history_[: len(history)] == history
    steps = [entry["step"] for entry in model.history_]
    assert steps == [10, 20]
    assert model.history_[1]["train_loss"] < model.history_[0]["train_loss"]
    # The former network, which may be in use elsewhere, was not trained on.
    assert model.net_ is not net
    assert same({k: v.numpy() for k, v in net.state_dict().items()}, first)
    # Without it, the same fit begins anew.
    model.set_params(warm_start=False).fit(*cells)
    assert [entry["step"] for entry in model.history_] == [10]
    assert same(weights(model), first)


def test_starts_at_the_kept_weights(table, cells):
    model = make(table).fit(*cells)
    first = weights(model)
    model.set_params(learning_rate=1e-12).fit(*cells)
    for name, value in weights(model).items():
        np.testing.assert_allclose(value, first[name], atol=1e-6)


@pytest.mark.parametrize("mean_estimator", ["auto", "shift"])
def test_evidence_does_not_know_the_kept_network(table, cells, mean_estimator):
    # A network that saw what is held out would tell it better than one that did not.
    options = {"mean_estimator": mean_estimator, "validation_fraction": 0.3}
    model = make(table, **options).fit(*cells)
    found = model.guards_, model.shape_weight_, model.mean_weight_
    assert found[0]
    for value in model.net_.parameters():
        value.data += 1.0
    model.fit(*cells)
    assert (model.guards_, model.shape_weight_, model.mean_weight_) == found


def test_what_was_learnt_of_conditions_and_units_stays(cells):
    X, y = cells
    model = make(None).fit(X, y)
    coordinates, reader = model._flow.coordinates, model._flow.reader
    few = X["target_gene"].isin(["control", "g0", "g1", "g2"]).to_numpy()
    new = X[few].replace("g2", "new")
    model.fit(new, 2 * y[few] + 1)
    assert model._flow.coordinates is coordinates
    assert model._flow.reader is reader
    # The mean and the controls are those of the given cells.
    assert set(model.conditions_["target_gene"]) == {"g0", "g1", "new"}
    controls = (new["target_gene"] == "control").to_numpy()
    expected = (2 * y[few] + 1)[controls].mean(axis=0)
    found = model.predict(new[controls][:1])[0]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.isfinite(model.predict(X)).all()


def test_what_does_not_fit_leaves_the_flow(table, cells):
    X, y = cells
    model = make(table).fit(X, y)
    before = state(model, X)
    perturbed = (X["target_gene"] != "control").to_numpy()
    wide = pd.DataFrame(np.ones((10, 4)), index=GENES)
    two = [LookupEmbedding(table), LookupEmbedding(table)]
    schema = PerturbationSchema(perturbation="target_gene", control_labels=("g0",))
    layers, reading = "other layers than the parameters now ask", "reads conditions by"
    for changed, X_new, y_new, message in (
        ({}, X, y[:, 1:], "has 4 columns, and the network"),
        ({}, X.assign(batch="b"), y, "eature names"),
        ({}, X[perturbed], y[perturbed], "X has no controls, and the last fit"),
        ({"source": "noise"}, X, y, "source='noise', and the network"),
        ({"hidden_dim": 24}, X, y, layers),
        ({"n_layers": 2}, X, y, layers),
        ({"embedding_dim": 9}, X, y, layers),
        ({"population_encoder": "deep_sets"}, X, y, layers),
        ({"embedding": LookupEmbedding(wide)}, X, y, f"{reading} another embedding"),
        ({"embedding": two}, X, y, f"{reading} another embedding"),
        ({"embedding": None}, X, y, f"{reading} another embedding"),
        ({"schema": schema}, X, y, f"{reading} another schema"),
        ({"learning_rate": 1e30}, X, y, "diverged"),
        ({}, X[~perturbed], y[~perturbed], "All rows are controls"),
    ):
        given = model.get_params(deep=False)
        with pytest.raises(ValueError, match=message):
            model.set_params(**changed).fit(X_new, y_new)
        model.set_params(**given)
        check_same(state(model, X), before)
    with pytest.raises(ValueError, match="X has controls, and the last fit"):
        make(table).fit(X[perturbed], y[perturbed]).fit(X, y)


@pytest.mark.parametrize("with_table", [True, False])
def test_goes_on_from_a_file(table, cells, tmp_path, with_table):
    X, y = cells
    schema = PerturbationSchema(perturbation="target_gene")
    model = make(table if with_table else None, schema=schema).fit(X, y)
    save(model, tmp_path / "flow.skpt")
    again = load(tmp_path / "flow.skpt").fit(X, y)
    assert [entry["step"] for entry in again.history_] == [10, 20]
    np.testing.assert_allclose(again.predict(X), model.fit(X, y).predict(X), atol=1e-6)
    np.testing.assert_allclose(again.sample(X, 2), model.sample(X, 2), atol=1e-4)


def test_reads_files_that_do_not_say(table, cells, tmp_path):
    model = make(table, warm_start=False).fit(*cells)
    kept = model._to_file()
    del kept["warm_start"]
    again = FlowMatchingRegressor._from_file(kept)
    assert again.warm_start is False
    check_same(state(again, cells[0]), state(model, cells[0]))
