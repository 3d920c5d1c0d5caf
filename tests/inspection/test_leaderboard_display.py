"""The drawn leaderboard."""

import numpy as np
import pandas as pd
import pytest

from sklperturb.comparison import compare, leaderboard
from sklperturb.inspection import LeaderboardDisplay


@pytest.fixture(scope="module")
def comparison(screen):
    return compare(
        ["ridge", "no_change"],
        screen.X,
        screen.y,
        cv=2,
        scoring=["mrrmse", "spearman"],
    )


@pytest.fixture(scope="module")
def table(comparison):
    return leaderboard(comparison)


def drawn(ax):
    return np.concatenate([c[0].get_xdata() for c in ax.containers])


def invented(n_models, **columns):
    """Return a leaderboard with one metric and known numbers."""
    mean = np.linspace(1, 2, n_models)
    table = {
        "rank": np.arange(1, n_models + 1),
        "model": [f"model {i}" for i in range(n_models)],
        "kind": ["baseline", *["linear"] * (n_models - 1)],
        "metric": "mrrmse",
        "mean": mean,
        "ci_low": mean - 0.2,
        "ci_high": mean + 0.3,
        "difference": mean - 1,
        "difference_low": [np.nan, *(mean[1:] - 1.1)],
        "difference_high": [np.nan, *(mean[1:] - 0.9)],
        "unit": "perturbation",
        "n_units": 146,
    }
    return pd.DataFrame({**table, **columns})


def test_scores_and_differences(pyplot, comparison, table):
    display = LeaderboardDisplay.from_comparison(comparison)
    own = table[table["metric"] == "mrrmse"]
    scores, differences = display.axes_
    assert display.ax_ is scores
    assert [t.get_text() for t in scores.get_yticklabels()] == own["model"].tolist()
    texts = [float(t.get_text().split()[0]) for t in scores.texts]
    np.testing.assert_allclose(
        sorted([*drawn(scores), *texts]), sorted(own["mean"]), rtol=1e-2
    )
    best = comparison.summary["best_baseline"].iloc[0]
    assert differences.get_xlabel() == f"difference from {best}\n(left is better)"
    assert scores.get_xlabel() == "MRRMSE (lower is better)"


def test_whiskers_are_the_intervals(pyplot):
    table = invented(3)
    scores, differences = LeaderboardDisplay(table).plot().axes_
    ends = np.concatenate(
        [bar.get_segments() for c in scores.containers for bar in c[2]]
    )
    np.testing.assert_allclose(ends[:, 0, 0], table["ci_low"])
    np.testing.assert_allclose(ends[:, 1, 0], table["ci_high"])
    linear = differences.containers[1][2][0].get_segments()
    np.testing.assert_allclose(np.array(linear)[:, 0, 0], table["difference_low"][1:])


def test_caption_says_what_was_scored(pyplot, comparison, screen):
    display = LeaderboardDisplay.from_comparison(comparison)
    scored, whiskers = display.ax_.get_title(loc="left").split("\n")
    assert scored == f"{len(screen.X)} rows in 2 folds"
    assert whiskers == "Whiskers: 95 % interval over 20 perturbations"
    display = LeaderboardDisplay(invented(3), confidence=0.8).plot()
    caption = display.ax_.get_title(loc="left")
    assert caption == "Whiskers: 80 % interval over 146 perturbations"


def test_caption_has_the_level_and_the_units_of_the_comparison(pyplot, screen):
    given = compare(["no_change"], screen.X, screen.y, cv=2, confidence=0.9)
    caption = LeaderboardDisplay.from_comparison(given).ax_.get_title(loc="left")
    assert "Whiskers: 90 % interval over 20 perturbations" in caption
    table = invented(3, unit="perturbation and context", n_units="12 and 1")
    caption = LeaderboardDisplay(table).plot().ax_.get_title(loc="left")
    assert caption.endswith("over 12 perturbations and 1 context")


def test_one_metric_of_several(pyplot, comparison, table):
    display = LeaderboardDisplay.from_comparison(comparison, metric="spearman")
    assert display.ax_.get_xlabel() == "Spearman (higher is better)"
    assert "right is better" in display.axes_[1].get_xlabel()
    best = table[table["metric"] == "spearman"]["model"].iloc[0]
    assert display.ax_.get_yticklabels()[0].get_text() == best
    with pytest.raises(ValueError, match="Did you mean 'spearman'"):
        LeaderboardDisplay.from_comparison(comparison, metric="spearmann")


def test_the_table_alone_tells_the_direction(pyplot):
    lower = LeaderboardDisplay(invented(3)).plot()
    assert lower.ax_.get_xlabel() == "MRRMSE (lower is better)"
    table = invented(3, metric="pearson", mean=[0.9, 0.5, 0.1])
    assert "higher" in LeaderboardDisplay(table).plot().ax_.get_xlabel()
    assert LeaderboardDisplay(invented(1)).plot().ax_.get_xlabel() == "MRRMSE"
    given = LeaderboardDisplay(invented(1), greater_is_better=False).plot()
    assert given.ax_.get_xlabel() == "MRRMSE (lower is better)"


def test_axes_may_be_given(pyplot, table):
    figure, axes = pyplot.subplots(1, 2)
    display = LeaderboardDisplay(table).plot(axes)
    assert display.figure_ is figure and list(display.axes_) == list(axes)
    _, ax = pyplot.subplots()
    display = LeaderboardDisplay(table).plot(ax=ax)
    assert list(display.axes_) == [ax] and display.ax_ is ax
    assert ax.get_legend() is not None


def test_the_legend_has_one_order(pyplot):
    kinds = ["custom", "kernel", "baseline", "linear"]
    for order in (kinds, kinds[::-1]):
        display = LeaderboardDisplay(invented(4, kind=order)).plot()
        (legend,) = display.figure_.legends
        texts = [text.get_text() for text in legend.get_texts()]
        assert texts == ["baseline", "linear", "kernel", "custom"]


def test_failed_models_are_named(pyplot, table):
    table = table.copy()
    first = table["model"].iloc[0]
    table.loc[0, "mean"] = np.nan
    display = LeaderboardDisplay(table).plot()
    names = [t.get_text() for t in display.ax_.get_yticklabels()]
    assert first not in names
    assert f"No score: {first} (failed)" in display.ax_.get_title(loc="left")


def test_too_few_units_for_an_interval(pyplot):
    nothing = dict.fromkeys(
        ["ci_low", "ci_high", "difference_low", "difference_high"], np.nan
    )
    table = invented(3, n_units=2, **nothing)
    display = LeaderboardDisplay(table).plot()
    assert display.ax_.get_title(loc="left") == (
        "No whiskers: 2 perturbations are too few for an interval"
    )
    np.testing.assert_allclose(sorted(drawn(display.ax_)), table["mean"])


def test_a_far_model_is_written_at_the_edge(pyplot):
    means = [1.0, 1.1, 1.2, 1.3, 1.4, 99.0]
    table = invented(
        6, mean=means, ci_low=means, ci_high=means, difference=np.subtract(means, 1)
    )
    display = LeaderboardDisplay(table).plot()
    assert [t.get_text() for t in display.ax_.texts] == ["99 \N{RIGHTWARDS ARROW}"]
    assert display.ax_.get_xlim()[1] < 2
    assert len(display.ax_.get_yticklabels()) == 6


def test_names_are_no_formulas_and_kinds_may_be_new(pyplot, table):
    table = table.copy()
    table.loc[0, ["model", "kind"]] = "$x_{ a\x1b", "new"
    table.loc[1, "model"] = "a long name " * 20
    figure = LeaderboardDisplay(table).plot().figure_
    figure.canvas.draw()
    names = [t.get_text() for t in figure.axes[0].get_yticklabels()]
    assert names[0] == r"$x_{ a\x1b"
    assert len(names[1]) < 45


def test_nothing_to_draw(pyplot, table):
    table = table.assign(mean=np.nan)
    assert len(LeaderboardDisplay(table).plot().axes_[0].get_yticklabels()) == 0
