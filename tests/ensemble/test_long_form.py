"""Boosted trees over (condition, gene) on what the response kernel leaves."""

import sys

import numpy as np
import pandas as pd
import pytest
from joblib import parallel_config
from numpy.testing import assert_allclose, assert_array_equal

from sklperturb.conditions._levels import pair_means
from sklperturb.ensemble import LongFormBoostingRegressor
from sklperturb.ensemble._long_features import NAMES, LongFeatures, as_missing
from sklperturb.linear_model import ResponseKernelRidge
from sklperturb.metrics import mrrmse

pytest.importorskip("lightgbm")
N_CONTEXTS, N_COMPOUNDS, N_GENES = 4, 30, 60


def make_screen(respond, seed=0):
    """Return X, y, and X, truth of new pairs, which are in the last context."""
    rng = np.random.default_rng(seed)
    context, compound = np.divmod(np.arange(N_CONTEXTS * N_COMPOUNDS), N_COMPOUNDS)
    X = pd.DataFrame({"cell_type": context, "sm_name": compound}).astype(str)
    truth = respond(rng)[compound]
    y = truth + rng.normal(size=truth.shape)
    new = (context == N_CONTEXTS - 1) & (compound >= N_COMPOUNDS // 2)
    return X[~new], y[~new], X[new], truth[new]


def steps(rng):
    """Every compound switches genes of its own on, all by the same amount."""
    return 3.0 * (rng.random((N_COMPOUNDS, N_GENES)) < 0.15)


def nothing(rng):
    return np.zeros((N_COMPOUNDS, N_GENES))


def make_model(**params):
    params = {"n_estimators": 60, "random_state": 0, **params}
    return LongFormBoostingRegressor(**params)


@pytest.fixture(scope="module")
def fitted():
    X, y, X_new, truth = make_screen(steps)
    return make_model().fit(X, y), X, y, X_new, truth


def test_finds_a_step_that_the_kernel_shrinks(fitted):
    model, _, _, X_new, truth = fitted
    error = mrrmse(truth, model.predict(X_new))
    assert error < 0.8 * mrrmse(truth, model.kernel_.predict(X_new))


def test_finds_nothing_in_noise():
    # A feature that held a row's own response would explain the training rows, and
    # make predictions of others as large as the noise.
    X, y, X_new, truth = make_screen(nothing)
    predicted = make_model(min_samples_leaf=20).fit(X, y).predict(X_new)
    assert mrrmse(truth, predicted) < 0.3


def test_features_hold_nothing_of_the_own_response(fitted):
    model, X, y, *_ = fitted
    context, perturbation, _ = model._start_fit(X, y)
    n_levels = N_CONTEXTS, N_COMPOUNDS
    tables = []
    for own in (y[5], y[5] + 100):
        changed = y.copy()
        changed[5] = own
        means, place = pair_means(context, perturbation, n_levels, changed)
        # The kernel stays: how alike rows are may know of the row, as documented.
        features = LongFeatures(means, place, model.kernel_)
        elsewhere = place[:, perturbation[5]] >= 0
        elsewhere[context[5]] = False
        where = context[5], perturbation[5], elsewhere, np.zeros(N_GENES)
        tables.append(features.row(*where, np.arange(N_GENES)))
    assert_allclose(tables[1], tables[0], atol=1e-3)
    assert np.isfinite(tables[0]).mean() > 0.8


def test_features_by_hand():
    X = pd.DataFrame({"cell_type": list("aabbcc"), "sm_name": list("uvuvuv")})
    y = np.random.default_rng(0).normal(size=(6, 7))
    kernel = ResponseKernelRidge(scale_contexts=False).fit(X, y)
    means, place = pair_means(*kernel._train_codes, (3, 2), y)
    features = LongFeatures(means, place, kernel)
    only_b = np.array([False, True, False])
    genes = np.array([4, 1])
    table = features.row(0, 0, only_b, np.arange(7.0), genes)
    known = dict(zip(NAMES, table.T, strict=True))
    assert_array_equal(known["predicted"], [4, 1])
    assert_allclose(known["elsewhere0"], y[2, genes], rtol=1e-6)
    assert np.isnan(known["elsewhere1"]).all()
    assert_allclose(known["context_mean"], y[1, genes], rtol=1e-6)
    assert_allclose(known["gene_mean"], y[1:, genes].mean(axis=0), rtol=1e-5)
    assert_allclose(known["gene_std"], y[1:, genes].std(axis=0), rtol=1e-5)
    assert_allclose(known["neighbor0"], y[1, genes], rtol=1e-6)
    assert_allclose(known["n_elsewhere"], 1)


def test_pairs_are_missing_as_those_to_predict_are():
    # Perturbations 0 and 1 are everywhere, 2 and 3 only in the first two contexts.
    measured = np.array([[1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 0, 0]]) == 1
    place = np.where(measured, np.cumsum(measured).reshape(4, 4) - 1, -1)
    elsewhere = as_missing(place, np.random.RandomState(0))
    # In a context where some are missing, from the first two only.
    assert_array_equal(elsewhere[place[2, 0]], [True, True, False, False])
    assert_array_equal(elsewhere[place[3, 1]], [True, True, False, False])
    # In one where none is, from all others.
    assert_array_equal(elsewhere[place[0, 0]], [False, True, True, True])
    assert_array_equal(elsewhere[place[1, 2]], [True, False, False, False])


def test_what_is_known_from_nowhere_else_is_left_to_the_kernel(fitted):
    model, *_ = fitted
    X = pd.DataFrame({"cell_type": ["0", "new"], "sm_name": ["new", "0"]})
    assert_array_equal(model.predict(X), model.kernel_.predict(X))
    one = pd.DataFrame({"cell_type": list("aab"), "sm_name": list("uvw")})
    alone = make_model().fit(one, np.eye(3))
    assert alone.booster_ is None
    assert_array_equal(alone.predict(one), alone.kernel_.predict(one))


def test_few_conditions_are_left_to_the_kernel():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {"cell_type": np.repeat(list("ab"), 6), "sm_name": [*range(6)] * 2}
    )
    y = rng.normal(size=(12, 40))
    few, enough = (make_model(min_conditions=n).fit(X, y) for n in (13, 12))
    assert few.booster_ is None and enough.booster_ is not None


def test_threads_change_nothing_and_seeds_do(fitted):
    _, X, y, X_new, _ = fitted
    expected, threaded, other = (
        make_model(**{"n_estimators": 3, **params}).fit(X, y).predict(X_new)
        for params in ({}, {"n_jobs": 2}, {"random_state": 1})
    )
    assert_array_equal(threaded, expected)
    assert (other != expected).any()


def test_replicates_are_left_out_with_their_pair(fitted):
    _, X, y, *_ = fitted
    twice = pd.concat([X, X], ignore_index=True)
    # Each the other's copy: whoever sees one knows both.
    model = make_model(n_estimators=1).fit(twice, np.concatenate([y, y]))
    codes = model._codes(twice)
    errors = model._long_table(*codes, np.random.RandomState(0))[1]
    assert np.mean(errors**2) > 1


def test_names_the_extra(fitted, monkeypatch):
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    _, X, y, *_ = fitted
    with pytest.raises(ImportError, match=r'pip install "sklperturb\[boost\]"'):
        make_model().fit(X, y)


def test_corrections_survive_a_backend_of_processes():
    X, y, X_new, _ = make_screen(lambda rng: rng.normal(size=(N_COMPOUNDS, N_GENES)))
    model = LongFormBoostingRegressor(n_estimators=5, random_state=0).fit(X, y)
    expected = model.predict(X_new[:4])
    assert not np.allclose(expected, model.kernel_.predict(X_new[:4]))
    with parallel_config("loky", n_jobs=2):
        assert_array_equal(model.predict(X_new[:4]), expected)
