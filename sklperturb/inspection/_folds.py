"""Compare one model with another, fold by fold or perturbation by perturbation."""

import numpy as np
import pandas as pd

from sklperturb.conditions._frames import as_pandas, read_column
from sklperturb.conditions._validation import resolve_schema
from sklperturb.inspection._figure import (
    COLOURS,
    GREY,
    Display,
    counted,
    log_axis,
    make_axes,
    metric_label,
    name_points,
    shown,
    spans_decades,
    title,
)
from sklperturb.inspection._leaderboard import choose_metric
from sklperturb.metrics import get_metric
from sklperturb.metrics._checks import without_annotation
from sklperturb.utils._choices import one_of
from sklperturb.utils._optional import import_extra

# Of units, those that differ most are named.
_NAMED = 3
# Lines of text that fit beside each other.
_LINES = 25


class FoldsDisplay(Display):
    """Plot the scores of a model against those of a reference, in pairs.

    A mean says little of whether a model is better everywhere or on a few rows. Folds
    are drawn as a line each, from the reference to the model; perturbations as a dot
    each, with the line on which both are equal.

    Use `from_comparison` or `from_predictions` to make one.

    Parameters
    ----------
    scores : DataFrame of shape (n_units, 2)
        Indexed by fold, or by perturbation or context; first the reference, then the
        model, by their names; in the metric's own sign.
    unit : str, default="fold"
        What a row is. Folds are drawn as lines, all else as dots.
    metric : str, default=None
        Name of the metric.
    greater_is_better : bool, default=False

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    See Also
    --------
    LeaderboardDisplay : All models, with intervals.

    Notes
    -----
    Folds are few, and share most of what they train on: that a model is better in all
    of them is no test. Intervals over perturbations are in the leaderboard.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklperturb.inspection import FoldsDisplay
    >>> scores = pd.DataFrame({"additive": [1.2, 1.0], "ridge": [1.1, 0.8]})
    >>> display = FoldsDisplay(scores=scores, metric="mrrmse")
    >>> display.plot().ax_.get_ylabel()  # doctest: +SKIP
    'MRRMSE (lower is better)'
    """

    def __init__(self, *, scores, unit="fold", metric=None, greater_is_better=False):
        self.scores = scores
        self.unit = unit
        self.metric = metric
        self.greater_is_better = greater_is_better

    @classmethod
    def from_comparison(
        cls, comparison, model=None, *, reference=None, metric=None, ax=None
    ):
        """Draw the folds of a comparison.

        Parameters
        ----------
        comparison : Comparison
            As returned by `sklperturb.comparison.compare`.
        model : str, default=None
            Name of a model; None is the best of those that are no baselines.
        reference : str, default=None
            Name of what it is compared with; None is the best baseline.
        metric : str, default=None
            One of the comparison's metrics; None is the first.
        ax : matplotlib Axes, default=None
            None makes a figure.

        Returns
        -------
        display : FoldsDisplay

        Raises
        ------
        ValueError
            If there is no such model or metric, or both models are the same.
        ImportError
            If matplotlib is not installed.
        """
        import_extra("FoldsDisplay", "plot", "matplotlib")
        metric = choose_metric(comparison.summary["metric"], metric)
        summary = comparison.summary
        summary = summary[summary["metric"] == metric].set_index("model")
        greater = bool(summary["greater_is_better"].iloc[0])
        if reference is None:
            reference = _best(summary[summary["kind"] == "baseline"], greater)
        if model is None:
            model = _best(summary[summary["kind"] != "baseline"], greater)
        chosen = {"reference": reference, "model": model}
        for role, name in chosen.items():
            if name is None:
                raise ValueError(
                    f"The comparison has no {role} with a score to choose by itself; "
                    f"pass {role}=, one of {list(summary.index)}."
                )
            one_of(name, summary.index, "model of this comparison")
        _check_two(model, reference)
        folds = comparison.folds
        folds = folds[folds["metric"] == metric]
        scores = folds.pivot(index="fold", columns="model", values="value")
        return cls(
            scores=scores[[reference, model]],
            metric=metric,
            greater_is_better=greater,
        ).plot(ax)

    @classmethod
    def from_predictions(
        cls,
        y_true,
        y_pred,
        y_reference,
        *,
        X,
        metric="mrrmse",
        by="perturbation",
        names=("model", "reference"),
        schema=None,
        ax=None,
    ):
        """Score rows by two predictions, and draw their means by perturbation.

        Parameters
        ----------
        y_true : array-like, DataFrame or AnnData of shape (n_samples, n_genes)
            Measured responses.
        y_pred, y_reference : array-like of shape (n_samples, n_genes)
            Predictions of the model and of what it is compared with, such as two of
            ``compare(..., return_predictions=True).predictions``. Rows that are NaN in
            either are left out.
        X : DataFrame of shape (n_samples, n_columns)
            Conditions.
        metric : str or scorer, default="mrrmse"
            A row-wise metric.
        by : {"perturbation", "context", "row"}, default="perturbation"
            What a dot is.
        names : tuple of two str, default=("model", "reference")
        schema : PerturbationSchema, default=None
            Roles of the columns. None infers them from the column names.
        ax : matplotlib Axes, default=None
            None makes a figure.

        Returns
        -------
        display : FoldsDisplay

        Raises
        ------
        ValueError
            If shapes differ, no row has both predictions, or `X` has no such column.
        ImportError
            If matplotlib is not installed.
        """
        import_extra("FoldsDisplay", "plot", "matplotlib")
        metric = get_metric(metric)
        X = as_pandas(X)
        model, reference = names
        _check_two(model, reference)
        y_true, y_pred, y_reference = (
            np.asarray(without_annotation(y), dtype=float)
            for y in (y_true, y_pred, y_reference)
        )
        if not y_true.shape == y_pred.shape == y_reference.shape:
            raise ValueError(
                f"y_true, y_pred and y_reference have the shapes {y_true.shape}, "
                f"{y_pred.shape} and {y_reference.shape}, which must be the same."
            )
        units = _units(
            X, one_of(by, ("perturbation", "context", "row"), "unit"), schema
        )
        kept = ~np.isnan(y_pred).any(axis=1) & ~np.isnan(y_reference).any(axis=1)
        if not kept.any():
            raise ValueError(
                "No row has both predictions; all have NaN in one of them."
            )
        of_rows = metric.of_rows(X[kept])
        scores = pd.DataFrame(
            {
                reference: of_rows(y_true[kept], y_reference[kept]),
                model: of_rows(y_true[kept], y_pred[kept]),
            }
        )
        return cls(
            scores=scores.groupby(units[kept]).mean(),
            unit=by,
            metric=metric.name,
            greater_is_better=metric.greater_is_better,
        ).plot(ax)

    def plot(self, ax=None):
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None makes a figure.

        Returns
        -------
        self : FoldsDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        reference, model = self.scores.columns
        scores = self.scores.dropna()
        sign = 1 if self.greater_is_better else -1
        gains = sign * (scores[model] - scores[reference])
        draw, size = self._draw_dots, (5.2, 5)
        if self.unit == "fold":
            draw, size = self._draw_lines, (5.2, 4.2)
        (ax,) = make_axes(ax, 1, 1, figsize=size)
        label = metric_label(self.metric, self.greater_is_better)
        lines = [label] if self.unit != "fold" else []
        lines.append(self._caption(gains, sign))
        missing = len(self.scores) - len(scores)
        if missing:
            lines.append(f"{counted(missing, self.unit)} without a score left out")
        title(ax, "\n".join(lines))
        draw(ax, scores, gains)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _caption(self, gains, sign):
        """Return how often the model is better, and by how much."""
        text = f"{shown(self.scores.columns[1])} is better in "
        text += f"{(gains > 0).sum()} of {counted(len(gains), self.unit)}"
        if len(gains):
            text += f"\nMean difference: {sign * gains.mean():+.3g}"
        if len(gains) > 1:
            text += f" (standard deviation {gains.std():.2g})"
        return text

    def _draw_lines(self, ax, scores, gains):
        reference, model = scores.columns
        for better, colour, style in (
            (True, COLOURS[0], "-"),
            (False, COLOURS[1], "--"),
        ):
            rows = scores[(gains > 0) == better]
            label = "better" if better else "not better"
            for i, (before, after) in enumerate(rows.to_numpy()):
                ax.plot(
                    [0, 1],
                    [before, after],
                    style,
                    marker="o",
                    color=colour,
                    label=None if i else f"{label} ({len(rows)})",
                )
        if len(scores):
            ends = scores.mean().to_numpy()
            ax.plot([0, 1], ends, color=GREY, linewidth=4, alpha=0.6, label="mean")
            ordered = np.sort(scores[model])
            room = np.ptp(scores.to_numpy()) / _LINES
            # Numbers that would cover each other are left out.
            apart = len(scores) < 2 or np.diff(ordered).min() > room
            for fold, after in scores[model].items() if apart else ():
                ax.annotate(
                    str(fold),
                    (1, after),
                    xytext=(7, 0),
                    textcoords="offset points",
                    va="center",
                )
            ax.legend(frameon=False)
        ax.set_xticks([0, 1], [shown(reference), shown(model)], parse_math=False)
        ax.set_xlim(-0.3, 1.3)
        ax.set_ylabel(metric_label(self.metric, self.greater_is_better))

    def _draw_dots(self, ax, scores, gains):
        reference, model = scores.columns
        x, y = scores[reference], scores[model]
        ax.plot(x, y, "o", markersize=4, color=COLOURS[0], alpha=0.7)
        if len(scores):
            low, high = scores.to_numpy().min(), scores.to_numpy().max()
            margin = 0.04 * (high - low) or 0.5
            ends = [low - margin, high + margin]
            if spans_decades(scores):
                ends = [low / 1.1, high * 1.1]
                ax.set(xscale="log", yscale="log")
                for axis in (ax.xaxis, ax.yaxis):
                    log_axis(axis, low, high)
            ax.plot(ends, ends, color=GREY, linewidth=1, zorder=0)
            ax.set(xlim=ends, ylim=ends)
            corner, va = ((0.97, 0.03), "bottom")
            ha = "right"
            if self.greater_is_better:
                corner, va, ha = (0.03, 0.97), "top", "left"
            ax.text(
                *corner,
                f"{shown(model)} better",
                transform=ax.transAxes,
                ha=ha,
                va=va,
                color=GREY,
                parse_math=False,
            )
        ax.set_aspect("equal", adjustable="box")
        ax.set_xlabel(shown(reference), parse_math=False)
        ax.set_ylabel(shown(model), parse_math=False)
        order = gains.abs().to_numpy().argsort()[::-1][:_NAMED]
        names = {int(i): shown(scores.index[i], 20) for i in order}
        name_points(ax, x.to_numpy(), y.to_numpy(), names)


def _units(X, by, schema):
    """Return the perturbation or the context of each row, or its label."""
    if by == "row":
        return np.asarray(X.index if hasattr(X, "index") else np.arange(len(X)))
    schema = resolve_schema(schema, X)
    schema.require(X, by)
    return read_column(X, getattr(schema, by)).astype(str)


def _best(summary, greater_is_better):
    """Return the name of the model with the best mean, None without any."""
    means = summary["mean"].dropna()
    if means.empty:
        return None
    return means.idxmax() if greater_is_better else means.idxmin()


def _check_two(model, reference):
    if model == reference:
        raise ValueError(
            f"The model and its reference are both {model!r}; name two different ones."
        )
