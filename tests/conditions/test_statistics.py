"""Statistics of levels: what a level that was not seen gets of the mean."""

import numpy as np
import pytest

from sklperturb.conditions import _statistics
from sklperturb.conditions._statistics import (
    joint_effects,
    share_of_centre,
    share_of_mean,
)


@pytest.mark.parametrize(
    ("own", "low", "high"), [(0, 0.99, 1), (1, 0.4, 0.95), (9, 0, 0.1)]
)
def test_levels_that_differ_have_little_in_common(own, low, high):
    rng = np.random.default_rng(0)
    code = np.repeat([0, 1, 2], [4, 8, 12])
    y = rng.normal(size=1000) + own * rng.normal(size=(3, 1000))[code]
    assert low <= share_of_centre(code, 3, y) <= high


def test_the_share_predicts_a_left_out_level_best():
    rng = np.random.default_rng(1)
    code = np.repeat([0, 1, 2], 5)
    y = rng.normal(size=400) + rng.normal(size=(3, 400))[code]
    y /= np.linalg.norm(y, axis=1, keepdims=True)

    def error(share):
        left = [y[code == c].mean(0) - share * y[code != c].mean(0) for c in range(3)]
        return sum(part @ part for part in left)

    found = share_of_centre(code, 3, y)
    assert error(found) < min(error(found - 0.02), error(found + 0.02))


def test_nothing_speaks_against_the_mean_of_one_level_or_of_zeros():
    assert share_of_centre(np.zeros(3, int), 1, np.ones((3, 2))) == 1
    assert share_of_centre(np.array([0, 1]), 2, np.zeros((2, 2))) == 1
    assert share_of_centre(np.array([0, 1]), 3, np.ones((2, 2))) == 1


@pytest.mark.parametrize(("signal", "low", "high"), [(0, 0, 0.2), (1, 0.85, 0.95)])
def test_a_mean_of_noise_is_hardly_believed(signal, low, high):
    rng = np.random.default_rng(0)
    y = rng.normal(size=(9, 500)) + signal * rng.normal(size=500)
    mean = y.mean(axis=0)
    assert low <= share_of_mean(mean, y - mean) <= high


def test_a_mean_of_few_genes_or_of_one_row_is_believed():
    y = np.random.default_rng(0).normal(size=(5, 2))
    assert share_of_mean(y.mean(axis=0), y - y.mean(axis=0)) == 1
    assert share_of_mean(np.ones(9), np.zeros((1, 9))) == 1
    assert share_of_mean(np.zeros(9), np.zeros((4, 9))) == 1


@pytest.mark.parametrize("n_levels", [(30,), (4, 30), (30, 4), (5, 30, 3)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_many_levels_have_the_effects_of_all_equations_at_once(
    monkeypatch, n_levels, dtype
):
    rng = np.random.default_rng(0)
    codes = [rng.integers(n, size=80) for n in n_levels]
    codes[0][0] = -1  # a level that was not seen
    codes[-1][codes[-1] == 2] = 1  # one without rows
    y = rng.normal(size=(80, 7)).astype(dtype)
    lambdas = [0.5, 2.0, 1e9][: len(n_levels)]
    expected = joint_effects(codes, n_levels, y, lambdas)
    monkeypatch.setattr(_statistics, "_MANY_LEVELS", 10)
    found = joint_effects(codes, n_levels, y, lambdas)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype == dtype
        np.testing.assert_allclose(
            one, other, atol=1e-5 if dtype is np.float32 else 1e-12
        )
