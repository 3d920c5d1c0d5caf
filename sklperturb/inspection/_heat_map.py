"""A map of contexts by perturbations: what was measured, and how well predicted."""

import numpy as np
import pandas as pd
from scipy.cluster.hierarchy import leaves_list, linkage

from sklperturb.inspection._effect_size import strengths
from sklperturb.inspection._figure import (
    VERMILLION,
    PredictionDisplay,
    counted,
    legend_above,
    log_axis,
    make_axes,
    score_label,
    shown,
    spans_decades,
    text_colour,
)
from sklperturb.inspection._row_errors import label_rows, read_rows, score_rows
from sklperturb.metrics import get_metric
from sklperturb.metrics._checks import check_truth_values, without_annotation
from sklperturb.utils._choices import one_of

ORDERS = ("strength", "value", "cluster", "name")
KINDS = ("error", "measured")
# Of names beside the map, in letters.
_LENGTH = 20


class ConditionHeatMapDisplay(PredictionDisplay):
    """Plot contexts by perturbations: how strong, or how well predicted, each is.

    Every condition has a place. Its colour is the error of its prediction, or the
    strength of its measured response, the root mean square over genes. Conditions that
    were not measured are blank; those that were measured and not predicted are hatched;
    a white dot marks what is held out or to be predicted. Rows of one condition, such
    as replicates, are averaged.

    Draw one with `from_screen`, which needs no model, or with `from_estimator`,
    `from_predictions` or `from_comparison`.

    Parameters
    ----------
    rows : DataFrame
        One row for each condition that is known of, with the columns ``perturbation``,
        ``context``, ``strength`` (NaN if not measured), ``value`` (what is to be
        drawn; NaN if there is none) and ``marked``, a boolean.
    label : str
        What the value is, for the colour bar.
    mark : str, default="held out"
        What the mark stands for.
    name : str, default=None
        Name of the model.

    Attributes
    ----------
    values_ : DataFrame of shape (n_contexts, n_perturbations)
        What is drawn, in the order in which it is drawn.
    states_ : DataFrame of shape (n_contexts, n_perturbations)
        "drawn", "measured" (and not predicted), or "missing".
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    image_, colorbar_ : matplotlib artists
    marks_ : matplotlib artist or None

    See Also
    --------
    RowErrorDisplay : The same errors by context and by perturbation, with quartiles.

    Examples
    --------
    >>> from sklperturb.datasets import make_chemical_screen
    >>> from sklperturb.inspection import ConditionHeatMapDisplay
    >>> screen = make_chemical_screen(4, 20, 50, random_state=0)
    >>> display = ConditionHeatMapDisplay.from_screen(screen)
    >>> display.values_.shape
    (4, 20)
    """

    def __init__(self, *, rows, label, mark="held out", name=None):
        self.rows = rows
        self.label = label
        self.mark = mark
        self.name = name

    @classmethod
    def from_screen(
        cls,
        screen,
        *,
        unit="response",
        order="strength",
        contexts=None,
        ax=None,
    ):
        """Draw what a screen has measured, and what is to be predicted.

        Parameters
        ----------
        screen : :class:`~sklearn.utils.Bunch`
            With the fields `X`, `y`, and if there are any `X_test` and `schema`, as
            given by `load_op2` or `make_chemical_screen`.
        unit : str, default="response"
            What `y` holds, such as "signed -log10 p".
        order, contexts, ax : optional
            See `plot`.

        Returns
        -------
        display : ConditionHeatMapDisplay
            Drawn.
        """
        schema = screen.get("schema")
        rows = _conditions(label_rows(screen.X, schema))
        truth = np.asarray(without_annotation(screen.y), dtype=float)
        truth = truth.reshape(len(truth), -1)
        rows["strength"] = rows["value"] = strengths(check_truth_values(truth))
        rows["marked"] = False
        if screen.get("X_test") is not None:
            asked = _conditions(label_rows(screen.X_test, schema))
            asked = asked.assign(strength=np.nan, value=np.nan, marked=True)
            rows = pd.concat([rows, asked], ignore_index=True)
        label = f"measured strength\n(root mean square {unit})"
        display = cls(rows=rows, label=label, mark="to be predicted")
        return display.plot(ax, order=order, contexts=contexts)

    @classmethod
    def from_predictions(
        cls,
        y_true,
        y_pred,
        *,
        X,
        schema=None,
        kind="error",
        metric="mrrmse",
        unit="response",
        name=None,
        held_out=False,
        order="strength",
        contexts=None,
        ax=None,
    ):
        """Score predictions row by row, and draw.

        Parameters
        ----------
        y_true : array-like, DataFrame or AnnData of shape (n_samples, n_genes)
            Measured responses.
        y_pred : array-like or DataFrame of shape (n_samples, n_genes)
            Predictions; NaN for rows that were not predicted.
        X : DataFrame of shape (n_samples, n_columns)
            Conditions of the rows.
        schema : PerturbationSchema, default=None
            Roles of the columns. None infers them from the column names.
        kind : {"error", "measured"}, default="error"
            What the colour shows: the score of the prediction, or the strength of
            the measurement with a mark on what is predicted.
        metric : str, RowwiseMetric or WeightedMSEScorer, default="mrrmse"
            Row-wise metric, such as "pearson".
        unit : str, default="response"
            What `y` holds, such as "signed -log10 p".
        name : str, default=None
            Name of the model.
        held_out : bool, default=False
            Whether the model was fitted without the rows that it predicts.
        order, contexts, ax : optional
            See `plot`.

        Returns
        -------
        display : ConditionHeatMapDisplay
            Drawn.

        Raises
        ------
        ValueError
            If shapes or genes differ, or no row is predicted.
        """
        one_of(kind, KINDS, "kind of heat map")
        metric = get_metric(metric)
        labels, truth, prediction, is_predicted = read_rows(y_true, y_pred, X, schema)
        rows = _conditions(labels)
        rows["strength"] = rows["value"] = strengths(check_truth_values(truth))
        rows["marked"] = is_predicted & (kind == "measured")
        label = f"measured strength\n(root mean square {unit})"
        if kind == "error":
            scored = np.flatnonzero(is_predicted)
            rows["value"] = np.nan
            rows.loc[scored, "value"] = score_rows(metric, truth, prediction, X, scored)
            label = score_label(metric, unit)
            label += ", held out" if held_out else ""
        mark = "held out" if held_out else "predicted"
        display = cls(rows=rows, label=label, mark=mark, name=name)
        return display.plot(ax, order=order, contexts=contexts)

    def plot(self, ax=None, *, order="strength", contexts=None):
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None makes a figure.
        order : {"strength", "value", "cluster", "name"}, default="strength"
            Order of both: "strength" puts the strongest perturbations and the contexts
            with most measurements first, "value" the largest mean of what is drawn,
            "cluster" alike ones side by side (average linkage; what is missing counts
            as the sum of the two means), and "name" sorts.
        contexts : sequence of str, default=None
            Contexts to draw, in this order.

        Returns
        -------
        self : ConditionHeatMapDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If there is no such context.
        """
        one_of(order, ORDERS, "order")
        values, strength, marked = self._tables()
        names = _ordered(values, strength, order)
        if contexts is not None:
            known = list(values.index)
            names[0] = [one_of(c, known, "context of these rows") for c in contexts]
        values, strength, marked = (
            table.loc[names[0], names[1]] for table in (values, strength, marked)
        )
        states = np.where(strength.notna(), "measured", "missing")
        states = np.where(values.notna(), "drawn", states)
        self.values_ = values
        self.states_ = pd.DataFrame(states, values.index, values.columns)
        longest = max(len(shown(name, _LENGTH)) for name in values.columns)
        height = 2.2 + 0.075 * longest + 0.25 * min(max(len(values), 4), 24)
        (ax,) = make_axes(ax, 1, 1, figsize=(6.4, height))
        ax.spines[["top", "right"]].set_visible(True)
        self._colour(ax, values)
        self._mark(ax, marked.to_numpy(dtype=bool))
        _label(ax, values)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _tables(self):
        """Return values, strengths and marks, contexts by perturbations."""
        grouped = self.rows.groupby(["context", "perturbation"])
        means = grouped[["value", "strength"]].mean()
        return [
            *(means[column].unstack() for column in ("value", "strength")),
            grouped["marked"].any().unstack(fill_value=False),
        ]

    def _colour(self, ax, values):
        """Draw values as colours, and hatch what was measured and not predicted."""
        from matplotlib.colors import ListedColormap, LogNorm, Normalize

        table = values.to_numpy(dtype=float)
        finite = table[np.isfinite(table)]
        low, high = (finite.min(), finite.max()) if len(finite) else (0, 1)
        high = high if high > low else low + 1
        scale = LogNorm if spans_decades(finite) else Normalize
        self.image_ = ax.imshow(
            np.ma.masked_invalid(table),
            aspect="auto",
            interpolation="nearest",
            cmap=_colours(ax),
            norm=scale(low, high),
        )
        self.colorbar_ = ax.figure.colorbar(
            self.image_,
            ax=ax,
            orientation="horizontal",
            location="bottom",
            fraction=0.15,
        )
        if scale is LogNorm:
            log_axis(self.colorbar_.ax.xaxis, low, high)
        self.colorbar_.set_label(self.label, parse_math=False)
        hatched = np.ma.masked_array(np.ones(table.shape), self.states_ != "measured")
        if not hatched.mask.all():
            edges = (np.arange(n + 1) - 0.5 for n in table.shape[::-1])
            grey = ListedColormap([_hatching()["facecolor"]])
            style = {"hatch": "////", "edgecolor": "0.5", "linewidth": 0}
            ax.pcolor(*edges, hatched, cmap=grey, **style, zorder=0.5)

    def _mark(self, ax, marked):
        """Dot what is marked, and say above the map what is what."""
        from matplotlib.lines import Line2D
        from matplotlib.patches import Patch

        self.marks_, handles = None, []
        states = self.states_.to_numpy()
        if (states == "measured").any():
            style = _hatching() | {"hatch": "//////", "linewidth": 0.5}
            handles.append(Patch(**style, label="measured, not predicted"))
        if (states == "missing").any():
            frame = {"fill": False, "edgecolor": text_colour(), "linewidth": 0.5}
            handles.append(Patch(**frame, label="not measured"))
        if marked.any():
            height, width = _room(ax) / marked.shape
            style = {"linestyle": "none", "label": self.mark}
            if width > 5:
                size = {"marker": "o", "markersize": min(height, width, 14) * 0.4}
                style |= {"color": "white", "markeredgecolor": "black"}
                style["markeredgewidth"] = 0.6
            else:
                size = {"marker": "|", "markersize": height * 0.4}
                style |= {"color": VERMILLION, "markeredgewidth": max(width / 3, 0.7)}
            rows, columns = np.nonzero(marked)
            (self.marks_,) = ax.plot(columns, rows, **size, **style)
            size["markersize"] = 6
            handles.append(Line2D([], [], **size, **style))
        n_contexts, n_perturbations = self.states_.shape
        n_measured, n_drawn = (states != "missing").sum(), (states == "drawn").sum()
        said = (
            f"{counted(n_perturbations, 'perturbation')}, "
            f"{counted(n_contexts, 'context')}\n{n_measured:,} of "
            f"{counted(states.size, 'condition')} measured"
        )
        said += f", {n_drawn:,} predicted" if n_drawn < n_measured else ""
        if self.name is not None:
            said = f"{shown(self.name, 40)}\n{said}"
        legend_above(ax, handles, said, 3)


def _colours(ax):
    """Return colours from dark to bright, of which none is that of the background."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap, to_rgb

    is_dark = np.mean(to_rgb(ax.get_facecolor())) < 0.5
    return ListedColormap(colormaps["cividis"](np.linspace(0.25 * is_dark, 1, 256)))


def _hatching():
    from matplotlib.colors import to_rgba

    return {"facecolor": to_rgba(text_colour(), 0.15), "edgecolor": "0.5"}


def _room(ax):
    """Return the height and the width of axes, in points."""
    extent = ax.get_window_extent()
    return np.array([extent.height, extent.width]) / ax.figure.dpi * 72


def _conditions(labels):
    """Return the labels of rows, with one context if the screen names none."""
    labels = labels.reset_index(drop=True)
    return labels if "context" in labels else labels.assign(context="all rows")


def _ordered(values, strength, order):
    """Return the names of contexts and of perturbations in the order to draw them."""
    if order == "name":
        return [sorted(values.index), sorted(values.columns)]
    if order == "strength":
        measured = strength.notna().sum(axis=1)
        keys = [measured, strength.mean(axis=0)]
    elif order == "value":
        keys = [values.mean(axis=1), values.mean(axis=0)]
    else:
        filled = _filled(values)
        return [
            values.index[_leaves(filled)].tolist(),
            values.columns[_leaves(filled.T)].tolist(),
        ]
    return [
        key.sort_values(ascending=False, kind="stable").index.tolist() for key in keys
    ]


def _filled(values):
    """Return values without NaN: what is missing is the sum of the two means."""
    table = values.to_numpy(dtype=float)
    mean = np.nanmean(table) if np.isfinite(table).any() else 0.0
    rows, columns = (
        values.mean(axis=axis).sub(mean).fillna(0).to_numpy() for axis in (1, 0)
    )
    return np.where(np.isnan(table), mean + rows[:, None] + columns, table)


def _leaves(table):
    """Return an order of rows in which alike ones are side by side."""
    if len(table) < 3:
        return np.arange(len(table))
    return leaves_list(linkage(table, "average", optimal_ordering=len(table) <= 1000))


def _label(ax, values):
    """Name contexts and perturbations, as many as there is room for."""
    from matplotlib.font_manager import FontProperties

    points = FontProperties(size="small").get_size_in_points() * 1.15
    room = _room(ax) / points
    for names, n, set_ticks, options in (
        (values.index, room[0], ax.set_yticks, {}),
        (values.columns, room[1], ax.set_xticks, {"rotation": 90}),
    ):
        step = int(np.ceil(len(names) / max(n, 1)))
        places = np.arange(0, len(names), step)
        texts = [shown(names[i], _LENGTH) for i in places]
        set_ticks(places, texts, fontsize="small", parse_math=False, **options)
    if step > 1:
        ax.set_xlabel(f"1 in {step} perturbations is named")
