"""Draw what intervals cover against what they say."""

import numpy as np

from sklperturb.inspection._figure import (
    BAND,
    COLOURS,
    GREY,
    MARKERS,
    Display,
    counted,
    legend_below,
    make_axes,
    shown,
    text_colour,
    title,
)
from sklperturb.uncertainty._conformal_coverage import coverage_curve, coverage_of

# More groups have no names, which would take more room than the curves.
_MOST_NAMED = 10
_SIDE = 5  # inches
# The group of all rows.
_WHOLE = "all"


class CoverageDisplay(Display):
    """Plot the coverage of intervals against their confidence.

    On the diagonal intervals cover what they say; below it they are too narrow, above
    it wider than need be.

    Parameters
    ----------
    curve : DataFrame
        As returned by `coverage_curve`.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    See Also
    --------
    coverage_curve : The table that is drawn.

    Examples
    --------
    >>> from sklperturb.datasets import make_chemical_screen
    >>> from sklperturb.inspection import ConformalRegressor, CoverageDisplay
    >>> screen = make_chemical_screen(4, 40, 50, random_state=0)
    >>> model = ConformalRegressor().fit(screen.X, screen.y)
    >>> display = CoverageDisplay.from_estimator(
    ...     model, screen.X_test, screen.y_test
    ... )  # doctest: +SKIP
    """

    def __init__(self, curve):
        self.curve = curve

    @classmethod
    def from_estimator(cls, estimator, X, y, *, by=None, cv=None, ax=None, **options):
        """Measure the coverage of rows that were not fitted, and draw it.

        Parameters
        ----------
        estimator : ConformalRegressor
            Fitted, or with `cv` one that is fitted on each fold.
        X : DataFrame or array-like of shape (n_samples, n_columns)
            Conditions whose responses are known.
        y : array-like of shape (n_samples,) or (n_samples, n_genes)
            Responses.
        by : {"context", "kind"} or None, default=None
            What to tell apart besides all rows.
        cv : splitter or iterable, default=None
            Folds to hold out.
        ax : matplotlib Axes, default=None
            None makes a figure.
        **options : dict
            Others of `coverage_curve`.

        Returns
        -------
        display : CoverageDisplay
        """
        return cls(coverage_curve(estimator, X, y, by=by, cv=cv, **options)).plot(ax)

    @classmethod
    def from_predictions(
        cls, y_true, intervals, *, perturbations=None, groups=None, ax=None
    ):
        """Measure the coverage of intervals from anywhere, and draw it.

        Parameters
        ----------
        y_true : array-like of shape (n_samples,) or (n_samples, n_genes)
            Responses.
        intervals : dict of {float: tuple (lower, upper)}
            Ends of the intervals, of the shape of `y_true`, by confidence.
        perturbations : array-like of shape (n_samples,), default=None
            The perturbation of each row, which counts once; None takes rows for
            different ones.
        groups : array-like of shape (n_samples,), default=None
            What to tell apart besides all rows, such as the contexts.
        ax : matplotlib Axes, default=None
            None makes a figure.

        Returns
        -------
        display : CoverageDisplay

        Raises
        ------
        ValueError
            If the shapes differ, or a confidence is not between 0 and 1.
        """
        curve = coverage_of(
            y_true, intervals, perturbations=perturbations, groups=groups
        )
        return cls(curve).plot(ax)

    def plot(self, ax=None):
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None makes a figure.

        Returns
        -------
        self : CoverageDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        groups = self.curve["group"].unique()
        names = [group for group in groups if group != _WHOLE]
        named = len(names) <= _MOST_NAMED
        # The legend below has a line for each, and one for all rows.
        n_lines = 1 + (len(names) if named else 1)
        height = _SIDE + (0.3 * n_lines if names else 0)
        (ax,) = make_axes(ax, 1, 1, figsize=(_SIDE, height))
        ax.plot([0, 1], [0, 1], color=GREY, linestyle=":", zorder=0)
        whole = self.curve[self.curve["group"] == _WHOLE]
        if len(whole):
            style = {"color": text_colour(), "marker": "o", "zorder": 3}
            _draw(ax, whole, _label(whole), linewidth=2, **style)
            if _has_band(whole):
                ends = whole["low"].clip(0, 1), whole["high"].clip(0, 1)
                ax.fill_between(whole["confidence"], *ends, **BAND)
        for i, name in enumerate(names):
            rows = self.curve[self.curve["group"] == name]
            if named:
                label, colour = _label(rows), COLOURS[i % len(COLOURS)]
                marker = MARKERS[i % len(MARKERS)]
            else:
                # All have one name, which the first gives.
                label = "_" if i else counted(len(names), "group")
                colour, marker = GREY, "."
            _draw(ax, rows, label, linewidth=1, color=colour, marker=marker)
        ax.set(
            xlim=(0, 1),
            ylim=(0, 1),
            xlabel="confidence",
            ylabel="share of entries covered",
        )
        if names:
            legend_below(ax, 1, heading="n: perturbations")
        title(ax, _caption(whole))
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _draw(ax, rows, label, **style):
    """Draw the curve of one group."""
    x, y = rows["confidence"], rows["coverage"]
    ax.plot(x, y, markersize=4, label=label, clip_on=False, **style)


def _label(rows):
    """Return the name of a group, and how many perturbations it has."""
    first = rows.iloc[0]
    return f"{shown(first['group'])} (n = {first['n_perturbations']:,})"


def _has_band(rows):
    """Return whether the interval over perturbations is known."""
    return bool(np.isfinite(rows[["low", "high"]].to_numpy(dtype=float)).any())


def _caption(whole):
    """Return what was asked, and what the band is."""
    if not len(whole):
        return ""
    first = whole.iloc[0]
    rows, units = first[["n_rows", "n_perturbations"]]
    caption = f"{counted(rows, 'row')} of {counted(units, 'perturbation')}"
    if not _has_band(whole):
        return f"{caption}\nNo band: too few for an interval"
    return f"{caption}\nBand: 95 % interval over perturbations"
