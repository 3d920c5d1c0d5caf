import numpy as np
import pandas as pd
import pytest

from sklperturb.metrics import (
    centroid_accuracy,
    differential_weights,
    discrimination_score,
    mean_rowwise_pearson,
    pearson_delta,
    retrieval_rank,
    weighted_r2,
    weighted_squared_error,
)


@pytest.fixture
def effects():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(8, 30))
    return truth, 0.3 * truth + rng.normal(size=(8, 30))


def frames(truth, prediction):
    genes = [f"g{i}" for i in range(truth.shape[1])]
    names = genes[: len(truth)]
    return [pd.DataFrame(v, index=names, columns=genes) for v in (truth, prediction)]


@pytest.mark.parametrize("metric", ["cosine", "l1", "l2"])
@pytest.mark.parametrize("exclude", ["panel", "own", None])
def test_discrimination_by_hand(effects, metric, exclude):
    truth, prediction = effects
    distance = {
        "cosine": lambda a, b: 1 - a @ b / np.linalg.norm(a) / np.linalg.norm(b),
        "l1": lambda a, b: np.abs(a - b).sum(),
        "l2": lambda a, b: np.linalg.norm(a - b),
    }[metric]
    expected = []
    for p in range(8):
        kept = np.ones(30, bool)
        kept[{"panel": np.arange(8), "own": [p], None: []}[exclude]] = False
        to = [distance(prediction[p, kept], q[kept]) for q in truth]
        expected.append(1 - np.sum(to < to[p]) / 7)
    found = discrimination_score(
        *frames(truth, prediction), metric=metric, exclude=exclude
    )
    np.testing.assert_allclose(found, expected)
    assert 0.3 < np.mean(found) < 1


def test_combinations_leave_out_all_their_targets(effects):
    truth, prediction = frames(*effects)
    genes = list(truth.columns)
    named = discrimination_score(truth, prediction, targets=[["g0", "g1"]] * 8)
    joined = discrimination_score(truth, prediction, targets=["g0+g1"] * 8)
    by_hand = discrimination_score(
        truth.drop(columns=genes[:2]), prediction.drop(columns=genes[:2]), exclude=None
    )
    np.testing.assert_array_equal(named, joined)
    np.testing.assert_array_equal(named, by_hand)


def test_ties(effects):
    truth = effects[0][:4]
    same = np.zeros_like(truth)
    np.testing.assert_allclose(discrimination_score(truth, same), 0.5)
    first = discrimination_score(truth, same, ties="first")
    np.testing.assert_allclose(first, [1, 2 / 3, 1 / 3, 0])
    np.testing.assert_allclose(discrimination_score(truth, same, ties="worst"), 0)
    counted = discrimination_score(truth, same, ties="first", count_own=True)
    np.testing.assert_allclose(counted, [1, 0.75, 0.5, 0.25])


def test_a_single_perturbation_is_found():
    assert discrimination_score([[1.0, 2.0]], [[3.0, 1.0]]) == [1.0]


def test_centroid_accuracy_of_equal_predictions_is_chance(effects):
    truth = effects[0]
    scores = centroid_accuracy(truth, np.tile(truth.mean(axis=0), (8, 1)))
    assert scores.mean() == pytest.approx(0.5)


def test_retrieval_ranks_predictions_for_each_truth(effects):
    truth, prediction = effects
    distances = np.linalg.norm(truth[:, None] - prediction[None], axis=2)
    expected = (distances < np.diag(distances)[:, None]).sum(axis=1) / 8
    np.testing.assert_allclose(retrieval_rank(truth, prediction), expected)
    same = retrieval_rank(truth, np.ones_like(truth))
    np.testing.assert_allclose(np.sort(same), np.arange(8) / 8)
    assert (same != np.arange(8) / 8).any()


def test_pearson_delta_sees_no_common_effect(effects):
    truth = effects[0] + 5 * np.random.default_rng(1).normal(size=30)
    common = np.tile(truth.mean(axis=0), (8, 1))
    assert pearson_delta(truth, common, reference=np.zeros(30)).mean() > 0.9
    np.testing.assert_allclose(pearson_delta(truth, common), 0, atol=1e-12)


def test_pearson_delta_matches_genes_by_name(effects):
    truth, prediction = frames(*effects)
    expected = mean_rowwise_pearson(truth - 1, prediction - 1)
    found = pearson_delta(
        truth, prediction[prediction.columns[::-1]], reference=[1] * 30
    )
    assert found.mean() == pytest.approx(expected)


def test_weighted_scores_without_weights_are_scikit_learns(effects):
    from sklearn.metrics import r2_score

    truth, prediction = effects
    reference = truth.mean(axis=0)
    expected = [
        r2_score(t - reference, p - reference)
        for t, p in zip(truth, prediction, strict=True)
    ]
    weights = differential_weights(truth)
    np.testing.assert_allclose(
        weighted_r2(truth, prediction, weights=np.ones(30)), expected
    )
    expected = [
        r2_score(t - reference, p - reference, sample_weight=w)
        for t, p, w in zip(truth, prediction, weights, strict=True)
    ]
    np.testing.assert_allclose(
        weighted_r2(truth, prediction, weights=weights), expected
    )
    error = np.average((truth - prediction) ** 2, weights=weights, axis=1)
    np.testing.assert_allclose(
        weighted_squared_error(truth, prediction, weights=weights), error
    )


def test_weights_of_equal_scores_are_equal():
    np.testing.assert_array_equal(differential_weights([[2.0, -2.0]]), [[1, 1]])


def test_r2_of_a_row_without_effect():
    truth = [[1.0, 2.0], [1.0, 2.0]]
    found = weighted_r2(truth, [[1.0, 2.0], [1.0, 3.0]], weights=[1.0, 1.0])
    np.testing.assert_array_equal(found, [1, 0])


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"metric": "cos"}, "'metric' .*among .*Got 'cos'"),
        ({"exclude": "all"}, "'exclude' .*Got 'all'"),
        ({"ties": "max"}, "'ties' .*Got 'max'"),
        ({"targets": ["a"], "genes": ["a"] * 30}, "targets has 1 entries"),
        ({"targets": ["a"] * 8, "genes": ["a"] * 30}, "Every gene is the target"),
    ],
)
def test_bad_options(effects, options, match):
    with pytest.raises(ValueError, match=match):
        discrimination_score(*effects, **options)


def test_bad_weights_and_references(effects):
    with pytest.raises(ValueError, match="all 0"):
        weighted_squared_error(*effects, weights=np.zeros(30))
    with pytest.raises(ValueError, match="at least 0"):
        weighted_r2(*effects, weights=-np.ones(30))
    with pytest.raises(ValueError, match="allowed are"):
        weighted_r2(*effects, weights=np.ones(3))
    with pytest.raises(ValueError, match="one finite value"):
        pearson_delta(*effects, reference=[1.0])
