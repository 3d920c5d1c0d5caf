"""Draw what intervals cover against what they say."""

import numpy as np

from sklperturb.inspection._figure import make_axes
from sklperturb.uncertainty._conformal_coverage import coverage_curve, coverage_of
from sklperturb.utils._printable import printable

# More groups than there are colours are drawn without their names.
_MOST_NAMED = 10


class CoverageDisplay:
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
        (ax,) = make_axes(ax, 1, 1, figsize=(5, 4.5))
        ax.plot([0, 1], [0, 1], color="0.6", linestyle=":", zorder=0)
        groups = list(self.curve["group"].unique())
        few = len(groups) <= 1 + _MOST_NAMED
        for group in groups:
            rows = self.curve[self.curve["group"] == group]
            whole = group == "all"
            name = f"{printable(str(group))} (n = {rows['n_perturbations'].iloc[0]})"
            if not whole and not few:
                # All of the others have one name, which the first of them gives.
                name = "_" if group != groups[1] else f"{len(groups) - 1} groups"
            (line,) = ax.plot(
                rows["confidence"],
                rows["coverage"],
                color="black" if whole else None if few else "0.7",
                linewidth=2 if whole else 1,
                marker="o",
                markersize=4 if whole else 3,
                label=name,
                zorder=3 if whole else 2,
                clip_on=False,
            )
            if whole and np.isfinite(rows[["low", "high"]].to_numpy()).all():
                ax.fill_between(
                    rows["confidence"],
                    rows["low"].clip(0, 1),
                    rows["high"].clip(0, 1),
                    color=line.get_color(),
                    alpha=0.15,
                    linewidth=0,
                )
        ax.set(
            xlim=(0, 1),
            ylim=(0, 1),
            xlabel="confidence",
            ylabel="share of entries covered",
            aspect="equal",
        )
        if len(groups) > 1:
            legend = ax.legend(frameon=False, fontsize="small", title="perturbations")
            for text in legend.get_texts():  # a "$" in a name begins no formula
                text.set_parse_math(False)
        self.ax_, self.figure_ = ax, ax.figure
        return self
