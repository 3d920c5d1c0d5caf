"""Training that goes on from the network of the last fit."""

import numpy as np
import pandas as pd
import pytest

from sklperturb.datasets import make_chemical_screen
from sklperturb.neural_network import (
    ConditionalGANRegressor,
    DualBranchRegressor,
    LatentNetRegressor,
    SequenceNetRegressor,
    TokenEmbeddingMLPRegressor,
    TransformerRegressor,
)
from sklperturb.persistence import load, save

NETWORKS = (
    ConditionalGANRegressor,
    LatentNetRegressor,
    SequenceNetRegressor,
    TransformerRegressor,
)


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((40, 8)).astype(np.float32)
    return X, X @ rng.standard_normal((8, 12)) + 0.1 * rng.standard_normal((40, 12))


def error(model, X, y):
    return np.square(model.predict(X) - y).mean()


@pytest.mark.parametrize("network", NETWORKS)
def test_goes_on(table, network):
    X, y = table
    model = network(max_epochs=4, warm_start=True, random_state=0).fit(X, y)
    first, losses = error(model, X, y), [dict(row) for row in model.net_.history]
    before = model.net_
    model.fit(X, y)
    assert len(model.net_.history) == 8
    assert [dict(row) for row in model.net_.history[:4]] == losses
    assert error(model, X, y) < first
    assert model.net_ is not before
    # Without it, the same fit begins anew.
    model.set_params(warm_start=False).fit(X, y)
    assert len(model.net_.history) == 4
    assert error(model, X, y) == pytest.approx(first)


@pytest.mark.parametrize("network", NETWORKS)
def test_genes_are_those_of_the_last_fit_in_its_order(table, network):
    X, y = table
    y = pd.DataFrame(y, columns=[f"G{i}" for i in range(y.shape[1])])
    model = network(max_epochs=2, warm_start=True, random_state=0).fit(X, y)
    before = model.predict(X)
    with pytest.raises(ValueError, match="genes in another order"):
        model.fit(X, y.iloc[:, ::-1])
    with pytest.raises(ValueError, match="must have the genes of y"):
        model.fit(X, y.add_prefix("other"))
    np.testing.assert_array_equal(model.predict(X), before)
    model.fit(X, y)
    model.fit(X, y.to_numpy())  # without names, the order is taken for granted
    model.set_params(warm_start=False).fit(X, y.iloc[:, ::-1])


def test_what_was_learnt_of_the_conditions_stays():
    screen = make_chemical_screen(4, 20, 30, random_state=0)
    X, y = screen.X, screen.y.to_numpy()
    model = TokenEmbeddingMLPRegressor(max_epochs=3, warm_start=True, random_state=0)
    model.fit(X, y)
    levels, basis = model.categories_, model.reducer_.components_.copy()
    # Few rows of it, in other units of size: levels and basis are still those of all.
    model.fit(X[:10], 3 * y[:10])
    assert model.categories_ is levels
    assert np.array_equal(model.reducer_.components_, basis)
    assert np.abs(model.predict(X[:10])).max() > np.abs(y[:10]).max()
    assert model.predict(screen.X_test).shape == screen.y_test.shape


def test_what_does_not_fit_leaves_the_network(table):
    X, y = table
    model = TransformerRegressor(max_epochs=2, warm_start=True, random_state=0)
    y_pred = model.fit(X, y).predict(X)
    with pytest.raises(ValueError, match="has 11 columns, and the network"):
        model.fit(X, y[:, 1:])
    with pytest.raises(ValueError, match="features"):
        model.fit(X[:, 1:], y)
    with pytest.raises(ValueError, match="other layers than the parameters now ask"):
        model.set_params(hidden_dim=24).fit(X, y)
    with pytest.raises(ValueError, match="diverged"):
        model.set_params(hidden_dim=64, learning_rate=1e30).fit(X, y)
    assert np.array_equal(model.predict(X), y_pred)


def test_features_of_the_response_cannot_go_on():
    # They are cross-fitted in fit; those of rows already seen would leak.
    assert "warm_start" not in DualBranchRegressor().get_params()


@pytest.mark.parametrize("network", [TransformerRegressor, ConditionalGANRegressor])
def test_goes_on_from_a_file(table, network, tmp_path):
    X, y = table
    model = network(max_epochs=3, warm_start=True, random_state=0).fit(X, y)
    save(model, tmp_path / "m.skpt")
    again = load(tmp_path / "m.skpt").fit(X, y)
    assert len(again.net_.history) == 6
    error_of = "train_loss" if "train_loss" in model.net_.history[0] else "rmse"
    losses = [
        [row[error_of] for row in net.history[:3]] for net in (again.net_, model.net_)
    ]
    assert losses[0] == losses[1]
    model.fit(X, y)
    np.testing.assert_allclose(again.predict(X), model.predict(X), atol=1e-6)
