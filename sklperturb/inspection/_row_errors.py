"""Errors of single rows, by context and by perturbation."""

import numpy as np
import pandas as pd
from sklearn.utils import _safe_indexing

from sklperturb.conditions import resolve_schema
from sklperturb.conditions._frames import as_table
from sklperturb.conditions._labels import take_labels
from sklperturb.inspection._figure import (
    BLUE,
    MANY_POINTS,
    VERMILLION,
    PredictionDisplay,
    counted,
    legend_above,
    log_axis,
    make_axes,
    predictions_of,
    score_label,
    shown,
    spans_decades,
    text_colour,
)
from sklperturb.metrics import get_metric
from sklperturb.metrics._checks import check_pair
from sklperturb.utils._choices import one_of

ROLES = ("context", "perturbation")


def label_rows(X, schema):
    """Return the names of each row's context and perturbation, as text.

    Returns
    -------
    labels : DataFrame of shape (n_samples, 1 or 2)
        With the columns ``context``, if the schema names one, and ``perturbation``.
    """
    X = as_table(X)
    schema = resolve_schema(schema, X)
    roles = [role for role in ROLES if getattr(schema, role) is not None]
    schema.require(X, *roles)
    return pd.DataFrame(take_labels(X, schema.columns(*roles)), columns=roles)


def read_rows(y_true, y_pred, X, schema):
    """Return what is known of each predicted row; rows of NaN are not predicted.

    Returns
    -------
    labels : DataFrame of shape (n_samples, 1 or 2)
        See `label_rows`; of all rows.
    truth, prediction : DataFrame of shape (n_samples, n_genes)
        Of all rows, genes in one order.
    is_predicted : ndarray of bool of shape (n_samples,)

    Raises
    ------
    ValueError
        If lengths differ, or no row is predicted.
    """
    truth, prediction, order = check_pair(y_true, y_pred)
    labels = label_rows(X, schema)
    if len(labels) != len(truth):
        raise ValueError(
            f"X has {len(labels)} rows and y_true has {len(truth)}; both need one row "
            "for each condition, in the same order."
        )
    is_predicted = ~np.isnan(prediction).all(axis=1)
    if not is_predicted.any():
        raise ValueError(
            f"All {len(truth)} rows of y_pred are NaN: nothing is predicted. With "
            "folds, check that they hold out these rows."
        )
    return labels, truth, prediction[:, order], is_predicted


def score_rows(metric, truth, prediction, X, rows):
    """Return the scores of some rows by a metric that may ask for their conditions."""
    X = _safe_indexing(as_table(X), rows)
    return metric.of_rows(X)(truth[rows], prediction[rows])


class RowErrorDisplay(PredictionDisplay):
    """Plot the error of every row, grouped by context and by perturbation.

    A mean error hides where a model fails. Here each row, which is one condition, is
    a dot; a bar spans the middle half of its group and a line marks the median.
    Groups are sorted by their medians, the worst on top.

    Draw one with `from_estimator`, `from_predictions` or `from_comparison`.

    Parameters
    ----------
    rows : DataFrame
        One row for each that is predicted, with the columns ``perturbation``,
        ``score``, and where they are known ``context`` and ``baseline``, the score of
        another model.
    metric : str or RowwiseMetric, default="mrrmse"
        What the score is.
    unit : str, default="response"
        What `y` holds, such as "signed -log10 p".
    name : str, default=None
        Name of the model.
    baseline_name : str, default="baseline"
        Name of the other model.
    held_out : bool, default=False
        Whether no model was fitted on the rows that it predicts; the plot says so.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes
        One for each grouping.
    ax_ : matplotlib Axes
        The first of them.
    figure_ : matplotlib Figure
    points_, bars_, medians_, baselines_ : list of matplotlib artists
        One for each grouping; `baselines_` is empty without a baseline.

    See Also
    --------
    ConditionHeatMapDisplay : Both groupings in one map.
    LeaderboardDisplay : Means over rows, of many models.

    Notes
    -----
    An error grows with the response, so that strong perturbations stand on top of any
    list of root mean squared errors. A `baseline`, such as 0 for no change, shows
    whether a model did any better on them; so does the metric "pearson".

    Examples
    --------
    >>> from sklperturb.baseline import AdditiveRegressor
    >>> from sklperturb.datasets import make_chemical_screen
    >>> from sklperturb.inspection import RowErrorDisplay
    >>> screen = make_chemical_screen(4, 20, 50, random_state=0)
    >>> model = AdditiveRegressor().fit(screen.X, screen.y)
    >>> y_pred = model.predict(screen.X_test)
    >>> display = RowErrorDisplay.from_predictions(
    ...     screen.y_test, y_pred, X=screen.X_test, baseline=0
    ... )
    >>> display.groups("context")[["n_rows", "median", "baseline"]].round(2)
                   n_rows  median  baseline
    context
    B cells            16    1.00      0.54
    Myeloid cells      16    0.95      0.60
    """

    def __init__(
        self,
        *,
        rows,
        metric="mrrmse",
        unit="response",
        name=None,
        baseline_name="baseline",
        held_out=False,
    ):
        self.rows = rows
        self.metric = metric
        self.unit = unit
        self.name = name
        self.baseline_name = baseline_name
        self.held_out = held_out

    @classmethod
    def from_comparison(
        cls, comparison, X, y, model, *, baseline=None, schema=None, **options
    ):
        """Draw the held-out predictions of one model that was compared.

        Parameters
        ----------
        comparison : Comparison
            Of ``compare(..., return_predictions=True)``.
        X, y : as given to `compare`
        model : str
            The name of the model there.
        baseline : str, array-like or 0, default=None
            As in `from_predictions`, or the name of another model of the comparison.
        schema : PerturbationSchema, default=None
            Roles of the columns. None infers them from the column names.
        **options
            Further parameters of `from_predictions`.

        Returns
        -------
        display : RowErrorDisplay
            Drawn.

        Raises
        ------
        ValueError
            If predictions were not kept, are of other rows, or there is no such model.
        """
        if isinstance(baseline, str):
            options = {"baseline_name": baseline} | options
            baseline = predictions_of(comparison, X, y, baseline)
        options |= {"baseline": baseline, "schema": schema}
        return super().from_comparison(comparison, X, y, model, **options)

    @classmethod
    def from_predictions(
        cls,
        y_true,
        y_pred,
        *,
        X,
        schema=None,
        metric="mrrmse",
        baseline=None,
        baseline_name="baseline",
        unit="response",
        name=None,
        held_out=False,
        by=None,
        max_groups=16,
        ax=None,
    ):
        """Score predictions row by row, and draw.

        Parameters
        ----------
        y_true : array-like, DataFrame or AnnData of shape (n_samples, n_genes)
            Measured responses.
        y_pred : array-like or DataFrame of shape (n_samples, n_genes)
            Predictions. Rows of NaN were not predicted and are left out.
        X : DataFrame of shape (n_samples, n_columns)
            Conditions of the rows.
        schema : PerturbationSchema, default=None
            Roles of the columns. None infers them from the column names.
        metric : str, RowwiseMetric or WeightedMSEScorer, default="mrrmse"
            Row-wise metric, such as "pearson".
        baseline : array-like of shape (n_samples, n_genes) or 0, default=None
            Predictions of another model, to be compared with; 0 stands for no change.
        baseline_name : str, default="baseline"
            Name of the other model.
        unit : str, default="response"
            What `y` holds, such as "signed -log10 p".
        name : str, default=None
            Name of the model.
        held_out : bool, default=False
            Whether the model was fitted without these rows.
        by, max_groups, ax : optional
            See `plot`.

        Returns
        -------
        display : RowErrorDisplay
            Drawn.

        Raises
        ------
        ValueError
            If shapes or genes differ, or no row is predicted.
        """
        metric = get_metric(metric)
        labels, truth, prediction, is_predicted = read_rows(y_true, y_pred, X, schema)
        scored = np.flatnonzero(is_predicted)
        rows = labels.iloc[scored].reset_index(drop=True)
        rows["score"] = score_rows(metric, truth, prediction, X, scored)
        if baseline is not None:
            if np.ndim(baseline) == 0:
                baseline = np.full(truth.shape, float(baseline))
            _, other, order = check_pair(y_true, baseline)
            rows["baseline"] = score_rows(metric, truth, other[:, order], X, scored)
        display = cls(
            rows=rows,
            metric=metric,
            unit=unit,
            name=name,
            baseline_name=baseline_name,
            held_out=held_out,
        )
        return display.plot(ax, by=by, max_groups=max_groups)

    def groups(self, by):
        """Return how the rows of each group score, the worst group first.

        Parameters
        ----------
        by : {"context", "perturbation"}

        Returns
        -------
        groups : DataFrame
            Indexed by group, with the columns ``n_rows``, ``q25``, ``median``, ``q75``,
            ``mean`` and, with a baseline, ``baseline``, the median of its scores.

        Raises
        ------
        ValueError
            If rows have no such label.
        """
        by = one_of(by, [c for c in ROLES if c in self.rows], "grouping of these rows")
        return _describe(self.rows, by, get_metric(self.metric).greater_is_better)

    def plot(self, ax=None, *, by=None, max_groups=16):
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes or sequence of them, default=None
            One for each grouping. None makes a figure that has room for all groups.
        by : {"context", "perturbation"} or sequence of these, default=None
            Groupings to draw. None takes those that the rows have labels for, or the
            first of them if a single `ax` is given.
        max_groups : int, default=16
            Of more groups than this, the worst are drawn apart and the others together.

        Returns
        -------
        self : RowErrorDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If there are not as many axes as groupings.
        """
        if by is None:
            by = [role for role in ROLES if role in self.rows]
            by = by[: 1 if ax is not None and np.size(ax) == 1 else None]
        by = [by] if isinstance(by, str) else list(by)
        drawn = [self._to_draw(role, max_groups) for role in by]
        heights = [max(len(groups), 3) + 1 for _, groups in drawn]
        if ax is not None and np.size(ax) != len(by):
            raise ValueError(
                f"by={by} needs {len(by)} axes, and ax holds {np.size(ax)}. Pass as "
                "many, or one grouping."
            )
        options = {
            "figsize": (6.4, 1.4 + 0.23 * sum(heights)),
            "sharex": True,
            "height_ratios": heights,
        }
        self.axes_ = make_axes(ax, len(by), 1, **options)
        self.points_, self.bars_, self.medians_, self.baselines_ = [], [], [], []
        for each, role, (codes, groups) in zip(self.axes_, by, drawn, strict=True):
            self._draw(each, role, codes, groups)
        metric = get_metric(self.metric)
        scores = self.rows["score"]
        if not metric.greater_is_better and spans_decades(scores):
            for each in self.axes_:
                each.set_xscale("log")
                log_axis(each.xaxis, scores.min(), scores.max())
        self.axes_[-1].set_xlabel(score_label(metric, self.unit), parse_math=False)
        said = counted(len(self.rows), "row") + ", held out" * bool(self.held_out)
        title = said if self.name is None else f"{shown(self.name)}: {said}"
        handles = [self.points_[0], self.bars_[0], self.medians_[0]]
        handles += self.baselines_[:1]
        legend_above(self.axes_[0], handles, title, 4)
        self.ax_, self.figure_ = self.axes_[0], self.axes_[0].figure
        return self

    def _to_draw(self, by, max_groups):
        """Return the number of each row's group, and the groups, one being a rest."""
        groups = self.groups(by)
        names = self.rows[by]
        if len(groups) > max_groups:
            worst = groups.index[: max_groups - 1]
            others = self.rows[~names.isin(worst)]
            others = others.assign(**{by: f"the other {len(groups) - len(worst)}"})
            groups = pd.concat([groups.loc[worst], _describe(others, by, True)])
            codes = worst.get_indexer(names)
            return np.where(codes < 0, len(worst), codes), groups
        return groups.index.get_indexer(names), groups

    def _draw(self, ax, by, codes, groups):
        """Draw the rows of each group, and their quartiles."""
        scores = self.rows["score"].to_numpy()
        places = -np.arange(len(groups))
        # Spread within the group, alike in every drawing.
        shift = np.random.default_rng(0).uniform(-0.28, 0.28, len(scores))
        sizes = np.bincount(codes, minlength=len(groups))
        shift = np.where(sizes[codes] > 1, shift, 0.0)
        many = len(scores) > MANY_POINTS
        self.points_ += ax.plot(
            *(scores, shift - codes),
            *("o",),
            color=BLUE,
            alpha=0.5,
            markersize=3,
            markeredgewidth=0,
            rasterized=many,
            label="a row",
        )
        bar = {"colors": text_colour(), "alpha": 0.35, "linewidth": 5, "zorder": 1}
        self.bars_.append(
            ax.hlines(places, groups["q25"], groups["q75"], **bar, label="middle half")
        )
        self.medians_ += ax.plot(
            *(groups["median"], places),
            *("|",),
            color=text_colour(),
            markersize=11,
            markeredgewidth=2,
            zorder=1.5,
            label="median",
        )
        if "baseline" in groups:
            self.baselines_ += ax.plot(
                *(groups["baseline"], places),
                *("D",),
                color=VERMILLION,
                fillstyle="none",
                markersize=5,
                label=f"median of {shown(self.baseline_name)}",
            )
        names = [
            f"{shown(name)} (n = {n})"
            for name, n in zip(groups.index, groups["n_rows"], strict=True)
        ]
        ax.set_yticks(places, names, parse_math=False, fontsize="small")
        ax.set_ylim(-len(groups) + 0.4, 0.6)
        ax.set_ylabel(by)


def _describe(rows, by, greater_is_better):
    """Return quartiles and mean of the scores of each group, the worst first."""
    grouped = rows.groupby(by, sort=True)
    scores = grouped["score"]
    quartiles = {f"q{q}": scores.quantile(q / 100) for q in (25, 75)}
    table = pd.DataFrame(
        {
            "n_rows": scores.size(),
            "q25": quartiles["q25"],
            "median": scores.median(),
            "q75": quartiles["q75"],
            "mean": scores.mean(),
        }
    )
    if "baseline" in rows:
        table["baseline"] = grouped["baseline"].median()
    return table.sort_values("median", ascending=greater_is_better, kind="stable")
