"""The search as a scikit-learn estimator: results, routing, nesting, errors."""

import inspect
from concurrent.futures import Future

import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution, IntDistribution
from sklearn import config_context
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.exceptions import FitFailedWarning
from sklearn.linear_model import Ridge
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    cross_val_score,
    cross_validate,
)
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from sklperturb.linear_model import TargetEncodedRidge
from sklperturb.metrics import neg_mrrmse_scorer
from sklperturb.model_selection import UnseenPairKFold
from sklperturb.tuning import PerturbationSearchCV, _workers

ALPHA = {"alpha": FloatDistribution(1e-3, 1e3, log=True)}


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 8))
    return X, X @ rng.normal(size=(8, 3)) + rng.normal(size=(60, 3))


def search_of(estimator=None, space=ALPHA, **params):
    params = {"n_trials": 6, "cv": 3, "random_state": 0, "pruner": None} | params
    return PerturbationSearchCV(estimator, space, **params)


class Fussy(RegressorMixin, BaseEstimator):
    """Fails for some of its parameters, and wants weights or groups."""

    def __init__(self, level=0.0):
        self.level = level

    def fit(self, X, y, sample_weight=None):
        if self.level > 0.5:
            raise ValueError("too high")
        self.weights_ = sample_weight
        self.mean_ = np.average(y, axis=0, weights=sample_weight)
        return self

    def predict(self, X):
        return np.tile(self.mean_ + self.level, (len(X), 1))


def test_scores_are_those_of_cross_val_score(table):
    X, y = table
    search = search_of(Ridge()).fit(X, y)
    results = search.cv_results_
    for row, params in enumerate(results["params"]):
        expected = cross_val_score(Ridge(**params), X, y, cv=3)
        found = [results[f"split{fold}_test_score"][row] for fold in range(3)]
        np.testing.assert_allclose(found, expected, rtol=1e-12)
        assert results["mean_test_score"][row] == pytest.approx(expected.mean())
    best = results["mean_test_score"].argmax()
    assert search.best_index_ == best
    assert search.best_params_ == results["params"][best]
    assert results["rank_test_score"][best] == 1
    assert search.best_score_ == results["mean_test_score"][best]
    again = Ridge(**search.best_params_).fit(X, y)
    np.testing.assert_array_equal(search.predict(X), again.predict(X))
    assert search.score(X, y) == again.score(X, y)
    assert search.n_splits_ == 3
    assert len(search.study_.trials) == 6
    assert search.study_.best_value == pytest.approx(search.best_score_)


def test_first_trial_is_the_estimator_as_it_is(table):
    search = search_of(Ridge(alpha=7.0), n_trials=2).fit(*table)
    assert search.cv_results_["params"][0] == {"alpha": 7.0}
    outside = search_of(Ridge(alpha=1e6), n_trials=2).fit(*table)
    assert outside.cv_results_["params"][0] != {"alpha": 1e6}


def test_same_seed_same_trials_and_another_seed_others(table):
    def params(seed):
        search = search_of(n_trials=8, random_state=seed).fit(*table)
        return search.cv_results_["params"]

    assert params(3) == params(3)
    assert params(3)[1:] != params(4)[1:]


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_parallel_is_serial(table, backend):
    import joblib

    serial = search_of(n_trials=16, pruner="wilcoxon", cv=6).fit(*table)
    with joblib.parallel_config(backend):
        parallel = search_of(n_trials=16, pruner="wilcoxon", cv=6, n_jobs=2).fit(*table)
    assert parallel.best_params_ == serial.best_params_
    for column in ("params", "state", "mean_test_score"):
        np.testing.assert_array_equal(
            parallel.cv_results_[column], serial.cv_results_[column]
        )
    assert "PRUNED" in serial.cv_results_["state"]


def test_space_as_function_with_branches(table):
    def space(trial):
        if trial.suggest_categorical("kind", ["ridge", "plain"]) == "plain":
            return {"model": Ridge(alpha=0.0)}
        alpha = trial.suggest_float("alpha", 1e-2, 1e2, log=True)
        return {"model": Ridge(alpha=alpha)}

    pipeline = Pipeline([("scaler", StandardScaler()), ("model", Ridge())])
    search = search_of(pipeline, space, n_trials=8).fit(*table)
    assert isinstance(search.best_params_["model"], Ridge)
    stored = [set(trial.params) for trial in search.study_.trials]
    assert {"kind"} in stored
    assert {"kind", "alpha"} in stored


def test_choices_that_are_no_scalars_come_back_as_they_were(tmp_path, screen):
    choices = [(1.0, 10.0), (1e4, 1e6)]
    search = search_of(
        TargetEncodedRidge(),
        {"alphas": choices, "n_statistics": [4, 8]},
        cv=UnseenPairKFold(2, random_state=0),
        n_trials=4,
        scoring="mrrmse",
        storage=tmp_path / "study.log",
    ).fit(screen.X, screen.y)
    assert {type(p["alphas"]) for p in search.cv_results_["params"]} == {tuple}
    assert search.best_estimator_.alphas in choices


def test_several_scores(table):
    X, y = table
    search = search_of(scoring=["r2", "mrrmse"], refit="mrrmse").fit(X, y)
    results = search.cv_results_
    assert search.best_index_ == results["mean_test_mrrmse"].argmax()
    assert np.isfinite(results["mean_test_r2"]).all()
    assert search.multimetric_
    assert search.score(X, y) == neg_mrrmse_scorer(search.best_estimator_, X, y)
    with pytest.raises(ValueError, match=r"refit=True does not say which .* 'r2'\]"):
        search_of(scoring=["r2", "mrrmse"]).fit(X, y)


def test_groups_reach_the_splitter_with_and_without_routing(table):
    X, y = table
    groups = np.arange(60) // 6
    search = search_of(cv=GroupKFold(3)).fit(X, y, groups=groups)
    expected = cross_val_score(
        clone(search.best_estimator_), X, y, groups=groups, cv=GroupKFold(3)
    )
    assert search.best_score_ == pytest.approx(expected.mean())
    with pytest.raises(ValueError, match="groups"):
        search_of(cv=GroupKFold(3)).fit(X, y)

    with config_context(enable_metadata_routing=True):
        # Routing is on by request only; group splitters ask for groups by themselves.
        nested = cross_validate(
            search_of(cv=GroupKFold(3), n_trials=3),
            X,
            y,
            cv=GroupKFold(2),
            params={"groups": groups},
            error_score="raise",
            return_estimator=True,
        )
        assert all(e.n_splits_ == 3 for e in nested["estimator"])


def test_weights_reach_the_estimator_cut_to_the_fold(table):
    X, y = table
    weights = np.linspace(1, 2, len(X))
    space = {"level": FloatDistribution(0.0, 0.4)}
    search = search_of(Fussy(), space, n_trials=2).fit(X, y, sample_weight=weights)
    np.testing.assert_array_equal(search.best_estimator_.weights_, weights)
    train, test = next(KFold(3).split(X))
    fitted = Fussy().fit(X[train], y[train], weights[train])
    assert search.cv_results_["split0_test_score"][0] == pytest.approx(
        fitted.score(X[test], y[test])
    )
    with config_context(enable_metadata_routing=True):
        asking = Fussy().set_fit_request(sample_weight=True)
        asking.set_score_request(sample_weight=False)
        search = search_of(asking, space, n_trials=2)
        search.fit(X, y, sample_weight=weights)
        np.testing.assert_array_equal(search.best_estimator_.weights_, weights)


def test_nested_cross_validation_keeps_a_study_for_each_outer_fold(table, tmp_path):
    X, y = table
    path = tmp_path / "study.log"
    search = search_of(n_trials=3, storage=path)
    scores = cross_val_score(search, X, y, cv=KFold(3), error_score="raise")
    assert np.isfinite(scores).all()
    storage = optuna.storages.JournalStorage(
        optuna.storages.journal.JournalFileBackend(str(path))
    )
    studies = optuna.get_all_study_summaries(storage)
    assert [study.n_trials for study in studies] == [3, 3, 3]
    # All is known by now: nothing is fitted again.
    again = cross_val_score(search, X, y, cv=KFold(3))
    np.testing.assert_array_equal(again, scores)
    assert sum(s.n_trials for s in optuna.get_all_study_summaries(storage)) == 9


def test_failed_trials_are_told_and_left_behind(table):
    space = {"level": FloatDistribution(0.0, 1.0)}
    with pytest.warns(FitFailedWarning, match="too high"):
        search = search_of(Fussy(), space, n_trials=8).fit(*table)
    states = search.cv_results_["state"]
    assert {"COMPLETE", "FAIL"} == set(states)
    assert np.isnan(search.cv_results_["mean_test_score"][states == "FAIL"]).all()
    assert search.best_params_["level"] <= 0.5
    with pytest.raises(ValueError, match="too high"):
        search_of(Fussy(), space, n_trials=8, error_score="raise").fit(*table)
    always = {"level": FloatDistribution(0.6, 1.0)}
    with (
        pytest.warns(FitFailedWarning),
        pytest.raises(ValueError, match="too high") as raised,
    ):
        search_of(Fussy(0.6), always, n_trials=2).fit(*table)
    assert "None of 2 trials came to its end" in raised.value.__notes__[0]
    with pytest.warns(FitFailedWarning):
        search = search_of(Fussy(), space, n_trials=8, error_score=-99.0).fit(*table)
    assert set(search.cv_results_["state"]) == {"COMPLETE"}
    assert search.cv_results_["mean_test_score"].min() == -99.0


def test_cancelled_fold_is_submitted_again(table, monkeypatch):
    submit, cancelled = _workers._Inline.submit, []

    def cancel_first(executor, *call):
        if cancelled:
            return submit(executor, *call)
        future = Future()
        future.cancel()
        future.set_running_or_notify_cancel()
        cancelled.append(future)
        return future

    whole = search_of(n_trials=2).fit(*table)
    monkeypatch.setattr(_workers._Inline, "submit", cancel_first)
    search = search_of(n_trials=2).fit(*table)
    assert cancelled
    assert search.cv_results_["params"] == whole.cv_results_["params"]
    assert set(search.cv_results_["state"]) == {"COMPLETE"}


def test_study_of_the_user(table):
    study = optuna.create_study(direction="maximize")
    study.enqueue_trial({"alpha": 0.5})
    search = search_of(study=study, n_trials=3).fit(*table)
    assert search.study_ is study
    assert search.cv_results_["params"][0] == {"alpha": 0.5}
    more = search_of(study=study, n_trials=5).fit(*table)
    assert len(more.cv_results_["params"]) == 5
    assert more.cv_results_["params"][:3] == search.cv_results_["params"]
    X, y = table
    with pytest.raises(ValueError, match="holds trials of other data"):
        search_of(study=study).fit(X + 1, y)
    with pytest.raises(ValueError, match="must have one value to maximise"):
        search_of(study=optuna.create_study()).fit(*table)


def test_callbacks_timeout_and_refit(table):
    seen = []
    search = search_of(
        n_trials=3,
        refit=False,
        callbacks=[lambda study, trial: seen.append(trial.value)],
    ).fit(*table)
    assert seen == search.cv_results_["mean_test_score"].tolist()
    with pytest.raises(AttributeError, match="refit=True"):
        search.predict(table[0])
    brief = search_of(n_trials=None, timeout=0.5).fit(*table)
    assert len(brief.cv_results_["params"]) >= 1


def test_sampler_choices(table):
    drawn = search_of(sampler="random").fit(*table).cv_results_["params"]
    same = search_of(sampler=lambda seed: optuna.samplers.RandomSampler(seed=seed))
    assert same.fit(*table).cv_results_["params"] == drawn
    with pytest.warns(optuna.exceptions.ExperimentalWarning):
        sequence = optuna.samplers.QMCSampler(seed=0)
    own = search_of(sampler=sequence).fit(*table)
    assert len({p["alpha"] for p in own.cv_results_["params"]}) >= 5


@pytest.mark.parametrize(
    ("params", "error", "match"),
    [
        ({"space": {"alhpa": [1]}}, ValueError, "alhpa.*no parameters of Ridge"),
        ({"space": {}}, TypeError, "pass 'auto', a dict"),
        ({"space": {"alpha": 3}}, TypeError, "FloatDistribution"),
        (
            {"pruner": "median"},
            ValueError,
            "'pruner' parameter .*'hyperband'.* Got 'median'",
        ),
        ({"sampler": "tpe"}, ValueError, "'sampler' parameter .*Got 'tpe'"),
        ({"n_trials": None}, ValueError, "Neither n_trials nor timeout"),
        ({"n_trials": 0}, ValueError, "'n_trials' parameter .* Got 0"),
        ({"error_score": "nan"}, ValueError, "'error_score' parameter .*'raise'"),
        ({"storage": "no/such/folder/study.log"}, FileNotFoundError, "make it first"),
    ],
)
def test_bad_parameters(table, params, error, match):
    with pytest.raises(error, match=match):
        search_of(Ridge(), **params).fit(*table)


def test_clone_and_signature():
    search = search_of(Ridge(), {"alpha": IntDistribution(1, 9)})
    assert (
        clone(search).get_params()["param_distributions"]
        == search.get_params()["param_distributions"]
    )
    assert list(inspect.signature(PerturbationSearchCV).parameters)[:2] == [
        "estimator",
        "param_distributions",
    ]
