"""Predictions of held-out rows, put back in the order of the rows."""

import numpy as np
import pandas as pd

from sklperturb.cells._files import gene_names
from sklperturb.metrics._checks import without_annotation


def as_kept(y_pred, y):
    """Return what a model predicts for a fold in the order of genes of `y`.

    Parameters
    ----------
    y_pred : array-like or DataFrame of shape (n_rows, n_genes) or (n_rows,)
    y : array-like, DataFrame or AnnData of shape (n_samples, n_genes)

    Returns
    -------
    y_pred : ndarray of float32 of shape (n_rows, n_genes)
    """
    y_pred = without_annotation(y_pred)
    genes = gene_names(y)
    if isinstance(y_pred, pd.DataFrame) and genes is not None:
        y_pred = y_pred.set_axis(gene_names(y_pred), axis=1)[genes]
    y_pred = np.asarray(y_pred, dtype=np.float32)
    return y_pred.reshape(len(y_pred), -1)


def n_genes_of(y):
    """Return the number of columns of `y`."""
    shape = np.shape(y)
    return shape[1] if len(shape) > 1 else 1


def gather_predictions(results, models, folds, shape):
    """Take the predictions out of the results of folds, and align them with the rows.

    Parameters
    ----------
    results : dict of (str, int) to dict
        By model and fold; "y_pred" is taken out of each, so that no more than one
        model's predictions are in memory twice. None is that of a fold that failed.
    models : iterable of str
    folds : list of tuple (train, test) of ndarray of int
    shape : tuple of int
        Of the responses.

    Returns
    -------
    predictions : dict of str to ndarray of float32 of shape (n_samples, n_genes)
        A row's mean over the folds that held it out; NaN where none did, or where a
        model failed in one of them.
    """
    times = np.zeros(shape[0], dtype=int)
    for _, test in folds:
        times[np.unique(test)] += 1
    predictions = {}
    for model in models:
        total = np.zeros(shape, dtype=np.float32)
        total[times == 0] = np.nan
        for fold, (_, test) in enumerate(folds):
            part = results[model, fold].pop("y_pred")
            total[test] += np.float32(np.nan) if part is None else part
        total /= np.maximum(times, 1).astype(np.float32)[:, None]
        predictions[model] = total
    return predictions


def list_held_out(folds):
    """Return one row for each held-out row and fold, fold after fold."""
    parts = [
        pd.DataFrame({"row": np.asarray(test), "fold": fold})
        for fold, (_, test) in enumerate(folds)
    ]
    return pd.concat(parts, ignore_index=True)
