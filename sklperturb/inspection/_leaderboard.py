"""Draw models by rank: scores, intervals, what tells them apart, and the ceiling."""

import textwrap

import numpy as np

from sklperturb.comparison import leaderboard
from sklperturb.inspection._figure import (
    BAND,
    COLOURS,
    GREY,
    MARKERS,
    SKEWED,
    Display,
    counted,
    legend_below,
    make_axes,
    metric_label,
    shown,
    text_colour,
    title,
)
from sklperturb.utils._choices import one_of

# Kinds of models, in the order of the legend.
_KINDS = (
    "baseline",
    "linear",
    "kernel",
    "boosting",
    "network",
    "ensemble",
    "flow",
    "custom",
)
_COLOURS = (GREY, *COLOURS, "#A6761D")
_STYLES = dict(zip(_KINDS, zip(_COLOURS, MARKERS, strict=True), strict=True))
# Of fewer values, none is far behind.
_MANY = 6
# Names of failed models that a caption has room for.
_SOME = 3
# Kinds that a line of the legend has room for, and characters of a line above one axis.
_BESIDE, _NARROW = 5, 40


class RankedDisplay(Display):
    """What displays of a leaderboard share: scores on the left, and a second axis.

    The subclass says which metric is drawn where none is asked for, and what the second
    axis holds.
    """

    _interval_marks = "Whiskers"

    def __init__(
        self,
        table,
        *,
        metric=None,
        greater_is_better=None,
        n_rows=None,
        n_folds=None,
        confidence=0.95,
    ):
        self.table = table
        self.metric = metric
        self.greater_is_better = greater_is_better
        self.n_rows = n_rows
        self.n_folds = n_folds
        self.confidence = confidence

    @classmethod
    def from_comparison(cls, comparison, *, metric=None, ax=None):
        """Rank the models of a comparison and draw them.

        Parameters
        ----------
        comparison : Comparison
            As returned by `sklperturb.comparison.compare`.
        metric : str, default=None
            One of its metrics; None is the first that can be drawn.
        ax : matplotlib Axes or sequence of two, default=None
            See `plot`.

        Returns
        -------
        display : instance of the class

        Raises
        ------
        ValueError
            If the comparison has no such metric; the message lists those it has.
        ImportError
            If matplotlib is not installed.
        """
        summary, folds = comparison.summary, comparison.folds
        metric = cls._choose(summary, metric)
        summary = summary[summary["metric"] == metric]
        folds = folds[folds["metric"] == metric]
        one_model = folds[folds["model"] == folds["model"].iloc[0]]
        display = cls(
            leaderboard(comparison),
            metric=metric,
            greater_is_better=bool(summary["greater_is_better"].iloc[0]),
            n_rows=int(one_model["n_rows"].sum()),
            n_folds=len(one_model),
            confidence=comparison.confidence,
        )
        return display.plot(ax)

    def plot(self, ax=None):
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes or sequence of two, default=None
            Where scores go, and what is beside them; with a single axis, scores alone
            are drawn. None makes a figure with both that has room for every model.

        Returns
        -------
        self : instance of the class

        Raises
        ------
        ValueError
            If the table has no such metric.
        ImportError
            If matplotlib is not installed.
        """
        metric = self._choose(self.table, self.metric)
        table = self.table[self.table["metric"] == metric]
        failed = table[table["mean"].isna()]
        table = table[table["mean"].notna()].sort_values("rank")
        size = (8, 1.9 + 0.28 * max(len(table), 2))
        axes = make_axes(ax, 1, 2, figsize=size, sharey=True)
        greater = self.greater_is_better
        if greater is None:
            greater = _read_direction(table)
        label = metric_label(metric, greater)
        draw_models(axes[0], table, ("mean", "ci_low", "ci_high"), label, greater)
        if len(axes) > 1:
            self._draw_beside(axes[1], table, best_baseline(table), greater)
            axes[1].xaxis.label.set_parse_math(False)
        names = [shown(name) for name in table["model"]]
        axes[0].set_yticks(-np.arange(len(table)), names, parse_math=False)
        axes[0].set_ylim(0.6 - max(len(table), 1), 0.6)
        self._mark(axes[0], table)
        caption = self._caption(table, failed)
        if len(axes) == 1:
            caption = [textwrap.fill(line, _NARROW) for line in caption]
        title(axes[0], "\n".join(caption))
        _add_legend(axes)
        self.ax_, self.axes_, self.figure_ = axes[0], axes, axes[0].figure
        return self

    @staticmethod
    def _choose(table, metric):
        """Return the metric to draw of a table."""
        return choose_metric(table["metric"], metric)

    def _mark(self, ax, table):
        """Draw what scores are compared with, if anything."""

    def _caption(self, table, failed):
        """Return what was scored, what whiskers are, and which models failed."""
        scored = []
        if self.n_rows is not None:
            scored.append(counted(self.n_rows, "row"))
        if self.n_folds is not None:
            scored.append(counted(self.n_folds, "fold"))
        lines = [" in ".join(scored)] if scored else []
        if len(table):
            lines.append(whiskers(table, self.confidence, self._interval_marks))
        if len(failed):
            names = [shown(name) for name in failed["model"]]
            more = f" and {len(names) - _SOME} more" if len(names) > _SOME else ""
            lines.append(f"No score: {', '.join(names[:_SOME])}{more} (failed)")
        return lines


class LeaderboardDisplay(RankedDisplay):
    """Plot each model's score, and its difference from the best baseline.

    Use `from_comparison` to make one of a comparison, and the constructor where there
    is only the table.

    Parameters
    ----------
    table : DataFrame
        As returned by `sklperturb.comparison.leaderboard`.
    metric : str, default=None
        Which metric of the table is drawn; None is its first.
    greater_is_better : bool, default=None
        None reads it from the order of the ranks.
    n_rows, n_folds : int, default=None
        Rows that were scored, and folds, for the caption.
    confidence : float, default=0.95
        Level of the intervals.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Scores.
    axes_ : ndarray of one or two matplotlib Axes
        Scores and, unless a single axis was given, paired differences. The second is
        the one to read: intervals of scores are wide because perturbations differ, not
        because models do.
    figure_ : matplotlib Figure

    See Also
    --------
    FoldsDisplay : One model against another, fold by fold.
    sklperturb.comparison.leaderboard : The table.

    Notes
    -----
    Models that failed have no score, and are named in the title. Of six models or more,
    one that is eight times as far behind the best as the median model is written at the
    edge, with an arrow: the axis would otherwise show nothing of how the others differ.

    Examples
    --------
    >>> from sklperturb.datasets import make_chemical_screen
    >>> from sklperturb.inspection import LeaderboardDisplay
    >>> from sklperturb.comparison import compare
    >>> screen = make_chemical_screen(4, 20, 50, random_state=0)
    >>> comparison = compare(["no_change"], screen.X, screen.y, cv=2)
    >>> display = LeaderboardDisplay.from_comparison(comparison)  # doctest: +SKIP
    >>> display.ax_.get_xlabel()  # doctest: +SKIP
    'MRRMSE (lower is better)'
    """

    def _draw_beside(self, ax, table, baseline, greater_is_better):
        label = f"difference from {baseline}"
        if greater_is_better is not None:
            label += f"\n({'right' if greater_is_better else 'left'} is better)"
        columns = "difference", "difference_low", "difference_high"
        draw_models(ax, table, columns, label, greater_is_better)
        ax.axvline(0, color=GREY, linestyle=":", zorder=0)


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


def choose_metric(metrics, metric):
    """Return a metric that is there, the first if None is asked for."""
    present = list(dict.fromkeys(metrics))
    return present[0] if metric is None else one_of(metric, present, "metric here")


def whiskers(table, confidence, marks="Whiskers"):
    """Say what the whiskers of a table with intervals are.

    Parameters
    ----------
    table : DataFrame
        With ``unit``, ``n_units`` and ``ci_low``.
    confidence : float
    marks : str, default="Whiskers"
        What shows the intervals.
    """
    unit, n_units = map(str, table[["unit", "n_units"]].iloc[0])
    # Both may be two: "perturbation and context", and "12 and 5".
    pairs = zip(n_units.split(" and "), unit.split(" and "), strict=True)
    units = " and ".join(counted(int(n), noun) for n, noun in pairs)
    if table["ci_low"].isna().all():
        return f"No {marks.lower()}: {units} are too few for an interval"
    return f"{marks}: {100 * confidence:.3g} % interval over {units}"


def _read_direction(table):
    """Return whether greater is better, as ranks have it; None if they cannot tell."""
    means = table["mean"].to_numpy()
    if len(means) < 2 or means[0] == means[-1]:
        return None
    return bool(means[0] > means[-1])


def best_baseline(table):
    """Return the name of the baseline that differences are taken from."""
    same = table[(table["kind"] == "baseline") & (table["difference"] == 0)]
    same = same[same["difference_low"].isna()]
    return shown(same["model"].iloc[0]) if len(same) else "the best baseline"


def draw_models(ax, table, columns, label, greater_is_better):
    """Draw points with their intervals, one style for each kind of model."""
    kinds = table["kind"].where(table["kind"].isin(_KINDS), "custom")
    table = table.assign(y=-np.arange(len(table)), kind=kinds)
    centre, low, high = columns
    is_far = far_behind(table[centre], table[centre].head(1).to_numpy())
    for kind in _KINDS:
        rows = table[(table["kind"] == kind) & ~is_far]
        colour, marker = _STYLES[kind]
        if (table["kind"] != kind).all():
            continue
        error = np.stack([rows[centre] - rows[low], rows[high] - rows[centre]])
        ax.errorbar(
            rows[centre],
            rows["y"],
            xerr=np.maximum(np.nan_to_num(error), 0),
            fmt=marker,
            color=colour,
            markersize=5,
            capsize=3,
            label=kind,
        )
    for row in table[is_far].itertuples():
        value = getattr(row, centre)
        at, side, text = 1.0, "right", f"{value:.3g} \N{RIGHTWARDS ARROW}"
        if greater_is_better:
            at, side, text = 0.0, "left", f"\N{LEFTWARDS ARROW} {value:.3g}"
        ax.text(
            at,
            row.y,
            text,
            transform=ax.get_yaxis_transform(),
            ha=side,
            va="center",
            color=_STYLES[row.kind][0],
        )
    ax.set_xlabel(label)
    ax.grid(axis="y", alpha=0.25)
    ax.set_axisbelow(True)


def far_behind(values, best):
    """Return which values are so much worse that they would hide how others differ.

    Parameters
    ----------
    values : ndarray of shape (n_values,)
    best : float
    """
    gaps = np.abs(np.asarray(values, dtype=float) - best)
    if len(gaps) < _MANY or np.isnan(gaps).any():
        return np.zeros(len(gaps), dtype=bool)
    return gaps > SKEWED * np.median(gaps)


def _add_legend(axes):
    """Put the kinds below the axes, in their order; none where there is one kind."""
    handles, labels = axes[0].get_legend_handles_labels()
    if len(labels) < 2:
        return
    if len(axes) == 1:
        legend_below(axes[0], 2)
        return
    n_columns = len(labels) if len(labels) <= _BESIDE else -(-len(labels) // 2)
    axes[0].figure.legend(
        *(handles, labels),
        loc="outside lower center",
        ncols=n_columns,
        frameon=False,
    )
