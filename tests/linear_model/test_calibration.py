"""Factors of components and the stretch of rows, against what is known to be right."""

import numpy as np
import pytest
from scipy import linalg

from sklperturb.linear_model._calibration import (
    LARGEST_SHARE,
    Calibration,
    Stretch,
    row_norms,
    shrunken_factor,
)
from sklperturb.linear_model._kernel import (
    left_out_residuals,
    loo_kernel_ridge,
    mean_norm,
    rows_of_groups,
)


def test_components_get_back_what_was_shrunk():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(4000, 3))
    shrunken = truth * [0.6, 0.8, 1.0]
    noise = 1e-3 * rng.normal(size=truth.shape)
    found = Calibration.learn(truth, shrunken + noise)
    np.testing.assert_allclose(found(shrunken), truth, atol=0.1)
    assert found.factors[0] > 1.2 * found.factors[2]


def test_what_is_not_told_is_left_out():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(3000, 2)) * [1.0, 3.0]
    y_pred = truth * [1.0, 0.0] + rng.normal(size=truth.shape) * [0.1, 3.0]
    factors = Calibration.learn(truth, y_pred).factors
    assert factors[0] > 0.8
    assert factors[1] < 0.1


def test_few_rows_share_one_factor():
    rng = np.random.default_rng(0)
    truth, y_pred = rng.normal(size=(2, 6, 4))
    factors = Calibration.learn(truth, y_pred).factors
    raw = Calibration.learn(*np.repeat([truth, y_pred], 10_000, axis=1)).factors
    assert np.ptp(factors) < 0.2 * np.ptp(raw)


def test_nothing_predicted_stays_nothing():
    zeros = np.zeros((5, 3))
    for truth in (zeros, np.ones((5, 3))):
        found = Calibration.learn(truth, zeros)
        assert found.stretch == Stretch()
        np.testing.assert_array_equal(found(zeros), zeros)
    found = Calibration.learn(np.ones((5, 3)), np.ones((5, 3)))
    assert np.isfinite(found(np.ones((5, 3)))).all()


def test_row_norms():
    rows = np.random.default_rng(0).normal(size=(4, 5))
    np.testing.assert_allclose(row_norms(rows), linalg.norm(rows, axis=1))


def test_left_out_residuals_are_those_that_were_scored():
    rng = np.random.default_rng(0)
    root = rng.normal(size=(12, 20))
    kernel, targets = root @ root.T, rng.normal(size=(12, 3))
    for groups in (None, np.repeat(np.arange(5), [1, 1, 2, 4, 4])):
        scored = []

        def keep(left_out, scored=scored):
            scored.append(left_out)
            return mean_norm(left_out)

        _, _, dual_coef = loo_kernel_ridge(kernel, targets, [0.7], groups, keep)
        together = rows_of_groups(groups)
        found = left_out_residuals(kernel, 0.7, dual_coef, together)
        np.testing.assert_allclose(found, scored[0], rtol=1e-8)


def test_chance_does_not_move_a_factor():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(20), 2)
    found = []
    for _ in range(40):
        truth, y_pred = rng.normal(size=(2, 40, 5))
        found.append(shrunken_factor(truth, y_pred, groups, prior=0.0))
    # Least squares alone is never exactly 0.
    assert np.mean(np.array(found) == 0) > 0.7
    signal = y_pred + 0.1 * truth
    assert shrunken_factor(signal, y_pred, groups, prior=0.0) == pytest.approx(
        1.0, abs=0.05
    )
    assert shrunken_factor(3 * y_pred, y_pred, groups, prior=1.0) == LARGEST_SHARE
    assert shrunken_factor(truth, 0 * y_pred, groups, prior=1.0) == 1.0
