"""Models and baselines on the same folds, each score with its spread."""

import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from sklearn.base import clone
from sklearn.exceptions import FitFailedWarning
from sklearn.model_selection import check_cv
from sklearn.utils import _safe_indexing, check_random_state, indexable
from sklearn.utils.validation import _num_samples

from sklperturb.comparison._bootstrap import ClusterBootstrap
from sklperturb.comparison._fold_cache import FoldCache
from sklperturb.conditions._frames import as_pandas, read_column
from sklperturb.conditions._validation import resolve_schema
from sklperturb.metrics import get_metric
from sklperturb.metrics._checks import without_annotation
from sklperturb.models import get_entry, list_models, make_model
from sklperturb.utils._memory import ResourceMeter
from sklperturb.utils._progress import ProgressBar

COLUMNS = [
    "model",
    "kind",
    "fold",
    "metric",
    "value",
    "n_rows",
    "fit_seconds",
    "peak_memory_mb",
    "ci_low",
    "ci_high",
    "best_baseline",
    "difference",
    "difference_low",
    "difference_high",
    "relative_to_zeros",
    "greater_is_better",
]


def compare(
    estimators,
    X,
    y,
    *,
    cv=5,
    scoring="mrrmse",
    baselines="default",
    schema=None,
    n_jobs=None,
    error_score="raise",
    n_resamples=2000,
    confidence=0.95,
    random_state=0,
    cache=None,
):
    """Fit models and baselines on the same folds and score every held-out row.

    Parameters
    ----------
    estimators : dict of str to estimator or str, or list of str
        Models by the name to show. A string is the name of a registered model
        (`sklperturb.models.list_models`).
    X : DataFrame of shape (n_samples, n_columns)
        Conditions.
    y : array-like, DataFrame or AnnData of shape (n_samples, n_genes)
        Responses.
    cv : int, splitter or iterable, default=5
        Folds, such as `UnseenPairKFold`. Beware of an int: rows of one compound then
        fall on both sides.
    scoring : str, scorer of `sklperturb.metrics`, or list of these, default="mrrmse"
        Row-wise metrics.
    baselines : "default", None, dict or list of str, default="default"
        "default" runs every registered baseline that a leaderboard runs unasked, whose
        packages are installed and whose columns are there; None runs none, and leaves
        the columns that refer to one empty.
    schema : PerturbationSchema, default=None
        Roles of the columns. None infers them from the column names.
    n_jobs : int, default=None
        Processes that fit (model, fold) pairs; threads within each are limited so
        that the cores are not oversubscribed.
    error_score : "raise" or float, default="raise"
        Value of a fold in which a model failed, with a FitFailedWarning.
    n_resamples : int, default=2000
        Bootstrap resamples of perturbations.
    confidence : float, default=0.95
        Level of the intervals.
    random_state : int, RandomState instance or None, default=0
        Seeds the registered models and the bootstrap.
    cache : path-like, default=None
        Folder that keeps the scores of finished folds; a comparison that was stopped
        goes on from there when called again.

    Returns
    -------
    comparison : DataFrame
        One row for each model, fold and metric:

        - ``model``, ``kind`` ("custom" for estimators that are not registered),
          ``fold``, ``metric``, ``value`` (mean over the fold's held-out rows, in the
          metric's own sign), ``n_rows``, ``fit_seconds``, ``peak_memory_mb`` (of the
          whole process);
        - and for the model over all folds: ``ci_low``, ``ci_high`` (bootstrap over
          perturbations), ``best_baseline``, ``difference`` from it on the same rows
          with ``difference_low`` and ``difference_high`` (negative is better for
          errors), ``relative_to_zeros`` (mean over rows of the error relative to
          that of predicting zeros), and ``greater_is_better``.

    Raises
    ------
    ValueError
        If there is nothing to compare, a name is taken twice, or no fold holds
        anything out.

    See Also
    --------
    leaderboard : One ranked row for each model.
    sklearn.model_selection.cross_validate : One model at a time.

    Notes
    -----
    The best baseline is picked on the rows that it is then compared on, which favours
    the baseline: an interval below zero is a conservative statement.

    Examples
    --------
    >>> from sklperturb.datasets import make_chemical_screen
    >>> from sklperturb.comparison import compare, leaderboard
    >>> from sklperturb.model_selection import UnseenPairKFold
    >>> screen = make_chemical_screen(6, 40, 50, random_state=0)
    >>> cv = UnseenPairKFold(3, random_state=0)
    >>> comparison = compare(
    ...     ["product_kernel"], screen.X, screen.y, cv=cv, baselines=["additive"]
    ... )
    >>> leaderboard(comparison)["model"].tolist()
    ['product_kernel', 'additive']
    """
    X, y = as_pandas(X), as_pandas(y)
    schema = resolve_schema(schema, X)
    models = _collect(estimators, baselines, schema, random_state)
    metrics = [
        get_metric(m) for m in (scoring if isinstance(scoring, list) else [scoring])
    ]
    X, y = indexable(X, y)
    folds = list(check_cv(cv).split(X, y))
    if not folds:
        raise ValueError(f"cv={cv!r} gives no folds; there is nothing to compare on.")
    cache = FoldCache(
        None if cache is None else Path(cache), X, y, [m.name for m in metrics]
    )
    results = _run(models, X, y, folds, metrics, cache, n_jobs, error_score)
    held_out = np.concatenate([test for _, test in folds])
    clusters = read_column(X, schema.perturbation)[held_out]
    rng = check_random_state(random_state)
    bootstrap = ClusterBootstrap(clusters, n_resamples, confidence, rng)
    y_held_out = _values(_safe_indexing(y, held_out))
    frames = [
        _tabulate(models, results, metric, bootstrap, _zero_errors(metric, y_held_out))
        for metric in metrics
    ]
    return pd.concat(frames, ignore_index=True)[COLUMNS]


def _collect(estimators, baselines, schema, random_state):
    """Return {name: (kind, estimator)}, the baselines first."""
    if isinstance(baselines, str) and baselines == "default":
        baselines = [
            entry.name
            for entry in list_models("baseline")
            if entry.default and entry.available and entry.fits(schema)
        ]
    models = {}
    for group, kind in ((baselines, "baseline"), (estimators, "custom")):
        for name, model in _name(group).items():
            if name in models and model != name:
                raise ValueError(f"Two models are named {name!r}; rename one.")
            if isinstance(model, str):
                built = make_model(model, schema=schema, random_state=random_state)
                models[name] = (get_entry(model).kind, built)
            else:
                models[name] = (kind, model)
    if not models:
        raise ValueError("There are no models and no baselines to compare.")
    return models


def _name(group):
    """Return {name: estimator or registered name}."""
    if group is None:
        return {}
    if isinstance(group, Mapping):
        return group
    if isinstance(group, str) or not all(isinstance(name, str) for name in group):
        raise TypeError(
            f"{group!r} is neither a dict of names to estimators nor a list of names "
            "of registered models."
        )
    return {name: name for name in group}


def _run(models, X, y, folds, metrics, cache, n_jobs, error_score):
    """Return {(model, fold): {"rows", "seconds", "memory"}}, from cache or anew."""
    results, waiting = {}, []
    for name, (_, estimator) in models.items():
        for fold, (train, test) in enumerate(folds):
            key = cache.key(estimator, train, test)
            stored = cache.read(key)
            if stored is not None:
                results[name, fold] = stored
            else:
                waiting.append((name, fold, estimator, train, test, key))
    parallel = Parallel(n_jobs=n_jobs, return_as="generator_unordered")
    done = parallel(
        delayed(_fit_and_score)(*task, X, y, metrics, error_score) for task in waiting
    )
    with warnings.catch_warnings(), ProgressBar(len(waiting), "Fitting") as progress:
        # joblib takes a worker that has just imported torch for one that leaks.
        warnings.filterwarnings("ignore", "A worker stopped while some jobs")
        for name, fold, key, result, failure in done:
            if failure is not None:
                message = f"Model {name!r} failed in fold {fold}: {failure}"
                warnings.warn(message, FitFailedWarning, stacklevel=3)
            else:
                cache.write(key, result)
            results[name, fold] = result
            progress.advance(name)
    return results


def _fit_and_score(name, fold, estimator, train, test, key, X, y, metrics, error_score):
    y_true = _safe_indexing(y, test)
    failure = None
    with ResourceMeter() as meter:
        try:
            fitted = clone(estimator).fit(
                _safe_indexing(X, train), _safe_indexing(y, train)
            )
            y_pred = fitted.predict(_safe_indexing(X, test))
        except Exception as error:
            if error_score == "raise":
                error.add_note(f"This was model {name!r} in fold {fold}.")
                raise
            failure = f"{type(error).__name__}: {error}"
    rows = {
        metric.name: [float(error_score)] * _num_samples(y_true)
        if failure
        else metric.row_function(_values(y_true), y_pred).tolist()
        for metric in metrics
    }
    result = {
        "rows": rows,
        "seconds": meter.seconds,
        "memory": meter.peak_memory_mb,
    }
    return name, fold, key, result, failure


def _zero_errors(metric, y):
    """Return the error of predicting zeros on each row, None for correlations."""
    if metric.greater_is_better:
        return None
    return np.maximum(metric.row_function(y, np.zeros_like(y)), np.finfo(float).tiny)


def _tabulate(models, results, metric, bootstrap, zero_errors):
    """Return the rows of one metric."""
    n_folds = max(fold for _, fold in results) + 1
    rows = {
        name: [
            np.asarray(results[name, f]["rows"][metric.name]) for f in range(n_folds)
        ]
        for name in models
    }
    pooled = {name: np.concatenate(parts) for name, parts in rows.items()}
    kinds = {name: kind for name, (kind, _) in models.items()}
    best = _best_baseline(pooled, kinds, metric)
    table = []
    for name, parts in rows.items():
        low, high = bootstrap.interval(pooled[name])
        summary = {
            "model": name,
            "kind": kinds[name],
            "metric": metric.name,
            "ci_low": low,
            "ci_high": high,
            "best_baseline": best,
            "greater_is_better": metric.greater_is_better,
            "relative_to_zeros": np.nan,
            **dict.fromkeys(
                ("difference", "difference_low", "difference_high"), np.nan
            ),
        }
        if best is not None:
            paired = pooled[name] - pooled[best]
            summary["difference"] = paired.mean()
            if name != best:
                low, high = bootstrap.interval(paired)
                summary |= {"difference_low": low, "difference_high": high}
        if zero_errors is not None:
            summary["relative_to_zeros"] = (pooled[name] / zero_errors).mean()
        for fold, part in enumerate(parts):
            result = results[name, fold]
            table.append(
                {
                    **summary,
                    "fold": fold,
                    "value": part.mean(),
                    "n_rows": len(part),
                    "fit_seconds": result["seconds"],
                    "peak_memory_mb": result["memory"],
                }
            )
    return pd.DataFrame(table)


def _best_baseline(pooled, kinds, metric):
    means = {
        name: rows.mean()
        for name, rows in pooled.items()
        if kinds[name] == "baseline" and not np.isnan(rows).any()
    }
    if not means:
        return None
    return (max if metric.greater_is_better else min)(means, key=means.get)


def _values(y):
    return np.asarray(without_annotation(y), dtype=np.float64)
