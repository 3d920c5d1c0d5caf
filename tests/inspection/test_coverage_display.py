"""The drawn coverage of intervals."""

import numpy as np
import pandas as pd
import pytest

from sklperturb.baseline import AdditiveRegressor
from sklperturb.inspection import ConformalRegressor, CoverageDisplay, coverage_curve


@pytest.fixture(scope="module")
def model(screen):
    return ConformalRegressor(AdditiveRegressor(), confidence=0.5).fit(
        screen.X, screen.y
    )


def test_from_estimator(pyplot, screen, model):
    asked = screen.X_test, screen.y_test
    display = CoverageDisplay.from_estimator(model, *asked, by="context")
    curve = coverage_curve(model, *asked, by="context")
    pd.testing.assert_frame_equal(display.curve, curve)
    lines = display.ax_.get_lines()[1:]
    assert len(lines) == curve["group"].nunique() == 3
    drawn = np.concatenate([line.get_ydata() for line in lines])
    np.testing.assert_allclose(drawn, curve["coverage"])
    texts = [t.get_text() for t in display.ax_.get_legend().get_texts()]
    assert texts[0].startswith("all (n = ")
    # Colours and markers tell groups apart.
    assert len({(line.get_color(), line.get_marker()) for line in lines}) == 3


def test_caption_says_what_was_asked(pyplot, screen, model):
    X, y = screen.X_test, screen.y_test
    display = CoverageDisplay.from_estimator(model, X, y)
    asked, band = display.ax_.get_title(loc="left").split("\n")
    n_compounds = X["sm_name"].nunique()
    assert asked == f"{len(X)} rows of {n_compounds} perturbations"
    assert band == "Band: 95 % interval over perturbations"
    assert len(display.ax_.collections) == 1
    alone = X["sm_name"] == X["sm_name"].iloc[0]
    display = CoverageDisplay.from_estimator(model, X[alone], y[alone])
    assert display.ax_.get_title(loc="left").endswith("too few for an interval")
    assert len(display.ax_.collections) == 0


def test_groups_alone(pyplot, screen, model):
    curve = coverage_curve(model, screen.X_test, screen.y_test, by="context")
    display = CoverageDisplay(curve[curve["group"] != "all"]).plot()
    assert len(display.ax_.get_lines()) == 1 + curve["group"].nunique() - 1
    assert display.ax_.get_title(loc="left") == ""


def test_the_legend_fits_the_figure(pyplot, screen, model):
    X, y = screen.X_test, screen.y_test
    intervals = {0.5: model.predict_interval(X, 0.5)}
    groups = [f"a context of a long name, {i % 10}" for i in range(len(X))]
    display = CoverageDisplay.from_predictions(y, intervals, groups=groups)
    display.figure_.canvas.draw()
    ax, whole = display.ax_, display.figure_.bbox
    parts = [ax.xaxis.label, ax.yaxis.label, *ax.get_legend().get_texts()]
    for part in parts:
        extent = part.get_window_extent()
        assert whole.x0 <= extent.x0 and extent.x1 <= whole.x1
        assert whole.y0 <= extent.y0 and extent.y1 <= whole.y1


def test_a_dark_style_has_light_lines(pyplot, screen, model):
    with pyplot.style.context("dark_background"):
        display = CoverageDisplay.from_estimator(model, screen.X_test, screen.y_test)
        assert display.ax_.get_lines()[1].get_color() == "white"


def test_from_predictions(pyplot, screen, model):
    X, y = screen.X_test, screen.y_test
    intervals = {c: model.predict_interval(X, c) for c in (0.2, 0.5)}
    _, ax = pyplot.subplots()
    display = CoverageDisplay.from_predictions(
        y, intervals, perturbations=X["sm_name"], ax=ax
    )
    assert display.ax_ is ax
    expected = coverage_curve(model, X, y, confidences=[0.2, 0.5])
    np.testing.assert_allclose(
        display.ax_.get_lines()[1].get_ydata(), expected["coverage"]
    )
    assert display.ax_.get_legend() is None


def test_names_are_no_formulas(pyplot, screen, model):
    X, y = screen.X_test, screen.y_test
    intervals = {0.5: model.predict_interval(X, 0.5)}
    groups = np.where(np.arange(len(X)) % 2, "$x_{", "b\x1b")
    display = CoverageDisplay.from_predictions(y, intervals, groups=groups)
    display.figure_.canvas.draw()
    texts = [t.get_text() for t in display.ax_.get_legend().get_texts()]
    assert any(r"b\x1b" in text for text in texts)


def test_many_groups_have_no_names(pyplot, screen, model):
    X, y = screen.X_test, screen.y_test
    intervals = {0.5: model.predict_interval(X, 0.5)}
    groups = np.arange(len(X)) % 12
    display = CoverageDisplay.from_predictions(y, intervals, groups=groups)
    assert len(display.ax_.get_lines()) == 1 + 1 + 12
    texts = [t.get_text() for t in display.ax_.get_legend().get_texts()]
    assert len(texts) == 2 and texts[1] == "12 groups"
