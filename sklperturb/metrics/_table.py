"""The scorer objects, and the one table of the rowwise metrics."""

import reprlib
from collections.abc import Callable
from dataclasses import dataclass

from sklearn import metrics as sklearn_metrics
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
from sklperturb.utils._choices import SCORER_NAMES, did_you_mean, one_of


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
        A key of ``ROWWISE_METRICS``, the name of its scorer, such as "neg_mrrmse",
        or one of the toolkit's scorer objects or a copy of one.

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
    if isinstance(metric, str):
        name = SCORER_NAMES.get(metric, metric)
        _refuse_unweighted(name)
        return ROWWISE_METRICS[one_of(name, ROWWISE_METRICS, "rowwise metric")]
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


def get_scorer(scoring):
    """Look up a scorer by its name: one of the toolkit's, or of scikit-learn's.

    Whatever takes `scoring` in the toolkit takes these names as they are. What is
    scikit-learn's own, such as :func:`~sklearn.model_selection.cross_val_score`, takes
    the scorer that this returns: its list of names cannot be added to.

    Parameters
    ----------
    scoring : str or callable
        A name of `get_scorer_names`, or the short name of a rowwise metric, such as
        "mrrmse". A callable is returned as it is.

    Returns
    -------
    scorer : callable
        ``scorer(estimator, X, y)``; greater is better.

    Raises
    ------
    ValueError
        If no scorer has that name; the message lists the near ones.

    See Also
    --------
    get_metric : What there is besides the scorer: the score of each row.
    sklearn.metrics.get_scorer : Knows the names of scikit-learn only.

    Examples
    --------
    >>> from sklearn.dummy import DummyRegressor
    >>> from sklearn.model_selection import cross_val_score
    >>> from sklperturb.metrics import get_scorer
    >>> X, y = [[0], [1], [2], [3]], [[1.0, -1.0]] * 2 + [[3.0, -3.0]] * 2
    >>> scoring = get_scorer("neg_mrrmse")
    >>> cross_val_score(DummyRegressor(), X, y, cv=2, scoring=scoring).tolist()
    [-2.0, -2.0]
    """
    if not isinstance(scoring, str):
        if callable(scoring):
            return scoring
        raise TypeError(
            f"{scoring!r} is no scorer: pass its name, or a callable that is given an "
            "estimator, X and y."
        )
    name = SCORER_NAMES.get(scoring, scoring)
    _refuse_unweighted(name)
    if name in ROWWISE_METRICS:
        return ROWWISE_METRICS[name].scorer
    names = get_scorer_names()
    if name not in names:
        question = did_you_mean(scoring, [*ROWWISE_METRICS, *names])
        own = names[: len(ROWWISE_METRICS)]
        raise ValueError(
            f"{reprlib.repr(scoring)} is no scorer. {question}{' ' * bool(question)}"
            f"There are {own}, and those of sklearn.metrics.get_scorer_names()."
        )
    return sklearn_metrics.get_scorer(name)


def get_scorer_names():
    """Return the names that `get_scorer` knows: the toolkit's, then scikit-learn's.

    Returns
    -------
    names : list of str

    Examples
    --------
    >>> from sklperturb.metrics import get_scorer_names
    >>> get_scorer_names()[:3]
    ['neg_mrrmse', 'neg_mrmae', 'rowwise_pearson']
    """
    own = [name for name, of in SCORER_NAMES.items() if of in ROWWISE_METRICS]
    return own + sklearn_metrics.get_scorer_names()


def _refuse_unweighted(name):
    if name == WeightedMSEScorer.name:
        raise ValueError(
            "'wmse' needs weights: pass sklperturb.metrics.WeightedMSEScorer(weights, "
            "by=...)."
        )
