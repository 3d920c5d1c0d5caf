"""Draw a leaderboard with its intervals."""

import numpy as np

from sklperturb.inspection._figure import make_axes
from sklperturb.utils._printable import printable

_COLOURS = {
    "baseline": "0.6",
    "linear": "tab:blue",
    "kernel": "tab:green",
    "boosting": "tab:olive",
    "network": "tab:orange",
    "ensemble": "tab:red",
    "flow": "tab:purple",
    "custom": "tab:brown",
}


class LeaderboardDisplay:
    """Plot each model's score, and its difference from the best baseline.

    Parameters
    ----------
    table : DataFrame
        As returned by `sklperturb.comparison.leaderboard`; the first of its
        metrics is drawn, without the models that failed.

    Attributes
    ----------
    axes_ : ndarray of two matplotlib Axes
        Scores, and paired differences. The second is the one to read: intervals of
        scores are wide because perturbations differ, not because models do.
    figure_ : matplotlib Figure

    Examples
    --------
    >>> from sklperturb.datasets import make_chemical_screen
    >>> from sklperturb.inspection import LeaderboardDisplay
    >>> from sklperturb.comparison import compare, leaderboard
    >>> screen = make_chemical_screen(4, 20, 50, random_state=0)
    >>> table = leaderboard(compare(["no_change"], screen.X, screen.y, cv=2))
    >>> LeaderboardDisplay(table).plot().axes_[0].get_xlabel()  # doctest: +SKIP
    'MRRMSE'
    """

    def __init__(self, table):
        self.table = table

    def plot(self, axes=None):
        """Draw.

        Parameters
        ----------
        axes : sequence of two matplotlib Axes, default=None
            None makes a figure that has room for every model.

        Returns
        -------
        self : LeaderboardDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        metric = self.table["metric"].iloc[0]
        table = self.table[self.table["metric"] == metric]
        table = table[table["mean"].notna()]
        size = (10, 1.4 + 0.3 * len(table))
        axes = scores, differences = make_axes(axes, 1, 2, figsize=size, sharey=True)
        _draw(scores, table, "mean", "ci_low", "ci_high")
        _draw(differences, table, "difference", "difference_low", "difference_high")
        differences.axvline(0, color="0.6", linestyle=":", zorder=0)
        # A "$" in a name begins no formula.
        names = [printable(str(name)) for name in table["model"]]
        scores.set_yticks(-np.arange(len(table)), names, parse_math=False)
        scores.set_xlabel(metric.upper())
        differences.set_xlabel("difference from the best baseline")
        if len(table):
            scores.legend(frameon=False, fontsize="small")
        self.axes_, self.figure_ = axes, scores.figure
        return self


def _draw(ax, table, centre, low, high):
    """Draw points with their intervals, one colour for each kind of model."""
    for kind, rows in table.assign(y=-np.arange(len(table))).groupby(
        "kind", sort=False
    ):
        error = np.stack([rows[centre] - rows[low], rows[high] - rows[centre]])
        ax.errorbar(
            rows[centre],
            rows["y"],
            xerr=np.maximum(np.nan_to_num(error), 0),
            fmt="o",
            color=_COLOURS.get(kind, _COLOURS["custom"]),
            capsize=3,
            label=kind,
        )
