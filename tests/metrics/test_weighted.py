import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, cross_val_score

from sklperturb.baseline import AdditiveRegressor
from sklperturb.comparison import compare
from sklperturb.metrics import WeightedMSEScorer, get_metric, wmse
from sklperturb.model_selection import UnseenPerturbationKFold

GENES = [f"G{i}" for i in range(4)]


@pytest.fixture
def data():
    """Conditions, expression far from 0, and weights in another order of the rows."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"compound": [f"c{i}" for i in range(12)], "cell_line": "THP-1"})
    y = pd.DataFrame(8 + rng.normal(size=(12, 4)), columns=GENES)
    weights = pd.DataFrame(rng.random((12, 4)), X["compound"].to_numpy(), GENES)
    return X, y, weights.iloc[::-1]


def _expected(y, y_pred, weights):
    w = weights / weights.sum(axis=1, keepdims=True)
    return (w * (y - y_pred) ** 2).sum(axis=1).mean()


def test_contest_formula():
    rng = np.random.default_rng(0)
    y, y_pred, weights = rng.random((3, 5, 7))
    expected = _expected(y, y_pred, weights)
    assert wmse(y, y_pred, weights=weights) == pytest.approx(expected)
    assert wmse(y, y_pred, weights=weights * [[1], [2], [3], [4], [5]]) == (
        pytest.approx(expected)
    )
    rows = np.array([1.0, 0, 0, 0, 0])
    assert wmse(y, y_pred, weights=weights, sample_weight=rows) == pytest.approx(
        _expected(y[:1], y_pred[:1], weights[:1])
    )
    assert wmse(y, y_pred, weights=np.ones(7)) == pytest.approx(
        ((y - y_pred) ** 2).mean()
    )


def test_each_fold_has_the_weights_of_its_rows(data):
    X, y, weights = data
    scorer = WeightedMSEScorer(weights, by="compound")
    scores = cross_val_score(DummyRegressor(), X, y, cv=4, scoring=scorer)
    for fold, score in enumerate(scores):
        test = np.arange(3 * fold, 3 * fold + 3)
        mean = np.delete(y.to_numpy(), test, axis=0).mean(axis=0)
        own = weights.loc[X["compound"][test]].to_numpy()
        assert -score == pytest.approx(_expected(y.to_numpy()[test], mean, own))


def test_predicted_frames_are_matched_by_name(data):
    X, y, weights = data
    scorer = WeightedMSEScorer(weights, by="compound")

    class Knows:
        def predict(self, X):
            return y.iloc[:, ::-1]

    assert scorer(Knows(), X, y) == 0


def test_genes_that_were_fitted_in_another_order_are_matched_by_name(data):
    X, y, weights = data
    scorer = WeightedMSEScorer(weights, by="compound")
    expected = scorer(AdditiveRegressor().fit(X, y), X, y)
    turned = AdditiveRegressor().fit(X, y.iloc[:, [3, 0, 1, 2]])
    assert scorer(turned, X, y) == pytest.approx(expected)
    other = AdditiveRegressor().fit(X, y.rename(columns={"G0": "G9"}))
    with pytest.raises(ValueError, match="3 are among the 4 of y"):
        scorer(other, X, y)


def test_grid_search_picks_by_the_weighted_error():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 1))
    # The first gene follows X, the second follows noise that strong weights punish.
    y = np.column_stack([X[:, 0], rng.normal(size=60)])
    grid = {"alpha": [1e-3, 1e6]}
    best = {
        gene: GridSearchCV(
            Ridge(), grid, scoring=WeightedMSEScorer(np.eye(2)[gene]), cv=5
        )
        .fit(X, y)
        .best_params_["alpha"]
        for gene in (0, 1)
    }
    assert best == {0: 1e-3, 1: 1e6}


def test_compare_scores_it_beside_other_metrics(data, tmp_path):
    X, y, weights = data
    scorer = WeightedMSEScorer(weights, by="compound")
    cv = UnseenPerturbationKFold(3, random_state=0)
    options = {"cv": cv, "baselines": ["no_change", "gene_mean"], "n_resamples": 10}

    def run(scorer):
        found = compare(
            {}, X, y, scoring=[scorer, "mrrmse"], cache=tmp_path, **options
        ).summary
        return found.set_index(["metric", "model"])["mean"]

    mean = run(scorer)
    squares = []
    for train, test in cv.split(X, y):
        mean_model = DummyRegressor().fit(X.iloc[train], y.iloc[train])
        squares.append((len(test), -scorer(mean_model, X.iloc[test], y.iloc[test])))
    expected = sum(n * error for n, error in squares) / len(X)
    assert mean["wmse", "gene_mean"] == pytest.approx(expected)
    # Expression is far from 0, unlike effects.
    assert mean["wmse", "no_change"] > 20 * mean["wmse", "gene_mean"]
    # Folds that were scored with other weights are not taken for these.
    other = run(WeightedMSEScorer(weights**4, by="compound"))
    assert other["wmse", "gene_mean"] != mean["wmse", "gene_mean"]
    assert other["mrrmse", "gene_mean"] == mean["mrrmse", "gene_mean"]


def test_scorer_survives_a_worker_and_tells_its_weights(data):
    _, _, weights = data
    scorer = WeightedMSEScorer(weights, by="compound")
    again = pickle.loads(pickle.dumps(scorer))
    assert repr(again) == repr(scorer)
    assert repr(scorer) != repr(WeightedMSEScorer(weights * 2, by="compound"))
    assert get_metric(scorer) is scorer


def test_labels_are_compared_as_identifiers(data):
    X, y, weights = data
    X = X.assign(compound=range(12))
    by_text = weights.set_axis([f"{i}" for i in range(12)])
    by_number = weights.set_axis(range(12))
    scores = [
        cross_val_score(
            DummyRegressor(), X, y, cv=3, scoring=WeightedMSEScorer(w, by="compound")
        )
        for w in (by_text, by_number)
    ]
    np.testing.assert_array_equal(*scores)


def test_messages(data):
    X, y, weights = data
    with pytest.raises(ValueError, match="need by="):
        WeightedMSEScorer(weights)
    with pytest.raises(ValueError, match="DataFrame whose index"):
        WeightedMSEScorer([1.0, 2.0], by="compound")
    with pytest.raises(ValueError, match="more than one row for 'c0'"):
        WeightedMSEScorer(pd.concat([weights, weights]).loc[["c0"]], by="compound")
    with pytest.raises(ValueError, match=r"no row for 1 labels.*'c11'"):
        WeightedMSEScorer(weights.iloc[1:], by="compound").of_rows(X)
    with pytest.raises(ValueError, match="in one order"):
        scorer = WeightedMSEScorer(weights[GENES[::-1]], by="compound")
        scorer.of_rows(X)(y, y)
    with pytest.raises(ValueError, match="'wmse' needs weights"):
        get_metric("wmse")
    with pytest.raises(ValueError, match="not all 0 in a row"):
        wmse(y, y, weights=weights * 0)
