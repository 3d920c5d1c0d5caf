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
