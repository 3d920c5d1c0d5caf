"""Cells that respond more and less."""

import numpy as np
import pytest
from scipy import sparse

from sklperturb.cells import log_normalise, perturb_counts
from sklperturb.cells._perturbed import CountRates
from sklperturb.cells._strengths import (
    SpreadEvidence,
    ratios_of_levels,
    strength_levels,
)


@pytest.mark.parametrize("variance", [0.0, 0.001, 0.1, 0.5, 2.0])
def test_levels_have_the_mean_and_the_variance(variance):
    levels = strength_levels(variance)
    assert levels.mean() == pytest.approx(1)
    assert levels.var() == pytest.approx(variance, rel=0.02)
    assert levels.min() >= 0


@pytest.mark.parametrize("variance", [0.05, 0.4, 1.5])
def test_the_profile_is_exact_and_sizes_stay(variance):
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.full(500, 0.3))
    ratios = np.exp(0.4 * rng.standard_normal(500))
    ratios[:2] = 0.02, 8.0  # a target that is gone, and what rises most
    ratios /= shares @ ratios
    made = ratios_of_levels(strength_levels(variance), ratios, shares)
    np.testing.assert_allclose(made.mean(axis=0), ratios, rtol=1e-9)
    np.testing.assert_allclose(made @ shares, 1, atol=0.02)
    # A stronger cell has more of it in every gene that changes by much.
    falls, rises = np.diff(made[:, ratios < 0.6], axis=0), made[:, ratios > 2]
    assert (falls < 1e-9).all() and (np.diff(rises, axis=0) > -1e-9).all()


def test_without_an_effect_there_is_no_strength():
    counts = np.random.default_rng(0).poisson(2, (50, 4))
    same = perturb_counts(counts, np.zeros(4), spread=1.0, random_state=0)
    assert np.array_equal(same, counts)


def test_mean_stays_and_variance_along_the_effect_rises():
    rng = np.random.default_rng(0)
    controls = rng.poisson(rng.gamma(4, 1, 60), (4000, 60))
    change = rng.normal(0, 0.5, 60)
    one, several = (
        perturb_counts(controls, change, spread=spread, random_state=0)
        for spread in (0.0, 0.4)
    )
    np.testing.assert_allclose(
        several.mean(axis=0), one.mean(axis=0), rtol=0.04, atol=0.02
    )
    logs = [log_normalise(sparse.csr_array(x), 1e4).toarray() for x in (one, several)]
    move = logs[0].mean(axis=0) - log_normalise(
        sparse.csr_array(controls), 1e4
    ).toarray().mean(axis=0)
    move /= np.linalg.norm(move)
    before, after = ((x @ move).var() for x in logs)
    assert after > 1.5 * before
    # Across the effect, cells are what they were.
    across = rng.standard_normal(60)
    across -= (across @ move) * move
    before, after = ((x @ across).var() for x in logs)
    assert 0.85 < after / before < 1.25


def test_bad_spread():
    with pytest.raises(ValueError, match="spread=-1 must be from 0 to 2"):
        perturb_counts(np.ones((3, 2), int), np.zeros(2), spread=-1)


def evidence(spreads, *, n_conditions=8, n_cells=100, seed=0):
    """Return points of cells whose strengths vary by a spread in each context."""
    rng, found = np.random.default_rng(seed), SpreadEvidence([], [], [], [])
    for context, spread in spreads.items():
        for _ in range(n_conditions):
            move = np.zeros(10)
            move[0] = 3 * rng.random()

            def cells(spread, move=move):
                strength = 1 + np.sqrt(spread) * rng.standard_normal((n_cells, 1))
                return rng.standard_normal((n_cells, 10)) + strength * move

            made = cells(0.0), cells(0.25)
            found.add(context, cells(0.0, 0 * move), cells(spread), made, 0.25)
    return found.pooled()


def test_the_spread_is_found():
    spread, of_contexts = evidence({"a": 0.4, "b": 0.4}, n_conditions=20, n_cells=300)
    assert spread == pytest.approx(0.4, abs=0.12)
    assert of_contexts["a"] == pytest.approx(of_contexts["b"], abs=0.1)
    _, of_contexts = evidence({"a": 0.1, "b": 1.0}, n_conditions=20, n_cells=300)
    assert of_contexts["a"] < 0.35 and of_contexts["b"] > 0.6


def test_no_spread_is_found_by_chance():
    found = [evidence({"a": 0.0}, seed=seed)[0] for seed in range(20)]
    assert np.mean(np.array(found) > 0) <= 0.35 and np.mean(found) < 0.05
    assert SpreadEvidence([], [], [], []).pooled() == (0.0, {})


def test_shares_of_levels_are_those_of_the_controls():
    counts = sparse.csr_array(np.random.default_rng(0).poisson(3, (200, 20)))
    rates = CountRates.of(counts)
    ratios = rates.ratios(np.linspace(-1, 1, 20))
    made = ratios_of_levels(strength_levels(0.3), ratios, rates.shares)
    np.testing.assert_allclose(made @ rates.shares, rates.shares.sum(), rtol=1e-3)
