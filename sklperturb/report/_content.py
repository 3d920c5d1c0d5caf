"""From a comparison to what a report shows: numbers and text that JSON can hold."""

import datetime
import hashlib
import platform

import numpy as np
import pandas as pd

from sklperturb._version import __version__
from sklperturb.auditing._result import LeakAudit
from sklperturb.comparison import leaderboard
from sklperturb.conditions._frames import as_pandas
from sklperturb.inspection._effect_size import (
    MAX_CONTEXTS,
    EffectSizeDisplay,
    measure_strengths,
)
from sklperturb.metrics import get_metric
from sklperturb.metrics._table import ROWWISE_METRICS
from sklperturb.persistence import data_fingerprint
from sklperturb.persistence._save import library_versions
from sklperturb.report._explorer import explore
from sklperturb.report._run import FORMAT, VERSION, as_plain
from sklperturb.utils._printable import printable

_FOLD_COLUMNS = [
    "model",
    "kind",
    "fold",
    "metric",
    "value",
    "n_rows",
    "fit_seconds",
    "peak_memory_mb",
]


def describe(
    comparison,
    X,
    y,
    *,
    schema=None,
    scoring=None,
    audit=None,
    coverage=None,
    about=None,
):
    """Return what a report shows of a comparison.

    Parameters
    ----------
    comparison : Comparison
    X, y : DataFrame and array-like, DataFrame or AnnData
        That were compared on.
    schema : PerturbationSchema, default=None
    scoring : list, default=None
        The metrics, where not all of them are known by name.
    audit : LeakAudit, dict or None
    coverage : dict of str to DataFrame, or None
        By model, as `coverage_curve` returns it.
    about : dict of str to object, default=None
        What else is to be told of where the numbers are from.

    Returns
    -------
    run : dict
        As `check_run` takes it.
    """
    X, y = as_pandas(X), as_pandas(y)
    table = leaderboard(comparison)
    keys = ["metric", "model", "greater_is_better", "best_baseline"]
    table = table.merge(comparison.summary[keys], on=["metric", "model"], how="left")
    explorer = calibration = None
    if comparison.predictions:
        metrics = _metrics(table["metric"].unique(), scoring)
        order = [m for m in table["model"].unique() if m in comparison.predictions]
        best = table["best_baseline"].dropna()
        baseline = best.iloc[0] if len(best) else None
        explorer = explore(comparison, X, y, schema, metrics, order, baseline)
        calibration = _slopes(comparison, X, y, schema, order)
    if isinstance(audit, LeakAudit):
        audit = as_plain(audit.to_dict())
    return {
        "format": FORMAT,
        "version": VERSION,
        "provenance": _provenance(comparison, X, y, about or {}),
        "confidence": float(comparison.confidence),
        "notes": [printable(note) for note in comparison.notes],
        "left_out": as_plain(comparison.left_out),
        "leaderboard": as_plain(table.to_dict("records")),
        "folds": as_plain(comparison.folds[_FOLD_COLUMNS].to_dict("records")),
        "explorer": as_plain(explorer),
        "calibration": as_plain(calibration),
        "coverage": as_plain(_covered(coverage)),
        "audit": audit,
    }


def _metrics(names, scoring):
    """Return the metrics that can score a row, a correlation among them."""
    given = {metric.name: metric for metric in map(get_metric, scoring or ())}
    known = given | {n: ROWWISE_METRICS[n] for n in names if n in ROWWISE_METRICS}
    metrics = [known[name] for name in names if name in known]
    if not any(metric.greater_is_better for metric in metrics):
        metrics.append(ROWWISE_METRICS["pearson"])
    return metrics


def _slopes(comparison, X, y, schema, models):
    """Return the slope of measured on predicted strength of each model and context."""
    found = []
    for model in models:
        y_pred = comparison.predictions[model]
        if np.isnan(y_pred).all():
            continue  # it failed
        rows = measure_strengths(y, y_pred, X, schema)
        display = EffectSizeDisplay(rows=rows, confidence=comparison.confidence)
        slopes = display.slopes()
        if len(slopes) > MAX_CONTEXTS + 1:
            slopes = slopes[-1:]
        slopes = slopes.reset_index().astype({"n_rows": int, "n_perturbations": int})
        found += slopes.assign(model=model).to_dict("records")
    return found


def _covered(coverage):
    if not coverage:
        return None
    columns = ["group", "confidence", "coverage", "low", "high", "width"]
    columns += ["n_perturbations", "n_rows"]
    parts = [
        pd.DataFrame(curve)[columns].assign(model=str(model))
        for model, curve in coverage.items()
    ]
    return pd.concat(parts).to_dict("records")


def _provenance(comparison, X, y, about):
    """Return where the numbers are from, a text for each name."""
    held_out = comparison.held_out
    split = None
    if held_out is not None:
        cut = np.ascontiguousarray(held_out[["row", "fold"]], dtype="<i8")
        split = hashlib.sha256(cut.tobytes()).hexdigest()
    now = datetime.datetime.now(datetime.UTC)
    data = None if y is None else data_fingerprint(X, y)
    n_genes = y.shape[1] if len(np.shape(y)) > 1 else 1
    found = {
        **about,
        "date": now.strftime("%Y-%m-%d %H:%M UTC"),
        "data": f"{len(X)} rows, {n_genes} genes",
        "data fingerprint": data and f"SHA-256 {data}",
        "split hash": split and f"SHA-256 {split}, of the rows that each fold held out",
        "sklperturb": __version__,
        **library_versions(),
        "system": f"{platform.system()} {platform.machine()}",
    }
    return {
        printable(str(name)): printable(str(value))
        for name, value in found.items()
        if value is not None
    }
