"""The trials of a search as the table that scikit-learn's searches leave behind."""

import numpy as np
from scipy.stats import rankdata


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
    params = [decode(trial.stored) for trial in trials]
    results = {"params": params, "state": np.array([t.state.name for t in trials])}
    results["trial"] = np.array([trial.number for trial in trials])
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
        finished = np.array([trial.state.name == "COMPLETE" for trial in trials])
        mean = np.where(finished, scores.mean(axis=1), np.nan)
        results[f"mean_test_{metric}"] = mean
        results[f"std_test_{metric}"] = np.where(finished, scores.std(axis=1), np.nan)
        results[f"rank_test_{metric}"] = _rank(mean)
    return results


def _rank(mean):
    """Rank from 1, ties alike, and what has no mean behind all others."""
    ranks = rankdata(-np.nan_to_num(mean, nan=-np.inf), method="min")
    return ranks.astype(np.int32)
