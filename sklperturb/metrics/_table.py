"""The scorer objects, and the one table of the rowwise metrics."""

from collections.abc import Callable
from dataclasses import dataclass

from sklearn.metrics import make_scorer

from sklperturb.metrics._mean_rowwise import (
    mean_rowwise_cosine,
    mean_rowwise_pearson,
    mean_rowwise_spearman,
    mrmae,
    mrrmse,
)
from sklperturb.metrics._rowwise import (
    rowwise_absolute_error,
    rowwise_cosine,
    rowwise_pearson,
    rowwise_root_mean_squared_error,
    rowwise_spearman,
)
from sklperturb.metrics._weighted import WeightedMSEScorer
from sklperturb.utils._choices import one_of


@dataclass(frozen=True)
class RowwiseMetric:
    """A metric that gives every row a score.

    Attributes
    ----------
    name : str
        Short name, the key in ``ROWWISE_METRICS``.
    row_function : callable
        ``row_function(y_true, y_pred)`` gives an ndarray of shape
        (n_samples,), in the metric's own sign.
    greater_is_better : bool
        False for errors.
    scorer : callable
        ``scorer(estimator, X, y)`` gives the mean over the rows, negated for
        errors, so that greater is better.
    description : str
        One line for tables and reports.

    Examples
    --------
    >>> from sklperturb.metrics import get_metric
    >>> metric = get_metric("mrmae")
    >>> metric.row_function([[1.0, -1.0], [0.0, 4.0]], [[0.0, 0.0], [0.0, 0.0]])
    array([1., 2.])
    """

    name: str
    row_function: Callable
    greater_is_better: bool
    scorer: Callable
    description: str

    def of_rows(self, X):
        """Return the function that scores predictions for some rows: the same for all.

        Parameters
        ----------
        X : DataFrame of shape (n_samples, n_columns)

        Returns
        -------
        row_function : callable
        """
        return self.row_function


_ERRORS = {"mrrmse", "mrmae"}
ROWWISE_METRICS = {
    name: RowwiseMetric(
        name,
        of_rows,
        name not in _ERRORS,
        make_scorer(mean, greater_is_better=name not in _ERRORS),
        f"mean rowwise {what}",
    )
    for name, of_rows, mean, what in (
        ("mrrmse", rowwise_root_mean_squared_error, mrrmse, "root mean squared error"),
        ("mrmae", rowwise_absolute_error, mrmae, "absolute error"),
        ("pearson", rowwise_pearson, mean_rowwise_pearson, "Pearson correlation"),
        (
            "spearman",
            rowwise_spearman,
            mean_rowwise_spearman,
            "Spearman rank correlation",
        ),
        ("cosine", rowwise_cosine, mean_rowwise_cosine, "cosine similarity"),
    )
}
neg_mrrmse_scorer = ROWWISE_METRICS["mrrmse"].scorer
neg_mrmae_scorer = ROWWISE_METRICS["mrmae"].scorer
rowwise_pearson_scorer = ROWWISE_METRICS["pearson"].scorer
rowwise_spearman_scorer = ROWWISE_METRICS["spearman"].scorer
rowwise_cosine_scorer = ROWWISE_METRICS["cosine"].scorer


def get_metric(metric):
    """Look up a rowwise metric by its name or by its scorer.

    Parameters
    ----------
    metric : str, RowwiseMetric, WeightedMSEScorer or callable
        A key of ``ROWWISE_METRICS``, or one of the toolkit's scorer objects or
        a copy of one.

    Returns
    -------
    metric : RowwiseMetric or WeightedMSEScorer

    Raises
    ------
    ValueError
        If no metric has that name; the message lists the near ones.
    TypeError
        If `metric` is neither a name nor one of the toolkit's scorers.

    Examples
    --------
    >>> from sklperturb.metrics import get_metric, neg_mrrmse_scorer
    >>> get_metric("mrrmse").description
    'mean rowwise root mean squared error'
    >>> get_metric(neg_mrrmse_scorer).name
    'mrrmse'
    """
    if isinstance(metric, RowwiseMetric | WeightedMSEScorer):
        return metric
    if metric == WeightedMSEScorer.name:
        raise ValueError(
            "'wmse' needs weights: pass sklperturb.metrics.WeightedMSEScorer(weights, "
            "by=...)."
        )
    if isinstance(metric, str):
        return ROWWISE_METRICS[one_of(metric, ROWWISE_METRICS, "rowwise metric")]
    # Searches and workers copy and pickle scorers, so a scorer is recognised by
    # the function that it calls and not by its identity.
    function = getattr(metric, "_score_func", None)
    for entry in ROWWISE_METRICS.values():
        if function is entry.scorer._score_func:
            return entry
    raise TypeError(
        f"{metric!r} is neither the name of a rowwise metric nor one of its scorer "
        f"objects. Names are {list(ROWWISE_METRICS)}; scorers end in '_scorer', as "
        "in sklperturb.metrics.neg_mrrmse_scorer."
    )
