"""Error against the number of perturbations that a model learns from."""

import warnings
from collections.abc import Mapping
from numbers import Integral, Real

import numpy as np
import pandas as pd
from sklearn.model_selection import check_cv
from sklearn.utils import check_random_state, indexable

from sklperturb.comparison import compare
from sklperturb.conditions._frames import as_pandas, read_column
from sklperturb.conditions._labels import control_rows, each_label
from sklperturb.conditions._validation import resolve_schema
from sklperturb.inspection._figure import (
    COLOURS,
    MARKERS,
    Display,
    counted,
    make_axes,
    metric_label,
    name_of,
    shown,
    title,
)
from sklperturb.utils._optional import import_extra


class PerturbationLearningCurveDisplay(Display):
    """Plot the score of models against how many perturbations they learn from.

    It tells whether more perturbations would help more than a better model. In each
    fold, a model is fitted on the rows of some training perturbations only, chosen at
    random, each set within the next larger one and the same for all models; the
    held-out rows are the same at every size.

    Use `from_estimator` to make one.

    Parameters
    ----------
    table : DataFrame
        One row for each model, size and fold: ``model``, ``n_perturbations`` learnt
        from, ``fold``, ``value`` in the metric's own sign, and ``n_rows`` scored.
    metric : str, default=None
        Name of the metric.
    greater_is_better : bool, default=False

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    summary_ : DataFrame
        What is drawn: for each ``model`` and size, ``n_perturbations``, the ``mean``
        over held-out rows, and ``std`` over folds, of what is left when the mean of
        each fold over sizes and models is taken off; NaN of a single fold.

    See Also
    --------
    sklearn.model_selection.LearningCurveDisplay : By rows, whatever perturbation they
        are of.

    Notes
    -----
    Perturbations that a fold tests and trains on as well, as those of
    `UnseenPairKFold` in other contexts, stay in training at every size, and count:
    without them another question would be asked. Controls stay and do not count, but
    for positive controls of a compound screen, which are compounds.

    Some folds are harder than others at every size. That is taken off before the
    standard deviation over folds, as for repeated measures [1]_, so that whiskers tell
    how sure the shape of a curve is. Folds share training rows, so they are no
    intervals of the mean.

    References
    ----------
    .. [1] Morey, "Confidence intervals from normalized data: A correction to Cousineau
       (2005)", Tutorials in Quantitative Methods for Psychology 4, 2008.
       :doi:`10.20982/tqmp.04.2.p061`

    Examples
    --------
    >>> from sklperturb.datasets import make_chemical_screen
    >>> from sklperturb.inspection import PerturbationLearningCurveDisplay
    >>> from sklperturb.model_selection import UnseenPerturbationKFold
    >>> screen = make_chemical_screen(4, 20, 50, random_state=0)
    >>> display = PerturbationLearningCurveDisplay.from_estimator(
    ...     "ridge", screen.X, screen.y, cv=UnseenPerturbationKFold(2), sizes=[0.5, 1.0]
    ... )  # doctest: +SKIP
    >>> display.summary_["n_perturbations"].tolist()  # doctest: +SKIP
    [5.0, 10.0]
    """

    def __init__(self, *, table, metric=None, greater_is_better=False):
        self.table = table
        self.metric = metric
        self.greater_is_better = greater_is_better

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        y,
        *,
        cv,
        sizes=(0.125, 0.25, 0.5, 1.0),
        scoring="mrrmse",
        schema=None,
        n_jobs=None,
        cache=None,
        random_state=0,
        ax=None,
    ):
        """Fit models at every size on every fold, and draw their scores.

        Parameters
        ----------
        estimator : estimator, str, or dict of str to these
            A string is the name of a registered model; a dict draws several models by
            the names to show.
        X : DataFrame of shape (n_samples, n_columns)
            Conditions.
        y : array-like, DataFrame or AnnData of shape (n_samples, n_genes)
            Responses.
        cv : int, splitter or iterable
            Folds, such as `UnseenPerturbationKFold`. Beware of an int: rows of one
            compound then fall on both sides.
        sizes : sequence of float or int, default=(0.125, 0.25, 0.5, 1.0)
            Shares of the training perturbations that may be left out, in (0, 1], or
            numbers of these.
        scoring : str or scorer, default="mrrmse"
            As in `sklperturb.comparison.compare`.
        schema : PerturbationSchema, default=None
            Roles of the columns. None infers them from the column names.
        n_jobs : int, default=None
            Processes.
        cache : path-like, default=None
            Folder that keeps the scores of what is finished; see `compare`.
        random_state : int, RandomState instance or None, default=0
            Chooses the perturbations, and seeds registered models.
        ax : matplotlib Axes, default=None
            None makes a figure.

        Returns
        -------
        display : PerturbationLearningCurveDisplay

        Raises
        ------
        ValueError
            If a size is not allowed, or there is nothing to leave out.
        ImportError
            If matplotlib is not installed; before anything is fitted.
        """
        import_extra("PerturbationLearningCurveDisplay", "plot", "matplotlib")
        X, y = as_pandas(X), as_pandas(y)
        schema = resolve_schema(schema, X)
        X, y = indexable(X, y)
        folds = list(check_cv(cv).split(X, y))
        seed = int(check_random_state(random_state).randint(2**31 - 1))
        subsets = [
            subset
            for fold, (train, test) in enumerate(folds)
            for subset in _subsets(X, train, test, fold, sizes, schema, seed)
        ]
        if isinstance(estimator, Mapping):
            models = dict(estimator)
        else:
            models = {name_of(estimator): estimator}
        with warnings.catch_warnings():
            # No interval is shown.
            warnings.filterwarnings("ignore", ".*Intervals resample")
            comparison = compare(
                models,
                X,
                y,
                cv=[(s["train"], s["test"]) for s in subsets],
                scoring=scoring,
                baselines=None,
                schema=schema,
                n_jobs=n_jobs,
                n_resamples=1,
                random_state=random_state,
                cache=cache,
            )
        known = pd.DataFrame(subsets)[["fold", "size", "n_perturbations"]]
        table = comparison.folds.rename(columns={"fold": "subset"})
        table = table.join(known, on="subset")
        columns = ["model", "size", "n_perturbations", "fold", "value", "n_rows"]
        first = comparison.summary.iloc[0]
        return cls(
            table=table[columns],
            metric=first["metric"],
            greater_is_better=bool(first["greater_is_better"]),
        ).plot(ax)

    def plot(self, ax=None):
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None makes a figure.

        Returns
        -------
        self : PerturbationLearningCurveDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        (ax,) = make_axes(ax, 1, 1, figsize=(6, 4.2))
        self.summary_ = _summarise(self.table)
        # A curve that is drawn on axes with others goes on with their colours.
        before = len(ax.containers)
        for i, (model, rows) in enumerate(self.summary_.groupby("model", sort=False)):
            number = before + i
            ax.errorbar(
                # Side by side, so that whiskers do not cover each other.
                rows["n_perturbations"] * (1 + 0.01 * number),
                rows["mean"],
                yerr=rows["std"] if rows["std"].notna().any() else None,
                marker=MARKERS[number % len(MARKERS)],
                color=COLOURS[number % len(COLOURS)],
                capsize=3,
                label=shown(model),
            )
        sizes = self.summary_["n_perturbations"]
        if sizes.max() > 4 * sizes.min():
            from matplotlib.ticker import ScalarFormatter

            ax.set_xscale("log")
            ticks = sorted(set(sizes.round().astype(int)))
            ax.set_xticks(ticks)
            ax.xaxis.set_major_formatter(ScalarFormatter())
            ax.minorticks_off()
        ax.set_xlabel("perturbations learnt from")
        ax.set_ylabel(metric_label(self.metric, self.greater_is_better))
        for text in ax.legend(frameon=False).get_texts():
            text.set_parse_math(False)
        one = self.table[self.table["model"] == self.table["model"].iloc[0]]
        n_rows = int(one.groupby("fold")["n_rows"].first().sum())
        n_folds = self.table["fold"].nunique()
        caption = f"{counted(n_rows, 'row')} held out"
        caption += f" in {counted(n_folds, 'fold')}"
        if n_folds > 1:
            caption += "\nWhiskers: standard deviation over folds, each less its mean"
        title(ax, caption)
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _subsets(X, train, test, fold, sizes, schema, seed):
    """Return the training rows of each size: those of fewer in those of more.

    Parameters
    ----------
    train, test : ndarray of int
    fold : int
    sizes : sequence of float or int
    seed : int

    Returns
    -------
    subsets : list of dict
        ``fold``, ``size``, ``n_perturbations``, ``train`` and ``test``.
    """
    train, test = np.asarray(train), np.asarray(test)
    names = read_column(X, schema.perturbation).astype(str)
    is_control = control_rows(X, schema)
    if not schema.labels_combine:
        # Positive controls of a compound screen are compounds to learn from.
        is_control &= each_label(names, schema.names_control).astype(bool)
    perturbed = train[~is_control[train]]
    kept = np.intersect1d(names[perturbed], names[test[~is_control[test]]])
    free = np.setdiff1d(names[perturbed], kept)
    if not len(free):
        raise ValueError(
            f"Every perturbation that fold {fold} trains on is also tested there, so "
            "none can be left out of training. Hold out perturbations, as with "
            "UnseenPerturbationKFold, or pairs in some contexts only."
        )
    order = np.random.RandomState([seed, fold]).permutation(free)
    subsets = []
    for size in sizes:
        chosen = np.union1d(kept, order[: _count(size, len(free))])
        inside = is_control[train] | np.isin(names[train], chosen)
        subsets.append(
            {
                "fold": fold,
                "size": size,
                "n_perturbations": len(chosen),
                "train": train[inside],
                "test": test,
            }
        )
    return subsets


def _count(size, n_free):
    """Return how many perturbations a size is, of those that may be left out."""
    if isinstance(size, Real) and not isinstance(size, bool):
        whole = isinstance(size, Integral)
        if whole and 1 <= size <= n_free:
            return int(size)
        if not whole and 0 < size <= 1:
            return max(1, round(size * n_free))
    raise ValueError(
        f"sizes holds {size!r}; allowed are shares above 0 and up to 1.0, and whole "
        f"numbers from 1 to {n_free}, the perturbations that a fold can leave out of "
        "training."
    )


def _summarise(table):
    """Return the mean over rows and the deviation over folds, by model and size."""
    key = "size" if "size" in table else "n_perturbations"
    weighted = table.assign(total=table["value"] * table["n_rows"])
    groups = weighted.groupby(["model", key], sort=False)
    sums = groups[["total", "n_rows"]].sum(min_count=1)
    by_fold = table.pivot(index="fold", columns=["model", key], values="value")
    summary = pd.DataFrame(
        {
            "n_perturbations": groups["n_perturbations"].mean(),
            "mean": sums["total"] / sums["n_rows"],
            "std": within_folds(by_fold),
        }
    ).reset_index()
    order = {model: i for i, model in enumerate(table["model"].unique())}
    by = summary["model"].map(order)
    summary = summary.assign(order=by).sort_values(["order", "n_perturbations"])
    return summary[["model", "n_perturbations", "mean", "std"]].reset_index(drop=True)


def within_folds(scores):
    """Return the deviation over folds, less what all scores of a fold share.

    Parameters
    ----------
    scores : DataFrame of shape (n_folds, n_scores)

    Returns
    -------
    deviations : Series of shape (n_scores,)
        With Morey's correction; NaN of a single fold, or a single score.
    """
    n_scores = len(scores.columns)
    centred = scores.sub(scores.mean(axis=1), axis=0)
    correction = np.sqrt(n_scores / (n_scores - 1)) if n_scores > 1 else np.nan
    return correction * centred.std()
