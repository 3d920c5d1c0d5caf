"""The scorer objects and the table of metrics."""

import copy
import dataclasses
import pickle

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import Ridge
from sklearn.metrics import make_scorer, r2_score
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score

from sklperturb import metrics
from sklperturb.metrics import (
    ROWWISE_METRICS,
    get_metric,
    get_scorer,
    get_scorer_names,
    mrrmse,
    neg_mrmae_scorer,
    neg_mrrmse_scorer,
    rowwise_cosine_scorer,
    rowwise_pearson_scorer,
    rowwise_spearman_scorer,
)

SCORERS = {
    "mrrmse": neg_mrrmse_scorer,
    "mrmae": neg_mrmae_scorer,
    "pearson": rowwise_pearson_scorer,
    "spearman": rowwise_spearman_scorer,
    "cosine": rowwise_cosine_scorer,
}
all_scorers = pytest.mark.parametrize("name", SCORERS)


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(24, 3))
    y = X @ rng.normal(size=(3, 6)) + 0.1 * rng.normal(size=(24, 6))
    return X, y


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


def test_table_is_complete():
    assert list(ROWWISE_METRICS) == ["mrrmse", "mrmae", "pearson", "spearman", "cosine"]
    assert {m.name: m.scorer for m in ROWWISE_METRICS.values()} == SCORERS
    assert [m.greater_is_better for m in ROWWISE_METRICS.values()] == [
        False,
        False,
        True,
        True,
        True,
    ]
    with pytest.raises(dataclasses.FrozenInstanceError):
        ROWWISE_METRICS["mrrmse"].name = "other"


def test_public_names_exist_and_no_private_one_is_listed():
    assert all(hasattr(metrics, name) for name in metrics.__all__)
    assert not any(name.startswith("_") for name in metrics.__all__)


@all_scorers
def test_scorer_is_the_signed_mean_of_the_row_function(name, data):
    X, y = data
    model = Ridge().fit(X, y)
    metric = ROWWISE_METRICS[name]
    rows = metric.row_function(y, model.predict(X))
    sign = 1 if metric.greater_is_better else -1
    assert metric.scorer(model, X, y) == pytest.approx(sign * rows.mean())


@all_scorers
def test_greater_score_is_the_better_model(name, data):
    X, y = data
    good = cross_val_score(Ridge(), X, y, scoring=SCORERS[name], cv=4)
    bad = cross_val_score(DummyRegressor(), X, y, scoring=SCORERS[name], cv=4)
    assert good.mean() > bad.mean() + 0.1


@all_scorers
def test_pickle(name, data):
    X, y = data
    model = Ridge().fit(X, y)
    again = pickle.loads(pickle.dumps(SCORERS[name]))
    assert again(model, X, y) == SCORERS[name](model, X, y)
    assert get_metric(again) is ROWWISE_METRICS[name]


def test_cross_val_score_of_a_frame_in_workers(data):
    X, y = data
    y = pd.DataFrame(y, columns=[f"g{i}" for i in range(6)])
    scores = cross_val_score(
        Ridge(), X, y, scoring=neg_mrrmse_scorer, cv=KFold(3), n_jobs=2
    )
    expected = []
    for train, test in KFold(3).split(X):
        prediction = Ridge().fit(X[train], y.iloc[train]).predict(X[test])
        expected.append(-mrrmse(y.iloc[test], prediction))
    np.testing.assert_allclose(scores, expected)


def test_grid_search_picks_the_smaller_error(data):
    X, y = data
    search = GridSearchCV(
        Ridge(), {"alpha": [1e-3, 1e5]}, scoring=neg_mrrmse_scorer, cv=3
    )
    assert search.fit(X, y).best_params_ == {"alpha": 1e-3}


@pytest.mark.usefixtures("routing")
def test_weights_and_conditions_are_routed(data):
    X, y = data
    weight = np.random.default_rng(1).uniform(size=len(X))
    conditions = np.arange(len(X)) // 2
    # A copy, since a request is kept in the scorer.
    scorer = copy.deepcopy(neg_mrrmse_scorer).set_score_request(
        sample_weight=True, conditions=True
    )
    scores = cross_val_score(
        Ridge().set_fit_request(sample_weight=False),
        X,
        y,
        scoring=scorer,
        cv=KFold(3),
        params={"sample_weight": weight, "conditions": conditions},
    )
    for score, (train, test) in zip(scores, KFold(3).split(X), strict=True):
        prediction = Ridge().fit(X[train], y[train]).predict(X[test])
        expected = mrrmse(
            y[test],
            prediction,
            sample_weight=weight[test],
            conditions=conditions[test],
        )
        assert score == pytest.approx(-expected)
        assert score != pytest.approx(-mrrmse(y[test], prediction))


@all_scorers
def test_get_metric(name):
    metric = ROWWISE_METRICS[name]
    assert get_metric(name) is metric
    assert get_metric(metric) is metric
    assert get_metric(metric.scorer) is metric
    assert get_metric(copy.deepcopy(metric.scorer)) is metric


@pytest.mark.parametrize(
    ("name", "near"), [("mrmse", "'mrrmse'"), ("Pearson", "'pearson'")]
)
def test_get_metric_suggests_near_names(name, near):
    with pytest.raises(ValueError, match=f"'{name}' is no.*Did you mean.*{near}"):
        get_metric(name)


def test_get_metric_lists_all_names_when_none_is_near():
    with pytest.raises(ValueError, match=r"metric\. There are \['mrrmse', 'mrmae'"):
        get_metric("quux")


@pytest.mark.parametrize("other", [make_scorer(r2_score), r2_score, None, 3])
def test_get_metric_refuses_other_objects(other):
    with pytest.raises(TypeError, match="neither the name of a rowwise metric"):
        get_metric(other)


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("neg_mrrmse", "mrrmse"),
        ("neg_mrmae", "mrmae"),
        ("rowwise_pearson", "pearson"),
        ("rowwise_spearman", "spearman"),
        ("rowwise_cosine", "cosine"),
    ],
)
def test_names_of_scorers(name, short):
    assert getattr(metrics, f"{name}_scorer") is SCORERS[short]
    assert get_scorer(name) is get_scorer(short) is SCORERS[short]
    assert get_metric(name) is ROWWISE_METRICS[short]
    assert name in get_scorer_names()


def test_scorers_of_scikit_learn_go_by_their_names(data):
    X, y = data
    model = Ridge().fit(X, y)
    assert get_scorer("r2")(model, X, y) == r2_score(y, model.predict(X))
    assert set(sklearn.metrics.get_scorer_names()) < set(get_scorer_names())
    assert get_scorer(neg_mrrmse_scorer) is neg_mrrmse_scorer
    # Names that both know would mean two things.
    assert len(set(get_scorer_names())) == len(get_scorer_names())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("neg_mrrsme", r"'neg_mrrsme' is no scorer. Did you mean 'neg_mrrmse'"),
        ("r_2", "Did you mean 'r2'"),
        ("zzz", r"'zzz' is no scorer. There are \['neg_mrrmse', .*get_scorer_names"),
        ("wmse", "WeightedMSEScorer"),
        ("neg_wmse", "WeightedMSEScorer"),
    ],
)
def test_no_such_scorer(given, message):
    with pytest.raises(ValueError, match=message):
        get_scorer(given)


@pytest.mark.parametrize("given", [None, 3])
def test_what_is_no_scorer(given):
    with pytest.raises(TypeError, match="is no scorer: pass its name"):
        get_scorer(given)


@all_scorers
def test_names_are_taken_wherever_scores_are(name, screen):
    from sklperturb.comparison import compare
    from sklperturb.linear_model import TargetEncodedRidge
    from sklperturb.tuning import PerturbationSearchCV

    [long] = [n for n in get_scorer_names() if get_scorer(n) is SCORERS[name]]
    models = {"ridge": TargetEncodedRidge()}
    tables = [
        compare(models, screen.X, screen.y, cv=2, baselines=None, scoring=each).folds
        for each in (name, long, SCORERS[name])
    ]
    kept = ["metric", "value"]
    for table in tables[1:]:
        pd.testing.assert_frame_equal(table[kept], tables[0][kept])
    scores = [
        PerturbationSearchCV(
            TargetEncodedRidge(),
            {"smooth": [TargetEncodedRidge().smooth]},
            cv=2,
            n_trials=1,
            scoring=each,
        )
        .fit(screen.X, screen.y)
        .best_score_
        for each in (name, long)
    ]
    sign = 1 if ROWWISE_METRICS[name].greater_is_better else -1
    assert scores[0] == scores[1]
    assert scores[0] == pytest.approx(sign * tables[0]["value"].mean())
