"""Gains, updates and choices against what is worked out from scratch."""

import numpy as np
import pytest

from sklperturb.model_selection._design import (
    Posterior,
    condition,
    posterior_given,
)

N_POOL, N_TARGETS, N_CANDIDATES = 14, 9, 10


def problem(seed):
    """Return covariance, noise, places of candidates and weights of targets."""
    rng = np.random.RandomState(seed)
    factors = rng.normal(size=(N_POOL, 5))
    covariance = factors @ factors.T + 0.1 * np.eye(N_POOL)
    noise = rng.uniform(0.1, 1, N_POOL)
    weights = rng.uniform(size=N_TARGETS)
    place = rng.permutation(N_POOL)[:N_CANDIDATES]
    return covariance, noise, place, weights / weights.sum()


def posterior(covariance, noise, place, weights, criterion="error"):
    known = np.zeros(len(covariance), dtype=bool)
    start = covariance[place].astype(np.float32), np.diag(covariance)
    return Posterior(*start, noise, place, weights, known, criterion)


def refitted(covariance, noise, measured):
    """Return the covariance after measurements, by a single inverse."""
    if not len(measured):
        return covariance
    within = covariance[np.ix_(measured, measured)] + np.diag(noise[measured])
    told = np.linalg.solve(within, covariance[measured])
    return covariance - covariance[:, measured] @ told


def objective(covariance, noise, weights, measured, criterion):
    variance = np.diag(refitted(covariance, noise, measured))[: len(weights)]
    if criterion == "variance":
        return weights @ variance
    errors = np.sqrt(variance + noise[: len(weights)])
    if criterion == "remaining":
        errors[[m for m in measured if m < len(weights)]] = 0
    return weights @ errors


@pytest.mark.parametrize("criterion", ["error", "remaining", "variance"])
@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("seed", range(5))
def test_greedy_choices_are_those_of_brute_force(criterion, size, seed):
    covariance, noise, place, weights = problem(seed)
    known = posterior(covariance, noise, place, weights, criterion)
    units = list(np.arange(N_CANDIDATES).reshape(-1, size))
    costs = np.random.RandomState(seed).uniform(1, 2, len(units))
    allowed, measured = np.ones(len(units), dtype=bool), []
    for _ in range(4):
        now = objective(covariance, noise, weights, measured, criterion)
        gains = np.full(len(units), -np.inf)
        for number in np.flatnonzero(allowed):
            with_it = [*measured, *place[units[number]]]
            after = objective(covariance, noise, weights, with_it, criterion)
            gains[number] = now - after
        unit, gain = known.best(units, allowed, costs, np.arange(len(units)))
        assert unit == np.argmax(gains / costs)
        assert gain == pytest.approx(gains[unit], rel=1e-4)
        known.measure(units[unit])
        measured += place[units[unit]].tolist()
        allowed[unit] = False


def test_limits_of_gains_are_limits():
    for seed in range(20):
        covariance, noise, place, weights = problem(seed)
        known = posterior(covariance, noise, place, weights)
        units = list(np.arange(N_CANDIDATES)[:, None])
        assert (known._limits() >= known.gains(units)).all()


def test_updates_equal_refits():
    covariance, noise, place, weights = problem(0)
    known = posterior(covariance, noise, place, weights)
    drop = known.measure([3]) + known.measure([7, 1])
    measured = place[[3, 7, 1]]
    again = refitted(covariance, noise, measured)
    np.testing.assert_allclose(known.variance, np.diag(again), atol=1e-6)
    known._settle()
    np.testing.assert_allclose(known.covariance, again[place], atol=1e-5)
    before = np.sqrt((np.diag(covariance) + noise)[:N_TARGETS])
    np.testing.assert_allclose(drop, before - known.errors(), atol=1e-6)
    mean, rest = known.mean_errors()
    assert mean == pytest.approx(weights @ known.errors())
    open_ = np.setdiff1d(np.arange(N_TARGETS), measured)
    of_rest = weights[open_] @ known.errors()[open_] / weights[open_].sum()
    assert rest == pytest.approx(of_rest)


def test_conditioning_on_what_is_measured():
    covariance, noise, place, _ = problem(1)
    measured = np.array([0, 5, 6])
    within = covariance[np.ix_(measured, measured)]
    told = posterior_given(within, covariance[measured], noise[measured])
    found = covariance[place].astype(np.float32)
    condition(found, told, place)
    again = refitted(covariance, noise, measured)
    np.testing.assert_allclose(found, again[place], atol=1e-5)


def test_equal_gains_are_told_apart_by_rank():
    known = posterior(np.eye(4), np.ones(4), np.arange(4), np.full(4, 0.25))
    units, allowed = list(np.arange(4)[:, None]), np.ones(4, dtype=bool)
    rank = np.array([2, 0, 3, 1])
    assert known.best(units, allowed, np.ones(4), rank)[0] == 1
    allowed[1] = False
    assert known.best(units, allowed, np.ones(4), rank)[0] == 3


def test_what_is_no_covariance_is_told():
    with pytest.raises(ValueError, match="negative eigenvalues"):
        posterior_given(
            np.array([[1.0, 5.0], [5.0, 1.0]]), np.ones((2, 1)), np.zeros(2)
        )
    # One that is singular is a covariance.
    assert np.isfinite(
        posterior_given(np.ones((2, 2)), np.ones((2, 1)), np.zeros(2))
    ).all()
