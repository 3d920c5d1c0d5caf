"""What a comparison has found: one table by fold, one over all folds."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from sklperturb.cells._files import gene_names
from sklperturb.conditions._frames import as_pandas
from sklperturb.utils._choices import one_of


def check_compared(comparison, X, y):
    """Refuse what are not the conditions and responses that were compared, as known.

    Rows are told by their labels, and genes by their names, where both have them.
    """
    n_rows = len(X)
    given = getattr(as_pandas(X), "index", None)
    compared = comparison.rows
    for y_pred in comparison.predictions.values():
        if len(y_pred) != n_rows:
            compared = range(len(y_pred))
    if compared is not None and len(compared) != n_rows:
        raise ValueError(
            f"X has {n_rows} rows, and {len(compared)} were compared; pass the X and y "
            "that were given to compare."
        )
    for what, own, others in (
        ("X has rows", given, compared),
        ("y has genes", gene_names(y), comparison.genes),
    ):
        if own is None or others is None or own.equals(others):
            continue
        if set(own) == set(others):
            raise ValueError(
                f"{what} in another order than those that were compared; pass the X "
                "and y that were given to compare."
            )
        if what == "y has genes":
            raise ValueError(
                f"{what} that were not compared, such as "
                f"{list(own.difference(others)[:3])}; pass the y that was given to "
                "compare."
            )


@dataclass(frozen=True, eq=False)
class Comparison:
    """Scores of models on the same folds, as returned by `compare`.

    Attributes
    ----------
    folds : DataFrame
        One row for each model, fold and metric: ``model``, ``kind`` ("baseline" for
        whatever was passed as one, else that of `sklperturb.models.list_models`, and
        "custom" for estimators that are not registered), ``fold``, ``metric``,
        ``value`` (mean over the fold's held-out rows, in the metric's own sign),
        ``n_rows``, ``fit_seconds`` (of fitting and predicting) and ``peak_memory_mb``
        (of the whole process).
    summary : DataFrame
        One row for each model and metric: ``model``, ``kind``, ``metric``,
        ``greater_is_better``, ``mean`` (over all held-out rows), ``std`` (over folds),
        ``ci_low`` and ``ci_high`` (bootstrap over units), ``best_baseline``,
        ``difference`` from it on the same rows with ``difference_low`` and
        ``difference_high`` (negative is better for errors), ``relative_to_zeros``
        (mean over rows of the error relative to that of predicting zeros, NaN for
        correlations), ``ceiling`` (what a perfect model would score on the held-out
        rows that were measured again, NaN without such), ``share_of_ceiling`` ((score
        - baseline) / (ceiling - baseline) on these rows, not clipped; NaN where the
        ceiling is not better than the best baseline), both with ``_low`` and ``_high``
        (``share_low``, ``share_high``), ``unit``, what is held out and resampled:
        "perturbation", "context", "perturbation and context", "group" or "scaffold",
        with ``n_units``, how many there are, such as 24, and of both such as "24 and
        6", ``fit_seconds`` (mean over folds) and ``peak_memory_mb`` (largest). Below
        three units there is no interval.
    left_out : dict of str to str
        Registered models of a set such as "default" that could not run, and why.
    notes : list of str
        What `compare` has warned of, such as few units behind the intervals, or that no
        model is better than the best baseline.
    predictions : dict of str to ndarray of float32 of shape (n_samples, n_genes)
        Of each model, with ``compare(..., return_predictions=True)``, else empty. Rows
        and columns are those of `X` and `y`. A row is predicted by the model of the
        fold that held it out; by the mean of their predictions if several did, which
        is not what was scored; and is NaN if none did, or where the model failed.
    held_out : DataFrame
        ``row``, the position in `X` of each held-out row, and its ``fold``, fold after
        fold.
    genes : Index or None
        Names of the columns of the predictions, where `y` had names.
    rows : Index or None
        Labels of their rows, where `X` had labels.
    confidence : float
        Level of the intervals.

    See Also
    --------
    leaderboard : Ranks the summary.

    Examples
    --------
    >>> from sklperturb.comparison import compare
    >>> from sklperturb.datasets import make_chemical_screen
    >>> screen = make_chemical_screen(4, 20, 50, random_state=0)
    >>> comparison = compare(["ridge"], screen.X, screen.y, cv=2, baselines=None)
    >>> comparison.folds[["model", "fold", "metric"]]
       model  fold  metric
    0  ridge     0  mrrmse
    1  ridge     1  mrrmse
    >>> len(comparison.summary)
    1
    """

    folds: pd.DataFrame
    summary: pd.DataFrame
    left_out: dict = field(default_factory=dict)
    notes: list = field(default_factory=list)
    predictions: dict = field(default_factory=dict)
    held_out: pd.DataFrame | None = None
    genes: pd.Index | None = None
    rows: pd.Index | None = None
    confidence: float = 0.95

    def prediction_table(self, model):
        """Return a model's predictions of the held-out rows, with names.

        Parameters
        ----------
        model : str
            One of ``predictions``.

        Returns
        -------
        table : DataFrame of shape (n_held_out, n_genes)
            In the order of `X`, without the rows that no fold held out. Labels are
            those of `X` and the names of genes those of `y`, or positions.

        Raises
        ------
        ValueError
            If there are no predictions of such a model.
        """
        if not self.predictions:
            raise ValueError(
                "There are no predictions; pass return_predictions=True to compare."
            )
        one_of(model, self.predictions, "model")
        kept = np.unique(self.held_out["row"])
        index = kept if self.rows is None else self.rows[kept]
        y_pred = self.predictions[model][kept]
        return pd.DataFrame(y_pred, index=index, columns=self.genes)

    def scores_of(self, model):
        """Return the scores of one model, for the card of the file that keeps it.

        Parameters
        ----------
        model : str

        Returns
        -------
        scores : DataFrame
            One row for each metric: ``metric``, ``score`` with ``low`` and ``high``,
            the best ``baseline``'s score and its ``baseline_name``, ``ceiling`` and
            ``share_of_ceiling`` where there is a ceiling, ``held_out`` (what, and how
            many).

        Raises
        ------
        ValueError
            If there is no such model.

        See Also
        --------
        sklperturb.save : Takes them as `scores`.

        Examples
        --------
        >>> from sklperturb.comparison import compare
        >>> from sklperturb.datasets import make_chemical_screen
        >>> screen = make_chemical_screen(4, 20, 50, random_state=0)
        >>> comparison = compare(["ridge"], screen.X, screen.y, cv=2, baselines=None)
        >>> comparison.scores_of("ridge")["metric"].tolist()
        ['mrrmse']
        """
        one_of(model, self.summary["model"].unique(), "model of this comparison")
        own = self.summary[self.summary["model"] == model].set_index("metric")
        means = self.summary.set_index(["metric", "model"])["mean"]
        best = own["best_baseline"]
        keys = zip(own.index, best, strict=True)
        table = pd.DataFrame(
            {
                "score": own["mean"],
                "low": own["ci_low"],
                "high": own["ci_high"],
                "baseline": [means.get(key, float("nan")) for key in keys],
                "baseline_name": best,
                "ceiling": own["ceiling"],
                "share_of_ceiling": own["share_of_ceiling"],
                "held_out": own["n_units"].astype(str) + " " + own["unit"] + "s",
            }
        )
        table = table.dropna(axis=1, how="all")
        return table.rename_axis("metric").reset_index()
