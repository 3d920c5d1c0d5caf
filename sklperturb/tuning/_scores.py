"""What a search scores by, and the table of scores that it leaves behind."""

import numpy as np
from scipy.stats import rankdata
from sklearn.metrics import check_scoring

from sklperturb.metrics import get_scorer


def is_several(scoring):
    """Whether `scoring` asks for more than one score."""
    return isinstance(scoring, list | tuple | set | dict)


def resolve_scorers(estimator, scoring, refit):
    """Return {name: scorer}, and the name of the one to optimise.

    Parameters
    ----------
    estimator : estimator
    scoring : str, callable, list, dict or None
        Names of `get_scorer`, or whatever else scikit-learn takes.
    refit : bool or str
        With several scores, the name of the one to optimise.
    """
    if not is_several(scoring):
        return {"score": _scorer(estimator, scoring)}, "score"
    given = scoring if isinstance(scoring, dict) else {name: name for name in scoring}
    scorers = {name: _scorer(estimator, scorer) for name, scorer in given.items()}
    if not isinstance(refit, str) or refit not in scorers:
        raise ValueError(
            f"refit={refit!r} does not say which of the scores to optimise; pass one "
            f"of {sorted(scorers)}."
        )
    return scorers, refit


def _scorer(estimator, given):
    return check_scoring(estimator, None if given is None else get_scorer(given))


def tabulate(trials, decode, metrics, n_splits):
    """Return ``cv_results_``: one entry for each trial, in the order of proposal.

    Scores of folds that were not run are NaN, and so is the mean of a trial that was
    pruned or failed.

    Parameters
    ----------
    trials : list of Trial
    decode : callable
        Turns stored parameters into those of the estimator.
    metrics : list of str
    n_splits : int
    """
    params = [decode(trial.frozen.params) for trial in trials]
    results = {
        "params": params,
        "state": np.array([t.frozen.state.name for t in trials]),
    }
    results["trial"] = np.array([trial.frozen.number for trial in trials])
    for name in sorted({name for given in params for name in given}):
        column = np.ma.masked_all(len(params), dtype=object)
        for row, given in enumerate(params):
            if name in given:
                column[row] = given[name]
        results[f"param_{name}"] = column
    for kind in ("fit_time", "score_time"):
        times = [[fold[kind] for fold in trial.folds] or [np.nan] for trial in trials]
        results[f"mean_{kind}"] = np.array([np.mean(row) for row in times])
        results[f"std_{kind}"] = np.array([np.std(row) for row in times])
    for metric in metrics:
        scores = np.full((len(trials), n_splits), np.nan)
        for row, trial in enumerate(trials):
            for fold, result in enumerate(trial.folds):
                scores[row, fold] = result["scores"].get(metric, np.nan)
        for fold in range(n_splits):
            results[f"split{fold}_test_{metric}"] = scores[:, fold]
        finished = np.array([trial.frozen.state.name == "COMPLETE" for trial in trials])
        mean = np.where(finished, scores.mean(axis=1), np.nan)
        results[f"mean_test_{metric}"] = mean
        results[f"std_test_{metric}"] = np.where(finished, scores.std(axis=1), np.nan)
        # Ties alike, and what has no mean behind all others.
        ranks = rankdata(-np.nan_to_num(mean, nan=-np.inf), method="min")
        results[f"rank_test_{metric}"] = ranks.astype(np.int32)
    return results


def best_row(results, metric, cause):
    """Return the row of the trial with the best mean.

    Parameters
    ----------
    results : dict
        Of `tabulate`.
    metric : str
    cause : Exception or None
        The first error of the search, which is raised if no trial came to its end.

    Raises
    ------
    ValueError
        If no trial came to its end, and none failed with an error.
    """
    mean = results[f"mean_test_{metric}"]
    if not np.isnan(mean).all():
        return int(np.nanargmax(mean))
    text = (
        f"None of {len(mean)} trials came to its end, so there are no best parameters."
    )
    if cause is None:
        raise ValueError(text)
    cause.add_note(f"{text} This was the first error.")
    raise cause
