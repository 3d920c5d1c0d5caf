"""Networks tell scikit-learn's callbacks of their epochs."""

import io
import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import sklperturb
from sklperturb.compose import LatentTargetRegressor
from sklperturb.ensemble import SeedEnsembleRegressor
from sklperturb.metrics import mrrmse, neg_mrrmse_scorer
from sklperturb.neural_network import (
    AutoencoderTransformer,
    ConditionalGANRegressor,
    LatentNetRegressor,
    TransformerRegressor,
)
from sklperturb.testing._callbacks import Listener

callback = pytest.importorskip("sklearn.callback")


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 6))
    return X, X @ rng.normal(size=(6, 9))


def make(kind=LatentNetRegressor, **params):
    params = {"max_epochs": 4, "target_components": None, "patience": None} | params
    return kind(random_state=0, **params)


def curve(monitor, task="epoch"):
    table = monitor.get_logs().data_as_pandas
    return table.loc[table["task_name"] == task, "score"].tolist()


@pytest.mark.parametrize("kind", [LatentNetRegressor, ConditionalGANRegressor])
def test_a_monitor_logs_a_score_for_each_epoch(data, kind):
    X, y = data
    monitor = callback.ScoringMonitor(scoring=neg_mrrmse_scorer)
    net = make(kind).set_callbacks(monitor).fit(X, y)
    # What the network was after an epoch is what a shorter training ends with.
    expected = [
        -mrrmse(y, make(kind, max_epochs=n).fit(X, y).predict(X)) for n in (1, 2, 3, 4)
    ]
    if kind is LatentNetRegressor:  # whose learning rate does not depend on the end
        assert curve(monitor)[0] != curve(monitor)[-1]
    np.testing.assert_allclose(curve(monitor)[-1], expected[-1])
    np.testing.assert_allclose(curve(monitor, "fit"), -mrrmse(y, net.predict(X)))
    if kind is ConditionalGANRegressor:
        np.testing.assert_allclose(curve(monitor), expected)
    assert len(curve(monitor)) == 4
    np.testing.assert_array_equal(net.predict(X), make(kind).fit(X, y).predict(X))


def test_what_callbacks_are_given_stays_as_it_was(data):
    class Keeper(Listener):
        kept = ()

        def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
            self.kept += (fitted_estimator,)

    keeper = Keeper()
    make().set_callbacks(keeper).fit(*data)
    *epochs, _ = keeper.kept
    assert [len(each.net_.history) for each in epochs] == [1, 2, 3, 4]
    assert "train_loss" in epochs[0].net_.history[-1]
    X, y = data
    errors = [mrrmse(y, each.predict(X)) for each in epochs]
    assert len(set(errors)) == 4


@pytest.mark.parametrize("kind", [LatentNetRegressor, ConditionalGANRegressor])
def test_a_callback_can_stop_the_training(data, kind):
    class Stopper(Listener):
        def on_fit_task_end(self, estimator, context):
            super().on_fit_task_end(estimator, context)
            return context.task_name == "epoch" and context.task_id == 1

    stopper = Stopper()
    net = make(kind).set_callbacks(stopper).fit(*data)
    assert len(net.net_.history) == 2
    assert len(stopper.begun) == len(stopper.ended) == 3
    net.set_callbacks()
    assert len(net.fit(*data).net_.history) == 4


def test_epochs_are_told_beside_skorchs_own_callbacks(data):
    listener = Listener()
    net = make(max_epochs=9, net_params={"callbacks": [], "max_epochs": 3})
    net.set_callbacks(listener).fit(*data)
    assert len(listener.ended) == 4
    assert [name for name, _ in net.net_.callbacks_ if name == "tasks"] == []


def test_early_stopping_ends_the_epoch_that_it_stops_in(data):
    listener = Listener()
    net = make(patience=1, max_epochs=50, learning_rate=0.5, validation_fraction=0.3)
    net.set_callbacks(listener).fit(*data)
    n_epochs = len(net.net_.history)
    assert n_epochs < 50
    assert len(listener.begun) == len(listener.ended) == n_epochs + 1


def test_a_failing_fit_tears_callbacks_down(data):
    torn = []

    class Torn(Listener):
        def teardown(self, estimator, context):
            torn.append(context.task_name)

    net = make().set_callbacks(Torn())
    with pytest.raises(ValueError, match="NaN"):
        net.fit(np.full((4, 2), np.nan), np.zeros((4, 2)))
    assert torn == ["fit"]
    assert not hasattr(net, "_callback_fit_ctx")


def bars(monkeypatch, estimator, *data):
    """Fit; return what scikit-learn's bars and ours show on a terminal."""
    stream = io.StringIO()
    stream.isatty = lambda: True
    shown = []
    begin = callback.ProgressBar.on_fit_task_begin

    def begun(self, estimator, context):
        shown.append((type(estimator).__name__, context.task_name))
        return begin(self, estimator, context)

    with monkeypatch.context() as patch:
        patch.setattr(callback.ProgressBar, "on_fit_task_begin", begun)
        patch.setattr("sys.stderr", stream)
        estimator.fit(*data)
    return shown, "Training" in stream.getvalue()


@pytest.mark.parametrize("kind", [LatentNetRegressor, ConditionalGANRegressor])
def test_there_is_one_bar(data, monkeypatch, kind):
    net = make(kind, verbose=1)
    assert bars(monkeypatch, net, *data) == ([], True)
    shown, ours = bars(monkeypatch, net.set_callbacks(callback.ProgressBar()), *data)
    assert shown == [(kind.__name__, "fit")] + [(kind.__name__, "epoch")] * 4
    assert not ours
    # Set where it is nested in, and not passed on: still no second one.
    outer = make_pipeline(StandardScaler(), make(kind, verbose=1))
    outer.set_callbacks(callback.ProgressBar(max_propagation_depth=0))
    assert not bars(monkeypatch, outer, *data)[1]


def test_tasks_nest(data, monkeypatch):
    ensemble = SeedEnsembleRegressor(
        make_pipeline(StandardScaler(), LatentTargetRegressor(make(max_epochs=1))), 2
    )
    ensemble.set_callbacks(callback.ProgressBar(max_propagation_depth=None))
    shown, _ = bars(monkeypatch, ensemble, *data)
    names = [name for name, _ in shown]
    assert names.count("LatentNetRegressor") == 4  # two seeds, each a fit of one epoch
    assert names.count("LatentTargetRegressor") == 4  # its fit, and the transformer's
    encoder = AutoencoderTransformer(max_epochs=2, verbose=1)
    encoder.set_callbacks(callback.ProgressBar())
    shown, ours = bars(monkeypatch, encoder, data[1])
    assert [task for _, task in shown].count("epoch") == 2
    assert not ours


def test_callbacks_go_with_clones_and_not_into_files(data, tmp_path):
    X, y = data
    monitor = callback.ScoringMonitor(scoring="r2")
    kind = {"embedding_dim": 8, "n_heads": 2, "hidden_dim": 8}
    net = make(TransformerRegressor, **kind).set_callbacks(monitor).fit(X, y)
    assert clone(net)._skl_callbacks == [monitor]
    sklperturb.save(make_pipeline(net), tmp_path / "net.skpt")
    loaded = sklperturb.load(tmp_path / "net.skpt")
    np.testing.assert_array_equal(loaded.predict(X), net.predict(X))
    assert not hasattr(loaded[0], "_skl_callbacks")
    again = pickle.loads(pickle.dumps(net))
    np.testing.assert_array_equal(again.predict(X), net.predict(X))


def test_processes_tell_the_one_that_asked(data):
    X, y = data
    monitor = callback.ScoringMonitor(scoring=neg_mrrmse_scorer)
    net = make(max_epochs=2).set_callbacks(monitor)
    cross_val_score(net, X, y, cv=2, n_jobs=2)
    assert len(monitor.get_logs("all")) == 2  # nobody above them to be part of
    monitor = callback.ScoringMonitor(scoring=neg_mrrmse_scorer)
    net.set_callbacks(monitor)
    search = GridSearchCV(net, {"hidden_dim": [16, 32]}, cv=2, n_jobs=2)
    search.set_callbacks(callback.ProgressBar()).fit(X, y)
    assert len(monitor.get_logs("all")) == 1
    assert len(curve(monitor)) == 2 * (2 * 2 + 1)
