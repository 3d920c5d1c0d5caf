import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.dummy import DummyRegressor

from sklperturb.ensemble import WeightedErrorRegressor
from sklperturb.metrics import WeightedMSEScorer, wmse
from sklperturb.model_selection import UnseenPerturbationKFold


class Shrunken(RegressorMixin, BaseEstimator):
    """Knows the response, and predicts half of its distance from 8."""

    def fit(self, X, y):
        return self

    def predict(self, X):
        return 0.5 * X.to_numpy()[:, 1:].astype(float) + 4


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    y = rng.normal(size=(60, 5))
    y += 8 - y.mean(axis=0)
    labels = [f"c{i}" for i in range(60)]
    X = pd.DataFrame(y).set_axis(list("abcde"), axis=1)
    X.insert(0, "compound", labels)
    weights = pd.DataFrame(rng.random((60, 5)), labels)
    return X, y, weights


def test_shrinkage_is_undone(data):
    X, y, weights = data
    model = WeightedErrorRegressor(Shrunken(), weights, by="compound", random_state=0)
    model.fit(X, y)
    assert model.factor_ == pytest.approx(2)
    np.testing.assert_allclose(model.predict(X), y)


def test_centres(data):
    X, y, weights = data
    w = (weights.T / weights.sum(axis=1)).T.to_numpy()
    centres = {"mean": y.mean(axis=0), "weighted": (w * y).sum(axis=0) / w.sum(axis=0)}
    for centre, expected in centres.items():
        model = WeightedErrorRegressor(DummyRegressor(), weights, by="compound")
        model.set_params(centre=centre).fit(X, y)
        np.testing.assert_allclose(model.centre_, expected)


@pytest.mark.parametrize(("strength", "chosen"), [(0.0, "mean"), (2.0, "weighted")])
def test_weighted_centre_is_taken_where_it_holds_out_of_fold(data, strength, chosen):
    X, y, _ = data
    # Weights of high values, or of a few rows of any value.
    rng = np.random.default_rng(2)
    values = np.exp(strength * y) if strength else rng.pareto(0.3, y.shape)
    weights = pd.DataFrame(values, X["compound"])
    options = {"by": "compound", "random_state": 0}
    auto = WeightedErrorRegressor(DummyRegressor(), weights, **options).fit(X, y)
    options["centre"] = chosen
    other = WeightedErrorRegressor(DummyRegressor(), weights, **options).fit(X, y)
    np.testing.assert_array_equal(auto.centre_, other.centre_)


def test_factor_is_the_best_out_of_fold(data):
    X, y, weights = data
    rng = np.random.default_rng(1)
    X.iloc[:, 1:] += rng.normal(size=y.shape)
    cv = UnseenPerturbationKFold(3, random_state=0)
    model = WeightedErrorRegressor(Shrunken(), weights, by="compound", cv=cv)
    model.fit(X, y)
    best = wmse(y, model.predict(X), weights=weights)
    for change in (0.9, 1.1):  # the inner estimator is the same in all folds
        moved = Shrunken().predict(X) - model.origin_
        other = model.centre_ + change * model.factor_ * moved
        assert wmse(y, other, weights=weights) > best
    scorer = WeightedMSEScorer(weights, by="compound")
    assert scorer(model, X, y) == pytest.approx(-best)


def test_gene_weights_and_genes_that_count_nothing(data):
    X, y, _ = data
    model = WeightedErrorRegressor(Shrunken(), [1.0, 0, 0, 2, 1], random_state=0)
    np.testing.assert_allclose(model.fit(X, y).predict(X), y)


def test_weights_of_the_responses(data):
    X, y, _ = data
    model = WeightedErrorRegressor(Shrunken(), random_state=0).fit(X, y)
    np.testing.assert_allclose(model.predict(X), y)


def test_messages(data):
    X, y, weights = data
    with pytest.raises(ValueError, match="no row for 1 labels"):
        WeightedErrorRegressor(weights=weights[1:], by="compound").fit(X, y)
    with pytest.raises(ValueError, match="weights has shape"):
        WeightedErrorRegressor(weights=[1.0, 2.0]).fit(X.iloc[:, 1:], y)
    with pytest.raises(ValueError, match="in one order"):
        frame = pd.DataFrame(y, columns=list("abcde"))
        WeightedErrorRegressor(weights=weights, by="compound").fit(X, frame)


def test_a_single_fold_centres_on_means(data):
    X, y, weights = data
    cv = [(np.arange(30), np.arange(30, 60))]
    models = [
        WeightedErrorRegressor(Shrunken(), weights, by="compound", centre=centre, cv=cv)
        for centre in ("auto", "mean")
    ]
    auto, mean = (m.fit(X, y).predict(X) for m in models)
    np.testing.assert_array_equal(auto, mean)
