"""Draw a search for parameters, in the sign of the metric itself."""

import numpy as np

from sklperturb.inspection._figure import (
    COLOURS,
    GREY,
    Display,
    counted,
    legend_below,
    make_axes,
    metric_label,
    shown,
    title,
)
from sklperturb.inspection._leaderboard import far_behind
from sklperturb.inspection._learning_curve import within_folds
from sklperturb.tuning._trial_table import (
    importance,
    is_missing,
    is_number,
    spans_decades,
    tabulate_search,
    tabulate_study,
)
from sklperturb.utils._choices import one_of
from sklperturb.utils._optional import import_extra

_KINDS = ("history", "curves", "importance", "slices")
_STATES = {"PRUNED": "ended early", "FAIL": "failed", "RUNNING": "under way"}
_RUGS = {"PRUNED": ("|", GREY), "FAIL": ("x", COLOURS[1]), "RUNNING": (".", GREY)}
# Trials that an importance needs.
_FEWEST = 8
_COLUMNS = 3  # of slices


class TuningDisplay(Display):
    """Plot the trials of a search: their scores, and what the parameters did.

    Use `from_search` or `from_study` to make one.

    Parameters
    ----------
    trials : DataFrame of shape (n_trials, 3)
        ``trial``, its number; ``state``, "COMPLETE", "PRUNED", "FAIL" or "RUNNING";
        and ``value``, the mean score over folds in the metric's own sign, NaN of
        trials that are not complete.
    params : DataFrame of shape (n_trials, n_params)
        Parameters of each trial; missing where a trial has no such parameter.
    metric : str, default=None
        Name of the metric.
    greater_is_better : bool, default=True
    folds : DataFrame of shape (n_trials, n_folds), default=None
        Scores of folds in the metric's own sign, NaN of those that were not run.
    curves : dict of int to dict of int to float, default=None
        Of trials, by number, the values that were reported on the way, by step.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The first axis.
    axes_ : ndarray of matplotlib Axes
        All axes: one for each parameter with ``kind="slices"``, else one.
    importances_ : DataFrame
        Only with ``kind="importance"``: ``importance`` of each parameter, ``low`` and
        ``high``.
    figure_ : matplotlib Figure

    See Also
    --------
    sklperturb.tuning.PerturbationSearchCV : Makes the trials.

    Notes
    -----
    Whiskers of the history are standard deviations over folds of what is left when the
    mean of each fold over all complete trials is taken off, since folds that are hard
    are so for every trial; see `PerturbationLearningCurveDisplay`.

    The importance of a parameter is the share of the variance of scores between
    complete trials that it alone explains, as in functional ANOVA [1]_: a forest learns
    the score from all parameters, and what it predicts for each value of one is
    averaged over the trials. What parameters do together, and chance, is the rest.
    Whiskers are the 10th and 90th percentile over bootstraps of the trials: of few
    trials, little is known.

    References
    ----------
    .. [1] Hutter, Hoos and Leyton-Brown, "An efficient approach for assessing
       hyperparameter importance", ICML 2014.

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> from sklearn.model_selection import GridSearchCV
    >>> from sklperturb.inspection import TuningDisplay
    >>> search = GridSearchCV(
    ...     Ridge(), {"alpha": [0.1, 1.0]}, cv=2, scoring="neg_mean_squared_error"
    ... ).fit([[0.0], [1.0], [2.0], [3.0]], [0.0, 1.0, 2.0, 3.0])
    >>> display = TuningDisplay.from_search(search)  # doctest: +SKIP
    >>> display.ax_.get_ylabel()  # doctest: +SKIP
    'Mean squared error (lower is better)'
    """

    def __init__(
        self,
        *,
        trials,
        params,
        metric=None,
        greater_is_better=True,
        folds=None,
        curves=None,
    ):
        self.trials = trials
        self.params = params
        self.metric = metric
        self.greater_is_better = greater_is_better
        self.folds = folds
        self.curves = curves

    @classmethod
    def from_search(cls, search, *, metric=None, kind="history", ax=None):
        """Draw a fitted search.

        Parameters
        ----------
        search : PerturbationSearchCV, GridSearchCV or RandomizedSearchCV
            Fitted.
        metric : str, default=None
            Which score, if there are several; None is that of ``refit``.
        kind : {"history", "curves", "importance", "slices"}, default="history"
            See `plot`.
        ax : matplotlib Axes or sequence of these, default=None
            None makes a figure.

        Returns
        -------
        display : TuningDisplay

        Raises
        ------
        ValueError
            If the search is not fitted, or has no such score.
        ImportError
            If matplotlib is not installed.
        """
        import_extra("TuningDisplay", "plot", "matplotlib")
        return cls(**vars(tabulate_search(search, metric))).plot(ax, kind=kind)

    @classmethod
    def from_study(cls, study, *, scoring=None, kind="history", ax=None):
        """Draw a study of Optuna, such as one that is still being filled.

        Parameters
        ----------
        study : optuna.study.Study
            Greater is better in it, as `PerturbationSearchCV` wants it.
        scoring : str or scorer, default=None
            What its values are scores of, for their name and sign.
        kind : {"history", "curves", "importance", "slices"}, default="history"
            See `plot`.
        ax : matplotlib Axes or sequence of these, default=None
            None makes a figure.

        Returns
        -------
        display : TuningDisplay

        Raises
        ------
        ValueError
            If the study minimises, or has more than one value.
        ImportError
            If matplotlib is not installed.
        """
        import_extra("TuningDisplay", "plot", "matplotlib")
        return cls(**vars(tabulate_study(study, scoring))).plot(ax, kind=kind)

    def plot(self, ax=None, *, kind="history"):
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes or sequence of these, default=None
            None makes a figure. Slices need one for each parameter that differs
            between trials.
        kind : {"history", "curves", "importance", "slices"}, default="history"
            "history" has the score of each trial and the best so far; "curves" what
            was reported after epochs or folds, by which trials were ended early;
            "importance" how much each parameter matters; "slices" the score by the
            values of each parameter.

        Returns
        -------
        self : TuningDisplay

        Raises
        ------
        ValueError
            If there is nothing of that kind to draw, or the number of axes is wrong.
        ImportError
            If matplotlib is not installed.
        """
        one_of(kind, _KINDS, "kind of plot")
        draw = getattr(self, f"_draw_{kind}")
        self.axes_ = draw(ax)
        self.ax_, self.figure_ = self.axes_[0], self.axes_[0].figure
        return self

    def _draw_history(self, ax):
        (ax,) = axes = make_axes(ax, 1, 1, figsize=(7, 4))
        trials = self.trials
        complete = trials[trials["value"].notna()]
        values = complete["value"].to_numpy()
        best = self._best()
        is_far = far_behind(values, best["value"] if len(values) else None)
        near = complete[~is_far]
        spread = self._spread(complete.index)
        ax.errorbar(
            near["trial"],
            near["value"],
            yerr=None if spread is None else spread[near.index],
            fmt="o",
            markersize=4,
            color=COLOURS[0],
            elinewidth=0.7,
            alpha=0.9,
            label="complete",
        )
        edge = 0 if self.greater_is_better else 1
        if is_far.any():
            far = complete["trial"][is_far]
            marker = "v" if self.greater_is_better else "^"
            self._rug(ax, far, edge, marker, COLOURS[0], "complete, beyond the edge")
        for state, (marker, colour) in _RUGS.items():
            those = trials["trial"][trials["state"] == state]
            if len(those):
                label = f"{_STATES[state]} ({len(those)})"
                self._rug(ax, those, edge, marker, colour, label)
        if len(values):
            accumulate = np.maximum if self.greater_is_better else np.minimum
            best_so_far = accumulate.accumulate(values)
            ax.step(
                [*complete["trial"], trials["trial"].max()],
                [*best_so_far, best_so_far[-1]],
                where="post",
                color=GREY,
                label="best so far",
            )
        ax.set(xlabel="trial", ylabel=metric_label(self.metric, self.greater_is_better))
        ax.xaxis.get_major_locator().set_params(integer=True)
        legend_below(ax)
        title(ax, self._caption(best, spread))
        return axes

    def _spread(self, complete):
        """Return the deviation over folds of complete trials, None if not known."""
        folds = None if self.folds is None else self.folds.loc[complete]
        if folds is None or len(folds.columns) < 2 or folds.isna().any(axis=None):
            return None
        return within_folds(folds.T)

    def _rug(self, ax, trials, edge, marker, colour, label):
        """Mark trials that have no place by their score, at the worse edge."""
        ax.plot(
            trials,
            np.full(len(trials), 0.02 + 0.96 * edge),
            marker,
            color=colour,
            transform=ax.get_xaxis_transform(),
            label=label,
        )

    def _caption(self, best, spread):
        lines = [counted(len(self.trials), "trial")]
        if best is not None:
            lines[0] += f"; the best is {best['trial']:.0f}: {best['value']:.4g}"
        if spread is not None:
            over = counted(len(self.folds.columns), "fold")
            lines.append(
                f"Whiskers: standard deviation over {over}, each less its mean"
            )
        return "\n".join(lines)

    def _best(self):
        """Return the row of the best trial, None where none is complete."""
        values = self.trials["value"]
        if values.isna().all():
            return None
        at = values.idxmax() if self.greater_is_better else values.idxmin()
        return self.trials.loc[at]

    def _draw_curves(self, ax):
        curves = {n: c for n, c in (self.curves or {}).items() if c}
        if not curves:
            raise ValueError(
                "No values were reported on the way: the search had no pruner, or too "
                "few folds or epochs. There is no curve to draw."
            )
        (ax,) = axes = make_axes(ax, 1, 1, figsize=(7, 4))
        states = dict(zip(self.trials["trial"], self.trials["state"], strict=True))
        best = self._best()
        last = {n: list(c.values())[-1] for n, c in curves.items()}
        finest = max(last.values()) if self.greater_is_better else min(last.values())
        values = np.concatenate([list(c.values()) for c in curves.values()])
        is_far = far_behind(values, finest)
        drawn = set()
        for number, curve in curves.items():
            is_best = best is not None and number == best["trial"]
            label = f"trial {number}, the best" if is_best else None
            colour, width, order = COLOURS[0], 1, 2
            if is_best:
                colour, width, order = COLOURS[1], 2, 4
            elif states.get(number) != "COMPLETE":
                colour, order = GREY, 1
                label = _STATES.get(states.get(number), "not complete")
            else:
                label = "complete"
            # A trial of one fold has one point.
            ax.plot(
                list(curve),
                list(curve.values()),
                marker="." if len(curve) < 5 else None,
                color=colour,
                linewidth=width,
                zorder=order,
                label=None if label in drawn else label,
            )
            drawn.add(label)
        if is_far.any():
            near = values[~is_far]
            margin = 0.05 * np.ptp(near)
            ax.set_ylim(near.min() - margin, near.max() + margin)
        label = metric_label(self.metric, self.greater_is_better)
        ax.set(xlabel="step (folds, or epochs fold after fold)", ylabel=label)
        legend_below(ax)
        title(ax, counted(len(curves), "trial"))
        return axes

    def _varied(self):
        """Return parameters with more than one value among complete trials."""
        complete = self.params[self.trials["value"].notna()]
        return [
            name
            for name in complete
            if len({repr(v) for v in complete[name] if not is_missing(v)}) > 1
        ]

    def _draw_slices(self, ax):
        names = self._varied()
        if not names:
            raise ValueError(
                f"No parameter differs among {counted(len(self.trials), 'trial')}, so "
                "there is nothing to slice."
            )
        n_columns = min(_COLUMNS, len(names))
        n_rows = -(-len(names) // n_columns)
        size = (1.2 + 2.4 * n_columns, 0.5 + 2.4 * n_rows)
        made = ax is None
        axes = make_axes(ax, n_rows, n_columns, figsize=size, sharey=True)
        if made:
            for spare in axes[len(names) :]:
                spare.remove()
            axes = axes[: len(names)]
        if len(axes) != len(names):
            raise ValueError(
                f"Got {len(axes)} axes for {counted(len(names), 'slice')}, of {names}; "
                "pass one for each, or None."
            )
        complete = self.trials["value"].notna()
        values = self.trials["value"][complete].to_numpy()
        best = self._best()
        is_far = far_behind(values, best["value"])
        is_best = (self.trials["trial"][complete] == best["trial"]).to_numpy()
        for at, (ax, name) in enumerate(zip(axes, names, strict=True)):
            given = self.params[name][complete].to_numpy()
            x = _place(ax, given)
            shown_points = ~is_far & ~np.isnan(x)
            points = x[shown_points], values[shown_points]
            ax.plot(*points, "o", markersize=4, color=COLOURS[0])
            ax.plot(x[is_best], values[is_best], "*", markersize=12, color=COLOURS[1])
            ax.set_xlabel(shown(name.split("__")[-1]), parse_math=False)
            if made and at % n_columns:
                continue
            ax.set_ylabel(metric_label(self.metric, self.greater_is_better, wrap=True))
        left_out = f", {is_far.sum()} far off left out" if is_far.any() else ""
        trials = counted(len(values), "complete trial")
        title(axes[0], f"{trials}{left_out}; the star is the best")
        return axes

    def _draw_importance(self, ax):
        names = self._varied()
        complete = self.params[self.trials["value"].notna()]
        # Parameters that only some trials have cannot be compared with the others.
        names = [n for n in names if not complete[n].map(is_missing).any()]
        if len(complete) < _FEWEST or not names:
            raise ValueError(
                f"Importance needs {_FEWEST} complete trials and a parameter that "
                f"differs between them; there are {len(complete)}, and "
                f"{counted(len(names), 'parameter')}."
            )
        values = self.trials["value"][self.trials["value"].notna()].to_numpy()
        table = importance(complete[names], values)
        (ax,) = axes = make_axes(ax, 1, 1, figsize=(7, 1.4 + 0.3 * len(names)))
        y = -np.arange(len(table))
        ax.barh(y, table["importance"], color=COLOURS[0], height=0.6)
        ax.hlines(y, table["low"], table["high"], color=GREY, linewidth=2)
        names = [shown(n, 40) for n in table.index]
        ax.set_yticks(y, names, parse_math=False)
        ax.set_xlabel("importance (share of the variance of scores)")
        ax.set_xlim(left=0)
        whiskers = "Whiskers: 10th to 90th percentile over bootstraps of them"
        title(ax, f"{counted(len(values), 'complete trial')}\n{whiskers}")
        self.importances_ = table
        return axes


def _place(ax, given):
    """Return where values of a parameter stand on an axis, and label it."""
    if all(is_number(v) or v != v for v in given):
        x = np.array(given, dtype=float)
        if spans_decades(x):
            ax.set_xscale("log")
        elif all(isinstance(v, int | np.integer) for v in given):
            ax.xaxis.get_major_locator().set_params(integer=True)
        return x
    texts = [str(v) for v in given]
    levels = sorted(set(texts))
    ax.set_xticks(range(len(levels)), [shown(v, 12) for v in levels], parse_math=False)
    ax.set_xlim(-0.5, len(levels) - 0.5)
    if max(map(len, levels)) * len(levels) > 20:
        ax.tick_params(axis="x", rotation=30)
    return np.array([levels.index(text) for text in texts], dtype=float)
