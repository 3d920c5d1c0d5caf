"""Scores and strongest genes of each held-out row, by model."""

import numpy as np
import pandas as pd

from sklperturb.cells._files import gene_names
from sklperturb.inspection._effect_size import strengths
from sklperturb.inspection._row_errors import label_rows, score_rows
from sklperturb.metrics._checks import without_annotation
from sklperturb.utils._printable import printable

# Numbers in a file: some 6 bytes each, so that a page is below 5 MB.
_MOST_SCORES = 200_000
_MOST_VALUES = 350_000
_GENES = 5, 30  # fewest and most of a row


def explore(comparison, X, y, schema, metrics, models, baseline):
    """Return what the table and the plots of single conditions are made of.

    Parameters
    ----------
    comparison : Comparison
        With predictions.
    X : DataFrame of shape (n_samples, n_columns)
    y : array-like, DataFrame or AnnData of shape (n_samples, n_genes)
    schema : PerturbationSchema or None
    metrics : list of RowwiseMetric or WeightedMSEScorer
    models : list of str
    baseline : str or None
        Which the others are compared with.

    Returns
    -------
    explorer : dict

    Notes
    -----
    The genes of a row are those that responded most, up or down, by measurement. Of a
    large screen the rows that responded least are left out.
    """
    genes = gene_names(y)
    truth = np.asarray(without_annotation(y), dtype=np.float64)
    truth = truth.reshape(len(truth), -1)
    if genes is None:
        genes = [f"gene_{i}" for i in range(truth.shape[1])]
    folds = comparison.held_out.groupby("row")["fold"]
    folds = folds.agg(lambda own: ", ".join(map(str, sorted(set(own)))))
    rows = folds.index.to_numpy()
    strength = strengths(truth[rows])
    most = max(_MOST_SCORES // (len(models) * len(metrics)), 1)
    n_kept = min(len(rows), most, _MOST_VALUES // (_GENES[0] * (len(models) + 1)))
    kept = np.sort(np.argsort(-strength, kind="stable")[:n_kept])
    rows, strength, folds = rows[kept], strength[kept], folds.iloc[kept]
    n_top = _MOST_VALUES // (n_kept * (len(models) + 1))
    n_top = min(np.clip(n_top, *_GENES), truth.shape[1])
    top = _strongest(truth[rows], n_top)
    shown, place = np.unique(top, return_inverse=True)
    labels = label_rows(X, schema).iloc[rows].map(printable)
    perturbation, perturbations = pd.factorize(labels["perturbation"], sort=True)
    context = contexts = None
    if "context" in labels:
        context, contexts = pd.factorize(labels["context"], sort=True)
    predictions = [
        np.asarray(comparison.predictions[model], dtype=np.float64) for model in models
    ]
    return {
        "metrics": [
            {"name": m.name, "greater_is_better": bool(m.greater_is_better)}
            for m in metrics
        ],
        "models": list(models),
        "baseline": baseline,
        "perturbations": list(perturbations),
        "contexts": None if contexts is None else list(contexts),
        "perturbation": perturbation.tolist(),
        "context": None if context is None else context.tolist(),
        "fold": folds.tolist(),
        "strength": _rounded(strength),
        "scores": [
            [
                _rounded(_scores(metric, truth, y_pred, X, rows))
                for y_pred in predictions
            ]
            for metric in metrics
        ],
        "n_left_out": len(comparison.held_out["row"].unique()) - len(rows),
        "genes": [str(genes[i]) for i in shown],
        "top": place.reshape(top.shape).tolist(),
        "measured": _rounded(np.take_along_axis(truth[rows], top, axis=1)),
        "predicted": [
            _rounded(np.take_along_axis(y_pred[rows], top, axis=1))
            for y_pred in predictions
        ],
    }


def _strongest(truth, n_top):
    """Return the columns of the largest values of each row, either sign, by value."""
    top = np.argsort(-np.abs(truth), axis=1, kind="stable")[:, :n_top]
    values = np.take_along_axis(truth, top, axis=1)
    return np.take_along_axis(top, np.argsort(-values, axis=1, kind="stable"), axis=1)


def _scores(metric, truth, y_pred, X, rows):
    """Return the score of each row, NaN where a model failed."""
    scores = np.full(len(rows), np.nan)
    known = ~np.isnan(y_pred[rows]).any(axis=1)
    if known.any():
        scores[known] = score_rows(metric, truth, y_pred, X, rows[known])
    return scores


def _rounded(values):
    """Return numbers as lists, with three digits, which is what a screen can show."""
    flat = [None if v != v else float(f"{v:.3g}") for v in values.ravel().tolist()]
    if values.ndim == 1:
        return flat
    width = values.shape[1]
    return [flat[i : i + width] for i in range(0, len(flat), width)]
