"""Boosted trees on the components of the targets."""

import pickle
import sys

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression

from sklperturb.ensemble import BoostedTargetRegressor
from sklperturb.metrics import mrrmse

lightgbm = pytest.importorskip("lightgbm")


def make_steps(seed=0, n_samples=400):
    """Two steps in the features, each with a pattern of 40 genes, and noise."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_samples, 6))
    latent = np.column_stack([X[:, 0] > 0, (X[:, 1] > 0) ^ (X[:, 2] > 0)])
    patterns = rng.normal(size=(2, 40))
    truth = (latent - 0.5) @ patterns
    y = truth + 0.3 * rng.normal(size=truth.shape)
    train = np.arange(n_samples) < n_samples // 2
    return X[train], y[train], X[~train], truth[~train]


def test_finds_steps_and_interactions():
    X, y, X_new, truth = make_steps()
    model = BoostedTargetRegressor(2, max_features=1.0, random_state=0).fit(X, y)
    linear = LinearRegression().fit(X, y)
    error = mrrmse(truth, model.predict(X_new))
    assert error < 0.5 * mrrmse(truth, linear.predict(X_new))


def test_same_as_lightgbm_on_principal_components():
    X, y, X_new, _ = make_steps()
    model = BoostedTargetRegressor(2, max_features=1.0, random_state=0).fit(X, y)
    reducer = PCA(2).fit(y)
    latent = [
        lightgbm.LGBMRegressor(
            n_estimators=100,
            num_leaves=15,
            reg_lambda=1.0,
            n_jobs=1,
            verbose=-1,
            deterministic=True,
            force_row_wise=True,
        )
        .fit(X, target)
        .predict(X_new)
        for target in reducer.transform(y).T
    ]
    expected = reducer.inverse_transform(np.column_stack(latent))
    np.testing.assert_allclose(model.predict(X_new), expected, atol=1e-5)


def test_predictions_lie_in_the_basis():
    X, y, X_new, _ = make_steps()
    model = BoostedTargetRegressor(3, n_estimators=5, random_state=0).fit(X, y)
    assert len(model.boosters_) == 3
    assert np.linalg.matrix_rank(model.predict(X_new) - model.reducer_.mean_) == 3


def test_threads_and_copies_change_nothing():
    X, y, X_new, _ = make_steps()
    params = {"n_components": 5, "n_estimators": 20, "random_state": 3}
    model = BoostedTargetRegressor(**params).fit(X, y)
    y_pred = model.predict(X_new)
    threaded = BoostedTargetRegressor(n_jobs=2, **params).fit(X, y)
    np.testing.assert_array_equal(threaded.predict(X_new), y_pred)
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(model)).predict(X_new), y_pred
    )
    other = BoostedTargetRegressor(**{**params, "random_state": 4}).fit(X, y)
    assert np.abs(other.predict(X_new) - y_pred).max() > 0


def test_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    X, y, *_ = make_steps()
    with pytest.raises(ImportError, match=r'pip install "sklperturb\[boost\]"'):
        BoostedTargetRegressor().fit(X, y)


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({"n_components": 0}, "'n_components' parameter"),
        ({"learning_rate": 0}, "'learning_rate' parameter"),
        ({"max_features": 1.5}, "'max_features' parameter"),
        ({"max_leaf_nodes": 1}, "'max_leaf_nodes' parameter"),
    ],
)
def test_parameters_out_of_range(params, match):
    X, y, *_ = make_steps()
    with pytest.raises(ValueError, match=match):
        BoostedTargetRegressor(**params).fit(X, y)
