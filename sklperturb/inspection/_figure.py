"""What all plots have in common: axes, colours, names, sources of predictions."""

import warnings

import numpy as np
from sklearn.pipeline import Pipeline

from sklperturb.comparison import compare
from sklperturb.comparison._comparison import check_compared
from sklperturb.conditions._frames import as_pandas
from sklperturb.conditions._named_predictions import predict_genes_of
from sklperturb.metrics._checks import without_annotation
from sklperturb.utils._choices import one_of
from sklperturb.utils._optional import import_extra
from sklperturb.utils._printable import printable

# Okabe and Ito's colours that can be told apart on white and on black, by readers who
# see fewer colours too, doi:10.1038/nmeth.1618. Markers tell them apart in grey.
BLUE, VERMILLION = "#0072B2", "#D55E00"
COLOURS = (BLUE, VERMILLION, "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
MARKERS = "osD^vPX*"
GREY = "0.5"  # on white and on black
# An interval behind what is drawn.
BAND = {"color": GREY, "alpha": 0.2, "linewidth": 0, "zorder": 0}
# From here on, points become one picture in a vector file, which opens slowly else.
MANY_POINTS = 2000
# The largest is this often the median: linear scales then show little of the others.
SKEWED = 8
_SIDES = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1))


def make_axes(axes, n_rows, n_columns, **options):
    """Return the axes given, or those of a new figure, as an array and without frames.

    Raises
    ------
    ImportError
        If a figure is needed and matplotlib is not installed.
    """
    if axes is None:
        try:
            from matplotlib import pyplot
        except ImportError as error:
            raise ImportError(
                'Plots need matplotlib; run: pip install "sklperturb[plot]"'
            ) from error
        _, axes = pyplot.subplots(n_rows, n_columns, layout="constrained", **options)
    axes = np.ravel(axes)
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
    return axes


def text_colour():
    """Return the colour of text in the style in use, which is white on black ones."""
    from matplotlib import rcParams

    return rcParams["text.color"]


def shown(name, length=28):
    """Return a name as a label can hold it; draw it with ``parse_math=False``."""
    return printable(str(name), length=length)


def spans_decades(values):
    """Return whether a few values are so large that logarithms show the others."""
    values = np.asarray(values, dtype=float)
    values = values[np.isfinite(values)]
    return (
        bool(len(values))
        and 0 < values.min()
        and values.max() > SKEWED * np.median(values)
    )


def log_axis(axis, low, high):
    """Give an axis a logarithmic scale, labelled with plain numbers.

    Parameters
    ----------
    axis : matplotlib Axis
        Of axes or a colour bar.
    low, high : float
        Ends of what it shows.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    subs = (1, 2, 5) if high < 100 * low else (1,)
    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axis.set_minor_formatter(NullFormatter())


def legend_above(ax, handles, title, n_columns):
    """Put a legend between the title and the plot, neither of which it covers."""
    ax.set_title(
        *(title,),
        loc="left",
        fontsize="medium",
        parse_math=False,
        pad=20 if handles else None,
    )
    if handles:
        legend = ax.legend(
            handles=handles,
            loc="lower right",
            bbox_to_anchor=(1, 0.98),
            ncols=n_columns,
            frameon=False,
            fontsize="small",
            columnspacing=1,
            handletextpad=0.4,
        )
        for text in legend.get_texts():
            text.set_parse_math(False)


def counted(n, noun):
    """Return a number with its noun, such as ``1 row`` or ``1,200 rows``."""
    return f"{n:,} {noun}" + ("" if n == 1 else "s")


def predicted_label(unit, held_out, what="predicted"):
    """Return the label of an axis of predictions."""
    return f"{what} {unit}" + (", held out" if held_out else "")


def score_label(metric, unit):
    """Return the label of an axis of scores of rows: what, in which unit, which way."""
    what = metric.description.removeprefix("mean rowwise ")
    better = "higher" if metric.greater_is_better else "lower"
    # Correlations have no unit.
    of = "" if metric.greater_is_better else f" of {unit}"
    return f"{what}{of}\n({better} is better)"


def metric_label(name, greater_is_better, *, wrap=False):
    """Return a metric as an axis shows it, and which end is better.

    Parameters
    ----------
    name : str or None
    greater_is_better : bool or None
        None where that is not known.
    wrap : bool, default=False
        Use two lines.

    Examples
    --------
    >>> from sklperturb.inspection._figure import metric_label
    >>> metric_label("mrrmse", False), metric_label("spearman", True)
    ('MRRMSE (lower is better)', 'Spearman (higher is better)')
    """
    name = name or "score"
    if name in ("mrrmse", "mrmae", "wmse"):
        name = name.upper()
    else:
        name = name[:1].upper() + name[1:].replace("_", " ")
    if greater_is_better is None:
        return name
    better = "higher" if greater_is_better else "lower"
    return f"{name}{chr(10) if wrap else ' '}({better} is better)"


def title(ax, text, **options):
    """Put a title above the left end of an axis, in the size of its labels.

    A "$" in it begins no formula.
    """
    return ax.set_title(
        text, loc="left", fontsize="medium", parse_math=False, **options
    )


def legend_below(ax, n_columns=4, heading=None):
    """Put the legend of an axis where it covers nothing."""
    legend = ax.legend(
        loc="upper right",
        bbox_to_anchor=(1, -0.18),
        ncols=n_columns,
        frameon=False,
        title=heading,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)


class Display:
    """What all displays share: a notebook shows what they are, and no address."""

    def __repr__(self):
        return f"<{type(self).__name__}>"


class PredictionDisplay(Display):
    """Ways to a display from what predicts; the subclass has `from_predictions`."""

    @classmethod
    def from_estimator(cls, estimator, X, y, *, cv=None, schema=None, **options):
        """Predict with an estimator, and draw.

        Parameters
        ----------
        estimator : estimator or str
            Fitted, or with `cv` not yet; a string is the name of a registered model,
            which needs `cv`.
        X : DataFrame of shape (n_samples, n_columns)
            Conditions.
        y : array-like, DataFrame or AnnData of shape (n_samples, n_genes)
            Measured responses.
        cv : int, splitter or iterable, default=None
            Folds. Each row is then predicted by a clone that was fitted without it,
            and rows that no fold holds out are left out. None predicts all rows of `X`
            with the estimator as it is fitted; rows that it was fitted on look better
            than new ones.
        schema : PerturbationSchema, default=None
            Roles of the columns. None infers them from the column names.
        **options
            Further parameters of `from_predictions`.

        Returns
        -------
        display : instance of the class
            Drawn.

        Raises
        ------
        ImportError
            If matplotlib is not installed; before anything is fitted.
        ValueError
            If a name is given without `cv`.
        """
        import_extra(f"{cls.__name__}.from_estimator", "plot", "matplotlib")
        name = name_of(estimator)
        if cv is not None:
            comparison = _held_out(name, estimator, X, y, cv, schema)
            return cls.from_comparison(comparison, X, y, name, schema=schema, **options)
        if isinstance(estimator, str):
            raise ValueError(
                f"{estimator!r} is the name of a model, which is not fitted. Pass cv= "
                "to have it fitted on folds, or a fitted estimator."
            )
        options = {"name": name} | options
        y_pred = predict_genes_of(estimator, X, y)
        return cls.from_predictions(y, y_pred, X=X, schema=schema, **options)

    @classmethod
    def from_comparison(cls, comparison, X, y, model, *, schema=None, **options):
        """Draw the held-out predictions of one model that was compared.

        Parameters
        ----------
        comparison : Comparison
            Of ``compare(..., return_predictions=True)``.
        X, y : as given to `compare`
        model : str
            The name of the model there.
        schema : PerturbationSchema, default=None
            Roles of the columns. None infers them from the column names.
        **options
            Further parameters of `from_predictions`.

        Returns
        -------
        display : instance of the class
            Drawn.

        Raises
        ------
        ValueError
            If predictions were not kept, are of other rows, or there is no such model.
        """
        y_pred = predictions_of(comparison, X, y, model)
        options = {"name": model, "held_out": True} | options
        return cls.from_predictions(y, y_pred, X=X, schema=schema, **options)


def predictions_of(comparison, X, y, model):
    """Return the held-out predictions of a model, NaN for rows that none holds out."""
    if not comparison.predictions:
        raise ValueError(
            "The comparison holds no predictions; call compare(..., "
            "return_predictions=True)."
        )
    one_of(model, comparison.predictions, "model of this comparison")
    check_compared(comparison, X, y)
    return comparison.predictions[model]


def name_of(estimator):
    """Return the name to show of an estimator: that of the last step of a pipeline."""
    if isinstance(estimator, str):
        return estimator
    if isinstance(estimator, Pipeline) and estimator.steps:
        return type(estimator.steps[-1][1]).__name__
    return type(estimator).__name__


def _held_out(name, estimator, X, y, cv, schema):
    """Return a comparison of one model with nothing, for its predictions."""
    with warnings.catch_warnings():
        # No interval is shown.
        warnings.filterwarnings("ignore", ".*Intervals resample")
        return compare(
            {name: estimator},
            as_pandas(X),
            # Models of rows fit tables, not an AnnData.
            without_annotation(y),
            cv=cv,
            baselines=None,
            schema=schema,
            n_resamples=1,
            return_predictions=True,
        )


def draw_points(ax, x, y, noun):
    """Draw points that have no names or, of many, hexagons that hold several."""
    if len(x) <= MANY_POINTS:
        style = {"color": text_colour(), "alpha": 0.3, "markeredgewidth": 0}
        return ax.plot(x, y, "o", markersize=4, label=f"a {noun}", **style)[0]
    from matplotlib.colors import LinearSegmentedColormap, to_rgba

    ends = [to_rgba(text_colour(), alpha) for alpha in (0.15, 0.9)]
    shades = LinearSegmentedColormap.from_list("points", ends)
    options = {"gridsize": 60, "bins": "log", "mincnt": 1, "linewidths": 0.1}
    hexagons = ax.hexbin(x, y, cmap=shades, rasterized=True, **options)
    bar = ax.figure.colorbar(hexagons, ax=ax, label=f"{noun}s per hexagon", shrink=0.6)
    bar.outline.set_visible(False)
    return hexagons


def name_points(ax, x, y, names):
    """Write names beside points, where they cover no other name and few points.

    Parameters
    ----------
    ax : matplotlib Axes
        With all else drawn.
    x, y : ndarray of shape (n_points,)
    names : dict of int to str
        By the position of the point, the most important one first.

    Returns
    -------
    labels : dict of int to matplotlib Annotation
        Without those that found no room.
    """
    from matplotlib.text import Text

    # Lays out the figure, so that places are known.
    ax.figure.canvas.figure.draw_without_rendering()
    per_point = ax.figure.canvas.figure.dpi / 72
    places = ax.transData.transform(np.column_stack([x, y]))
    bounds = _box(ax.get_window_extent().padded(-2))
    legend = ax.get_legend()
    taken = [] if legend is None else [_box(legend.get_window_extent())]
    taken += [np.r_[places[i] - 4, places[i] + 4] for i in names]
    labels = {}
    for i, name in names.items():
        label = ax.annotate(
            name,
            (x[i], y[i]),
            xytext=(0, 0),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize="small",
            parse_math=False,
            arrowprops={"arrowstyle": "-", "linewidth": 0.6, "color": text_colour()},
            zorder=4,
        )
        label.set_in_layout(False)
        # Of the text alone, without the line to its point.
        extent = Text.get_window_extent(label)
        half = np.array([extent.width, extent.height]) / 2
        shift = _find_room(places, i, half, taken, bounds, per_point)
        if shift is None:
            label.remove()
            continue
        label.set_position(shift / per_point)
        # A name beside its point needs no line to it.
        if (np.abs(shift) < half + 9 * per_point).all():
            label.arrow_patch.set_visible(False)
        taken.append(np.r_[places[i] + shift - half, places[i] + shift + half])
        labels[i] = label
    return labels


def _find_room(places, i, half, taken, bounds, per_point):
    """Return the shift of a name from its point, or None if there is no room.

    Boxes are (left, bottom, right, top), and `half` is half the width and the height
    of the name, all in pixels.
    """
    best, lowest = None, np.inf
    for gap in np.array([5, 10, 18, 28, 42, 60]) * per_point:
        for right, up in _SIDES:
            shift = np.array([right, up]) * (half + gap)
            box = np.r_[places[i] + shift - half, places[i] + shift + half]
            inside = (box[:2] >= bounds[:2]).all() and (box[2:] <= bounds[2:]).all()
            if not inside or any(_overlap(box, other) for other in taken):
                continue
            covered = (places > box[:2]).all(axis=1) & (places < box[2:]).all(axis=1)
            # Ten covered points are as bad as a point's width further away.
            cost = covered.sum() / 10 + gap / per_point / 6
            if cost < lowest:
                best, lowest = shift, cost
    return best


def _overlap(box, other):
    return (box[:2] < other[2:]).all() and (other[:2] < box[2:]).all()


def _box(extent):
    return np.array([extent.x0, extent.y0, extent.x1, extent.y1])
