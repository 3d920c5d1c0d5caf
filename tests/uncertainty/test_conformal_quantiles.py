"""Quantiles that cover what they say, with the perturbation as the unit."""

import numpy as np
import pytest

from sklperturb.uncertainty._conformal_quantiles import (
    calibrated_quantiles,
    unit_weights,
)


def test_each_unit_counts_once():
    weights = unit_weights(np.array([7, 3, 7, 7]))
    np.testing.assert_allclose(weights, [1 / 3, 1, 1 / 3, 1 / 3])


@pytest.mark.parametrize("n", [30, 99, 200])
def test_one_entry_a_unit_is_split_conformal(n):
    scores = np.random.default_rng(0).exponential(size=(n, 1))
    levels = np.array([0.5, 0.8, 0.9])
    found = calibrated_quantiles(scores, np.arange(n), levels)
    ordered = np.sort(scores.ravel())
    ranks = np.ceil(levels * (n + 1)).astype(int)
    for value, rank in zip(found, ranks, strict=True):
        # Left out, a unit is judged by one less: never below, and a rank above at most.
        assert ordered[rank - 1] <= value <= ordered[rank]


def test_too_few_units_are_told():
    levels = np.array([0.5, 0.9])
    found = calibrated_quantiles(np.arange(1.0, 9).reshape(8, 1), np.arange(8), levels)
    assert np.isfinite(found[0]) and np.isinf(found[1])
    assert np.isinf(calibrated_quantiles(np.ones((5, 4)), np.zeros(5), levels)).all()


def test_units_of_many_rows_do_not_outvote_others():
    scores = np.concatenate([np.full((300, 5), 1.0), np.full((30, 5), 2.0)])
    units = np.concatenate([np.zeros(300), np.arange(1, 31)])
    # 30 of 31 units are at 2, though 10 of 11 rows are at 1.
    assert calibrated_quantiles(scores, units, np.array([0.5])) == [2.0]


def test_a_new_unit_is_covered_as_often_as_is_said():
    rng = np.random.default_rng(0)
    covered, as_pooled = [], []
    for _ in range(300):
        # What units are alike in is most of it, and there are few of them.
        sizes = rng.lognormal(sigma=1.0, size=(13, 1))
        scores = sizes * np.abs(rng.normal(size=(13, 40)))
        [quantile] = calibrated_quantiles(scores[:-1], np.arange(12), np.array([0.8]))
        covered.append(np.mean(scores[-1] <= quantile))
        as_pooled.append(np.mean(scores[-1] <= np.quantile(scores[:-1], 0.8)))
    error = np.std(covered) / np.sqrt(len(covered))
    assert abs(np.mean(covered) - 0.8) < 0.015 + 2 * error
    # Without the units left out, too little is covered.
    assert np.mean(as_pooled) < np.mean(covered) - 0.01


def test_levels_ascend_and_large_tables_are_summarised():
    scores = np.random.default_rng(0).normal(size=(60, 500)) ** 2
    levels = np.linspace(0.05, 0.95, 19)
    found = calibrated_quantiles(scores, np.repeat(np.arange(20), 3), levels)
    assert (np.diff(found) > 0).all()
    exact = np.quantile(scores, levels)
    np.testing.assert_allclose(found, exact, rtol=0.05)
