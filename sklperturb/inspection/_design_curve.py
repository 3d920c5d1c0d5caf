"""Error that is left against how many experiments were chosen."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from sklperturb.inspection._figure import (
    COLOURS,
    MARKERS,
    Display,
    make_axes,
    metric_label,
    shown,
)
from sklperturb.utils._choices import one_of

# Repeats from which the middle 95 % can be told.
_FEWEST_REPEATS = 5


class DesignCurveDisplay(Display):
    """Plot the error that is left against how many experiments were chosen.

    One curve for each way of choosing. It tells how many experiments are worth their
    money, and what a design saves: read along a height, the curve further left reaches
    the same error with fewer experiments.

    Use `from_plans` for what `sklperturb.model_selection.suggest_experiments` expects.
    For errors that were measured, make one of a table.

    Parameters
    ----------
    table : DataFrame
        One row for each ``design``, number of experiments ``n`` and, where there are
        several, repeat: ``value`` in the metric's own sign. Columns ``low`` and
        ``high``, where there are any, are ends of its interval.
    metric : str, default="mrrmse"
        Name of the metric.
    greater_is_better : bool, default=False
    unit : str, default="experiments"
        What is counted.
    expected : bool, default=False
        Whether values are what a model expects, and not measured.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    summary_ : DataFrame
        What is drawn: for each ``design`` and ``n``, the mean ``value`` over repeats,
        and ``low`` and ``high``; of repeats without these, the middle 95 % of five or
        more, and NaN of fewer.

    See Also
    --------
    PerturbationLearningCurveDisplay : By how many perturbations, chosen at random.

    Examples
    --------
    >>> from sklperturb.datasets import make_chemical_screen
    >>> from sklperturb.inspection import DesignCurveDisplay
    >>> from sklperturb.linear_model import ProductKernelRidge
    >>> from sklperturb.model_selection import suggest_experiments
    >>> screen = make_chemical_screen(4, 20, 50, n_shared=5, random_state=0)
    >>> asked = ProductKernelRidge(), screen.X, screen.y, screen.X_test, 10
    >>> plan = suggest_experiments(*asked)
    >>> display = DesignCurveDisplay.from_plans({"chosen": plan})  # doctest: +SKIP
    >>> display.summary_["n"].max()  # doctest: +SKIP
    10
    """

    def __init__(
        self,
        *,
        table,
        metric="mrrmse",
        greater_is_better=False,
        unit="experiments",
        expected=False,
    ):
        self.table = table
        self.metric = metric
        self.greater_is_better = greater_is_better
        self.unit = unit
        self.expected = expected

    @classmethod
    def from_plans(cls, plans, *, by="n", ax=None):
        """Draw the error that each plan expects to be left.

        Parameters
        ----------
        plans : DataFrame or dict of str to DataFrame
            As `suggest_experiments` returns them, by the names to show.
        by : {"n", "cost"}, default="n"
            What is on the horizontal axis.
        ax : matplotlib Axes, default=None
            None makes a figure.

        Returns
        -------
        display : DesignCurveDisplay
            The band is the interval of the calibration, where there is one.

        Raises
        ------
        ValueError
            If a plan expects nothing, as those of designs that ask no model.
        ImportError
            If matplotlib is not installed.
        """
        one_of(by, ("n", "cost"), "by")
        plans = plans if isinstance(plans, Mapping) else {"chosen": plans}
        parts = [_expected(name, plan, by) for name, plan in plans.items()]
        unit = "cost" if by == "cost" else "experiments"
        table = pd.concat(parts, ignore_index=True)
        return cls(table=table, unit=unit, expected=True).plot(ax)

    def plot(self, ax=None):
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None makes a figure.

        Returns
        -------
        self : DesignCurveDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        (ax,) = make_axes(ax, 1, 1, figsize=(6, 4.2))
        self.summary_ = _summarise_designs(self.table)
        before = len(ax.lines)
        for i, (design, rows) in enumerate(self.summary_.groupby("design", sort=False)):
            colour = COLOURS[(before + i) % len(COLOURS)]
            marker = MARKERS[(before + i) % len(MARKERS)] if len(rows) < 20 else ""
            at = rows["n"], rows["value"]
            ax.plot(*at, marker=marker, color=colour, label=shown(design))
            band = {"color": colour, "alpha": 0.18, "linewidth": 0}
            ax.fill_between(rows["n"], rows["low"], rows["high"], **band)
        sizes = np.unique(self.summary_["n"])
        first = sizes[sizes > 0].min() if (sizes > 0).any() else 1
        if sizes.max() > 16 * first and len(sizes) < 20:
            from matplotlib.ticker import NullLocator, ScalarFormatter

            # Doublings side by side, and none at all, too.
            ax.set_xscale("symlog", linthresh=first, linscale=1, base=2)
            ax.set_xticks(_apart(sizes))
            ax.xaxis.set_major_formatter(ScalarFormatter())
            ax.xaxis.set_minor_locator(NullLocator())
        ax.set_xlabel("cost" if self.unit == "cost" else f"{self.unit} chosen")
        label = metric_label(self.metric, self.greater_is_better)
        ax.set_ylabel(f"expected {label}" if self.expected else label)
        for text in ax.legend(frameon=False).get_texts():
            text.set_parse_math(False)
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _expected(name, plan, by):
    """Return the curve of a plan, from what is expected before any choice."""
    begun = plan.attrs.get("expected_error", np.nan)
    values = np.r_[begun, plan["expected_error"]]
    if not np.isfinite(values).all():
        raise ValueError(
            f"The plan {str(name)!r} expects no error: its strategy asks no model. "
            "Pass an estimator to suggest_experiments, and not None."
        )
    known = plan.attrs.get("calibration", {})
    ends = [known.get(end, np.nan) / known.get("ratio", 1) for end in ("low", "high")]
    n = np.r_[0, plan["cost"]] if by == "cost" else np.arange(len(values))
    curve = {"n": n, "value": values, "low": values * ends[0], "high": values * ends[1]}
    return pd.DataFrame(curve).assign(design=str(name))


def _summarise_designs(table):
    """Return mean and interval of each design and number, designs as they are given."""
    groups = table.groupby(["design", "n"], sort=False)["value"]
    summary = groups.mean().to_frame()
    if {"low", "high"} <= set(table):
        ends = table.groupby(["design", "n"], sort=False)[["low", "high"]].mean()
    else:
        several = groups.size() >= _FEWEST_REPEATS
        ends = pd.DataFrame(
            {
                end: groups.quantile(q).where(several)
                for end, q in (("low", 0.025), ("high", 0.975))
            }
        )
    summary = summary.join(ends).reset_index()
    order = {design: i for i, design in enumerate(table["design"].unique())}
    by = summary["design"].map(order)
    summary = summary.assign(order=by).sort_values(["order", "n"])
    columns = ["design", "n", "value", "low", "high"]
    return summary[columns].reset_index(drop=True)


def _apart(sizes):
    """Return the ticks that do not run into each other on an axis of doublings."""
    kept = []
    for size in sizes[::-1]:
        if not kept or size == 0 or size <= 0.7 * kept[-1]:
            kept.append(int(size))
    return kept[::-1]
