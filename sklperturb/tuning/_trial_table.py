"""Trials of a search as a table, in the sign of the metric itself."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestRegressor

from sklperturb.metrics import get_metric
from sklperturb.utils._choices import one_of

# Of an importance: trees, where values are taken from, and bootstraps of the trials.
_TREES, _PLACES, _N_DRAWS = 100, np.linspace(0, 1, 21), 20
# A parameter whose largest value is so many times the smallest is read by its log.
_DECADES = 20


@dataclass
class TrialTable:
    """Trials, in the order of their numbers; see `TuningDisplay` of `inspection`."""

    trials: pd.DataFrame
    params: pd.DataFrame
    metric: str | None
    greater_is_better: bool
    folds: pd.DataFrame
    curves: dict | None


def tabulate_search(search, metric=None):
    """Return the trials of a fitted search, by one of its scores.

    Parameters
    ----------
    search : PerturbationSearchCV, GridSearchCV or the like
    metric : str, default=None
        None is the score that it was fitted for.
    """
    if not hasattr(search, "cv_results_"):
        raise ValueError(
            f"{type(search).__name__} is not fitted, so there are no trials; call fit "
            "first."
        )
    key, scoring = _asked_score(search, metric)
    name, greater = _read_scoring(scoring)
    results = search.cv_results_
    sign = 1 if greater else -1
    value = sign * np.asarray(results[f"mean_test_{key}"], dtype=float)
    known = np.where(np.isnan(value), "FAIL", "COMPLETE")
    trials = pd.DataFrame(
        {
            "trial": results.get("trial", np.arange(len(value))),
            "state": results.get("state", known),
            "value": value,
        }
    )
    folds = [f"split{fold}_test_{key}" for fold in range(search.n_splits_)]
    folds = {i: sign * np.asarray(results[name]) for i, name in enumerate(folds)}
    study = getattr(search, "study_", None)
    # What was reported on the way is of the score that was optimised.
    optimised = study is not None and key in ("score", search.refit)
    return TrialTable(
        trials,
        pd.DataFrame(results["params"], index=trials.index),
        name,
        greater,
        pd.DataFrame(folds, index=trials.index),
        _read_curves(study, sign) if optimised else None,
    )


def tabulate_study(study, scoring=None):
    """Return the trials of a study that maximises, which may not be over.

    Parameters
    ----------
    study : optuna.study.Study
    scoring : str or scorer, default=None
        What its values are.
    """
    from sklperturb.tuning._trial_store import DISCARDED, FOLD

    directions = [direction.name.lower() for direction in study.directions]
    if directions != ["maximize"]:
        raise ValueError(
            "The study must have one value to maximise, as those that "
            f"PerturbationSearchCV fills; the directions of this one are {directions}."
        )
    name, greater = _read_scoring(scoring)
    sign = 1 if greater else -1
    rows, params, by_fold = [], [], []
    for trial in study.get_trials(deepcopy=False):
        if DISCARDED in trial.user_attrs or trial.state.name == "WAITING":
            continue
        complete = trial.state.name == "COMPLETE"
        folds = [v for k, v in trial.user_attrs.items() if k.startswith(FOLD)]
        scores = [list(fold["scores"].values()) for fold in folds]
        # Of several scores, the study does not say which it optimises.
        scores = [sign * each[0] if len(each) == 1 else np.nan for each in scores]
        by_fold.append(dict(enumerate(scores)))
        value = sign * trial.value if complete else np.nan
        rows.append((trial.number, trial.state.name, value))
        params.append(trial.params)
    trials = pd.DataFrame(rows, columns=["trial", "state", "value"])
    folds = pd.DataFrame(by_fold, index=trials.index)
    params = pd.DataFrame(params, index=trials.index)
    curves = _read_curves(study, sign)
    return TrialTable(trials, params, name, greater, folds, curves)


def importance(params, scores):
    """Return the share of the variance of scores that each parameter alone explains.

    A forest learns the score from the parameters; a parameter's share is the variance,
    over its values, of what the forest predicts on average over all else.

    Parameters
    ----------
    params : DataFrame of shape (n_trials, n_params)
        Without missing values.
    scores : ndarray of shape (n_trials,)

    Returns
    -------
    table : DataFrame
        ``importance``, and as ``low`` and ``high`` its 10th and 90th percentile over
        bootstraps of the trials; by parameter, the largest first.
    """
    X = np.column_stack([_as_numbers(params[name]) for name in params])
    rng = np.random.RandomState(0)
    draws = rng.randint(len(X), size=(_N_DRAWS, len(X)))
    shares = [_shares(X[rows], scores[rows], _TREES // 4) for rows in draws]
    low, high = np.percentile(shares, [10, 90], axis=0)
    found = {"importance": _shares(X, scores, _TREES), "low": low, "high": high}
    table = pd.DataFrame(found, index=params.columns)
    return table.sort_values("importance", ascending=False)


def _shares(X, scores, n_trees):
    total = np.var(scores)
    shares = np.zeros(X.shape[1])
    if not total:
        return shares
    forest = RandomForestRegressor(n_trees, random_state=0)
    forest.fit(X, scores)
    for j in range(X.shape[1]):
        # Values that were tried often count often.
        values = np.quantile(X[:, j], _PLACES, method="nearest")
        levels, counts = np.unique(values, return_counts=True)
        rows = np.tile(X, (len(levels), 1))
        rows[:, j] = np.repeat(levels, len(X))
        means = forest.predict(rows).reshape(len(levels), -1).mean(axis=1)
        centred = means - np.average(means, weights=counts)
        shares[j] = np.average(centred**2, weights=counts) / total
    return shares


def _as_numbers(column):
    if all(map(is_number, column)):
        return column.to_numpy(dtype=float)
    return pd.factorize(column.map(str), sort=True)[0].astype(float)


def spans_decades(values):
    """Whether numbers are read by their logarithms; missing ones do not count."""
    low, high = np.nanmin(values), np.nanmax(values)
    return bool(low > 0 and high > _DECADES * low)


def is_missing(value):
    return value is None or value is np.ma.masked or value != value


def is_number(value):
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def _asked_score(search, metric):
    """Return the key of a score in ``cv_results_``, and its scorer or name."""
    present = [
        key.removeprefix("mean_test_")
        for key in search.cv_results_
        if key.startswith("mean_test_")
    ]
    if metric is None:
        metric = search.refit if search.refit in present else present[0]
    key = one_of(metric, present, "score of this search")
    scoring = search.scoring
    if isinstance(scoring, dict):
        return key, scoring[key]
    return key, scoring if key == "score" else key


def _read_scoring(scoring):
    """Return the name of a metric, and whether greater is better in its own sign."""
    try:
        found = get_metric(scoring)
    except (TypeError, ValueError):
        name = scoring if isinstance(scoring, str) else None
        if name is not None and name.startswith("neg_"):
            return name.removeprefix("neg_").removesuffix("_scorer"), False
        return name, True
    return found.name, found.greater_is_better


def _read_curves(study, sign):
    """Return {trial: {step: value}} of what was reported on the way."""
    return {
        trial.number: {
            step: sign * value
            for step, value in sorted(trial.intermediate_values.items())
        }
        for trial in study.get_trials(deepcopy=False)
    }
