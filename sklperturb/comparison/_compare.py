"""Models and baselines on the same folds, each score with its spread."""

import logging
import warnings
from collections.abc import Mapping
from numbers import Integral, Real
from os import PathLike
from pathlib import Path

from joblib import delayed
from sklearn.exceptions import FitFailedWarning
from sklearn.model_selection import check_cv
from sklearn.utils import check_random_state, indexable
from sklearn.utils._param_validation import Interval, StrOptions, validate_params

from sklperturb.cells._files import gene_names
from sklperturb.comparison._ceilings import check_ceiling, warn_of_repeats
from sklperturb.comparison._comparison import Comparison
from sklperturb.comparison._evidence import dealt_units, doubts
from sklperturb.comparison._fold_cache import FoldCache
from sklperturb.comparison._judge import make_judge
from sklperturb.comparison._predictions import (
    as_kept,
    gather_predictions,
    list_held_out,
    n_genes_of,
)
from sklperturb.comparison._summary import summarise, tabulate_folds
from sklperturb.conditions import PerturbationSchema, resolve_schema
from sklperturb.conditions._doubts import warn
from sklperturb.conditions._frames import as_pandas
from sklperturb.model_selection._fold import FoldFit, describe_error
from sklperturb.models import get_entry, make_model, select_models
from sklperturb.uncertainty._ceiling import NoiseCeiling
from sklperturb.utils._bootstrap import ClusterBootstrap
from sklperturb.utils._calls import run_calls
from sklperturb.utils._memory import ResourceMeter
from sklperturb.utils._progress import ProgressBar

logger = logging.getLogger(__name__)
_SETS = StrOptions({"default", "all"})


@validate_params(
    {
        "estimators": [Mapping, list, tuple, _SETS],
        "X": "no_validation",
        "y": "no_validation",
        "cv": ["cv_object"],
        "scoring": [str, callable, list],
        "baselines": [Mapping, list, tuple, _SETS, None],
        "schema": [PerturbationSchema, None],
        "n_jobs": [Integral, None],
        "error_score": [StrOptions({"raise"}), Real],
        "n_resamples": [Interval(Integral, 1, None, closed="left")],
        "confidence": [Interval(Real, 0, 1, closed="neither")],
        "random_state": ["random_state"],
        "cache": [str, PathLike, None],
        "ceiling": [StrOptions({"auto"}), NoiseCeiling, list, tuple, None],
        "return_predictions": ["boolean"],
    },
    prefer_skip_nested_validation=False,
)
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
    sources=None,
    ceiling="auto",
    return_predictions=False,
):
    """Fit models and baselines on the same folds and score every held-out row.

    Parameters
    ----------
    estimators : dict of str to estimator or str, list of str, "default" or "all"
        Models by the name to show. A string is the name of a registered model
        (`sklperturb.models.list_models`); "default" and "all" are those of
        `sklperturb.models.select_models`.
    X : DataFrame of shape (n_samples, n_columns)
        Conditions.
    y : array-like, DataFrame or AnnData of shape (n_samples, n_genes)
        Responses.
    cv : int, splitter or iterable, default=5
        Folds, such as `UnseenPairKFold`. Beware of an int: rows of one compound then
        fall on both sides.
    scoring : str, scorer of `sklperturb.metrics`, or list of these, default="mrrmse"
        Row-wise metrics, such as "spearman", "neg_mrrmse" (which is shown as the error
        "mrrmse") or `WeightedMSEScorer`. Where rows are
        cells, one or more `CellScorer` of one convention: what is scored is then each
        perturbation in each of its contexts, and folds must test controls too.
    baselines : dict, list of str, "default", "all" or None, default="default"
        What differences are measured from: as `estimators`, of any kind; "default" and
        "all" take registered baselines only. Registered baselines among `estimators`
        count too. Without any the columns that refer to one stay empty; None adds none.
    schema : PerturbationSchema, default=None
        Roles of the columns. None infers them from the column names.
    n_jobs : int, default=None
        Processes that fit (model, fold) pairs; threads within each are limited so
        that the cores are not oversubscribed. Within
        ``joblib.parallel_config("dask")``, they are fitted on the cluster.
    error_score : "raise" or float, default="raise"
        Value of a fold in which a model failed, with a FitFailedWarning.
    n_resamples : int, default=2000
        Bootstrap resamples of what is held out: see the Notes.
    confidence : float, default=0.95
        Level of the intervals.
    random_state : int, RandomState instance or None, default=0
        Seeds the registered models and the bootstrap.
    cache : path-like, default=None
        Folder that keeps the scores of finished folds; a comparison that was stopped
        goes on from there when called again. Of a fold that was not finished, or whose
        file is damaged, nothing is used. Folds of a model of your own are fitted again
        when its module was edited (in a notebook, its class), not when other modules
        that it calls were. Predictions, where they are asked for, are
        kept beside the scores; a fold that was kept without them is fitted again.
    sources : list, default=None
        What is known of genes, for the registered models that take it; see
        `sklperturb.linear_model.GeneKnowledgeRidge`.
    ceiling : "auto", NoiseCeiling, list of NoiseCeiling or None, default="auto"
        What a perfect model would score. "auto" learns it from held-out rows that
        measure one condition again (`sklperturb.inspection.noise_ceiling`), or of cells
        from one half of them, scored on the other, which takes as long as scoring one
        more model; where that fails a warning says why, and the columns stay empty.
        Made from halves of the same rows, it is passed here. None leaves the columns
        empty.
    return_predictions : bool, default=False
        Whether to keep what each model predicts for the rows that a fold held out; see
        ``predictions`` of `Comparison`. This is scikit-learn's `cross_val_predict` for
        folds that hold out some rows never and others twice, which it refuses. Takes
        four bytes for each model, row and gene. Not for a `CellScorer`, which scores
        cells that models generate.

    Returns
    -------
    comparison : Comparison
        Its ``folds`` has one row for each model, fold and metric, its ``summary`` one
        for each model and metric, and ``left_out`` the registered models of "default"
        or "all" that lack a package or a column, which the logger reports too.

    Raises
    ------
    ValueError
        If there is nothing to compare, a name is taken twice, no fold holds anything
        out, or predictions are asked for where generated cells are scored.

    Warns
    -----
    UserWarning
        If the intervals rest on fewer than ten units, or there are none because there
        are fewer than three, if no model is better than the best baseline by an
        interval that excludes 0, or if the ceiling could not be worked out.

    See Also
    --------
    leaderboard : One ranked row for each model.
    sklearn.model_selection.cross_validate : One model at a time.

    Notes
    -----
    Intervals are those of a studentised bootstrap of units, the same draws for all
    models, with ends at one to three times the distance of Student's. Units are what
    the folds hold out, and an interval is about fresh ones: perturbations, in the same
    contexts; contexts, with the same perturbations, where every fold tests contexts
    that it does not train on, and with `LeaveOneContextOut`; both at once [1]_ where
    both are new in every fold; groups or scaffolds where a splitter deals these. Names
    of one structure that `UnseenPerturbationKFold` holds out together are one
    perturbation.

    They hold for the models that were fitted on the folds, and not for one that is
    fitted to all rows afterwards, which differs from them; the guide has the measured
    coverage of both.

    The best baseline is picked on the rows that it is then compared on, which favours
    the baseline: an interval below zero is a conservative statement.

    References
    ----------
    .. [1] Owen, "The pigeonhole bootstrap", The Annals of Applied Statistics 1(2),
       2007. :doi:`10.1214/07-AOAS122`

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
    scoring = scoring if isinstance(scoring, list) else [scoring]
    judge = make_judge(scoring, schema, X)
    schema = resolve_schema(schema, X, judge.control)
    models, left_out = _collect(estimators, baselines, schema, random_state, sources)
    metrics = judge.metrics
    if return_predictions and not judge.predicts_rows:
        raise ValueError(
            f"return_predictions=True and scoring={scoring}: scores of cells are of "
            "cells that a model generates, and there is no predicted response for each "
            'row. Leave one of them out, or score rows, as with scoring="mrrmse".'
        )
    X, y = indexable(X, y)
    given = check_ceiling(ceiling, metrics, len(X))
    folds = list(check_cv(cv).split(X, y))
    if not folds:
        raise ValueError(f"cv={cv!r} gives no folds; there is nothing to compare on.")
    cache = FoldCache(
        None if cache is None else Path(cache),
        [m.name for m in metrics],
        *(X, y, *judge.identity),
        n_genes=n_genes_of(y) if return_predictions else None,
    )
    estimators = {name: estimator for name, (_, estimator) in models.items()}
    run = X, y, folds, judge, cache, n_jobs, error_score, return_predictions
    # What rows are is read before the fits: a name that is missing costs none of them.
    unit, units = judge.units(X, folds, schema, dealt_units(cv, X))
    results = _run(estimators, *run)
    rng = check_random_state(random_state)
    bootstrap = ClusterBootstrap(units, n_resamples, confidence, rng)
    kinds = {name: kind for name, (kind, _) in models.items()}
    table = tabulate_folds(results, kinds, metrics)
    held_out = judge.held_out(X, y, folds)
    ceilings, notes = {}, []
    if ceiling is not None:
        ceilings, notes = judge.ceilings(X, y, folds, schema, given, random_state)
    summary = summarise(
        *(table, results, kinds, metrics, *held_out, bootstrap, unit, ceilings)
    )
    told = doubts(summary, min(bootstrap.sizes))
    for note in told:
        warn(note)
    notes = told + notes
    if ceilings and judge.warns_of_repeats:
        notes += warn_of_repeats(X, folds, schema)
    predictions = {}
    if return_predictions:
        shape = len(X), n_genes_of(y)
        predictions = gather_predictions(results, models, folds, shape)
    return Comparison(
        *(table, summary, left_out, notes, predictions, list_held_out(folds)),
        genes=gene_names(y),
        rows=getattr(X, "index", None),
        confidence=confidence,
    )


def _collect(estimators, baselines, schema, random_state, sources=None):
    """Return {name: (kind, estimator)}, the baselines first, and what is left out."""
    models, left_out, given = {}, {}, {}
    for group, kind in ((baselines, "baseline"), (estimators, "custom")):
        if isinstance(group, Mapping) or group is None:
            named = dict(group or {})
        else:
            only = kind if kind == "baseline" else None
            entries, missing = select_models(group, schema, kind=only)
            named = {entry.name: entry.name for entry in entries}
            left_out |= missing
        for name, model in named.items():
            if name in given:
                if isinstance(model, str) and given[name] == model:
                    continue  # runs once, and stays a baseline
                raise ValueError(f"Two models are named {name!r}; rename one.")
            given[name] = model
            if not isinstance(model, str):
                models[name] = (kind, model)
                continue
            built = make_model(
                model, schema=schema, random_state=random_state, sources=sources
            )
            # A baseline is what the user compares with, whatever else it is.
            own = kind if kind == "baseline" else get_entry(model).kind
            models[name] = (own, built)
    if not models:
        raise ValueError("There are no models and no baselines to compare.")
    for name, reason in left_out.items():
        logger.info("Left out %s: %s.", name, reason)
    return models, left_out


def _run(estimators, X, y, folds, judge, cache, n_jobs, error_score, keep):
    """Return the result of each (model, fold), a dictionary, from cache or anew."""
    results, waiting = {}, []
    for name, estimator in estimators.items():
        for fold, (train, test) in enumerate(folds):
            key = cache.key(estimator, train, test)
            stored = cache.read(key, judge.n_rows(X, test))
            if stored is not None:
                results[name, fold] = stored
            else:
                waiting.append((name, fold, estimator, train, test, key))
    calls = (
        delayed(_fit_and_score)(*task, X, y, judge, error_score, keep)
        for task in waiting
    )
    rows = (rows for fold in folds for rows in fold)
    done = run_calls(calls, n_jobs, shared=(X, y, judge, *estimators.values(), *rows))
    with warnings.catch_warnings(), ProgressBar(len(waiting), "Fitting") as progress:
        # joblib takes a worker that has just imported torch for one that leaks.
        warnings.filterwarnings("ignore", "A worker stopped while some jobs")
        for name, fold, key, result, failure in done:
            if failure is not None:
                message = f"Model {name!r} failed in fold {fold}: {failure}"
                warnings.warn(message, FitFailedWarning, stacklevel=4)
            else:
                cache.write(key, result)
            results[name, fold] = result
            progress.advance(name)
    return results


def _fit_and_score(
    name, fold, estimator, train, test, key, X, y, judge, error_score, keep
):
    failure = rows = kept = None
    with ResourceMeter() as meter:
        task = FoldFit(estimator, X, y, train, test)
        try:
            y_pred = judge.predict(task.fit())
        except Exception as error:
            if error_score == "raise":
                error.add_note(f"This was model {name!r} in fold {fold}.")
                raise
            failure = describe_error(error)
    if failure is None:
        rows = judge.score(task, y_pred)
        kept = as_kept(y_pred, y) if keep else None
    else:
        n_rows = judge.n_rows(X, test)
        rows = {metric.name: [float(error_score)] * n_rows for metric in judge.metrics}
    result = {"rows": rows, "seconds": meter.seconds, "memory": meter.peak_memory_mb}
    if keep:
        result["y_pred"] = kept
    return name, fold, key, result, failure
