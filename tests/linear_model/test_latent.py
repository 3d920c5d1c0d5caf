"""What the models have in common that are fitted at one strength of all contexts."""

import numpy as np
import pandas as pd
import pytest

from sklperturb.baseline import AdditiveRegressor
from sklperturb.linear_model import (
    ContextTransferRidge,
    ProductKernelRidge,
    ResponseKernelRidge,
    TargetEncodedRidge,
)

MODELS = [
    ContextTransferRidge,
    ProductKernelRidge,
    ResponseKernelRidge,
    TargetEncodedRidge,
]


@pytest.mark.parametrize("cls", MODELS)
def test_shares_of_the_mean_are_those_of_the_additive_model(cls, screen):
    """Not of all rows' spread: what compounds explain is no noise of the mean."""
    model = cls(scale_contexts=False).fit(screen.X, screen.y)
    additive = AdditiveRegressor("joint").fit(screen.X, screen.y)
    assert 0 < model.centre_share_ < model.grand_mean_share_ < 1
    assert model.grand_mean_share_ == pytest.approx(additive.mean_share_)
    assert model.centre_share_ == pytest.approx(additive.centre_share_)


def noise_and_mean(size):
    """Return conditions, responses of noise, and a mean to add to them."""
    rng = np.random.default_rng(0)
    pairs = [(context, compound) for context in "ABCD" for compound in "uvw"]
    X = pd.DataFrame(pairs, columns=["cell_type", "sm_name"])
    return X, rng.normal(size=(12, 500)), size * rng.normal(size=500)


@pytest.mark.parametrize("cls", MODELS)
def test_a_mean_is_predicted_as_far_as_it_is_beyond_chance(cls):
    X, noise, mean = noise_and_mean(3.0)
    assert cls().fit(X, noise).grand_mean_share_ < 0.4
    model = cls(scale_contexts=False).fit(X, noise + mean)
    assert 0.97 < model.centre_share_ <= model.grand_mean_share_ < 1
    new = pd.DataFrame([("A", "x"), ("E", "x")], columns=X.columns)
    error = model.predict(new) - mean
    assert np.sqrt(np.mean(error**2)) < 0.15 * np.sqrt(np.mean(mean**2))


def test_without_a_correction_the_response_kernel_predicts_shares_of_the_mean():
    X, noise, mean = noise_and_mean(0.5)
    X, y = X[X["cell_type"] == "A"], (noise + mean)[:3]
    model = ResponseKernelRidge(scale_contexts=False).fit(X, y)
    assert model.alpha_ == np.inf
    expected = np.tile(model.grand_mean_share_ * y.mean(axis=0), (3, 1))
    np.testing.assert_allclose(model.predict(X), expected)
    together = [np.array([row]) for row in range(3)]
    left_out = model._left_out_together(together)
    np.testing.assert_array_equal(left_out, np.zeros_like(model.dual_coef_))
