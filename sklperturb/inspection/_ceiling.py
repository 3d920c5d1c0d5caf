"""Draw scores between the best baseline and the noise ceiling."""

import numpy as np

from sklperturb.inspection._figure import make_axes
from sklperturb.utils._printable import printable


class CeilingDisplay:
    """Plot each model's score beside the ceiling, and its share of the way to it.

    Parameters
    ----------
    table : DataFrame
        As returned by `sklperturb.comparison.leaderboard`, with a ceiling; the first of
        its metrics that has one is drawn, without the models that failed.

    Attributes
    ----------
    axes_ : ndarray of two matplotlib Axes
        Scores with the ceiling and its interval as a band; and shares of the way from
        the best baseline, at 0, to the ceiling, at 1.
    figure_ : matplotlib Figure

    See Also
    --------
    noise_ceiling : What the ceiling is.
    LeaderboardDisplay : Differences from the best baseline.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from sklperturb.comparison import compare, leaderboard
    >>> from sklperturb.inspection import CeilingDisplay
    >>> from sklperturb.model_selection import UnseenPairKFold
    >>> rng = np.random.default_rng(0)
    >>> X = pd.DataFrame(
    ...     [(f"c{c}", f"p{p}") for c in range(3) for p in range(12) for _ in range(2)],
    ...     columns=["cell_type", "sm_name"],
    ... )
    >>> y = np.tile(np.repeat(rng.normal(size=(12, 20)), 2, axis=0), (3, 1))
    >>> y += rng.normal(size=y.shape)
    >>> cv = UnseenPairKFold(2, random_state=0)
    >>> table = leaderboard(compare(["ridge"], X, y, cv=cv))
    >>> CeilingDisplay(table).plot().axes_[0].get_xlabel()  # doctest: +SKIP
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
        self : CeilingDisplay

        Raises
        ------
        ValueError
            If the table has no ceiling.
        ImportError
            If matplotlib is not installed.
        """
        known = self.table[self.table["ceiling"].notna()]
        if known.empty:
            raise ValueError(
                "The table has no ceiling: no condition was measured twice. Pass "
                "compare(..., ceiling=noise_ceiling(X, y, halves=...))."
            )
        metric = known["metric"].iloc[0]
        table = known[(known["metric"] == metric) & known["mean"].notna()]
        size = (10, 1.8 + 0.3 * len(table))
        axes = scores, shares = make_axes(axes, 1, 2, figsize=size, sharey=True)
        _draw(scores, table, "mean", "ci_low", "ci_high")
        _draw(shares, table, "share_of_ceiling", "share_low", "share_high")
        row = table.iloc[0]
        scores.axvline(row["ceiling"], color="k", zorder=0, label="ceiling")
        if not np.isnan(row["ceiling_low"]):
            scores.axvspan(
                *(row["ceiling_low"], row["ceiling_high"]), color="0.85", zorder=-1
            )
        for share, style in ((0, ":"), (1, "-")):
            shares.axvline(share, color="k", linestyle=style, zorder=0)
        # A "$" in a name begins no formula.
        names = [printable(str(name)) for name in table["model"]]
        scores.set_yticks(-np.arange(len(table)), names, parse_math=False)
        scores.set_xlabel(metric.upper())
        shares.set_xlabel("share of the way, best baseline (0) to ceiling (1)")
        scores.legend(
            frameon=False,
            fontsize="small",
            loc="lower left",
            bbox_to_anchor=(0, 1),
            ncols=4,
        )
        self.axes_, self.figure_ = axes, scores.figure
        return self


def _draw(ax, table, centre, low, high):
    """Draw points with their intervals: baselines hollow, models filled."""
    places = -np.arange(len(table))
    is_baseline = (table["kind"] == "baseline").to_numpy()
    for label, chosen, face in (
        ("model", ~is_baseline, "tab:blue"),
        ("baseline", is_baseline, "white"),
    ):
        rows = table[chosen]
        widths = [rows[centre] - rows[low], rows[high] - rows[centre]]
        ax.errorbar(
            *(rows[centre], places[chosen]),
            xerr=np.maximum(np.nan_to_num(widths), 0),
            fmt="o",
            color="tab:blue" if label == "model" else "0.4",
            markerfacecolor=face,
            capsize=3,
            label=label,
        )
