"""Ending trials early, by epoch and by fold, without a trace in the estimators."""

import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from sklperturb.compose import LatentTargetRegressor
from sklperturb.metrics import neg_mrrmse_scorer
from sklperturb.model_selection import UnseenPairKFold
from sklperturb.neural_network import (
    AutoencoderTransformer,
    ConditionalGANRegressor,
    TokenEmbeddingMLPRegressor,
)
from sklperturb.preprocessing import make_condition_encoder
from sklperturb.tuning import PerturbationSearchCV
from sklperturb.utils._epochs import is_watched, watching_epochs

EPOCHS = 8
CV = UnseenPairKFold(3, random_state=0)


class Recorder(optuna.pruners.BasePruner):
    """Prune at a step, and never before."""

    def __init__(self, step=None):
        self.step = step

    def prune(self, study, trial):
        return self.step is not None and trial.last_step >= self.step


class BelowPeers(optuna.pruners.BasePruner):
    """Prune what is worse than the median of the others at the same step."""

    def prune(self, study, trial):
        step = trial.last_step
        others = [
            t.intermediate_values[step]
            for t in study.get_trials(deepcopy=False)
            if t.number != trial.number and step in t.intermediate_values
        ]
        return bool(others) and trial.intermediate_values[step] < np.median(others)


def network(**params):
    return TokenEmbeddingMLPRegressor(
        hidden_dim=16, n_layers=1, max_epochs=EPOCHS, random_state=0, **params
    )


def search_of(estimator, pruner, space=None, **params):
    space = space or {
        name: FloatDistribution(1e-3, 0.1, log=True)
        for name in estimator.get_params()
        if name.endswith("learning_rate")
    }
    params = {"n_trials": 2, "random_state": 0, "refit": False} | params
    return PerturbationSearchCV(
        estimator, space, cv=CV, scoring="mrrmse", pruner=pruner, **params
    )


def curves(search):
    """Return {position: steps that were reported}, from the folds' records."""
    return [
        [
            step
            for name, fold in trial.user_attrs.items()
            if name.startswith("sklperturb:fold:")
            for step, _ in fold["curve"]
        ]
        for trial in search.study_.trials
    ]


def test_steps_are_folds_times_epochs_plus_epoch(screen):
    search = search_of(network(), Recorder()).fit(screen.X, screen.y)
    assert curves(search) == [list(range(1, 3 * EPOCHS + 1))] * 2


def test_network_trained_while_watched_is_the_same(screen):
    model = network()
    search = search_of(model, Recorder()).fit(screen.X, screen.y)
    for row, params in enumerate(search.cv_results_["params"]):
        tuned = clone(model).set_params(**params)
        expected = cross_val_score(
            tuned, screen.X, screen.y, cv=CV, scoring=neg_mrrmse_scorer
        )
        found = [search.cv_results_[f"split{f}_test_score"][row] for f in range(3)]
        # Where arrays happen to lie in memory changes how products are rounded.
        np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize(("step", "n_epochs"), [(3, 3), (EPOCHS + 2, EPOCHS + 2)])
def test_ends_in_the_middle_of_a_fold(screen, step, n_epochs):
    counted = []

    def count(trial):
        counted.append(trial)
        trial.suggest_float("learning_rate", 1e-3, 0.1, log=True)

    search = search_of(network(), Recorder(step), count)
    with pytest.raises(ValueError, match="None of 2 trials came to its end"):
        search.fit(screen.X, screen.y)
    assert search.cv_results_["state"].tolist() == ["PRUNED", "PRUNED"]
    assert curves(search)[0] == list(range(1, n_epochs + 1))
    assert np.isnan(search.cv_results_["mean_test_score"]).all()
    finished = np.isfinite(search.cv_results_["split0_test_score"])
    assert finished.all() == (step > EPOCHS)


def encoded(model):
    return Pipeline(
        [
            ("encoder", make_condition_encoder(n_components=4)),
            ("numbers", FunctionTransformer()),
            ("model", model),
        ]
    )


@pytest.mark.parametrize(
    "estimator",
    [
        encoded(ConditionalGANRegressor(16, max_epochs=EPOCHS, random_state=0)),
        LatentTargetRegressor(
            network(), AutoencoderTransformer(4, max_epochs=30, random_state=0)
        ),
    ],
    ids=["pipeline of a GAN", "network in a latent space"],
)
def test_network_is_found_inside(screen, estimator):
    space = {
        name: FloatDistribution(1e-3, 1e-2, log=True)
        for name in estimator.get_params()
        if name.endswith("learning_rate") and not name.startswith("transformer")
    }
    search = search_of(estimator, Recorder(5), space, n_trials=1)
    with pytest.raises(ValueError, match="came to its end"):
        search.fit(screen.X, screen.y)
    assert curves(search)[0] == [1, 2, 3, 4, 5]


def test_other_estimators_are_judged_by_fold(screen):
    space = {"model__alpha": FloatDistribution(1e-2, 1e2, log=True)}
    search = search_of(encoded(Ridge()), Recorder(), space).fit(screen.X, screen.y)
    assert curves(search) == [[0, 1, 2]] * 2
    results = search.cv_results_
    running = np.mean([results[f"split{f}_test_score"][0] for f in range(2)])
    trial = search.study_.trials[0]
    assert trial.intermediate_values[1] == pytest.approx(running)
    paired = search_of(encoded(Ridge()), "wilcoxon", space).fit(screen.X, screen.y)
    values = paired.study_.trials[0].intermediate_values
    assert [values[f] for f in range(3)] == [
        results[f"split{f}_test_score"][0] for f in range(3)
    ]


def test_pruning_in_parallel_and_after_a_stop_is_that_in_series(screen, tmp_path):
    def states(**params):
        search = search_of(network(), BelowPeers(), n_trials=8, ask_ahead=2, **params)
        search.fit(screen.X, screen.y)
        return search.cv_results_["state"].tolist(), search.cv_results_["params"]

    def stop(study, trial):
        if trial.number == 5:
            raise KeyboardInterrupt

    serial = states()
    assert {"PRUNED", "COMPLETE"} == set(serial[0])
    assert states(n_jobs=2) == serial
    path = tmp_path / "study.log"
    with pytest.raises(KeyboardInterrupt):
        states(storage=path, callbacks=[stop])
    assert states(storage=path) == serial


@pytest.mark.parametrize("pruner", ["auto", "hyperband", "wilcoxon"])
def test_named_pruners_find_what_is_good(screen, pruner):
    search = search_of(network(), pruner, n_trials=8).fit(screen.X, screen.y)
    assert search.cv_results_["state"][0] == "COMPLETE"
    if pruner != "wilcoxon":
        assert "PRUNED" in search.cv_results_["state"]


def test_watching_ends_with_the_block(screen):
    seen = []
    with watching_epochs(lambda net, epoch: seen.append(epoch)):
        assert is_watched()
        model = network().fit(screen.X, screen.y)
    assert seen == list(range(1, EPOCHS + 1))
    assert not is_watched()
    model.fit(screen.X, screen.y)
    assert len(seen) == EPOCHS
    assert "report" not in dict(model.net_.callbacks)
