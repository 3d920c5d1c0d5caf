"""Draw scores between the best baseline and the noise ceiling."""

import numpy as np

from sklperturb.inspection._figure import BAND, GREY, text_colour
from sklperturb.inspection._leaderboard import (
    RankedDisplay,
    choose_metric,
    draw_models,
)


class CeilingDisplay(RankedDisplay):
    """Plot each model's score beside the ceiling, and its share of the way to it.

    Use `from_comparison` to make one of a comparison, and the constructor where there
    is only the table.

    Parameters
    ----------
    table : DataFrame
        As returned by `sklperturb.comparison.leaderboard`, with a ceiling.
    metric : str, default=None
        Which metric of the table is drawn; None is the first that has a ceiling.
    greater_is_better : bool, default=None
        None reads it from the order of the ranks.
    n_rows, n_folds : int, default=None
        Rows that were scored, and folds, for the caption.
    confidence : float, default=0.95
        Level of the intervals.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Scores with the ceiling, and its interval as a band.
    axes_ : ndarray of one or two matplotlib Axes
        Scores and, unless a single axis was given, shares of the way from the best
        baseline, at 0, to the ceiling, at 1.
    figure_ : matplotlib Figure

    See Also
    --------
    noise_ceiling : What the ceiling is.
    LeaderboardDisplay : Differences from the best baseline.

    Notes
    -----
    Scores are of all rows that the folds hold out; the ceiling and the shares are of
    those that were measured more than once. A share is missing where the ceiling is not
    better than the best baseline. Models that failed are named in the title, and one
    that is far behind is written at the edge, as in `LeaderboardDisplay`.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from sklperturb.comparison import compare
    >>> from sklperturb.inspection import CeilingDisplay
    >>> from sklperturb.model_selection import UnseenPairKFold
    >>> rng = np.random.default_rng(0)
    >>> X = pd.DataFrame(
    ...     [(f"c{c}", f"p{p}") for c in range(3) for p in range(12) for _ in range(2)],
    ...     columns=["cell_type", "sm_name"],
    ... )
    >>> y = np.tile(np.repeat(rng.normal(size=(12, 20)), 2, axis=0), (3, 1))
    >>> y += rng.normal(size=y.shape)
    >>> comparison = compare(["ridge"], X, y, cv=UnseenPairKFold(2, random_state=0))
    >>> display = CeilingDisplay.from_comparison(comparison)  # doctest: +SKIP
    >>> display.ax_.get_xlabel()  # doctest: +SKIP
    'MRRMSE (lower is better)'
    """

    _interval_marks = "Whiskers and band"

    @staticmethod
    def _choose(table, metric):
        known = table.iloc[:0]
        if "ceiling" in table:
            known = table[table["ceiling"].notna()]
        if known.empty:
            raise ValueError(
                "There is no ceiling to draw: no condition was measured twice, or none "
                "was asked for. Pass compare(..., ceiling=noise_ceiling(X, y, "
                "halves=...))."
            )
        return choose_metric(known["metric"], metric)

    def _draw_beside(self, ax, table, baseline, greater_is_better):
        label = f"share of the way to the ceiling (1)\nfrom {baseline} (0)"
        columns = "share_of_ceiling", "share_low", "share_high"
        draw_models(ax, table, columns, label, greater_is_better=True)
        ax.axvline(0, color=GREY, linestyle=":", zorder=0)
        ax.axvline(1, color=text_colour(), zorder=0)

    def _mark(self, ax, table):
        # All models of a metric have one ceiling, those that failed included.
        for row in table.head(1).itertuples():
            ax.axvline(row.ceiling, color=text_colour(), zorder=0, label="ceiling")
            if not np.isnan([row.ceiling_low, row.ceiling_high]).any():
                ax.axvspan(row.ceiling_low, row.ceiling_high, **BAND)
