"""Errors of rows by context and by perturbation."""

import numpy as np
import pandas as pd
import pytest

from sklperturb.baseline import AdditiveRegressor
from sklperturb.comparison import compare
from sklperturb.inspection import RowErrorDisplay
from sklperturb.metrics import (
    rowwise_pearson,
    rowwise_root_mean_squared_error,
)
from sklperturb.model_selection import UnseenPairKFold


def test_values_behind_the_artists(pyplot, predicted):
    X, y_true, y_pred = predicted.X, predicted.y_true, predicted.y_pred
    y_pred[[2, 7]] = np.nan
    kept = ~np.isnan(y_pred[:, 0])
    display = RowErrorDisplay.from_predictions(y_true, y_pred, X=X, baseline=0)
    errors = rowwise_root_mean_squared_error(y_true[kept], y_pred[kept])
    np.testing.assert_allclose(display.rows["score"], errors)
    np.testing.assert_allclose(display.points_[0].get_xdata(), errors)
    zeros = np.sqrt((y_true[kept] ** 2).mean(axis=1))
    np.testing.assert_allclose(display.rows["baseline"], zeros)
    groups = display.groups("context")
    expected = pd.Series(errors).groupby(X["cell_type"][kept].to_numpy())
    pd.testing.assert_series_equal(
        groups["median"].sort_index(), expected.median(), check_names=False
    )
    assert groups["median"].is_monotonic_decreasing
    assert groups["n_rows"].sum() == kept.sum()
    for axis, role in zip(display.axes_, ("context", "perturbation"), strict=True):
        groups = display.groups(role)
        labels = [label.get_text() for label in axis.get_yticklabels()]
        assert len(labels) == len(groups)
        assert labels[0].endswith(f"(n = {groups['n_rows'].iloc[0]})")
    np.testing.assert_allclose(display.medians_[1].get_xdata(), groups["median"])
    bars = np.array(display.bars_[1].get_segments())[:, :, 0]
    np.testing.assert_allclose(bars, groups[["q25", "q75"]])
    label = "root mean squared error of response\n(lower is better)"
    assert display.axes_[-1].get_xlabel() == label
    assert display.axes_[0].get_title(loc="left") == "18 rows"
    display.figure_.canvas.draw()


def test_genes_are_matched_by_name(pyplot, predicted):
    y_true = predicted.y_true
    order = y_true.columns[::-1]
    display = RowErrorDisplay.from_predictions(
        y_true, y_true[order], X=predicted.X, baseline=y_true[order] * 0.5
    )
    assert (display.rows["score"] == 0).all()
    half = np.sqrt((y_true**2).mean(axis=1)) / 2
    np.testing.assert_allclose(display.rows["baseline"], half)


def test_genes_that_were_fitted_in_another_order_are_matched_by_name(pyplot, screen):
    model = AdditiveRegressor().fit(screen.X, screen.y)
    X, y = screen.X_test, screen.y_test
    display = RowErrorDisplay.from_estimator(model, X, y)
    turned = y.iloc[:, np.roll(np.arange(y.shape[1]), 3)]
    again = RowErrorDisplay.from_estimator(model, X, turned)
    np.testing.assert_allclose(again.rows["score"], display.rows["score"])


def test_points_stand_at_their_group(pyplot, predicted):
    display = RowErrorDisplay.from_predictions(
        predicted.y_true, predicted.y_pred, X=predicted.X
    )
    groups = display.groups("context")
    places = -np.round(display.points_[0].get_ydata()).astype(int)
    assert groups.index[places].tolist() == display.rows["context"].tolist()


def test_many_groups_are_drawn_together(pyplot, predicted):
    display = RowErrorDisplay.from_predictions(
        predicted.y_true, predicted.y_pred, X=predicted.X, by="perturbation"
    )
    groups = display.groups("perturbation")
    display.plot(by="perturbation", max_groups=3)
    labels = [label.get_text() for label in display.ax_.get_yticklabels()]
    rest = groups["n_rows"].iloc[2:].sum()
    assert len(labels) == 3 and labels[2] == f"the other 6 (n = {rest})"
    places = -np.round(display.points_[0].get_ydata()).astype(int)
    assert np.bincount(places).tolist() == [*groups["n_rows"].iloc[:2], rest]
    others = display.rows["perturbation"].isin(groups.index[2:])
    median = display.rows["score"][others].median()
    assert display.medians_[0].get_xdata()[2] == pytest.approx(median)


def test_the_worst_correlation_is_the_smallest(pyplot, predicted):
    display = RowErrorDisplay.from_predictions(
        predicted.y_true, predicted.y_pred, X=predicted.X, metric="pearson"
    )
    expected = rowwise_pearson(predicted.y_true, predicted.y_pred)
    np.testing.assert_allclose(display.rows["score"], expected)
    assert display.groups("perturbation")["median"].is_monotonic_increasing
    assert display.axes_[-1].get_xlabel() == "Pearson correlation\n(higher is better)"


def test_logarithms_where_few_errors_are_large(pyplot, predicted):
    y_pred = predicted.y_pred * np.r_[np.full(19, 1.0), 50][:, None]
    draw = RowErrorDisplay.from_predictions
    display = draw(predicted.y_true, y_pred, X=predicted.X)
    assert {ax.get_xscale() for ax in display.axes_} == {"log"}
    display = draw(predicted.y_true, predicted.y_pred, X=predicted.X)
    assert {ax.get_xscale() for ax in display.axes_} == {"linear"}


def test_axes_that_are_given(pyplot, predicted):
    figure, axes = pyplot.subplots(2)
    draw = RowErrorDisplay.from_predictions
    options = {"X": predicted.X}
    display = draw(predicted.y_true, predicted.y_pred, ax=axes, **options)
    assert display.figure_ is figure
    _, ax = pyplot.subplots()
    display = draw(predicted.y_true, predicted.y_pred, ax=ax, **options)
    assert display.ax_ is ax and len(display.axes_) == 1
    with pytest.raises(ValueError, match="needs 2 axes, and ax holds 3"):
        display.plot(pyplot.subplots(3)[1])


def test_without_contexts_and_with_a_single_row(pyplot):
    X = pd.DataFrame({"target_gene": ["KLF1"]})
    display = RowErrorDisplay.from_predictions([[1.0, 2]], [[1.0, 1]], X=X)
    assert len(display.axes_) == 1
    assert display.ax_.get_title(loc="left") == "1 row"
    display.figure_.canvas.draw()
    with pytest.raises(ValueError, match="'context' is no grouping of these rows"):
        display.groups("context")


def test_bad_inputs(pyplot, predicted):
    draw = RowErrorDisplay.from_predictions
    X, y_true, y_pred = predicted.X, predicted.y_true, predicted.y_pred
    with pytest.raises(ValueError, match="X has 19 rows and y_true has 20"):
        draw(y_true, y_pred, X=X[:19])
    with pytest.raises(ValueError, match="All 20 rows of y_pred are NaN"):
        draw(y_true, y_pred * np.nan, X=X)
    with pytest.raises(ValueError, match="both need one row per condition"):
        draw(y_true, y_pred[:, :3], X=X)
    with pytest.raises(ValueError, match=r"'mrmse' is no rowwise metric. Did you mean"):
        draw(y_true, y_pred, X=X, metric="mrmse")
    X.loc[0, "cell_type"] = None
    with pytest.raises(ValueError, match="Missing values in the condition columns"):
        draw(y_true, y_pred, X=X)


def test_from_comparison_with_a_baseline(pyplot, screen):
    comparison = compare(
        ["ridge"],
        screen.X,
        screen.y,
        cv=UnseenPairKFold(2, random_state=0),
        baselines=["additive"],
        return_predictions=True,
    )
    display = RowErrorDisplay.from_comparison(
        comparison, screen.X, screen.y, "ridge", baseline="additive"
    )
    scores = comparison.summary.set_index("model")["mean"]
    assert display.rows["score"].mean() == pytest.approx(scores["ridge"], rel=1e-5)
    assert display.rows["baseline"].mean() == pytest.approx(
        scores["additive"], rel=1e-5
    )
    assert display.held_out and display.baseline_name == "additive"
    assert display.axes_[0].get_title(loc="left").endswith("rows, held out")


def test_from_estimator_out_of_fold(pyplot, screen, recwarn):
    cv = UnseenPairKFold(2, contexts=["B cells"], random_state=0)
    display = RowErrorDisplay.from_estimator("additive", screen.X, screen.y, cv=cv)
    held_out = sum(len(test) for _, test in cv.split(screen.X))
    assert len(display.rows) == held_out < len(screen.X)
    assert not recwarn.list
