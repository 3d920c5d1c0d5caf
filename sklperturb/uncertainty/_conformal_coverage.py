"""How much of what was measured lies inside of intervals, level by level."""

from numbers import Real

import numpy as np
import pandas as pd
from joblib import delayed
from sklearn.model_selection import check_cv
from sklearn.utils import check_array
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from sklperturb.conditions._frames import as_pandas
from sklperturb.conditions._named_predictions import as_predicted
from sklperturb.model_selection._fold import FoldFit
from sklperturb.model_selection._meta import check_rows
from sklperturb.uncertainty._conformal import ConformalRegressor
from sklperturb.utils._calls import run_calls
from sklperturb.utils._choices import one_of
from sklperturb.utils._intervals import mean_interval

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
_BY = ("context", "kind")


def coverage_curve(
    estimator, X, y, *, confidences=LEVELS, by=None, cv=None, n_jobs=None
):
    """Compare what intervals cover with what they say.

    Parameters
    ----------
    estimator : ConformalRegressor
        Fitted, and on none of the rows; or with `cv` one of which a clone is fitted on
        each fold.
    X : DataFrame or array-like of shape (n_samples, n_columns)
        Conditions whose responses are known.
    y : array-like of shape (n_samples,) or (n_samples, n_genes)
        Responses.
    confidences : sequence of float, default=(0.1, 0.2, ..., 0.9, 0.95, 0.99)
        Levels, each above 0 and below 1.
    by : {"context", "kind"} or None, default=None
        What to tell apart besides all rows: contexts, or what is asked, such as "pair"
        for a perturbation and a context that were measured, but not together.
    cv : splitter or iterable, default=None
        Folds to hold out; those inside of each are the estimator's own.
    n_jobs : int, default=None
        Number of folds at a time; None is 1 unless in a `joblib.parallel_config`.

    Returns
    -------
    curve : DataFrame
        A row for each group, "all" first, and level. Columns:

        - "group": "all", or a context or kind,
        - "confidence": what intervals say,
        - "coverage": the mean over perturbations of the share of entries inside,
        - "low", "high": its 95 % interval over perturbations,
        - "width": mean width of the intervals, in the unit of `y`,
        - "n_perturbations", "n_rows": what was asked.

    Raises
    ------
    ValueError
        If a confidence is not between 0 and 1, or `by` is none of those above.
    TypeError
        If the estimator is no `ConformalRegressor`.

    See Also
    --------
    CoverageDisplay : Draws it.

    Examples
    --------
    >>> from sklperturb.datasets import make_chemical_screen
    >>> from sklperturb.inspection import ConformalRegressor, coverage_curve
    >>> from sklperturb.model_selection import suggest_cv
    >>> screen = make_chemical_screen(4, 40, 50, n_shared=20, random_state=0)
    >>> cv = suggest_cv(screen.X, screen.X_test)
    >>> model = ConformalRegressor(cv=cv).fit(screen.X, screen.y)
    >>> curve = coverage_curve(model, screen.X_test, screen.y_test)
    >>> curve.set_index("confidence")["coverage"].round(2)[[0.5, 0.9]].tolist()
    [0.54, 0.95]
    """
    if not isinstance(estimator, ConformalRegressor):
        raise TypeError(
            f"{type(estimator).__name__} has no intervals to look at; wrap it in a "
            "ConformalRegressor."
        )
    confidences = check_confidences(confidences)
    if by is not None:
        one_of(by, _BY, "grouping")
    if cv is None:
        check_is_fitted(estimator)
        y = as_predicted(estimator, y)
    X, targets = check_rows(estimator, X, y)
    if cv is None:
        found = [_covered(estimator, X, targets, confidences, by)]
    else:
        calls = (
            delayed(_covered_in_fold)(estimator, X, targets, fold, confidences, by)
            for fold in check_cv(cv).split(X, targets)
        )
        shared = [estimator, X, targets]
        found = list(run_calls(calls, n_jobs, shared=shared, ordered=True))
    return summarise(confidences, *map(np.concatenate, zip(*found, strict=True)))


def coverage_of(y_true, intervals, *, perturbations=None, groups=None):
    """Return the same table of intervals that are there.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,) or (n_samples, n_genes)
    intervals : dict of {float: tuple (lower, upper)}
        Ends of the intervals, of the shape of `y_true`, by confidence.
    perturbations, groups : array-like of shape (n_samples,), default=None
        The perturbation, and what to tell apart, of each row.
    """
    y_true = check_array(as_pandas(y_true), ensure_2d=False, input_name="y_true")
    confidences = check_confidences(list(intervals))
    n_rows = len(y_true)
    covered, widths = np.empty((2, n_rows, len(confidences)))
    for number, (level, ends) in enumerate(intervals.items()):
        lower, upper = (np.asarray(end, dtype=np.float64) for end in ends)
        if lower.shape != y_true.shape or upper.shape != y_true.shape:
            raise ValueError(
                f"intervals[{level!r}] has ends of shapes {lower.shape} and "
                f"{upper.shape}; both must be of the shape of y_true, {y_true.shape}."
            )
        inside = (lower <= y_true) & (y_true <= upper)
        covered[:, number] = inside.reshape(n_rows, -1).mean(axis=1)
        widths[:, number] = (upper - lower).reshape(n_rows, -1).mean(axis=1)
    units = np.arange(n_rows) if perturbations is None else np.asarray(perturbations)
    groups = np.full(n_rows, "all") if groups is None else np.asarray(groups)
    check_consistent_length(y_true, units, groups)
    order = np.argsort(confidences)
    return summarise(
        confidences[order], covered[:, order], widths[:, order], units, groups
    )


def check_confidences(confidences):
    """Return levels as an array, or raise a ValueError."""
    found = list(np.atleast_1d(np.asarray(confidences, dtype=object)))
    wrong = [c for c in found if not (isinstance(c, Real) and 0 < c < 1)]
    if wrong or not found:
        raise ValueError(
            f"confidences={confidences!r} must be shares of entries to cover, above 0 "
            "and below 1, such as [0.5, 0.9]."
        )
    return np.array(found, dtype=np.float64)


def summarise(confidences, covered, widths, units, groups):
    """Return a row for each group and level, from rows of shares and of widths."""
    rows = []
    for group in ["all", *sorted(set(map(str, groups)) - {"all"})]:
        inside = np.full(len(groups), True)
        if group != "all":
            inside = np.asarray(list(map(str, groups))) == group
        for number, level in enumerate(confidences):
            mean, low, high = mean_interval(covered[inside, number], units[inside])
            rows.append(
                {
                    "group": group,
                    "confidence": float(level),
                    "coverage": mean,
                    "low": low,
                    "high": high,
                    "width": float(widths[inside, number].mean()),
                    "n_perturbations": len(np.unique(units[inside])),
                    "n_rows": int(inside.sum()),
                }
            )
    return pd.DataFrame(rows)


def _covered_in_fold(estimator, X, y, fold, confidences, by):
    fitted = FoldFit(estimator, X, y, *fold).fit()
    return _covered(fitted.estimator_, fitted.X_test, fitted.y_test, confidences, by)


def _covered(estimator, X, y, confidences, by):
    """Return the shares inside, and widths, of each row and level; units and groups."""
    asked = estimator._ask(X)
    y_true, y_pred = (each.reshape(len(y), -1) for each in (y, asked.y_pred))
    score = np.abs(y_true - y_pred) / asked.scale
    width = 2 * asked.scale.mean(axis=1)
    covered, widths = np.empty((2, len(y), len(confidences)))
    for number, level in enumerate(confidences):
        quantiles = estimator._quantiles_at(level)[asked.group]
        covered[:, number] = np.mean(score <= quantiles[:, None], axis=1)
        widths[:, number] = quantiles * width
    groups = {"kind": asked.kind, "context": asked.context}.get(by)
    if groups is None:
        groups = np.full(len(y), "all", dtype=object)
    return covered, widths, asked.names.astype(str), groups.astype(str)
