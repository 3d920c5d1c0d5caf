"""Whether predicted responses are as strong as measured ones."""

import numpy as np
import pandas as pd
from scipy.stats import t as student

from sklperturb.inspection._figure import (
    COLOURS,
    MANY_POINTS,
    MARKERS,
    PredictionDisplay,
    counted,
    log_axis,
    make_axes,
    predicted_label,
    shown,
    spans_decades,
    text_colour,
)
from sklperturb.inspection._row_errors import read_rows
from sklperturb.metrics._checks import finite_pair
from sklperturb.metrics._effects import _reference
from sklperturb.utils._choices import one_of

KINDS = ("aligned", "strength")
SCALES = ("auto", "linear", "log")
ALL = "all contexts"
# With more, colours and lines are too many, and all contexts share one.
MAX_CONTEXTS = 16


class EffectSizeDisplay(PredictionDisplay):
    r"""Plot the measured strength of every row against the predicted one.

    A model that learns with a penalty predicts responses that are too weak, others
    overshoot. Each row, which is one condition, is a point; contexts differ in colour
    and marker, and each has a line through the origin, whose slope the legend gives.
    On the dashed line both are equal.

    The strength of a response :math:`y` of :math:`n` genes is its root mean square
    :math:`\sqrt{\sum_j y_j^2 / n}`. Of the measured response, the part along the
    predicted one :math:`\hat y` is drawn,

    .. math:: \frac{\sum_j y_j \hat y_j}{n \sqrt{\sum_j \hat y_j^2 / n}} ,

    and the slope of its line is the factor by which predictions would have to be
    multiplied for the least squared error: 1 is calibrated, above 1 predictions are too
    weak, below too strong, and 0 is a prediction that has nothing to do with the
    measurement. Noise leaves that slope as it is. It does make measurements stronger:
    with ``kind="strength"``, which takes the whole measured strength, a perfect model
    has a slope above 1.

    Draw one with `from_estimator`, `from_predictions` or `from_comparison`.

    Parameters
    ----------
    rows : DataFrame
        One row for each that is predicted, with the columns ``perturbation``,
        ``predicted``, ``aligned`` and ``strength`` (of the measured response, along the
        prediction and as a whole) and where it is known ``context``.
    unit : str, default="response"
        What `y` holds, such as "signed -log10 p".
    name : str, default=None
        Name of the model.
    held_out : bool, default=False
        Whether the model was fitted without these rows; the axis says so.
    confidence : float, default=0.95
        Level of the intervals of slopes.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    points_, lines_ : dict of str to matplotlib artist
        By context.
    line_ : matplotlib artist
        Where both are equal.

    See Also
    --------
    SignatureDisplay : One row, gene by gene.
    sklperturb.ensemble.WeightedErrorRegressor : Learns such a factor out of fold.

    Notes
    -----
    Intervals are from a jackknife over perturbations, since rows of one perturbation
    rise and fall together, and hold for new perturbations in these contexts. Their
    quantile is that of Student's t, with as many degrees of freedom as there would be
    if perturbations were equally strong, since a few strong ones decide the slope.
    There is no interval for fewer than three perturbations. A slope of rows that the
    model was fitted on says little: pass ``cv``.

    Examples
    --------
    >>> from sklperturb.baseline import AdditiveRegressor
    >>> from sklperturb.datasets import make_chemical_screen
    >>> from sklperturb.inspection import EffectSizeDisplay
    >>> screen = make_chemical_screen(4, 20, 50, random_state=0)
    >>> model = AdditiveRegressor().fit(screen.X, screen.y)
    >>> display = EffectSizeDisplay.from_estimator(
    ...     model, screen.X_test, screen.y_test
    ... )
    >>> display.slopes()[["n_rows", "slope", "low", "high"]].round(2)
                   n_rows  slope   low  high
    context
    B cells            16   0.14  0.06  0.21
    Myeloid cells      16   0.21  0.12  0.30
    all contexts       32   0.17  0.10  0.25
    """

    def __init__(
        self, *, rows, unit="response", name=None, held_out=False, confidence=0.95
    ):
        self.rows = rows
        self.unit = unit
        self.name = name
        self.held_out = held_out
        self.confidence = confidence

    @classmethod
    def from_predictions(
        cls,
        y_true,
        y_pred,
        *,
        X,
        schema=None,
        reference=None,
        unit="response",
        name=None,
        held_out=False,
        confidence=0.95,
        kind="aligned",
        scale="auto",
        ax=None,
    ):
        """Compute the strength of every row, and draw.

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
        reference : array-like of shape (n_genes,), default=None
            Expression of controls, to be subtracted where `y` is expression and not
            its change.
        unit : str, default="response"
            What `y` holds, such as "signed -log10 p".
        name : str, default=None
            Name of the model.
        held_out : bool, default=False
            Whether the model was fitted without these rows.
        confidence : float, default=0.95
            Level of the intervals of slopes.
        kind, scale, ax : optional
            See `plot`.

        Returns
        -------
        display : EffectSizeDisplay
            Drawn.

        Raises
        ------
        ValueError
            If shapes or genes differ, or no row is predicted.
        """
        rows = measure_strengths(y_true, y_pred, X, schema, reference)
        display = cls(
            rows=rows, unit=unit, name=name, held_out=held_out, confidence=confidence
        )
        return display.plot(ax, kind=kind, scale=scale)

    def slopes(self, kind="aligned"):
        """Return the slope of each context's line, with its interval.

        Parameters
        ----------
        kind : {"aligned", "strength"}, default="aligned"
            What of the measured response is regressed on the predicted strength.

        Returns
        -------
        slopes : DataFrame
            Indexed by context, the last row being all of them, with the columns
            ``n_rows``, ``n_perturbations``, ``slope``, ``low`` and ``high``.
        """
        one_of(kind, KINDS, "kind of strength")
        parts = {}
        if "context" in self.rows:
            parts = dict(list(self.rows.groupby("context")))
        if len(parts) != 1:
            parts[ALL] = self.rows
        found = {c: _slope(part, kind, self.confidence) for c, part in parts.items()}
        return pd.DataFrame.from_dict(found, orient="index").rename_axis("context")

    def plot(self, ax=None, *, kind="aligned", scale="auto"):
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None makes a figure.
        kind : {"aligned", "strength"}, default="aligned"
            Draw the measured response along the prediction, or its whole strength.
        scale : {"auto", "linear", "log"}, default="auto"
            "auto" takes logarithms where a few rows are much stronger than the others.
            Rows that are far weaker or not above 0 are then drawn hollow at the edge.

        Returns
        -------
        self : EffectSizeDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        one_of(scale, SCALES, "scale")
        slopes = self.slopes(kind)
        height = 4.6 + 0.19 * min(len(slopes), MAX_CONTEXTS + 1)
        (ax,) = make_axes(ax, 1, 1, figsize=(6.4, height))
        x, y = self.rows["predicted"].to_numpy(), self.rows[kind].to_numpy()
        skewed = spans_decades(x[x > 0]) or spans_decades(y[y > 0])
        is_log = scale == "log" or (scale == "auto" and skewed)
        end = max(x.max(), y.max(), 0)
        low = np.array([_start(x), _start(y)] if is_log else [-np.inf, -np.inf])
        ends = np.array([low[0] if is_log else 0, end])
        style = {"color": text_colour(), "alpha": 0.6, "linestyle": "--"}
        (self.line_,) = ax.plot(
            ends, ends, linewidth=1, **style, zorder=1, label="equal: slope 1"
        )
        self.points_, self.lines_ = {}, {}
        several = 1 < len(slopes) <= MAX_CONTEXTS + 1
        drawn = slopes[:-1] if several else slopes[-1:]
        for i, (context, found) in enumerate(drawn.iterrows()):
            own = self.rows["context"] == context if several else x == x
            place = np.column_stack([x, y])[np.asarray(own)]
            self._draw(ax, context, found, place, low, i)
        if is_log:
            ax.set(xscale="log", yscale="log")
            for axis, start in zip((ax.xaxis, ax.yaxis), low, strict=True):
                log_axis(axis, start, end)
            ax.set(xlim=(low[0], 1.15 * end), ylim=(low[1], 1.15 * end))
        n_below = int(((x < low[0]) | (y < low[1])).sum())
        self._say_what(ax, slopes, kind, several, n_below)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _draw(self, ax, context, found, place, low, number):
        """Draw the rows of one context, and its line.

        Parameters
        ----------
        found : Series
            Row of `slopes`.
        place : ndarray of shape (n_rows, 2)
            Predicted and measured strength.
        low : ndarray of shape (2,)
            Where the axes start; what is below is drawn hollow at their edge.
        number : int
            Of the context, for its colour and its marker.
        """
        colour = COLOURS[number % len(COLOURS)]
        marker = MARKERS[number % len(MARKERS)]
        (self.points_[context],) = ax.plot(
            *place.T,
            marker,
            color=colour,
            alpha=0.6,
            markersize=4,
            markeredgewidth=0,
            rasterized=len(self.rows) > MANY_POINTS,
            label=_say(context, found),
        )
        ends = np.array([max(low[0], 0), place[:, 0].max()])
        (self.lines_[context],) = ax.plot(ends, ends * found["slope"], color=colour)
        below = place[(place < low).any(axis=1)]
        if len(below):
            style = {"color": colour, "fillstyle": "none", "markersize": 4}
            ax.plot(*np.maximum(below, low).T, marker, **style, clip_on=False)

    def _say_what(self, ax, slopes, kind, several, n_below):
        """Write title, labels of the axes and the legend with the slopes."""
        if several:
            ax.plot([], [], " ", label=_say(ALL, slopes.loc[ALL]))
        part = "along the prediction" if kind == "aligned" else "as a whole"
        label = predicted_label("strength", self.held_out)
        ax.set_xlabel(f"{label}\n(root mean square {self.unit})", parse_math=False)
        ax.set_ylabel(f"measured strength {part}", parse_math=False)
        said = counted(len(self.rows), "row")
        said += f", {n_below} of them below the axes (hollow)" if n_below else ""
        name = "" if self.name is None else f"{shown(self.name, 50)}\n"
        ax.set_title(name + said, loc="left", fontsize="medium", parse_math=False)
        legend = ax.legend(
            loc="upper left",
            bbox_to_anchor=(0, -0.18),
            frameon=False,
            fontsize="small",
            title=f"slope ({self.confidence:.0%} interval over perturbations), rows",
            title_fontsize="small",
            alignment="left",
        )
        for text in legend.get_texts():
            text.set_parse_math(False)


def _start(values):
    """Return where a logarithmic axis starts: below all but a few positive values."""
    values = values[values > 0]
    return np.percentile(values, 2.5) / 1.3 if len(values) else 1.0


def _say(context, found):
    """Return a line of the legend: a slope, its interval and what it rests on."""
    between = f" ({found['low']:.2f} to {found['high']:.2f})"
    between = between if np.isfinite(found["low"]) else ""
    slope, n_rows = found["slope"], found["n_rows"]
    # matplotlib leaves out what starts with an underscore.
    blank = " " * str(context).startswith("_")
    return f"{blank}{shown(context, 24)}: {slope:.2f}{between}, n = {n_rows:.0f}"


def measure_strengths(y_true, y_pred, X, schema=None, reference=None):
    """Return the rows of an EffectSizeDisplay: those that are predicted.

    Parameters are those of `EffectSizeDisplay.from_predictions`.
    """
    labels, truth, prediction, is_predicted = read_rows(y_true, y_pred, X, schema)
    truth, prediction = finite_pair(truth[is_predicted], prediction[is_predicted])
    if reference is not None:
        reference = _reference(truth, reference)
        truth, prediction = truth - reference, prediction - reference
    rows = labels[is_predicted].reset_index(drop=True)
    predicted = strengths(prediction)
    product = np.einsum("ij,ij->i", truth, prediction) / truth.shape[1]
    rows["predicted"] = predicted
    rows["aligned"] = np.divide(
        product, predicted, out=np.zeros_like(product), where=predicted > 0
    )
    rows["strength"] = strengths(truth)
    return rows


def strengths(values):
    """Return the root mean square of each row."""
    return np.sqrt(np.einsum("ij,ij->i", values, values) / values.shape[1])


def _slope(rows, kind, confidence):
    """Return the slope of a line through the origin, with a jackknife interval."""
    x, y = rows["predicted"], rows[kind]
    sums = pd.DataFrame({"xy": x * y, "xx": x * x, "key": rows["perturbation"]})
    sums = sums.groupby("key").sum()
    total = sums.sum()
    n = len(sums)
    slope = total["xy"] / total["xx"] if total["xx"] > 0 else np.nan
    low = high = np.nan
    left = total["xx"] - sums["xx"]
    if n >= 3 and (left > 0).all():
        without = (total["xy"] - sums["xy"]) / left
        error = np.sqrt((n - 1) / n * ((without - without.mean()) ** 2).sum())
        # A slope rests on the strong rows; so many equal ones would weigh as much.
        n_effective = total["xx"] ** 2 / (sums["xx"] ** 2).sum()
        reach = student.ppf((1 + confidence) / 2, max(n_effective - 1, 1)) * error
        low, high = slope - reach, slope + reach
    return {
        "n_rows": len(rows),
        "n_perturbations": n,
        "slope": slope,
        "low": low,
        "high": high,
    }
