"""The orthonormal basis of targets."""

import numpy as np
import pytest

from sklperturb.metrics import rowwise_root_mean_squared_error
from sklperturb.preprocessing import TargetReducer

SHAPES = [(20, 300), (300, 20), (30, 30)]
shapes = pytest.mark.parametrize("shape", SHAPES, ids=["wide", "tall", "square"])


def low_rank(shape, rank, noise, seed=0):
    rng = np.random.default_rng(seed)
    signal = rng.normal(size=(shape[0], rank)) @ rng.normal(size=(rank, shape[1]))
    return signal + noise * rng.normal(size=shape)


def with_spectrum(spectrum, shape, seed=0):
    """Return rows with mean zero and the given singular values."""
    rng = np.random.default_rng(seed)
    left = rng.normal(size=(shape[0], len(spectrum)))
    left, _ = np.linalg.qr(left - left.mean(axis=0))
    right, _ = np.linalg.qr(rng.normal(size=(shape[1], len(spectrum))))
    return (left * spectrum) @ right.T


@shapes
def test_full_basis_loses_nothing(shape):
    y = np.random.default_rng(0).normal(3, 2, size=shape)
    reducer = TargetReducer().fit(y)
    Z = reducer.transform(y)
    assert Z.shape[1] == reducer.n_components_ == min(shape[0] - 1, shape[1])
    np.testing.assert_allclose(reducer.inverse_transform(Z), y, atol=1e-10)


@pytest.mark.parametrize("shape", [*SHAPES, (30, 8), (8, 30)])
@pytest.mark.parametrize("n_components", ["full", 3])
@pytest.mark.parametrize("smallest", [1.0, 1e-6])
def test_coordinates_of_the_fitted_rows(shape, n_components, smallest):
    spectrum = np.geomspace(1, smallest, min(shape) - 1)
    y = with_spectrum(spectrum, shape) + 2.0
    reducer = TargetReducer(n_components)
    Z = reducer.fit_transform(y)
    np.testing.assert_allclose(Z, reducer.transform(y), atol=1e-9)


def test_coordinates_of_few_rows():
    # Centred, a direction of theirs is nothing but rounding.
    for seed in range(60):
        y = np.random.default_rng(seed).normal(size=(3 + seed % 5, 200))
        reducer = TargetReducer()
        Z = reducer.fit_transform(y)
        np.testing.assert_allclose(Z, reducer.transform(y), atol=1e-9)
        np.testing.assert_allclose(reducer.inverse_transform(Z), y, atol=1e-9)


@shapes
def test_row_errors_are_the_same_in_coordinates(shape):
    rng = np.random.default_rng(1)
    y = rng.normal(1, 2, size=shape)
    reducer = TargetReducer().fit(y)
    Z = reducer.transform(y)
    guess = Z + rng.normal(size=Z.shape)
    expected = rowwise_root_mean_squared_error(y, reducer.inverse_transform(guess))
    found = np.linalg.norm(Z - guess, axis=1) / np.sqrt(shape[1])
    np.testing.assert_allclose(found, expected)


@shapes
def test_components_are_those_of_a_singular_value_decomposition(shape):
    y = np.random.default_rng(2).normal(size=shape)
    _, s, vt = np.linalg.svd(y - y.mean(axis=0), full_matrices=False)
    reducer = TargetReducer(5).fit(y)
    np.testing.assert_allclose(reducer.singular_values_, s[:5])
    overlap = np.abs(np.diag(reducer.components_ @ vt[:5].T))
    np.testing.assert_allclose(overlap, 1)
    largest = np.abs(reducer.components_).argmax(axis=1)
    assert (reducer.components_[np.arange(5), largest] > 0).all()
    np.testing.assert_array_equal(TargetReducer(5).fit(y).components_.shape[0], 5)


@shapes
def test_rank_of_a_signal_in_noise(shape):
    y = low_rank(shape, rank=4, noise=0.3)
    assert TargetReducer("gavish-donoho").fit(y).n_components_ == 4
    assert TargetReducer(3).fit(y).n_components_ == 3
    assert TargetReducer(10_000).fit(y).n_components_ == min(shape[0] - 1, shape[1])
    assert TargetReducer().fit(low_rank(shape, 4, 0.0)).n_components_ == 4


@shapes
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_share_of_variance(shape, share):
    y = low_rank(shape, rank=4, noise=0.5)
    kept = TargetReducer(share).fit(y).n_components_
    held = np.cumsum(TargetReducer().fit(y).singular_values_ ** 2)
    held /= held[-1]
    assert held[kept - 1] >= share
    assert kept == 1 or held[kept - 2] < share


@shapes
@pytest.mark.parametrize("n_components", ["full", "gavish-donoho", 3, 0.9])
def test_constant_targets(shape, n_components):
    y = np.full(shape, 2.5)
    reducer = TargetReducer(n_components).fit(y)
    assert reducer.n_components_ == 1
    np.testing.assert_allclose(np.linalg.norm(reducer.components_), 1)
    np.testing.assert_allclose(reducer.inverse_transform(reducer.transform(y)), y)


@pytest.mark.parametrize("shape", [(25, 400), (400, 25)], ids=["wide", "tall"])
@pytest.mark.parametrize("smallest", [1e-3, 1e-5, 1e-7, 1e-12])
def test_orthonormal_when_ill_conditioned(shape, smallest):
    y = with_spectrum(np.geomspace(1, smallest, 20), shape)
    components = TargetReducer().fit(y).components_
    gram = components @ components.T
    np.testing.assert_allclose(gram, np.eye(len(gram)), atol=1e-8)


def test_one_row_and_single_precision():
    y = np.arange(6.0)[None, :]
    reducer = TargetReducer().fit(y)
    np.testing.assert_allclose(reducer.inverse_transform(reducer.transform(y)), y)
    y = np.random.default_rng(0).normal(size=(10, 40)).astype(np.float32)
    reducer = TargetReducer().fit(y)
    round_trip = reducer.inverse_transform(reducer.transform(y))
    np.testing.assert_allclose(round_trip, y, atol=1e-5)


def test_feature_names():
    reducer = TargetReducer(2).fit(np.random.default_rng(0).normal(size=(5, 9)))
    assert reducer.get_feature_names_out().tolist() == ["component0", "component1"]


@pytest.mark.parametrize("wrong", [0, -1, 1.0, 0.0, 2.5, "all", None])
def test_wrong_number_of_components(wrong):
    with pytest.raises(ValueError, match=r"'n_components' .* Got .*"):
        TargetReducer(wrong).fit(np.eye(3))
