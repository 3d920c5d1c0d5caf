"""Weights of predictions, and the bands of components that they are learnt in."""

import tracemalloc

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from sklperturb.ensemble import BlendRegressor
from sklperturb.ensemble._blend import centred_ranks
from sklperturb.ensemble._weights import (
    RowMoments,
    Spectrum,
    carried_over,
    correlation_weights,
    greedy_weights,
    least_squares_weights,
    mrrmse_weights,
)
from sklperturb.metrics import mean_rowwise_spearman, mrrmse


def test_weights_of_least_squares_are_found():
    rng = np.random.default_rng(0)
    predictions = rng.normal(size=(3, 40, 10))
    truth = np.tensordot([0.7, 0.0, 0.6], predictions, 1)
    weights = least_squares_weights(RowMoments.of(truth, predictions))
    np.testing.assert_allclose(weights, [0.7, 0.0, 0.6], atol=1e-6)
    # What a negative weight would fit stays at zero.
    weights = least_squares_weights(RowMoments.of(-predictions[0], predictions[:1]))
    np.testing.assert_array_equal(weights, [0.0])


def test_greedy_weights_suit_rows_of_any_size():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(60, 20)) * rng.lognormal(0, 2, size=(60, 1))
    predictions = 0.6 * truth + 0.3 * rng.normal(size=(3, 60, 20))
    weights = greedy_weights(RowMoments.of(truth, predictions), 20)
    error = mrrmse(truth, np.tensordot(weights, predictions, 1))
    for other in (*np.eye(3), np.full(3, 1 / 3), weights / weights.sum()):
        assert error < mrrmse(truth, np.tensordot(other, predictions, 1))
    assert weights.sum() > 1.2
    # The least error of all is below it, and no step from there goes lower.
    best = mrrmse_weights(RowMoments.of(truth, predictions))
    least = mrrmse(truth, np.tensordot(best, predictions, 1))
    assert least < error
    rng = np.random.default_rng(1)
    for step in 0.01 * rng.normal(size=(30, 3)):
        other = np.maximum(best + step, 0)
        assert mrrmse(truth, np.tensordot(other, predictions, 1)) > least


def test_weights_of_least_error_leave_out_what_does_not_help():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(60, 20))
    predictions = np.stack([0.5 * truth, -truth, np.zeros_like(truth)])
    weights = mrrmse_weights(RowMoments.of(truth, predictions))
    np.testing.assert_allclose(weights, [2.0, 0.0, 0.0], atol=1e-3)
    silent = np.vstack([truth, np.zeros((2, 20))])  # rows without any response
    predictions = np.stack([0.5 * silent, np.ones_like(silent)])
    weights = mrrmse_weights(RowMoments.of(silent, predictions))
    np.testing.assert_allclose(weights, [2.0, 0.0], atol=1e-3)


def test_weights_by_rank_suit_the_order_of_genes_and_not_their_size():
    rng = np.random.default_rng(0)
    order = rng.normal(size=(40, 100))
    truth = np.sign(order) * np.abs(order) ** 5  # a few genes make up the length
    large = truth * (np.abs(truth) > 10) + 3 * rng.normal(size=order.shape)
    predictions = np.stack([order + rng.normal(size=order.shape), large])
    level = np.full(100, 0.1)
    spectrum = Spectrum(truth, [])
    moments = spectrum.moments(centred_ranks(truth), predictions, level=level)
    weights = correlation_weights(moments)

    def spearman(weights):
        return mean_rowwise_spearman(truth, np.tensordot(weights, predictions, 1))

    assert spearman(weights) >= spearman([1.0, 0.0]) - 0.01
    of_error = mrrmse_weights(RowMoments.of(truth, predictions))
    assert spearman(weights) > spearman(of_error) + 0.1


def test_moments_of_bands_are_those_of_the_parts_of_predictions():
    rng = np.random.default_rng(0)
    training, truth = rng.normal(size=(8, 20)), rng.normal(size=(5, 20))
    predictions = rng.normal(size=(2, 5, 20))
    spectrum = Spectrum(training, [3, 6])
    assert spectrum.n_bands == 3
    # Each prediction in one band alone, by weights of one and zero.
    parts = [spectrum.weigh(predictions, np.eye(6)[i].reshape(2, 3)) for i in range(6)]
    np.testing.assert_allclose(sum(parts), predictions.sum(axis=0))
    expected = RowMoments.of(truth, np.stack(parts))
    found = spectrum.moments(truth, predictions)
    np.testing.assert_allclose(found.gram, expected.gram, atol=1e-12)
    np.testing.assert_allclose(found.moment, expected.moment)
    np.testing.assert_allclose(found.energy, expected.energy)
    level = np.full(20, 20**-0.5)
    centred = np.stack([p - p.mean(axis=1, keepdims=True) for p in parts])
    found = spectrum.moments(truth, predictions, level=level)
    np.testing.assert_allclose(
        found.gram, RowMoments.of(truth, centred).gram, atol=1e-12
    )


@pytest.mark.parametrize("shape", [(7, 30), (30, 7), (7, 7)])
def test_components_are_found_whichever_there_is_more_of(shape):
    training = np.random.default_rng(0).normal(size=shape)
    spectrum = Spectrum(training, [2, 5])
    expected = np.linalg.svd(training)[2][:5]
    products = np.abs(spectrum.components @ expected.T)
    np.testing.assert_allclose(products, np.eye(5), atol=1e-8)
    assert spectrum.n_bands == 3


def test_components_of_many_rows_take_no_memory_of_their_pairs():
    training = np.random.default_rng(0).normal(size=(4000, 10))
    tracemalloc.start()
    Spectrum(training, [10])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4000**2


def test_a_band_ends_where_there_are_no_more_components():
    training = np.random.default_rng(0).normal(size=(4, 30))
    spectrum = Spectrum(training, [2, 10, 20])
    assert spectrum.components.shape == (4, 30)
    weights = np.array([[1.0, 0.5, 7.0, 0.0]])
    predicted = spectrum.weigh([training], weights)
    singular = np.linalg.svd(predicted, compute_uv=False)
    whole = np.linalg.svd(training, compute_uv=False)
    np.testing.assert_allclose(singular, np.sort(whole * [1, 1, 0.5, 0.5])[::-1])


def test_bands_that_folds_do_not_reach_have_the_weights_of_the_last():
    rng = np.random.default_rng(0)
    training, truth = rng.normal(size=(6, 30)), rng.normal(size=(9, 30))
    spectrum = Spectrum(training, [3, 6, 9])
    inside = truth @ spectrum.components.T @ spectrum.components
    moments = spectrum.moments(truth, np.stack([inside, 2 * inside]))
    weights = carried_over(np.array([[0.1, 0.2, 5.0, 6.0], [1, 2, 7, 8]]), moments)
    np.testing.assert_array_equal(weights, [[0.1, 0.2, 0.2, 0.2], [1, 2, 2, 2]])


def test_weights_by_band_leave_out_the_noise_of_a_prediction():
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(30, 30)))[0]
    scores = rng.normal(size=(60, 30)) * np.r_[np.full(5, 5.0), np.ones(25)]
    y = scores @ basis.T
    X = np.hstack([scores[:, :5], rng.normal(size=(60, 25))])
    parts = [("a", LinearRegression())]
    plain = BlendRegressor([*parts, ("b", LinearRegression())], random_state=0)
    banded = BlendRegressor(parts, bands=[5, 15], random_state=0).fit(X[:50], y[:50])
    assert banded.weights_.shape == (1, 3)
    assert banded.weights_[0, 0] > 0.9 > 0.3 > banded.weights_[0, 1]
    errors = [
        mrrmse(y[50:], model.fit(X[:50], y[:50]).predict(X[50:]))
        for model in (plain, banded)
    ]
    assert errors[1] < errors[0]
    with pytest.raises(ValueError, match="whole numbers of components that ascend"):
        BlendRegressor(parts, bands=[5, 5]).fit(X, y)
    fixed = BlendRegressor(parts, bands=[5], weights=[[1.0, 0.0]]).fit(X, y)
    assert np.linalg.matrix_rank(fixed.predict(X)) == 5


@pytest.mark.parametrize("unit", [1e-7, 1e-3, 1e4])
def test_weights_do_not_depend_on_the_unit(unit):
    rng = np.random.default_rng(0)
    truth = rng.standard_t(3, size=(40, 30))
    noise = np.array([0.5, 0.2, 1.5])[:, None, None]
    predictions = 0.5 * truth + noise * rng.normal(size=(3, 40, 30))
    ranks, level = centred_ranks(truth), np.full(30, 30**-0.5)
    spectrum = Spectrum(truth, (10,))

    def learnt(unit):
        moments = spectrum.moments(unit * truth, unit * predictions)
        by_rank = spectrum.moments(ranks, unit * predictions, level=level)
        ratios = correlation_weights(by_rank)
        return mrrmse_weights(moments), ratios / ratios.max()

    for found, expected in zip(learnt(unit), learnt(1.0), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_ranks_of_one_gene_are_refused():
    parts = [("a", LinearRegression()), ("b", LinearRegression())]
    X = np.arange(20.0)[:, None]
    with pytest.raises(ValueError, match="y has one gene"):
        BlendRegressor(parts, method="spearman", random_state=0).fit(X, X)
