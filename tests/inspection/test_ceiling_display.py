"""The drawn ceiling."""

import numpy as np
import pytest

from sklperturb.comparison import compare, leaderboard
from sklperturb.datasets import make_chemical_screen
from sklperturb.inspection import CeilingDisplay
from sklperturb.model_selection import UnseenPairKFold


@pytest.fixture(scope="module")
def table():
    screen = make_chemical_screen(4, 20, 50, random_state=0)
    X = screen.X.loc[screen.X.index.repeat(3)].reset_index(drop=True)
    y = np.repeat(screen.y.to_numpy(), 3, axis=0)
    y = y + 0.3 * np.random.RandomState(0).normal(size=y.shape)
    cv = UnseenPairKFold(2, random_state=0)
    scoring = ["mrrmse", "pearson"]
    return leaderboard(compare(["ridge"], X, y, cv=cv, scoring=scoring))


def test_plot(pyplot, table):
    display = CeilingDisplay(table).plot()
    scores, shares = display.axes_
    rows = table[table["metric"] == "mrrmse"]
    assert [t.get_text() for t in scores.get_yticklabels()] == rows["model"].tolist()
    drawn = np.concatenate([c[0].get_xdata() for c in shares.containers])
    np.testing.assert_allclose(sorted(drawn), sorted(rows["share_of_ceiling"]))
    lines = [line.get_xdata()[0] for line in scores.lines]
    assert rows["ceiling"].iloc[0] in lines
    assert scores.get_xlabel() == "MRRMSE"
    display.figure_.canvas.draw()


def test_the_metric_that_has_a_ceiling_is_drawn(pyplot, table):
    table = table.copy()
    table.loc[table["metric"] == "mrrmse", "ceiling"] = np.nan
    assert CeilingDisplay(table).plot().axes_[0].get_xlabel() == "PEARSON"
    table["ceiling"] = np.nan
    with pytest.raises(ValueError, match="no ceiling"):
        CeilingDisplay(table).plot()
