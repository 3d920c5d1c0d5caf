"""Intervals of means, one and several at once."""

import numpy as np
import pytest

from sklperturb.utils._intervals import mean_interval, simultaneous_intervals


def test_of_one_column_both_are_the_same():
    rng = np.random.default_rng(0)
    values, units = rng.normal(size=(20, 1)), np.arange(20) // 3
    found = np.ravel(simultaneous_intervals(values, units))
    np.testing.assert_allclose(found, mean_interval(values[:, 0], units))


def test_without_two_units_nothing_is_sure():
    mean, low, high = simultaneous_intervals(np.ones((3, 2)), [0, 0, 0])
    assert mean.tolist() == [1, 1]
    assert np.isinf([low, high]).all()


def test_a_column_that_occurs_twice_costs_nothing():
    values = np.random.default_rng(0).normal(size=(15, 1))
    one = simultaneous_intervals(values, np.arange(15))
    two = simultaneous_intervals(np.hstack([values, 3 * values]), np.arange(15))
    np.testing.assert_allclose([v[0] for v in two], np.ravel(one), rtol=0.03, atol=0.02)


@pytest.mark.parametrize("alike", [0.0, 0.9])
def test_all_cover_at_once(alike):
    rng = np.random.default_rng(0)
    mixing = np.linalg.cholesky(alike + (1 - alike) * np.eye(4))
    hold = []
    for _ in range(300):
        values = rng.normal(size=(10, 4)) @ mixing.T
        _, low, high = simultaneous_intervals(values, np.arange(10))
        hold.append((low < 0).all() and (high > 0).all())
    assert 0.92 < np.mean(hold) < 0.98
