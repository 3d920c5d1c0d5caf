"""The drawn leaderboard."""

import numpy as np

from sklperturb.comparison import compare, leaderboard
from sklperturb.inspection import LeaderboardDisplay


def test_plot(pyplot, screen):
    table = leaderboard(compare(["no_change"], screen.X, screen.y, cv=2))
    display = LeaderboardDisplay(table).plot()
    scores, differences = display.axes_
    assert [t.get_text() for t in scores.get_yticklabels()] == table["model"].tolist()
    drawn = np.concatenate([c[0].get_xdata() for c in scores.containers])
    np.testing.assert_allclose(sorted(drawn), sorted(table["mean"]))
    drawn = np.concatenate([c[0].get_xdata() for c in differences.containers])
    np.testing.assert_allclose(sorted(drawn), sorted(table["difference"]))
    assert scores.get_xlabel() == "MRRMSE"


def test_failed_models_are_left_out(pyplot, screen):
    table = leaderboard(compare(["no_change"], screen.X, screen.y, cv=2))
    table.loc[len(table) - 1, "mean"] = np.nan
    display = LeaderboardDisplay(table).plot()
    assert len(display.axes_[0].get_yticklabels()) == len(table) - 1


def test_names_are_no_formulas_and_kinds_may_be_new(pyplot, screen):
    table = leaderboard(compare(["no_change"], screen.X, screen.y, cv=2))
    table.loc[0, ["model", "kind"]] = "$x_{ a\x1b", "new"
    figure = LeaderboardDisplay(table).plot().figure_
    figure.canvas.draw()
    assert figure.axes[0].get_yticklabels()[0].get_text() == r"$x_{ a\x1b"


def test_nothing_to_draw(pyplot, screen):
    table = leaderboard(compare(["no_change"], screen.X, screen.y, cv=2))
    table["mean"] = np.nan
    assert len(LeaderboardDisplay(table).plot().axes_[0].get_yticklabels()) == 0
