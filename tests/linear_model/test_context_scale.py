"""How strongly a context responds."""

import numpy as np
import pytest

from sklperturb.linear_model import ProductKernelRidge, TargetEncodedRidge
from sklperturb.linear_model._kernel import context_scales


@pytest.fixture
def unbalanced():
    """Context 3 responds twice as strongly, but was given weak perturbations only."""
    rng = np.random.RandomState(0)
    strength = np.exp(rng.normal(size=40))
    order = np.argsort(strength)
    pairs = [(c, p) for c in range(3) for p in range(40)]
    pairs += [(3, p) for p in order[:15]]
    context, perturbation = np.array(pairs).T
    effects = strength[:, None] * rng.normal(size=(40, 60))
    scale = np.array([1.0, 1.0, 1.0, 2.0])
    y = scale[context][:, None] * effects[perturbation]
    return context, perturbation, y + 0.01 * rng.normal(size=y.shape)


def test_scales_are_those_of_contexts_and_not_of_their_perturbations(unbalanced):
    context, perturbation, y = unbalanced
    scales = context_scales(context, perturbation, y, 4)
    naive = [np.sqrt((y[context == c] ** 2).mean()) for c in range(4)]
    assert naive[3] < naive[0]
    np.testing.assert_allclose(scales[3] / scales[:3], 2.0, rtol=0.1)


def test_zero_rows_do_no_harm():
    y = np.zeros((6, 3))
    codes = np.array([0, 0, 1, 1, 2, 2]), np.array([0, 1, 0, 1, 0, 1])
    np.testing.assert_allclose(context_scales(*codes, y, 3), 1.0)
    y[0] = 1.0
    assert np.isfinite(context_scales(*codes, y, 3)).all()


@pytest.mark.parametrize("kind", [ProductKernelRidge, TargetEncodedRidge])
def test_scaling_helps_where_contexts_differ_in_strength(unbalanced, kind):
    context, perturbation, y = unbalanced
    X = np.column_stack([context, perturbation])
    held_out = np.flatnonzero(context == 3)[::3]
    rest = np.setdiff1d(np.arange(len(X)), held_out)

    def error(scale_contexts):
        model = kind(scale_contexts=scale_contexts).fit(X[rest], y[rest])
        return np.abs(model.predict(X[held_out]) - y[held_out]).mean()

    assert error(True) < 0.8 * error(False)
