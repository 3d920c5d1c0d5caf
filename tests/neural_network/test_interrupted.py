"""A training that is stopped, or goes wrong, leaves no network that can be used."""

import os
import signal

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from skorch.callbacks import Callback, EarlyStopping

from sklperturb.comparison import compare
from sklperturb.datasets import make_chemical_screen, write_screen
from sklperturb.ensemble import SeedEnsembleRegressor
from sklperturb.modules import RowwiseRMSELoss
from sklperturb.neural_network import (
    AutoencoderTransformer,
    ConditionalGANRegressor,
    LatentNetRegressor,
    TransformerRegressor,
)
from sklperturb.tuning import PerturbationSearchCV

SMALL = {"embedding_dim": 8, "n_heads": 2, "hidden_dim": 8, "n_layers": 1}
SMALL |= {"max_epochs": 4, "random_state": 0, "patience": None}


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 6))
    return X, X @ rng.normal(size=(6, 9))


@pytest.fixture
def interrupt(monkeypatch):
    """Press Ctrl-C in the fifth batch; return a function that stops doing so."""
    calls = []
    forward = RowwiseRMSELoss.forward

    def interrupted(self, *arguments):
        calls.append(1)
        if len(calls) == 5:
            os.kill(os.getpid(), signal.SIGINT)
        return forward(self, *arguments)

    monkeypatch.setattr(RowwiseRMSELoss, "forward", interrupted)
    return monkeypatch.undo


def make(**params):
    return TransformerRegressor(**(SMALL | {"loss": "mrrmse"} | params))


def test_an_interrupt_is_raised_and_leaves_no_network(data, interrupt):
    model = make()
    with pytest.raises(KeyboardInterrupt):
        model.fit(*data)
    with pytest.raises(NotFittedError):
        model.predict(data[0])
    expected = make().fit(*data).predict(data[0])
    assert np.array_equal(model.fit(*data).predict(data[0]), expected)


def test_a_fitted_network_is_gone_when_the_next_fit_is_stopped(data, monkeypatch):
    for model, fit in (
        (make(), lambda model: model.fit(*data)),
        (ConditionalGANRegressor(max_epochs=2), lambda model: model.fit(*data)),
        (
            AutoencoderTransformer(n_components=2, max_epochs=2),
            lambda model: model.fit(data[1]),
        ),
    ):
        fit(model)
        with monkeypatch.context() as patch:
            patch.setattr("torch.optim.Adam.step", pressed)
            with pytest.raises(KeyboardInterrupt):
                fit(model)
        with pytest.raises(NotFittedError):
            getattr(model, "predict", getattr(model, "transform", None))(data[0])


def pressed(*arguments, **options):
    raise KeyboardInterrupt


def test_early_stopping_is_no_interrupt(data):
    X, y = data
    noise = np.random.default_rng(1).normal(size=y.shape)
    fit = make(max_epochs=60, patience=2, learning_rate=0.05).fit(X, noise)
    assert len(fit.net_.history) < 60
    own = {"callbacks": [EarlyStopping("train_loss", patience=1, threshold=1e9)]}
    assert len(make(net_params=own).fit(X, y).net_.history) == 2


class Stops(Callback):
    def __init__(self, error):
        self.error = error

    def on_epoch_end(self, net, **kwargs):
        raise self.error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("no luck")])
def test_what_a_callback_raises_ends_the_fit(data, error):
    model = make(net_params={"callbacks": [Stops(error)]})
    with pytest.raises(type(error)):
        model.fit(*data)
    with pytest.raises(NotFittedError):
        model.predict(data[0])


@pytest.mark.parametrize("kind", [LatentNetRegressor, ConditionalGANRegressor])
@pytest.mark.filterwarnings("ignore:.*encountered in")
def test_a_training_that_diverged_is_an_error(data, kind, monkeypatch):
    params = {"max_epochs": 3, "random_state": 0, "learning_rate": 1e30}
    model = kind(**params)
    with pytest.raises(ValueError, match=r"diverged.* Lower learning_rate=1e\+30"):
        model.fit(*data)
    with pytest.raises(NotFittedError):
        model.predict(data[0])


def test_no_half_network_in_an_ensemble(data, interrupt, tmp_path):
    ensemble = SeedEnsembleRegressor(make(), 2, random_state=0)
    with pytest.raises(KeyboardInterrupt):
        ensemble.fit(*data)
    assert not hasattr(ensemble, "estimators_")


def test_no_fold_of_an_interrupted_network_is_kept(data, interrupt, tmp_path):
    X, y = data

    def run(cache):
        return compare({"net": make()}, X, y, cv=2, baselines=None, cache=cache)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "folds")
    assert not list((tmp_path / "folds").iterdir())
    interrupt()
    found, expected = run(tmp_path / "folds"), run(None)
    assert found.folds["value"].tolist() == expected.folds["value"].tolist()


def test_no_trial_of_an_interrupted_network_is_kept(data, interrupt, tmp_path):
    def search(storage):
        space = {"dropout": [0.0, 0.1]}
        params = {"storage": storage, "n_trials": 1, "refit": False, "verbose": 0}
        search = PerturbationSearchCV(make(), space, cv=2, random_state=0, **params)
        return search.fit(*data)

    with pytest.raises(KeyboardInterrupt):
        search(tmp_path / "study.log")
    interrupt()
    found, expected = search(tmp_path / "study.log"), search(None)
    assert found.best_score_ == expected.best_score_


def test_the_command_ends(cli, interrupt, tmp_path):
    write_screen(tmp_path / "screen", make_chemical_screen(3, 12, 10, random_state=0))
    command = ["submit", "--data", tmp_path / "screen", "--model", "transformer"]
    done = cli(*command, "--output", tmp_path / "out.csv", code=130)
    assert done.stderr.splitlines()[-1].startswith("stopped")
    assert os.listdir(tmp_path) == ["screen"]
