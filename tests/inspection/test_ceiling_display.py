"""The drawn ceiling."""

import numpy as np
import pytest

from sklperturb.comparison import compare, leaderboard
from sklperturb.datasets import make_chemical_screen
from sklperturb.inspection import CeilingDisplay
from sklperturb.model_selection import UnseenPairKFold


@pytest.fixture(scope="module")
def comparison():
    screen = make_chemical_screen(4, 20, 50, random_state=0)
    X = screen.X.loc[screen.X.index.repeat(3)].reset_index(drop=True)
    y = np.repeat(screen.y.to_numpy(), 3, axis=0)
    y = y + 0.3 * np.random.RandomState(0).normal(size=y.shape)
    cv = UnseenPairKFold(2, random_state=0)
    scoring = ["mrrmse", "pearson"]
    return compare(["ridge"], X, y, cv=cv, scoring=scoring)


@pytest.fixture(scope="module")
def table(comparison):
    return leaderboard(comparison)


def drawn(ax):
    return np.concatenate([c[0].get_xdata() for c in ax.containers])


def far(ax):
    return [float(t.get_text().split("\N{LEFTWARDS ARROW}")[-1]) for t in ax.texts]


def test_from_comparison(pyplot, comparison, table):
    display = CeilingDisplay.from_comparison(comparison)
    scores, shares = display.axes_
    rows = table[table["metric"] == "mrrmse"]
    assert [t.get_text() for t in scores.get_yticklabels()] == rows["model"].tolist()
    expected = np.sort(rows["share_of_ceiling"])
    found = np.sort([*drawn(shares), *far(shares)])
    np.testing.assert_allclose(found, expected, rtol=1e-2)
    (line,) = [line for line in scores.lines if line.get_label() == "ceiling"]
    assert set(line.get_xdata()) == {rows["ceiling"].iloc[0]}
    (band,) = scores.patches
    ends = band.get_x() + np.array([0, band.get_width()])
    np.testing.assert_allclose(ends, rows[["ceiling_low", "ceiling_high"]].iloc[0])
    assert scores.get_xlabel() == "MRRMSE (lower is better)"
    best = comparison.summary["best_baseline"].iloc[0]
    assert shares.get_xlabel().endswith(f"from {best} (0)")
    (legend,) = display.figure_.legends
    assert "ceiling" in [text.get_text() for text in legend.get_texts()]
    display.figure_.canvas.draw()


def test_caption_says_what_was_scored(pyplot, comparison):
    display = CeilingDisplay.from_comparison(comparison)
    scored, intervals = display.ax_.get_title(loc="left").split("\n")
    assert scored.endswith(" rows in 2 folds")
    assert intervals == "Whiskers and band: 95 % interval over 20 perturbations"


def test_the_metric_that_has_a_ceiling_is_drawn(pyplot, table):
    table = table.copy()
    table.loc[table["metric"] == "mrrmse", "ceiling"] = np.nan
    label = CeilingDisplay(table).plot().ax_.get_xlabel()
    assert label == "Pearson (higher is better)"
    with pytest.raises(ValueError, match="metric here"):
        CeilingDisplay(table, metric="mrrmse").plot()
    table["ceiling"] = np.nan
    with pytest.raises(ValueError, match="There is no ceiling"):
        CeilingDisplay(table).plot()
    with pytest.raises(ValueError, match="There is no ceiling"):
        CeilingDisplay(table.drop(columns="ceiling")).plot()


def test_a_comparison_without_a_ceiling(pyplot, screen):
    comparison = compare(["no_change"], screen.X, screen.y, cv=2, ceiling=None)
    with pytest.raises(ValueError, match="There is no ceiling"):
        CeilingDisplay.from_comparison(comparison)


def test_one_axis_has_scores_alone(pyplot, table):
    _, ax = pyplot.subplots()
    display = CeilingDisplay(table, metric="pearson").plot(ax)
    assert list(display.axes_) == [ax]
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert "ceiling" in texts


def test_failed_models_are_named_and_missing_shares_left_out(pyplot, table):
    table = table[table["metric"] == "mrrmse"].copy()
    table.loc[table.index[-1], ["mean", "share_of_ceiling"]] = np.nan
    table.loc[table.index[0], "share_of_ceiling"] = np.nan
    table[["ceiling_low", "ceiling_high"]] = np.nan
    display = CeilingDisplay(table).plot()
    scores, shares = display.axes_
    assert "No score: " in scores.get_title(loc="left")
    assert len(scores.get_yticklabels()) == len(table) - 1
    shown = drawn(shares).astype(float)
    assert np.isfinite(shown).sum() == len(table) - 2
    assert len(scores.patches) == 0
    display.figure_.canvas.draw()


def test_a_dark_style_has_a_light_ceiling(pyplot, table):
    with pyplot.style.context("dark_background"):
        scores, _ = CeilingDisplay(table).plot().axes_
        (line,) = [line for line in scores.lines if line.get_label() == "ceiling"]
        assert line.get_color() == "white"
