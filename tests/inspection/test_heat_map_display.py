"""The map of contexts by perturbations."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from sklearn.utils import Bunch

from sklperturb.inspection import ConditionHeatMapDisplay
from sklperturb.metrics import rowwise_root_mean_squared_error


def test_errors_have_their_place(pyplot, predicted):
    X, y_true, y_pred = predicted.X, predicted.y_true, predicted.y_pred
    y_pred[[2, 7]] = np.nan
    display = ConditionHeatMapDisplay.from_predictions(
        y_true, y_pred, X=X, held_out=True, name="$x", unit="signed -log10 p"
    )
    kept = [i for i in range(20) if i not in (2, 7)]
    errors = rowwise_root_mean_squared_error(y_true.iloc[kept], y_pred[kept])
    for i, error in zip(kept, errors, strict=True):
        place = tuple(X.loc[i, ["cell_type", "sm_name"]])
        assert display.values_.loc[place] == pytest.approx(error)
        assert display.states_.loc[place] == "drawn"
    for i in (2, 7):
        place = tuple(X.loc[i, ["cell_type", "sm_name"]])
        assert np.isnan(display.values_.loc[place])
        assert display.states_.loc[place] == "measured"
    counts = pd.Series(display.states_.to_numpy().ravel()).value_counts().to_dict()
    assert counts == {"drawn": 18, "missing": 4, "measured": 2}
    np.testing.assert_array_equal(
        display.image_.get_array().filled(np.nan), display.values_.to_numpy()
    )
    shown = [label.get_text() for label in display.ax_.get_yticklabels()]
    assert [name[:8] for name in shown] == [n[:8] for n in display.values_.index]
    label = display.colorbar_.ax.get_xlabel()
    assert "signed -log10 p\n(lower is better), held out" in label
    title = display.ax_.get_title(loc="left")
    assert title.startswith("$x\n8 perturbations, 3 contexts\n20 of 24 conditions")
    assert title.endswith("measured, 18 predicted")
    display.figure_.canvas.draw()


def test_the_strongest_come_first(pyplot, predicted):
    draw = ConditionHeatMapDisplay.from_predictions
    display = draw(predicted.y_true, predicted.y_pred, X=predicted.X, kind="measured")
    strength = np.sqrt((predicted.y_true**2).mean(axis=1))
    expected = strength.groupby(predicted.X["sm_name"]).mean()
    expected = expected.sort_values(ascending=False).index.tolist()
    assert display.values_.columns.tolist() == expected
    sizes = predicted.X["cell_type"].value_counts()
    measured = display.values_.notna().sum(axis=1)
    assert measured.tolist() == sorted(sizes, reverse=True)
    # Every row is predicted, and marked.
    assert len(display.marks_.get_xdata()) == 20
    columns, rows = display.marks_.get_data()
    assert display.values_.notna().to_numpy()[rows, columns].all()
    for order in ("value", "cluster", "name"):
        other = display.plot(order=order).values_
        assert sorted(other.columns) == sorted(expected)
    assert other.columns.tolist() == sorted(expected)
    with pytest.raises(ValueError, match=r"'names' is no order. Did you mean 'name'"):
        display.plot(order="names")
    name = predicted.X["cell_type"].iloc[0]
    assert display.plot(contexts=[name]).values_.index.tolist() == [name]
    with pytest.raises(ValueError, match="is no context of these rows"):
        display.plot(contexts=["CD4 T cells"])


def test_marks_stand_on_what_is_predicted(pyplot, predicted):
    predicted.y_pred[4:] = np.nan
    display = ConditionHeatMapDisplay.from_predictions(
        predicted.y_true, predicted.y_pred, X=predicted.X, kind="measured"
    )
    columns, rows = display.marks_.get_data()
    names = zip(
        display.values_.index[rows], display.values_.columns[columns], strict=True
    )
    assert set(names) == set(map(tuple, predicted.X[:4].to_numpy()))


def test_alike_columns_stand_side_by_side(pyplot):
    X = pd.DataFrame(
        [(c, p) for c in "ABCD" for p in "uvwxyz"], columns=["cell_type", "sm_name"]
    )
    # u, w and y are weak in A and B, the others in C and D.
    first = X["sm_name"].isin(list("uwy")) == X["cell_type"].isin(list("AB"))
    y = np.where(first, 1.0, 5.0)[:, None] * np.ones(4)
    display = ConditionHeatMapDisplay.from_predictions(
        y, y, X=X, kind="measured", order="cluster"
    )
    names = "".join(display.values_.columns)
    assert {frozenset(names[:3]), frozenset(names[3:])} == {
        frozenset("uwy"),
        frozenset("vxz"),
    }


def test_a_screen_shows_what_is_asked_for(pyplot, screen):
    display = ConditionHeatMapDisplay.from_screen(screen, unit="signed -log10 p")
    strength = np.sqrt((screen.y**2).mean(axis=1)).iloc[0]
    place = tuple(screen.X[["cell_type", "sm_name"]].iloc[0])
    assert display.values_.loc[place] == pytest.approx(strength)
    assert len(display.marks_.get_xdata()) == len(screen.X_test)
    columns, rows = display.marks_.get_data()
    asked = set(map(tuple, screen.X_test[["cell_type", "sm_name"]].to_numpy()))
    names = zip(
        display.values_.index[rows], display.values_.columns[columns], strict=True
    )
    assert set(names) == asked
    without = Bunch(X=screen.X, y=screen.y)
    assert ConditionHeatMapDisplay.from_screen(without).marks_ is None


def test_replicates_are_averaged(pyplot):
    X = pd.DataFrame({"cell_type": ["A", "A", "B"], "sm_name": ["u", "u", "v"]})
    y = np.array([[2.0], [4.0], [8.0]])
    display = ConditionHeatMapDisplay.from_predictions(y, y * 0, X=X)
    assert display.values_.loc["A", "u"] == pytest.approx(3)


def test_two_hundred_perturbations_have_room(pyplot):
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        [
            (f"line {c}", f"a long name of compound {p}")
            for c in "ABCDEF"
            for p in range(200)
        ],
        columns=["cell_type", "sm_name"],
    )
    y = rng.normal(size=(1200, 5))
    display = ConditionHeatMapDisplay.from_predictions(y, y / 2, X=X, kind="measured")
    display.figure_.canvas.draw()
    boxes = [label.get_window_extent() for label in display.ax_.get_xticklabels()]
    assert 20 < len(boxes) < 100
    assert not any(a.overlaps(b) for a, b in pairwise(boxes))
    every = round(display.ax_.get_xticks()[1])
    assert display.ax_.get_xlabel() == f"1 in {every} perturbations is named"
    figure = display.figure_.bbox
    assert all(figure.y0 <= box.y0 for box in boxes)


def test_perturbations_without_contexts_and_a_single_row(pyplot):
    X = pd.DataFrame({"target_gene": ["KLF1"]})
    display = ConditionHeatMapDisplay.from_predictions([[1.0, 2]], [[1.0, 1]], X=X)
    assert display.values_.shape == (1, 1)
    assert display.values_.index.tolist() == ["all rows"]
    display.figure_.canvas.draw()


def test_bad_inputs(pyplot, predicted):
    draw = ConditionHeatMapDisplay.from_predictions
    with pytest.raises(ValueError, match="'errors' is no kind of heat map"):
        draw(predicted.y_true, predicted.y_pred, X=predicted.X, kind="errors")
    y_true = predicted.y_true.copy()
    y_true.iloc[0, 0] = np.nan
    with pytest.raises(ValueError, match="y_true holds NaN"):
        draw(y_true, predicted.y_pred, X=predicted.X)


@pytest.mark.parametrize("style", ["default", "dark_background"])
def test_no_colour_is_that_of_the_background(pyplot, predicted, style):
    with pyplot.style.context(style):
        display = ConditionHeatMapDisplay.from_predictions(
            predicted.y_true, predicted.y_pred, X=predicted.X
        )
        colours = display.image_.cmap(np.linspace(0, 1, 20))[:, :3]
        background = pyplot.matplotlib.colors.to_rgb(display.ax_.get_facecolor())
    assert np.abs(colours - background).max(axis=1).min() > 0.35
