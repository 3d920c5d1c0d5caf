"""Losses over the training."""

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline

import sklperturb
from sklperturb.ensemble import SeedEnsembleRegressor
from sklperturb.flow import FlowMatchingRegressor
from sklperturb.inspection import TrainingCurveDisplay
from sklperturb.models import make_model
from sklperturb.neural_network import ConditionalGANRegressor, DualBranchRegressor
from sklperturb.preprocessing import make_condition_encoder

DRAW = TrainingCurveDisplay.from_estimator


def network(**params):
    params = {"max_epochs": 6, "random_state": 0} | params
    return make_pipeline(
        make_condition_encoder(n_components=4), DualBranchRegressor(**params)
    )


def test_losses_are_those_of_the_network(pyplot, screen):
    model = network(validation_fraction=0.25, patience=2, learning_rate=0.05)
    display = DRAW(model.fit(screen.X, screen.y))
    history = model[-1].net_.history
    train, valid = display.ax_.lines[:2]
    np.testing.assert_allclose(train.get_ydata(), history[:, "train_loss"])
    np.testing.assert_allclose(valid.get_ydata(), history[:, "valid_loss"])
    assert list(train.get_xdata()) == list(range(1, len(history) + 1))
    best = 1 + int(np.argmin(history[:, "valid_loss"]))
    assert list(display.kept.values()) == [best]
    assert display.ax_.lines[2].get_xdata() == [best]
    assert display.ax_.get_xlabel() == "epoch"
    texts = [t.get_text() for t in display.ax_.get_legend().get_texts()]
    assert texts == ["training", "held out", "weights kept"]


def test_without_held_out_rows(pyplot, screen):
    display = DRAW(network().fit(screen.X, screen.y))
    assert len(display.ax_.lines) == 1 and not display.kept
    assert display.table["valid_loss"].isna().all()


def test_networks_within_others(pyplot, screen, tmp_path):
    seeds = SeedEnsembleRegressor(network(max_epochs=2), 3, random_state=0)
    display = DRAW(seeds.fit(screen.X, screen.y))
    assert display.table.groupby("run").size().tolist() == [2, 2, 2]
    assert display.ax_.get_title(loc="left") == "DualBranchRegressor (3 runs)"
    assert len(display.ax_.get_legend().get_texts()) == 1
    model = make_model("token_mlp", schema=screen.schema, random_state=0)
    model.set_params(regressor__max_epochs=3).fit(screen.X, screen.y)
    display = DRAW(model)
    assert display.table["step"].tolist() == [1, 2, 3]
    sklperturb.save(model, tmp_path / "m.skpt")
    again = DRAW(sklperturb.load(tmp_path / "m.skpt"))
    np.testing.assert_allclose(again.table["train_loss"], display.table["train_loss"])


@pytest.mark.parametrize("fraction, column", [(0, "train_loss"), (0.3, "valid_loss")])
def test_a_gan_has_the_error_of_its_mean(pyplot, screen, fraction, column):
    gan = ConditionalGANRegressor(
        max_epochs=3, validation_fraction=fraction, random_state=0
    )
    gan.fit(np.asarray(screen.y)[:, :3], screen.y)
    display = DRAW(gan)
    found = display.table[column]
    np.testing.assert_allclose(found, [entry["rmse"] for entry in gan.net_.history])
    assert "RMSE of the mean" in display.ax_.get_ylabel()


def test_flows_are_drawn_by_step(pyplot):
    rng = np.random.default_rng(0)
    from sklperturb.datasets import make_genetic_screen

    screen = make_genetic_screen(
        6, 30, cells_per_perturbation=20, n_controls=40, embedding_dim=4, random_state=0
    )
    y = rng.normal(size=(len(screen.X), 5))
    flow = FlowMatchingRegressor(
        max_steps=120, hidden_dim=16, mean_estimator="shift", random_state=0
    ).fit(screen.X, y)
    assert len(flow.history_) > 1
    display = DRAW(flow)
    assert display.table["step"].tolist() == [entry["step"] for entry in flow.history_]
    assert display.ax_.get_xlabel() == "step"


def test_what_has_no_history(pyplot, screen):
    ridge = make_model("ridge", schema=screen.schema)
    with pytest.raises(NotFittedError):
        DRAW(ridge)
    with pytest.raises(ValueError, match="holds no network or flow"):
        DRAW(ridge.fit(screen.X, screen.y))
