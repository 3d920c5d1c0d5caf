"""The rowwise metrics against independent implementations."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest
from scipy import sparse, stats
from sklearn.metrics import mean_absolute_error, root_mean_squared_error

from sklperturb import metrics
from sklperturb.metrics import (
    ROWWISE_METRICS,
    mean_rowwise_cosine,
    mean_rowwise_pearson,
    mean_rowwise_spearman,
    mrmae,
    mrrmse,
    rowwise_absolute_error,
    rowwise_cosine,
    rowwise_pearson,
    rowwise_root_mean_squared_error,
    rowwise_spearman,
)

MEANS = {
    "mrrmse": mrrmse,
    "mrmae": mrmae,
    "pearson": mean_rowwise_pearson,
    "spearman": mean_rowwise_spearman,
    "cosine": mean_rowwise_cosine,
}
ROWS = {name: metric.row_function for name, metric in ROWWISE_METRICS.items()}
all_means = pytest.mark.parametrize("mean", MEANS.values(), ids=MEANS)
all_rows = pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
both = pytest.mark.parametrize("name", MEANS)
seeds = pytest.mark.parametrize("seed", [0, 1, 2, 3])

# The differences are (0, 0, -3) and (2, -1, 2).
TRUTH = np.array([[1.0, 2.0, 3.0], [2.0, 0.0, 1.0]])
PREDICTION = np.array([[1.0, 2.0, 6.0], [0.0, 1.0, -1.0]])


def make_pair(seed, n_samples=7, n_outputs=30, decimals=1):
    """Rounded values, so that there are ties."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=(n_samples, n_outputs))
    prediction = 0.5 * truth + rng.normal(size=truth.shape)
    return truth.round(decimals), prediction.round(decimals)


def test_root_mean_squared_error_by_hand():
    expected = [np.sqrt(9 / 3), np.sqrt(9 / 3)]
    actual = rowwise_root_mean_squared_error(TRUTH, PREDICTION)
    np.testing.assert_allclose(actual, expected)
    assert mrrmse(TRUTH, PREDICTION) == pytest.approx(np.sqrt(3))


def test_absolute_error_by_hand():
    np.testing.assert_allclose(
        rowwise_absolute_error(TRUTH, PREDICTION), [3 / 3, 5 / 3]
    )
    assert mrmae(TRUTH, PREDICTION) == pytest.approx(4 / 3)


def test_pearson_by_hand():
    # Row 1: (-1, 0, 1) with (-2, -1, 3); row 2: (1, -1, 0) with (0, 1, -1).
    expected = [5 / np.sqrt(2 * 14), -1 / 2]
    np.testing.assert_allclose(rowwise_pearson(TRUTH, PREDICTION), expected)


def test_spearman_by_hand():
    # Row 1 has the same order; row 2 ranks (3, 1, 2) against (2, 3, 1).
    np.testing.assert_allclose(rowwise_spearman(TRUTH, PREDICTION), [1, -1 / 2])


def test_cosine_by_hand():
    expected = [23 / np.sqrt(14 * 41), -1 / np.sqrt(5 * 2)]
    np.testing.assert_allclose(rowwise_cosine(TRUTH, PREDICTION), expected)


@seeds
def test_errors_equal_sklearn_on_the_transpose(seed):
    truth, prediction = make_pair(seed)
    raw = {"multioutput": "raw_values"}
    np.testing.assert_allclose(
        rowwise_root_mean_squared_error(truth, prediction),
        root_mean_squared_error(truth.T, prediction.T, **raw),
    )
    np.testing.assert_allclose(
        rowwise_absolute_error(truth, prediction),
        mean_absolute_error(truth.T, prediction.T, **raw),
    )


@seeds
def test_correlations_equal_scipy(seed):
    truth, prediction = make_pair(seed)
    pairs = list(zip(truth, prediction, strict=True))
    np.testing.assert_allclose(
        rowwise_pearson(truth, prediction),
        [stats.pearsonr(t, p).statistic for t, p in pairs],
    )
    np.testing.assert_allclose(
        rowwise_spearman(truth, prediction),
        [stats.spearmanr(t, p).statistic for t, p in pairs],
    )
    np.testing.assert_allclose(
        rowwise_cosine(truth, prediction),
        [t @ p / np.linalg.norm(t) / np.linalg.norm(p) for t, p in pairs],
    )


@both
@seeds
def test_mean_is_the_weighted_mean_of_the_rows(name, seed):
    truth, prediction = make_pair(seed)
    weight = np.random.default_rng(seed).integers(0, 4, size=len(truth))
    rows = ROWS[name](truth, prediction)
    assert rows.shape == (len(truth),)
    assert MEANS[name](truth, prediction) == pytest.approx(rows.mean())
    repeated = np.repeat(rows, weight)
    actual = MEANS[name](truth, prediction, sample_weight=weight)
    assert isinstance(actual, float)
    assert actual == pytest.approx(repeated.mean())


@all_rows
@seeds
def test_rows_do_not_depend_on_each_other_nor_on_the_order_of_genes(row, seed):
    truth, prediction = make_pair(seed)
    rng = np.random.default_rng(seed)
    order, genes = rng.permutation(len(truth)), rng.permutation(truth.shape[1])
    np.testing.assert_allclose(
        row(truth[order][:, genes], prediction[order][:, genes]),
        row(truth, prediction)[order],
    )


@all_rows
def test_blocks_give_the_same_rows_as_one_pass(row):
    truth, prediction = make_pair(0, n_samples=11)
    whole = row(truth, prediction)
    of_block = getattr(metrics._rowwise, row.__name__.removeprefix("rowwise"))
    for block_size in (3 * truth.shape[1], 1):
        found = metrics._rowwise._score_rows(
            of_block, truth, prediction, block_size=block_size
        )
        np.testing.assert_array_equal(found, whole)


@all_rows
def test_memory_stays_below_one_copy(row, monkeypatch):
    # Blocks and rows of an eighth: 60 rows of 100,000 genes take as long as they look.
    defaults = metrics._rowwise._score_rows.__kwdefaults__
    assert defaults["block_size"] * 8 <= 2**23
    monkeypatch.setitem(defaults, "block_size", 2**17)
    truth, prediction = make_pair(0, n_samples=60, n_outputs=12_500)
    genes = pd.RangeIndex(truth.shape[1])
    truth = pd.DataFrame(truth, columns=genes)
    prediction = pd.DataFrame(prediction[:, ::-1], columns=genes[::-1])
    row(truth[:1], prediction[:1])  # what is imported when it is first called
    tracemalloc.start()
    row(truth, prediction)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * truth.to_numpy().nbytes


@seeds
def test_correlations_ignore_scale_and_cosine_ignores_only_scale(seed):
    truth, prediction = make_pair(seed)
    np.testing.assert_allclose(
        rowwise_pearson(truth, 3 * prediction + 1), rowwise_pearson(truth, prediction)
    )
    np.testing.assert_allclose(
        rowwise_cosine(truth, 3 * prediction), rowwise_cosine(truth, prediction)
    )
    shifted = rowwise_cosine(truth, prediction + 1)
    assert np.abs(shifted - rowwise_cosine(truth, prediction)).max() > 1e-3


@pytest.mark.parametrize("name", ["pearson", "spearman", "cosine"])
def test_perfect_prediction_scores_exactly_within_bounds(name):
    truth, _ = make_pair(0, n_samples=200, decimals=15)
    for sign in (1, -1):
        rows = ROWS[name](truth, sign * 0.3 * truth)
        assert np.abs(rows).max() <= 1
        np.testing.assert_allclose(rows, sign)


@pytest.mark.parametrize("name", ["pearson", "spearman"])
@pytest.mark.parametrize("value", [0.0, 0.1, 1e6 + 0.1])
def test_constant_rows_count_as_zero(name, value):
    truth, _ = make_pair(0, n_samples=2, n_outputs=1001, decimals=15)
    prediction = truth.copy()
    prediction[0] = value
    np.testing.assert_allclose(ROWS[name](truth, prediction), [0, 1])
    np.testing.assert_allclose(ROWS[name](prediction, truth), [0, 1])
    assert MEANS[name](truth, prediction) == pytest.approx(0.5)


def test_cosine_of_zeros_counts_as_zero():
    np.testing.assert_array_equal(rowwise_cosine(TRUTH, np.zeros((2, 3))), [0, 0])


@both
def test_missing_predictions_count_as_zero_with_a_warning(name):
    truth, prediction = make_pair(0)
    prediction[1, 3] = prediction[4, 5] = 0
    expected = ROWS[name](truth, prediction)
    prediction[1, 3] = prediction[4, 5] = np.nan
    before = prediction.copy()
    with pytest.warns(UserWarning, match="2 NaN values, which count as 0"):
        actual = ROWS[name](truth, prediction)
    np.testing.assert_array_equal(actual, expected)
    np.testing.assert_array_equal(prediction, before)
    with pytest.warns(UserWarning, match="2 NaN"):
        assert MEANS[name](truth, prediction) == pytest.approx(expected.mean())


@all_means
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("conditions", [None, [0, 0, 1]])
def test_truth_must_be_finite(mean, bad, conditions):
    truth = np.ones((3, 2))
    truth[1, 1] = bad
    with pytest.raises(ValueError, match="the truth must be finite"):
        mean(truth, np.ones((3, 2)), conditions=conditions)


@all_means
@pytest.mark.parametrize("conditions", [None, [0, 0, 1]])
def test_infinite_prediction_is_refused(mean, conditions):
    prediction = np.ones((3, 2))
    prediction[1, 1] = -np.inf
    with pytest.raises(ValueError, match="y_pred holds infinite values"):
        mean(np.ones((3, 2)), prediction, conditions=conditions)


@both
def test_frames_are_matched_by_column_name(name):
    truth, prediction = make_pair(0)
    genes = [f"g{i}" for i in range(truth.shape[1])]
    truth = pd.DataFrame(truth, columns=genes)
    prediction = pd.DataFrame(prediction, columns=genes)
    shuffled = prediction.sample(frac=1, axis=1, random_state=0)
    expected = MEANS[name](truth.to_numpy(), prediction.to_numpy())
    assert MEANS[name](truth, shuffled) == pytest.approx(expected)
    # Without names on one side the position counts.
    by_position = MEANS[name](truth, shuffled.to_numpy())
    assert abs(by_position - expected) > 1e-3
    conditions = np.arange(len(truth)) // 2
    assert MEANS[name](truth, shuffled, conditions=conditions) == pytest.approx(
        MEANS[name](truth, prediction, conditions=conditions)
    )


def test_frames_with_different_columns_are_refused():
    truth = pd.DataFrame([[1.0, 2.0]], columns=["A1BG", "TP53"])
    prediction = pd.DataFrame([[1.0, 2.0]], columns=["A1BG", "MYC"])
    with pytest.raises(ValueError, match=r"1 only in y_true: \['TP53'\].*\['MYC'\]"):
        mrrmse(truth, prediction)
    with pytest.raises(ValueError, match="0 only in y_true"):
        mrrmse(truth[["A1BG"]], prediction)


def test_repeated_columns_need_the_same_order():
    truth = pd.DataFrame([[1.0, 2.0, 4.0]], columns=["a", "a", "b"])
    assert mrmae(truth, truth + 1) == 1
    with pytest.raises(ValueError, match="repeats columns, such as"):
        mrmae(truth, truth.iloc[:, ::-1])


def test_single_gene():
    truth, prediction = np.array([1.0, 2.0, 3.0]), np.array([1.0, 0.0, 7.0])
    expected = [0, 2, 4]
    for shape in [(-1,), (-1, 1)]:
        np.testing.assert_array_equal(
            rowwise_root_mean_squared_error(truth, prediction.reshape(shape)), expected
        )
    assert mrrmse(pd.Series(truth), pd.Series(prediction)) == 2
    # One gene has no order.
    assert mean_rowwise_pearson(truth, prediction) == 0


@pytest.mark.parametrize("dtype", [np.float32, np.int64, bool, object])
def test_dtypes(dtype):
    truth = np.array([[0, 1, 1], [1, 0, 1]]).astype(dtype)
    prediction = np.array([[1, 1, 0], [1, 0, 0]]).astype(dtype)
    expected = (np.sqrt(2 / 3) + np.sqrt(1 / 3)) / 2
    assert mrrmse(truth, prediction) == pytest.approx(expected, rel=1e-15)


def test_nullable_columns():
    truth = pd.DataFrame({"a": [1.0, 2.0], "b": [0.0, 4.0]})
    prediction = truth.convert_dtypes().astype("Float64")
    prediction.iloc[0, 0] = pd.NA
    with pytest.warns(UserWarning, match="1 NaN"):
        np.testing.assert_array_equal(
            rowwise_absolute_error(truth, prediction), [0.5, 0]
        )


@pytest.mark.parametrize(
    ("truth", "prediction", "error", "match"),
    [
        (np.ones((2, 3)), np.ones((3, 2)), ValueError, r"\(2, 3\).*\(3, 2\)"),
        (np.ones((0, 3)), np.ones((0, 3)), ValueError, "nothing to score"),
        (np.ones((3, 0)), np.ones((3, 0)), ValueError, "nothing to score"),
        ([], [], ValueError, "nothing to score"),
        (np.ones((2, 2, 2)), np.ones((2, 2, 2)), ValueError, "3 dimensions"),
        (1.0, 1.0, ValueError, "0 dimensions"),
        (np.ones((1, 1)), [["x"]], ValueError, "arrays of bytes/strings"),
        (sparse.eye_array(2), np.ones((2, 2)), TypeError, r"Use '\.toarray\(\)'"),
    ],
)
@both
def test_unusable_input(name, truth, prediction, error, match):
    for function in (ROWS[name], MEANS[name]):
        with pytest.raises(error, match=match):
            function(truth, prediction)


@pytest.mark.parametrize(
    ("weight", "match"),
    [
        ([1, -1], "finite, at least 0, and not all"),
        ([1, np.nan], "finite, at least 0, and not all"),
        ([0, 0], "finite, at least 0, and not all"),
        ([1, 1, 1], r"shape \(3,\); it needs one weight per row, shape \(2,\)"),
        (1.0, r"shape \(\)"),
    ],
)
@all_means
@pytest.mark.parametrize("conditions", [None, ["a", "a"]])
def test_unusable_weights(mean, weight, match, conditions):
    with pytest.raises(ValueError, match=match):
        mean(TRUTH, PREDICTION, sample_weight=weight, conditions=conditions)


@both
@seeds
def test_conditions_are_averaged_before_scoring(name, seed):
    truth, prediction = make_pair(seed, n_samples=12)
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {"cell_type": rng.choice(["B", "NK"], 12), "sm_name": rng.choice(3, 12)}
    )
    keys = list(frame.itertuples(index=False, name=None))
    means = []
    for key in set(keys):
        rows = [i for i, other in enumerate(keys) if other == key]
        means.append((truth[rows].mean(axis=0), prediction[rows].mean(axis=0)))
    # A condition weighs as many rows as it has, so equal weights per condition
    # need weights of one over the number of replicates.
    replicates = np.array([keys.count(key) for key in keys])
    expected = ROWS[name](*map(np.array, zip(*means, strict=True))).mean()
    for conditions in (frame, frame.to_numpy(), [f"{a}/{b}" for a, b in keys]):
        actual = MEANS[name](
            truth, prediction, sample_weight=1 / replicates, conditions=conditions
        )
        assert actual == pytest.approx(expected)


def test_weights_sum_within_a_condition():
    truth = np.array([[0.0, 0.0], [4.0, 0.0], [1.0, 1.0]])
    prediction = np.zeros((3, 2))
    # Condition a: mean truth (3, 0), weight 4; condition b: (1, 1), weight 2.
    expected = (4 * 3 / 2 + 2 * 1) / 6
    actual = mrmae(
        truth, prediction, sample_weight=[1, 3, 2], conditions=["a", "a", "b"]
    )
    assert actual == pytest.approx(expected)


def test_condition_of_weight_zero_is_left_out():
    conditions = pd.Series(["a", "b"])
    for weight, expected in (([2, 0], 1), ([0, 2], 5 / 3)):
        actual = mrmae(TRUTH, PREDICTION, sample_weight=weight, conditions=conditions)
        assert actual == pytest.approx(expected)


def test_one_row_per_condition_changes_nothing():
    truth, prediction = make_pair(0)
    conditions = np.random.default_rng(0).permutation(len(truth))
    assert mrrmse(truth, prediction, conditions=conditions) == pytest.approx(
        mrrmse(truth, prediction)
    )


def test_missing_prediction_does_not_spread_over_replicates():
    truth = np.array([[1.0, 1.0], [3.0, 1.0]])
    prediction = np.array([[np.nan, 1.0], [4.0, 1.0]])
    with pytest.warns(UserWarning, match="1 NaN"):
        assert mrmae(truth, prediction, conditions=["a", "a"]) == 0


@pytest.mark.parametrize(
    ("conditions", "match"),
    [
        (["a"], "one row per sample"),
        (np.empty((2, 0)), "at least one column"),
        (["a", None], "missing values"),
        (pd.DataFrame({"x": ["a", "b"], "y": [1.0, np.nan]}), "missing values"),
    ],
)
def test_unusable_conditions(conditions, match):
    with pytest.raises(ValueError, match=match):
        mrrmse(TRUTH, PREDICTION, conditions=conditions)


def test_inputs_are_not_changed():
    truth, prediction = make_pair(0)
    copies = truth.copy(), prediction.copy()
    for name, mean in MEANS.items():
        ROWS[name](truth, prediction)
        mean(truth, prediction, conditions=np.arange(len(truth)) // 3)
    np.testing.assert_array_equal(truth, copies[0])
    np.testing.assert_array_equal(prediction, copies[1])


@pytest.mark.parametrize("make_sparse", [False, True])
def test_anndata_is_scored_by_its_genes(make_sparse):
    anndata = pytest.importorskip("anndata")
    rng = np.random.default_rng(0)
    values = rng.normal(size=(5, 4)) * (rng.random((5, 4)) < 0.7)
    y_true = anndata.AnnData(
        sparse.csr_matrix(values) if make_sparse else values,
        var=pd.DataFrame(index=list("abcd")),
    )
    y_pred = rng.normal(size=(5, 4))
    assert mrrmse(y_true, y_pred) == pytest.approx(mrrmse(values, y_pred))
    # Two AnnData are matched by name, as two frames are.
    assert mrrmse(y_true, y_true[:, ::-1].copy()) == 0.0
