"""One model against another."""

import numpy as np
import pandas as pd
import pytest

from sklperturb.comparison import compare
from sklperturb.inspection import FoldsDisplay
from sklperturb.metrics import get_metric


@pytest.fixture(scope="module")
def comparison(screen):
    return compare(
        {"$ridge": "ridge", "worse": "no_change"},
        screen.X,
        screen.y,
        cv=3,
        scoring=["mrrmse", "spearman"],
        baselines=["gene_mean", "additive"],
    )


def of_model(comparison, model, metric="mrrmse"):
    folds = comparison.folds
    return folds[(folds["model"] == model) & (folds["metric"] == metric)]["value"]


def test_a_line_for_each_fold(pyplot, comparison):
    display = FoldsDisplay.from_comparison(comparison, "$ridge", reference="gene_mean")
    lines = [line.get_ydata() for line in display.ax_.lines[:3]]
    expected = np.column_stack(
        [of_model(comparison, name) for name in ("gene_mean", "$ridge")]
    )
    np.testing.assert_allclose(sorted(map(tuple, lines)), sorted(map(tuple, expected)))
    ticks = [t.get_text() for t in display.ax_.get_xticklabels()]
    assert ticks == ["gene_mean", "$ridge"]
    assert display.ax_.get_ylabel() == "MRRMSE (lower is better)"
    gains = expected[:, 1] - expected[:, 0]
    caption = display.ax_.get_title(loc="left")
    assert f"$ridge is better in {(gains < 0).sum()} of 3 folds" in caption
    assert f"Mean difference: {gains.mean():+.3g} " in caption
    display.figure_.canvas.draw()


def test_by_default_the_best_model_meets_the_best_baseline(pyplot, comparison):
    display = FoldsDisplay.from_comparison(comparison, metric="spearman")
    summary = comparison.summary
    summary = summary[summary["metric"] == "spearman"].set_index("model")
    reference, model = display.scores.columns
    assert reference == summary["best_baseline"].iloc[0]
    assert summary.loc[model, "mean"] == summary["mean"][["$ridge", "worse"]].max()
    assert display.greater_is_better


def test_which_is_better_follows_the_metric(pyplot):
    scores = pd.DataFrame({"a": [1.0, 1.0, 1.0], "b": [2.0, 0.5, 3.0]})
    lower = FoldsDisplay(scores=scores, metric="mrrmse").plot()
    assert "b is better in 1 of 3 folds" in lower.ax_.get_title(loc="left")
    higher = FoldsDisplay(scores=scores, greater_is_better=True).plot()
    assert "b is better in 2 of 3 folds" in higher.ax_.get_title(loc="left")
    for display in (lower, higher):
        assert "Mean difference: +0.833" in display.ax_.get_title(loc="left")


def test_a_dot_for_each_perturbation(pyplot, screen):
    y = np.asarray(screen.y)
    rng = np.random.default_rng(0)
    near, far = (y + scale * rng.normal(size=y.shape) for scale in (0.5, 1.0))
    near[:4], far[4:6] = np.nan, np.nan
    display = FoldsDisplay.from_predictions(
        screen.y, near, far, X=screen.X, names=("near", "far")
    )
    rows = get_metric("mrrmse").row_function
    kept = np.arange(len(y)) >= 6
    names = screen.X[screen.schema.perturbation].astype(str)[kept]
    expected = [
        pd.Series(rows(y[kept], p[kept])).groupby(names.to_numpy()).mean()
        for p in (far, near)
    ]
    x, y_drawn = display.ax_.lines[0].get_data()
    np.testing.assert_allclose(x, expected[0])
    np.testing.assert_allclose(y_drawn, expected[1])
    n = len(expected[0])
    assert f"near is better in {n} of {n} perturbations" in display.ax_.get_title(
        loc="left"
    )
    by_context = FoldsDisplay.from_predictions(
        screen.y, near, far, X=screen.X, by="context"
    )
    assert len(by_context.scores) == 4
    by_row = FoldsDisplay.from_predictions(screen.y, near, far, X=screen.X, by="row")
    assert len(by_row.scores) == len(kept) - 6


def test_predictions_of_a_comparison(pyplot, screen):
    comparison = compare(
        ["ridge"],
        screen.X,
        screen.y,
        cv=2,
        baselines=["gene_mean"],
        return_predictions=True,
    )
    predictions = comparison.predictions
    display = FoldsDisplay.from_predictions(
        screen.y, predictions["ridge"], predictions["gene_mean"], X=screen.X, by="row"
    )
    mean = comparison.summary.set_index("model")["mean"]
    np.testing.assert_allclose(
        display.scores.mean(), mean[["gene_mean", "ridge"]], rtol=1e-5
    )


def test_folds_without_a_score_are_said(pyplot):
    scores = pd.DataFrame({"a": [1.0, 1.0], "b": [np.nan, 0.5]})
    display = FoldsDisplay(scores=scores).plot()
    caption = display.ax_.get_title(loc="left")
    assert "b is better in 1 of 1 fold\n" in caption
    assert "1 fold without a score left out" in caption
    nothing = FoldsDisplay(scores=scores.iloc[:1]).plot()
    assert "0 of 0 folds" in nothing.ax_.get_title(loc="left")


def test_errors(pyplot, comparison, screen):
    y = np.asarray(screen.y)
    with pytest.raises(ValueError, match="Did you mean 'gene_mean'"):
        FoldsDisplay.from_comparison(comparison, reference="gene_meen")
    with pytest.raises(ValueError, match="both 'additive'"):
        FoldsDisplay.from_comparison(comparison, "additive", reference="additive")
    with pytest.raises(ValueError, match="must be the same"):
        FoldsDisplay.from_predictions(y, y[:, :2], y, X=screen.X)
    with pytest.raises(ValueError, match="No row has both predictions"):
        FoldsDisplay.from_predictions(y, y * np.nan, y, X=screen.X)
    with pytest.raises(ValueError, match="no unit"):
        FoldsDisplay.from_predictions(y, y, y, X=screen.X, by="fold")
    only = compare(["gene_mean"], screen.X, y, cv=2, baselines=None)
    with pytest.raises(ValueError, match=r"no model with a score.*pass model="):
        FoldsDisplay.from_comparison(only)
