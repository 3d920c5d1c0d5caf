"""Whether predicted responses are as strong as measured ones."""

import numpy as np
import pandas as pd
import pytest

from sklperturb.inspection import EffectSizeDisplay


def draw_rows(n_perturbations, factor, rng, n_genes=60, noise=1.0):
    """Return conditions in two contexts, and predictions that are off by a factor."""
    names = [f"P{i}" for i in range(n_perturbations)]
    X = pd.DataFrame({"cell_type": ["A", "B"] * n_perturbations})
    X["sm_name"] = np.repeat(names, 2)
    signal = rng.normal(size=(len(X), n_genes)) * rng.uniform(1, 3, (len(X), 1))
    factors = np.where(X["cell_type"] == "A", factor, 1.0)[:, None]
    return X, signal + noise * rng.normal(size=signal.shape), signal / factors


def test_the_slope_is_the_best_factor(pyplot, predicted):
    y_true, y_pred = predicted.y_true.to_numpy(), predicted.y_pred
    display = EffectSizeDisplay.from_predictions(y_true, y_pred, X=predicted.X)
    slopes = display.slopes()
    for context in predicted.X["cell_type"].unique():
        own = (predicted.X["cell_type"] == context).to_numpy()
        factors = slopes.loc[context, "slope"] + np.array([-0.01, 0, 0.01])
        errors = [np.sum((y_true[own] - f * y_pred[own]) ** 2) for f in factors]
        assert np.argmin(errors) == 1
        x, y = display.points_[context].get_data()
        np.testing.assert_allclose(x, np.sqrt((y_pred[own] ** 2).mean(axis=1)))
        along = (y_true[own] * y_pred[own]).mean(axis=1) / x
        np.testing.assert_allclose(y, along)
        (x0, x1), (y0, y1) = display.lines_[context].get_data()
        slope = slopes.loc[context, "slope"]
        assert (y1 - y0) / (x1 - x0) == pytest.approx(slope)
        assert y1 == pytest.approx(slope * x1)
    assert slopes.loc["all contexts", "n_rows"] == 20
    texts = [t.get_text() for t in display.ax_.get_legend().get_texts()]
    assert any(text.startswith("CD4+ T cells: ") for text in texts)
    assert texts[-1].startswith("all contexts: ") and texts[-1].endswith("n = 20")
    display.figure_.canvas.draw()


def test_noise_moves_the_strength_but_not_the_slope(pyplot):
    rng = np.random.default_rng(0)
    X, y_true, y_pred = draw_rows(60, 2.0, rng, noise=3.0)
    display = EffectSizeDisplay.from_predictions(y_true, y_pred, X=X)
    aligned, strength = (display.slopes(kind) for kind in ("aligned", "strength"))
    assert aligned["slope"][["A", "B"]].tolist() == pytest.approx([2, 1], abs=0.15)
    assert (strength["slope"] > aligned["slope"] + 0.5).all()
    assert (aligned["low"] < aligned["slope"]).all()
    display.plot(kind="strength")
    np.testing.assert_allclose(
        display.points_["A"].get_ydata(),
        np.sqrt((y_true[::2] ** 2).mean(axis=1)),
    )
    assert display.ax_.get_ylabel() == "measured strength as a whole"


@pytest.mark.parametrize("spread", [0.3, 1.2])
def test_intervals_hold_the_true_slope(spread):
    rng = np.random.default_rng(1)
    hits = []
    for _ in range(300):
        strength = np.exp(rng.normal(0, spread, 12))
        factor = rng.normal(1, 0.4, 12)
        rows = {"perturbation": np.arange(12), "predicted": strength}
        rows = pd.DataFrame(rows | {"aligned": strength * factor})
        found = EffectSizeDisplay(rows=rows).slopes().iloc[0]
        hits.append(found["low"] <= 1 <= found["high"])
    assert 0.92 < np.mean(hits) < 0.99


def test_rows_of_one_perturbation_count_once(pyplot):
    rng = np.random.default_rng(0)
    X, y_true, y_pred = draw_rows(10, 1.0, rng)
    once = EffectSizeDisplay.from_predictions(y_true, y_pred, X=X).slopes()
    X, y_true, y_pred = (
        pd.concat([X] * 4),
        np.concatenate([y_true] * 4),
        np.concatenate([y_pred] * 4),
    )
    four = EffectSizeDisplay.from_predictions(y_true, y_pred, X=X).slopes()
    columns = ["n_perturbations", "slope", "low", "high"]
    pd.testing.assert_frame_equal(once[columns], four[columns])


def test_a_few_strong_rows_call_for_logarithms(pyplot, predicted):
    y_true, y_pred = predicted.y_true.copy(), predicted.y_pred.copy()
    y_true.iloc[0] *= 30
    y_pred[0] *= 30
    y_pred[1] *= -1
    draw = EffectSizeDisplay.from_predictions
    display = draw(y_true, y_pred, X=predicted.X)
    ax = display.ax_
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert "1 of them below the axes (hollow)" in ax.get_title(loc="left")
    hollow = [line for line in ax.lines if line.get_fillstyle() == "none"]
    (line,) = hollow
    assert line.get_ydata() == pytest.approx(ax.get_ylim()[0])
    display.plot(scale="linear")
    assert display.ax_.get_xscale() == "linear"
    with pytest.raises(ValueError, match="'logarithmic' is no scale"):
        display.plot(scale="logarithmic")


def test_expression_is_taken_from_its_reference(pyplot, predicted):
    control = np.arange(12.0)
    draw = EffectSizeDisplay.from_predictions
    expected = draw(predicted.y_true, predicted.y_pred, X=predicted.X).rows
    found = draw(
        predicted.y_true + control,
        predicted.y_pred + control,
        X=predicted.X,
        reference=control,
    ).rows
    pd.testing.assert_frame_equal(found, expected)
    with pytest.raises(ValueError, match="one finite value for each of the 12 genes"):
        draw(predicted.y_true, predicted.y_pred, X=predicted.X, reference=control[:3])


def test_few_rows(pyplot):
    X = pd.DataFrame({"cell_type": ["A", "A"], "sm_name": ["u", "v"]})
    y = np.array([[1.0, 2], [3, 4]])
    draw = EffectSizeDisplay.from_predictions
    found = draw(y, y / 2, X=X).slopes()
    assert found.index.tolist() == ["A"]
    assert found["slope"].tolist() == pytest.approx([2])
    assert found[["low", "high"]].isna().all(axis=None)
    # A model of no change has no slope.
    display = draw(y, y * 0, X=X)
    assert display.slopes()["slope"].isna().all()
    display.figure_.canvas.draw()
    assert draw(y[:1], y[:1], X=X[:1]).slopes()["slope"].tolist() == pytest.approx([1])


def test_the_legend_has_every_context(pyplot, predicted):
    X = predicted.X.replace("CD4+ T cells", "_$x_{")
    display = EffectSizeDisplay.from_predictions(
        predicted.y_true, predicted.y_pred, X=X
    )
    texts = [t.get_text().strip() for t in display.ax_.get_legend().get_texts()]
    assert any(text.startswith("_$x_{: ") for text in texts)
    display.figure_.canvas.draw()


def test_many_contexts_share_one_colour(pyplot):
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"cell_type": [f"line {i}" for i in range(20)], "sm_name": "u"})
    y = rng.normal(size=(20, 5))
    display = EffectSizeDisplay.from_predictions(y, y, X=X)
    assert list(display.points_) == ["all contexts"]
    assert len(display.points_["all contexts"].get_xdata()) == 20
    assert len(display.slopes()) == 21
