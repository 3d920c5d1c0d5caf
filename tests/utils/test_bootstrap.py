"""Intervals for means over rows that come in clusters."""

import numpy as np
import pytest
from scipy import stats

from sklperturb.utils._bootstrap import ClusterBootstrap


def interval(clusters, values, confidence=0.95, seed=0, n_resamples=500):
    rng = np.random.RandomState(seed)
    return ClusterBootstrap(clusters, n_resamples, confidence, rng).interval(values)


def covered(draw, n_draws=300, **options):
    """Return the share of intervals that hold 0, the mean of what is drawn."""
    rng = np.random.default_rng(0)
    hits = 0
    for seed in range(n_draws):
        low, high = interval(*draw(rng), seed=seed, **options)
        hits += low <= 0 <= high
    return hits / n_draws


def errors(rng, n, n_rows=1):
    """Draw errors of perturbations, of which a few are large; less their mean."""
    effect = np.exp(rng.standard_normal(n)) - np.exp(0.5)
    codes = np.repeat(np.arange(n), n_rows)
    return codes, effect[codes] + 0.1 * rng.standard_normal(len(codes))


def crossed(rng, n_perturbations=20, n_contexts=12):
    codes = np.indices((n_perturbations, n_contexts)).reshape(2, -1).T
    values = rng.standard_normal(n_perturbations)[codes[:, 0]]
    values = values + rng.standard_normal(n_contexts)[codes[:, 1]]
    return codes, values + rng.standard_normal(len(values))


@pytest.mark.parametrize("n", [12, 40])
def test_a_few_large_errors_are_covered(n):
    # Percentiles of resampled means cover 79 and 88 % of these.
    assert 0.86 + 0.04 * (n > 12) < covered(lambda rng: errors(rng, n)) <= 0.98


@pytest.mark.parametrize("n", [3, 4, 5, 8, 30])
def test_normal_errors_are_covered_however_few(n):
    share = covered(lambda rng: (np.arange(n), rng.standard_normal(n)))
    assert 0.92 <= share <= 0.99


def test_rows_of_a_cluster_are_no_independent_evidence():
    assert covered(lambda rng: errors(rng, 40, 5)) > 0.9
    by_row = covered(lambda rng: (np.arange(200), errors(rng, 40, 5)[1]))
    assert by_row < 0.75


def test_both_kinds_of_clusters_that_cross_are_covered():
    assert 0.92 <= covered(crossed) <= 0.99
    for kind in (0, 1):  # as if the others were always the same
        assert covered(lambda rng, k=kind: _one_kind(rng, k)) < 0.92


def _one_kind(rng, kind):
    codes, values = crossed(rng)
    return codes[:, kind], values


def test_three_clusters_have_the_interval_of_student():
    values = np.array([1.0, 2.0, 4.0])
    expected = stats.t.interval(0.9, 2, values.mean(), stats.sem(values))
    assert interval(np.arange(3), values, 0.9) == pytest.approx(expected)
    # Rows of unequal clusters: the error of a ratio of sums.
    clusters, values = np.array([0, 0, 1, 2]), np.array([1.0, 2.0, 4.0, 4.0])
    sums = np.array([1.0 + 2.0 - 5.5, 4.0 - 2.75, 4.0 - 2.75])
    error = np.sqrt(np.sum(sums**2) * 3 / 2) / 4
    expected = stats.t.interval(0.9, 2, 2.75, error)
    assert interval(clusters, values, 0.9) == pytest.approx(expected)


def test_three_contexts_have_the_error_of_clusters_of_both_kinds():
    codes, values = crossed(np.random.default_rng(0), 20, 3)
    cells = (values - values.mean()).reshape(20, 3)
    one = np.sum(cells.sum(axis=1) ** 2) * 20 / 19
    other = np.sum(cells.sum(axis=0) ** 2) * 3 / 2
    variance = one + other - np.sum(cells**2)
    # Mostly of contexts, and so nearly with their two degrees of freedom.
    free = variance**2 / (one**2 / 19 + other**2 / 2)
    assert 2 < free < 4
    error = np.sqrt(variance) / 60
    expected = stats.t.interval(0.95, free, values.mean(), error)
    assert interval(codes, values) == pytest.approx(expected)
    assert interval(codes[:, ::-1], values) == pytest.approx(expected)


def test_contexts_that_are_few_widen_nothing_that_they_do_not_make():
    codes, values = crossed(np.random.default_rng(0), 20, 3)
    alone = values.reshape(20, 3).mean(axis=1)
    student = stats.t.interval(0.95, 19, alone.mean(), stats.sem(alone))
    # Each perturbation has the same everywhere, but for a little.
    values = np.repeat(alone, 3) + 1e-3 * values
    found = interval(codes, values)
    assert np.diff(found) == pytest.approx(np.diff(student), rel=0.15)


def test_normal_errors_of_both_kinds_are_covered_and_not_more():
    def draw(rng):
        codes, values = crossed(rng, 30, 3)
        return codes, values + 2 * rng.standard_normal(30)[codes[:, 0]]

    # With the two degrees of freedom of the contexts it is 99.7 %.
    assert 0.91 <= covered(draw, n_resamples=100) <= 0.98


@pytest.mark.parametrize("clusters", [["a"], ["a", "b"], [["a", "x"], ["b", "x"]]])
def test_of_fewer_than_three_there_is_none(clusters):
    assert np.isnan(interval(clusters, np.arange(len(clusters)) * 1.0)).all()


def test_contexts_that_are_too_few_leave_no_interval_of_both():
    rng = np.random.default_rng(0)
    assert np.isnan(interval(*crossed(rng, 20, 2))).all()
    assert np.isfinite(interval(*crossed(rng, 20, 3))).all()


def test_an_interval_is_never_narrower_than_students():
    rng = np.random.default_rng(0)
    for _ in range(20):
        values = rng.standard_normal(15)
        low, high = interval(np.arange(15), values)
        student = stats.t.interval(0.95, 14, values.mean(), stats.sem(values))
        assert low <= student[0] + 1e-12 and high >= student[1] - 1e-12


def test_clusters_of_both_kinds_where_one_is_inside_the_other():
    # Perturbations that have a context each: contexts are what differs.
    rng = np.random.default_rng(0)
    context = np.repeat(np.arange(12), 4)
    values = rng.standard_normal(12)[context] + 0.1 * rng.standard_normal(48)
    both = interval(np.column_stack([np.arange(48), context]), values)
    assert both == pytest.approx(interval(context, values), rel=0.3)


def test_values_that_are_all_the_same_have_an_interval_without_width():
    assert interval(np.arange(20), np.full(20, 0.25)) == (0.25, 0.25)


def test_a_missing_value_leaves_no_interval():
    assert np.isnan(interval(np.arange(20), np.append(np.ones(19), np.nan))).all()


def test_bootstrap_interval_of_a_ratio():
    rng = np.random.RandomState(0)
    divisors, clusters = rng.uniform(1, 2, 200), np.repeat(np.arange(50), 4)
    values = 0.5 * divisors + 0.1 * rng.normal(size=200)
    bootstrap = ClusterBootstrap(clusters, 300, 0.95, rng)
    low, high = bootstrap.interval_of_ratio(values, divisors)
    assert 0.47 < low < values.sum() / divisors.sum() < high < 0.53
    assert bootstrap.interval_of_ratio(values, -divisors) == pytest.approx(
        (-high, -low)
    )
    # Resamples in which the divisor changes its sign say nothing.
    unsure = divisors - divisors.mean() + 0.01
    assert np.isnan(bootstrap.interval_of_ratio(values, unsure)).all()


def test_ends_are_those_of_studentised_resamples():
    """The same by a loop, 2.5 % on either side."""
    values, n = np.random.default_rng(4).lognormal(0, 0.7, 15), 15
    draws = np.random.RandomState(0).multinomial(n, np.full(n, 1 / n), size=500)
    ratios = []
    for times in draws:
        drawn = np.repeat(values, times)
        error = drawn.std(ddof=1) / np.sqrt(n)
        ratios.append((drawn.mean() - values.mean()) / error)
    usual = stats.t.ppf(0.975, n - 1)
    low = min(-usual, np.quantile(ratios, 0.025))
    high = max(usual, np.quantile(ratios, 0.975))
    assert -3 * usual < low < -usual - 0.5  # so that it is resamples that tell
    error = values.std(ddof=1) / np.sqrt(n)
    expected = values.mean() - high * error, values.mean() - low * error
    names = [f"{i:02d}" for i in range(n)]
    assert interval(names, values) == pytest.approx(expected)


def differences(rng, n, spread=1.0):
    """Draw differences of perturbations, of which a few are large, to either side."""
    return rng.choice([-1, 1], n) * np.exp(spread * rng.standard_normal(n))


def test_intervals_of_differences_are_wider_by_their_tails():
    values = differences(np.random.default_rng(1), 80)
    bootstrap = ClusterBootstrap(np.arange(80), 300, 0.95, np.random.RandomState(0))
    # Of more than 40 it fades.
    wider = np.sqrt(1 + 14 * stats.kurtosis(values) / 80 * 40 / 80)
    assert wider > 1.05
    plain = np.array(bootstrap.interval(values)) - values.mean()
    found = np.array(bootstrap.interval_of_difference(values)) - values.mean()
    assert found == pytest.approx(wider * plain)
    assert found[0] < 0 < found[1]
    # As a share of something, and in other units, it is the same interval.
    shares = bootstrap.interval_of_difference(values, np.full(80, -2.0))
    assert shares == pytest.approx(((found + values.mean()) / -2)[::-1])


@pytest.mark.parametrize("n", [8, 17, 40])
def test_one_cluster_that_rules_leaves_no_absurd_interval(n):
    # A resample without it has next to no standard error.
    values = np.append(0.01 * np.random.default_rng(0).standard_normal(n - 1), 5.0)
    bootstrap = ClusterBootstrap(np.arange(n), 300, 0.95, np.random.RandomState(0))
    usual = stats.t.ppf(0.975, n - 1) * stats.sem(values)
    for name in ("interval", "interval_of_difference"):
        low, high = getattr(bootstrap, name)(values)
        assert high - values.mean() == pytest.approx(3 * usual)
        assert usual * (1 - 1e-9) <= values.mean() - low <= 3 * usual


def test_intervals_of_differences_without_tails_are_those_of_means():
    values = np.random.default_rng(0).uniform(-1, 1, 30)
    bootstrap = ClusterBootstrap(np.arange(30), 300, 0.95, np.random.RandomState(0))
    assert bootstrap.interval_of_difference(values) == bootstrap.interval(values)


def test_differences_of_rows_have_the_tails_of_their_clusters():
    values = differences(np.random.default_rng(1), 20, 1.5)
    clusters = np.repeat(np.arange(20), 3)
    bootstrap = ClusterBootstrap(clusters, 300, 0.95, np.random.RandomState(0))
    once = ClusterBootstrap(np.arange(20), 300, 0.95, np.random.RandomState(0))
    rows = bootstrap.interval_of_difference(np.repeat(values, 3))
    assert rows == pytest.approx(once.interval_of_difference(values))


def test_differences_of_clusters_of_both_kinds_have_the_longer_tails():
    codes, noise = crossed(np.random.default_rng(0), 30, 12)
    values = 5 * differences(np.random.default_rng(1), 30, 0.9)[codes[:, 0]] + noise
    both = ClusterBootstrap(codes, 300, 0.95, np.random.RandomState(0))
    sums = (values - values.mean()).reshape(30, 12).sum(axis=1)
    wider = np.sqrt(1 + 14 * stats.kurtosis(sums) / 30)
    plain = np.array(both.interval(values)) - values.mean()
    found = np.array(both.interval_of_difference(values)) - values.mean()
    assert wider > 1.2
    assert found == pytest.approx(wider * plain)


def test_differences_that_a_few_perturbations_make_are_covered():
    hits = {"interval": 0, "interval_of_difference": 0}
    rng = np.random.default_rng(0)
    for seed in range(300):
        # A tenth of the perturbations make up for what the others lose.
        values = np.where(rng.random(40) < 0.1, 4.5 * rng.exponential(size=40), -0.5)
        values += 0.1 * rng.standard_normal(40)
        state = np.random.RandomState(seed)
        bootstrap = ClusterBootstrap(np.arange(40), 200, 0.95, state)
        for name in hits:
            low, high = getattr(bootstrap, name)(values)
            hits[name] += low <= 0 <= high
    assert hits["interval"] < hits["interval_of_difference"]
    assert 0.92 <= hits["interval_of_difference"] / 300 <= 0.97


@pytest.mark.parametrize("values", [[1.0, 2.0], [0.5, 0.5, 0.5, 0.5]])
def test_differences_of_few_or_of_equal_clusters(values):
    n = len(values)
    bootstrap = ClusterBootstrap(np.arange(n), 20, 0.95, np.random.RandomState(0))
    found = bootstrap.interval_of_difference(np.array(values))
    expected = (0.5, 0.5) if n > 2 else (np.nan, np.nan)
    np.testing.assert_array_equal(found, expected)
