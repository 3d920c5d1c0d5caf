"""Ceilings of screens whose truth is known."""

import re

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from sklperturb.conditions import PerturbationSchema
from sklperturb.inspection import noise_ceiling
from sklperturb.metrics import ROWWISE_METRICS, WeightedMSEScorer, get_metric
from sklperturb.uncertainty._ceiling import share_of
from sklperturb.uncertainty._ceiling_agreement import stepped_up
from sklperturb.uncertainty._ceiling_noise import (
    contrasts_of,
    effective_genes,
    rooted,
    row_spread,
)
from sklperturb.uncertainty._ceiling_rows import (
    MOST_PARTNERS,
    condition_columns,
    number_conditions,
    partners_of,
)

N_PERTURBATIONS, N_GENES = 80, 200
COUNTS = [2, 3, 6, "uneven"]


def make_rows(n_replicates, noise, seed=0, factors=0.0):
    """Return conditions, true means and measurements, a row for each replicate."""
    rng = np.random.RandomState(seed)
    n = N_PERTURBATIONS
    counts = np.full(n, n_replicates) if n_replicates != "uneven" else None
    if counts is None:
        counts = rng.choice([1, 2, 3, 5], n)
    of = np.repeat(np.arange(n), counts)
    truth = rng.normal(size=(n, N_GENES)) * rng.lognormal(-0.3, 0.6, (n, 1))
    genes = rng.lognormal(0, 0.4, N_GENES)
    error = noise(rng, (len(of), N_GENES)) * genes
    error += factors * rng.normal(size=(len(of), 4)) @ rng.normal(size=(4, N_GENES))
    X = pd.DataFrame({"sm_name": [f"p{i}" for i in of]})
    return X, truth[of], truth[of] + error


NOISE = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "laplace": lambda rng, shape: rng.laplace(size=shape),
    "t5": lambda rng, shape: rng.standard_t(5, size=shape),
    "wells": lambda rng, shape: (
        rng.normal(size=shape) * rng.lognormal(0, 0.5, (shape[0], 1))
    ),
}
TOLERANCE = {"mrrmse": 0.012, "mrmae": 0.02, "wmse": 0.02}


def relative_error(found, metric, X, truth, y):
    known = ~np.isnan(found.by_row)
    return found.value / metric.of_rows(X)(y, truth)[known].mean() - 1


@pytest.mark.parametrize("kind", NOISE)
@pytest.mark.parametrize(
    ("name", "n_replicates"),
    [(name, n) for name in ("mrrmse", "mrmae", "wmse") for n in COUNTS]
    + [(name, n) for name in ("pearson", "spearman") for n in (2, "uneven")]
    + [("cosine", 3)],
)
def test_it_is_the_score_of_the_truth(name, n_replicates, kind):
    metric = get_metric(WeightedMSEScorer(np.linspace(0, 2, N_GENES)))
    metric = metric if name == "wmse" else get_metric(name)
    errors = []
    for seed in range(3):
        X, truth, y = make_rows(n_replicates, NOISE[kind], seed)
        found = noise_ceiling(X, y, scoring=metric.scorer, n_resamples=50)
        errors.append(relative_error(found, metric, X, truth, y))
    # Two wells do not tell which one is the noisier.
    tolerance = TOLERANCE.get(name, 0.03)
    if kind == "wells":
        tolerance = 0.09 if n_replicates == 2 else tolerance + 0.02
    assert abs(np.mean(errors)) < tolerance


@pytest.mark.parametrize("name", ROWWISE_METRICS)
def test_genes_may_be_noisy_together(name):
    metric, errors = get_metric(name), []
    for seed in range(6):
        X, truth, y = make_rows(3, NOISE["normal"], seed, factors=0.7)
        found = noise_ceiling(X, y, scoring=name, n_resamples=50)
        assert 5 < found.n_effective_genes < 40
        errors.append(relative_error(found, metric, X, truth, y))
    assert abs(np.mean(errors)) < 0.03


@pytest.mark.parametrize("name", ["mrrmse", "mrmae", "pearson", "spearman"])
def test_the_interval_covers_the_truth(name):
    metric, covered = get_metric(name), 0
    for seed in range(15):
        X, truth, y = make_rows(3, NOISE["normal"], seed)
        found = noise_ceiling(X, y, scoring=name, n_resamples=200)
        covered += found.low <= metric.of_rows(X)(y, truth).mean() <= found.high
    assert covered >= 13


def test_screens_without_any_effect_have_no_correlation_to_reach():
    rng = np.random.RandomState(0)
    X = pd.DataFrame({"sm_name": np.repeat([f"p{i}" for i in range(100)], 2)})
    y = rng.normal(size=(200, 500))
    assert noise_ceiling(X, y, scoring="pearson").value < 0.1
    assert noise_ceiling(X, y, scoring="mrrmse").value == pytest.approx(1, abs=0.01)


def test_measurements_without_noise_can_be_predicted():
    rng = np.random.RandomState(0)
    X = pd.DataFrame({"sm_name": np.repeat([f"p{i}" for i in range(20)], 3)})
    y = np.repeat(rng.normal(size=(20, 30)), 3, axis=0)
    for name, metric in ROWWISE_METRICS.items():
        best = 1.0 if metric.greater_is_better else 0.0
        assert noise_ceiling(X, y, scoring=name).value == pytest.approx(best, abs=1e-9)
    assert noise_ceiling(X, y).reliability.to_numpy() == pytest.approx(1)


@pytest.mark.parametrize("name", [*ROWWISE_METRICS, "wmse"])
def test_halves_tell_the_noise_of_their_mean(name):
    metric = get_metric(WeightedMSEScorer(np.linspace(0, 2, N_GENES)))
    metric = metric if name == "wmse" else get_metric(name)
    errors = []
    for seed in range(4):
        rng = np.random.RandomState(seed)
        truth = rng.normal(size=(100, N_GENES)) * rng.lognormal(-0.5, 0.5, (100, 1))
        halves = [truth + rng.laplace(size=truth.shape) for _ in range(2)]
        X = pd.DataFrame({"sm_name": [f"p{i}" for i in range(100)]})
        y = (halves[0] + halves[1]) / 2
        found = noise_ceiling(X, y, scoring=metric.scorer, halves=halves)
        assert found.method == "halves" and found.n_rows == found.n_units == 100
        errors.append(relative_error(found, metric, X, truth, y))
    assert abs(np.mean(errors)) < (0.04 if name == "spearman" else 0.02)


def test_halves_and_p_values():
    """Signed -log10 p of a whole, its halves with the standard error of the whole."""
    rng = np.random.RandomState(0)
    effect = rng.normal(size=(60, 400)) * rng.lognormal(-0.2, 0.6, (60, 1)) * 1.5
    X = pd.DataFrame({"sm_name": [f"p{i}" for i in range(60)]})

    def signed(z):
        return -np.sign(z) * (np.log(2) + stats.norm.logsf(np.abs(z))) / np.log(10)

    # z of the whole has variance 1; effects of halves have twice that.
    z = [effect + np.sqrt(2) * rng.normal(size=effect.shape) for _ in range(2)]
    y = signed((z[0] + z[1]) / 2)
    many = effect[None] + rng.normal(size=(200, *effect.shape))
    truth = signed(many).mean(axis=0)
    for name in ("mrrmse", "mrmae", "pearson", "cosine", "spearman"):
        metric = get_metric(name)
        found = noise_ceiling(X, y, scoring=name, halves=[signed(part) for part in z])
        error = relative_error(found, metric, X, truth, y)
        # Noise is larger where the response is, and a half is farther out.
        assert -0.05 < error < (0.05 if metric.greater_is_better else 0.12)
    # As half the cells give them, they are on another scale, and that is said.
    with pytest.warns(UserWarning, match="times the mean of its halves"):
        noise_ceiling(X, y, halves=[signed(part / np.sqrt(2)) for part in z])


def test_each_row_keeps_the_ceiling_of_its_condition():
    X, _, y = make_rows("uneven", NOISE["normal"])
    counts = X["sm_name"].map(X["sm_name"].value_counts())
    found = noise_ceiling(X, y)
    assert (np.isnan(found.by_row) == (counts == 1)).all()
    assert found.n_rows == (counts > 1).sum()
    assert found.n_units == X["sm_name"][counts > 1].nunique()
    assert found.value == pytest.approx(np.nanmean(found.by_row))
    order = np.random.RandomState(0).permutation(len(X))
    again = noise_ceiling(X.iloc[order], y[order])
    assert again.by_row == pytest.approx(found.by_row[order], rel=0.01, nan_ok=True)


def test_rows_of_one_donor_are_no_second_measurement():
    rng = np.random.RandomState(0)
    table = [(f"p{i}", d) for i in range(150) for d in range(3) for _ in range(2)]
    X = pd.DataFrame(table, columns=["sm_name", "donor"])
    donors = np.repeat(rng.normal(size=(450, 100)), 2, axis=0)
    y = donors + 0.2 * rng.normal(size=donors.shape)
    assert noise_ceiling(X, y).value == pytest.approx(np.sqrt(1.04), rel=0.01)
    apart = noise_ceiling(X.rename(columns={"donor": "drawn"}), y)
    assert apart.value < 0.95
    named = noise_ceiling(
        X.rename(columns={"donor": "drawn"}), y, replicates="drawn", scoring="pearson"
    )
    assert named.value < 0.1  # there is nothing but donors
    assert noise_ceiling(
        X.drop(columns="donor"), y, scoring="pearson"
    ).value == pytest.approx(np.sqrt(0.2 / 1.04), rel=0.05)


def test_doses_times_and_combinations_tell_conditions_apart():
    X = pd.DataFrame(
        {
            "condition": ["A+B", "B+A", "A+B", "A+B", "A"],
            "cell_type": ["T"] * 5,
            "dose": ["1 uM", "1000 nM", "2 uM", "1 uM", "1 uM"],
            "timepoint_hr": [24, 24.0, 24, 6, 24],
            "plate": [1, 2, 3, 4, 5],
        }
    )
    schema = PerturbationSchema.infer(X)
    assert condition_columns(X, schema) == [
        *("condition", "cell_type", "dose", "timepoint_hr")
    ]
    assert number_conditions(X).tolist() == [0, 0, 1, 2, 3]
    assert number_conditions(X, columns=["cell_type"]).tolist() == [0] * 5


def test_reliability_of_genes():
    rng = np.random.RandomState(0)
    X = pd.DataFrame({"sm_name": np.repeat([f"p{i}" for i in range(2000)], 3)})
    size = np.array([0.0, 1.0, 2.0])
    y = np.repeat(rng.normal(size=(2000, 3)) * size, 3, axis=0)
    y = pd.DataFrame(y + rng.normal(size=y.shape), columns=["none", "half", "most"])
    found = noise_ceiling(X, y).reliability
    assert found.index.tolist() == ["none", "half", "most"]
    assert found.to_numpy() == pytest.approx([0, 0.5, 0.8], abs=0.06)
    halves = (y[::3].reset_index(drop=True), y[1::3].reset_index(drop=True))
    found = noise_ceiling(X[::3], halves=halves).reliability
    assert found.to_numpy() == pytest.approx([0, 2 / 3, 8 / 9], abs=0.08)


def test_nothing_measured_twice():
    X, _, y = make_rows(1, NOISE["normal"])
    with pytest.warns(UserWarning, match="halves="):
        assert noise_ceiling(X, y) is None


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"scoring": "mrrsme"}, "mrrmse"),
        ({"replicates": "wel"}, r"'wel' is not in X.*'well'"),
        ({"conditions": ["line"]}, "'line' is not in X"),
        ({"y": None}, "y is None"),
        ({"y": np.full((4, 2), np.nan)}, "NaN"),
        ({"y": np.zeros((3, 2))}, "inconsistent"),
        ({"halves": (np.zeros((4, 2)),)}, "1 entries"),
        ({"halves": (np.zeros((4, 2)), np.zeros((4, 3)))}, "same rows and genes"),
        ({"halves": (np.ones((4, 3)), np.ones((4, 3)))}, "y has shape"),
    ],
)
def test_bad_requests(arguments, match):
    X = pd.DataFrame({"sm_name": ["a", "a", "b", "b"], "well": range(4)})
    with pytest.raises(ValueError, match=match):
        noise_ceiling(**{"X": X, "y": np.eye(4, 2)} | arguments)


def test_same_seed_same_ceiling():
    X, _, y = make_rows(3, NOISE["t5"])
    for name in ("mrmae", "spearman"):
        one, two = (noise_ceiling(X, y, scoring=name) for _ in range(2))
        assert (one.value, one.low, one.high) == (two.value, two.low, two.high)
        assert re.match(rf"{name}: \d", str(one))


def test_parts():
    assert stepped_up(0.5, 2) == pytest.approx(2 / 3)
    assert share_of(0.9, 1.0, 0.8, False) == pytest.approx(0.5)
    assert share_of(0.7, 1.0, 0.8, False) == pytest.approx(1.5)  # not clipped
    assert share_of(1.1, 1.0, 0.8, False) == pytest.approx(-0.5)
    assert np.isnan(share_of(0.9, 1.0, 1.1, False))
    assert np.isnan(share_of(0.5, 0.5, 0.5, True))
    rng = np.random.RandomState(0)
    loadings = rng.normal(size=(5, 300))
    z = rng.normal(size=(400, 5)) @ np.linalg.qr(loadings.T)[0].T
    assert effective_genes(z, np.arange(400)) == pytest.approx(5, rel=0.1)
    # Roots of noisy squares, and of those that vary in truth.
    noisy = 1 + 0.5 * rng.normal(size=20_000)
    ones = np.ones(20_000)
    assert rooted(noisy, 0.25 * ones, ones).mean() == pytest.approx(1, abs=0.01)
    varied = rng.gamma(4, 0.25, 20_000)
    found = rooted(varied, 0 * ones, ones).mean()
    assert found == pytest.approx(np.sqrt(varied).mean())


def test_few_noisy_genes_are_not_taken_for_wells_that_differ():
    factors = []
    for seed in range(4):
        rng = np.random.RandomState(seed)
        y, codes = rng.normal(size=(1200, 6)), np.repeat(np.arange(400), 3)
        contrasts = contrasts_of(y, partners_of(codes, np.arange(1200)))
        factors.append(row_spread(contrasts, codes, 6, rng))
    assert np.mean(factors) > 0.988


def test_partners():
    codes, levels = np.array([0, 0, 0, 1, 2, 2, 2]), np.array([0, 0, 1, 5, 0, 1, 2])
    found = [sorted(own) for own in partners_of(codes, levels)]
    assert found == [[2], [2], [0], [], [5, 6], [4, 6], [4, 5]]
    levels[4] = -1
    found = [sorted(own) for own in partners_of(codes, levels)]
    assert found == [[2], [2], [0], [], [], [6], [5]]
    many = partners_of(np.zeros(300, dtype=int), np.arange(300))
    assert {len(set(own)) for own in many} == {MOST_PARTNERS}
    assert not any(row in own for row, own in enumerate(many))


@pytest.mark.parametrize("name", ["mrrmse", "pearson"])
def test_rows_of_unnamed_replicates_are_left_out(name):
    rng = np.random.RandomState(0)
    X = pd.DataFrame({"sm_name": np.repeat([f"p{i}" for i in range(40)], 3)})
    X["donor_id"] = np.tile(["a", "b", None], 40)
    y = np.repeat(rng.normal(size=(40, 30)), 3, axis=0) + rng.normal(size=(120, 30))
    found = noise_ceiling(X, y, scoring=name)
    known = X["donor_id"].notna().to_numpy()
    assert (~np.isnan(found.by_row) == known).all()
    alone = noise_ceiling(X[known], y[known], scoring=name)
    assert found.by_row[known] == pytest.approx(alone.by_row)
    # Each measured once, but for a row that nobody can be told from.
    X["donor_id"] = np.tile(["a", None, None], 40)
    with pytest.warns(UserWarning, match="every condition was measured once"):
        assert noise_ceiling(X, y, scoring=name) is None


def test_alike_conditions_leave_the_mean_uncertain():
    """Estimates that differ by chance are drawn to one value, which is not sure."""
    rng = np.random.RandomState(0)
    values = []
    for _ in range(30):
        truth = np.repeat(rng.normal(size=(40, 100)), 2, axis=0)
        X = pd.DataFrame({"sm_name": np.repeat([f"p{i}" for i in range(40)], 2)})
        y = truth + 1.5 * rng.normal(size=truth.shape)
        found = noise_ceiling(X, y, scoring="pearson", n_resamples=300)
        values.append((found.value, found.low, found.high))
    values, low, high = np.array(values).T
    assert 0.9 < np.mean(high - low) / (3.9 * values.std()) < 1.6
    expected = 1 / np.sqrt(1 + 1.5**2)
    assert values.mean() == pytest.approx(expected, abs=0.01)
    assert np.mean((low < expected) & (expected < high)) > 0.8


@pytest.mark.parametrize("name", ["mrrmse", "mrmae", "pearson", "spearman"])
def test_replicate_wells_of_a_real_screen(shared_data, name):
    """Means of other wells score as far below the ceiling as their own noise says."""
    path = shared_data("nelisa_a549") / "nelisa_profiles.parquet"
    data = pd.read_parquet(path)
    data = data[data["Metadata_pert_iname"] != "DMSO"].reset_index(drop=True)
    X = data[["Metadata_pert_iname"]].set_axis(["sm_name"], axis=1)
    y = data.filter(like="[NSU]").to_numpy(float)
    y -= y.mean(axis=0)
    y /= y.std(axis=0)
    whole = X["sm_name"].map(X["sm_name"].value_counts()) == 4
    X, y = X[whole].sort_values("sm_name"), y[X[whole].sort_values("sm_name").index]
    others = y.reshape(-1, 4, y.shape[1])
    others = ((others.sum(axis=1, keepdims=True) - others) / 3).reshape(y.shape)
    metric = get_metric(name)
    reached = metric.row_function(y, others).mean()
    found = noise_ceiling(X, y, scoring=name)
    assert found.n_units == whole.sum() / 4 > 250
    if metric.greater_is_better:
        # Of three wells the mean correlates with the truth by a root, and compounds
        # that respond much have more of the mean of products than of means.
        expected = found.value * np.sqrt(stepped_up(found.value**2, 3))
        assert 0.95 * expected < reached < 1.3 * expected < found.value
    else:
        # Wells differ in quality, so that a little less than this.
        assert reached * np.sqrt(3 / 4) == pytest.approx(found.value, rel=0.05)
        assert found.value <= reached * np.sqrt(3 / 4)
