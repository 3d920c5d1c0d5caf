"""From the scores of held-out rows to the two tables of a comparison."""

import numpy as np
import pandas as pd

from sklperturb.uncertainty._ceiling import share_of

UNCHANGED = "controls"  # the model of cells that predicts no change


def tabulate_folds(results, kinds, metrics):
    """Return one row for each metric, model and fold.

    Parameters
    ----------
    results : dict of (str, int) to dict
        By model and fold: "rows", the scores of the held-out rows by metric,
        "seconds", and "memory" in MB.
    kinds : dict of str to str
        Kind of each model; their order is that of the table.
    metrics : list of RowwiseMetric, WeightedMSEScorer or CellScorer
    """
    n_folds = max(fold for _, fold in results) + 1
    table = [
        {
            "model": model,
            "kind": kind,
            "fold": fold,
            "metric": metric.name,
            "value": np.mean(results[model, fold]["rows"][metric.name]),
            "n_rows": len(results[model, fold]["rows"][metric.name]),
            "fit_seconds": results[model, fold]["seconds"],
            "peak_memory_mb": results[model, fold]["memory"],
        }
        for metric in metrics
        for model, kind in kinds.items()
        for fold in range(n_folds)
    ]
    return pd.DataFrame(table)


def summarise(folds, results, kinds, metrics, X, y, bootstrap, unit, ceilings):
    """Return one row for each metric and model.

    Parameters
    ----------
    folds : DataFrame
        Of `tabulate_folds`, with the parameters that it had.
    X : DataFrame of shape (n_held_out, n_columns) or None
    y : ndarray of shape (n_held_out, n_genes) or None
        Conditions and responses of the held-out rows, fold after fold; None where
        cells are scored.
    bootstrap : ClusterBootstrap
        On the same rows.
    unit : str
        What it resamples.
    ceilings : dict of str to ndarray of shape (n_held_out,)
        What each score would be of true means, by metric; NaN where that is not known.
    """
    n_folds = folds["fold"].max() + 1
    n_units = " and ".join(map(str, bootstrap.sizes))
    means, costs = _over_folds(folds)
    summary = []
    for metric in metrics:
        rows = {
            model: np.concatenate(
                [results[model, fold]["rows"][metric.name] for fold in range(n_folds)]
            )
            for model in kinds
        }
        best = _best_baseline(rows, kinds, metric)
        zero_errors = _zero_errors(metric, X, y, rows)
        summary += [
            {
                "model": model,
                "kind": kinds[model],
                "metric": metric.name,
                "greater_is_better": metric.greater_is_better,
                **means.loc[metric.name, model],
                **_over_rows(
                    *(rows, model, best, zero_errors, bootstrap),
                    greater_is_better=metric.greater_is_better,
                ),
                **_below(
                    ceilings.get(metric.name), rows, model, best, metric, bootstrap
                ),
                "unit": unit,
                "n_units": int(n_units) if n_units.isdigit() else n_units,
                **costs.loc[metric.name, model],
            }
            for model in kinds
        ]
    return pd.DataFrame(summary)


def _over_folds(folds):
    """Return means and deviations over folds, and costs, by metric and model."""
    weighted = folds.assign(total=folds["value"] * folds["n_rows"])
    grouped = weighted.groupby(["metric", "model"], sort=False)
    # A mean weighs rows, not folds.
    sums = grouped[["total", "n_rows"]].agg(lambda part: part.sum(skipna=False))
    means = (sums["total"] / sums["n_rows"]).to_frame("mean")
    costs = grouped.agg({"fit_seconds": "mean", "peak_memory_mb": "max"})
    return means.assign(std=grouped["value"].std()), costs


def _over_rows(rows, model, best, zero_errors, bootstrap, greater_is_better):
    """Return a model's interval, and how its rows differ from those of others."""
    low, high = bootstrap.interval(rows[model])
    if not greater_is_better and rows[model].min() >= 0:
        low = np.maximum(low, 0.0)  # an error
    found = {
        "ci_low": low,
        "ci_high": high,
        "best_baseline": best,
        "difference": np.nan,
        "difference_low": np.nan,
        "difference_high": np.nan,
        "relative_to_zeros": np.nan,
    }
    if best is not None:
        paired = rows[model] - rows[best]
        found["difference"] = paired.mean()
        if model != best:
            low, high = bootstrap.interval_of_difference(paired)
            found |= {"difference_low": low, "difference_high": high}
    if zero_errors is not None:
        found["relative_to_zeros"] = (rows[model] / zero_errors).mean()
    return found


def _below(ceiling, rows, model, best, metric, bootstrap):
    """Return the ceiling, and how far a model is from the best baseline to it."""
    names = ("ceiling", "ceiling_low", "ceiling_high")
    names += ("share_of_ceiling", "share_low", "share_high")
    found = dict.fromkeys(names, np.nan)
    if ceiling is None or np.isnan(ceiling).all():
        return found
    # All of the same rows: those whose ceiling is known.
    known = ~np.isnan(ceiling)
    ceiling = np.where(known, ceiling, 0.0)
    low, high = bootstrap.interval_of_ratio(ceiling, known.astype(float))
    found |= {"ceiling": ceiling[known].mean(), "ceiling_low": low}
    found["ceiling_high"] = high
    if best is None or np.isnan(rows[model]).any():
        return found
    baseline, score = rows[best] * known, rows[model] * known
    found["share_of_ceiling"] = share_of(
        *(part[known].mean() for part in (score, baseline, ceiling)),
        metric.greater_is_better,
    )
    if model != best and not np.isnan(found["share_of_ceiling"]):
        low, high = bootstrap.interval_of_difference(
            score - baseline, ceiling - baseline
        )
        found |= {"share_low": low, "share_high": high}
    return found


def _best_baseline(rows, kinds, metric):
    means = {
        model: values.mean()
        for model, values in rows.items()
        if kinds[model] == "baseline" and not np.isnan(values).any()
    }
    if not means:
        return None
    return (max if metric.greater_is_better else min)(means, key=means.get)


def _zero_errors(metric, X, y, rows):
    """Return the error of predicting zeros on each row, None for correlations.

    Of cells it is the mean error of controls that stay as they are, where they are
    among the models: single ones may be nearly 0.
    """
    if metric.greater_is_better:
        return None
    if X is None:
        controls = rows.get(UNCHANGED)
        return None if controls is None else np.full(len(controls), controls.mean())
    return np.maximum(metric.of_rows(X)(y, np.zeros_like(y)), np.finfo(float).tiny)
