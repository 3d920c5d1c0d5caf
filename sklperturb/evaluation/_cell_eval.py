"""Scores of predicted cells as cell-eval and the challenge of 2025 define them."""

import numpy as np
import pandas as pd
from sklearn.metrics import auc, average_precision_score, roc_curve

from sklperturb.evaluation._paired import (
    aligned_bulks,
    aligned_tables,
    as_targets,
    score_frame,
    share,
)
from sklperturb.metrics._discrimination import discrimination_score
from sklperturb.metrics._rowwise import rowwise_pearson, rowwise_spearman


def vcc2025_metrics(pseudobulk_true, pseudobulk_pred, de_true, de_pred, *, control):
    """Compute the three scores of the Virtual Cell Challenge 2025, per perturbation.

    Parameters
    ----------
    pseudobulk_true, pseudobulk_pred : DataFrame of shape (n_perturbations + 1, n_genes)
        Means of log1p-normalised cells, indexed by perturbation, with a row for the
        control; each side has its own.
    de_true, de_pred : DataFrame
        Tables of :func:`wilcoxon_de` with ``fdr="global"`` and
        ``fold_change="geometric_clipped"``.
    control : str
        Name of the control's row.

    Returns
    -------
    scores : DataFrame
        Indexed by perturbation. "des", the share of the truth's N called genes among
        the N called genes with the largest predicted fold changes (0 where nothing is
        called); "pds", the discrimination by L1; "mae" of the pseudobulks, of which
        smaller is better.

    Raises
    ------
    ValueError
        If the tables do not hold the same perturbations and genes, or no control.

    Notes
    -----
    Definitions are kept as they were used, with their flaws: see
    :func:`evaluate_cells` for the defaults that we recommend.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklperturb.evaluation import vcc2025_metrics
    >>> bulks = pd.DataFrame([[1.0, 1], [1, 3], [2, 1]], index=["ctrl", "A", "B"])
    >>> de = pd.DataFrame({"perturbation": ["A", "A", "B", "B"], "gene": [0, 1, 0, 1],
    ...                    "log2_fold_change": [0.1, 2, 1, 0],
    ...                    "p_value": [0.5, 0.001, 0.001, 1],
    ...                    "p_adj": [1, 0.01, 0.01, 1]})
    >>> vcc2025_metrics(bulks, bulks + 0.5, de, de, control="ctrl")
                  des  pds  mae
    perturbation
    A             1.0  1.0  0.5
    B             1.0  1.0  0.5
    """
    (truth, prediction), effects = aligned_bulks(
        pseudobulk_true, pseudobulk_pred, control, own_control=True
    )
    true, pred = aligned_tables(de_true, de_pred, truth.index)
    return score_frame(
        true.perturbations,
        des=_overlap(true, pred),
        pds=_discrimination(effects, "l1"),
        mae=(truth - prediction).abs().mean(axis=1).to_numpy(),
    )


def cell_eval_metrics(pseudobulk_true, pseudobulk_pred, de_true, de_pred, *, control):
    """Compute the scores of cell-eval 0.8, per perturbation.

    Parameters
    ----------
    pseudobulk_true, pseudobulk_pred : DataFrame of shape (n_perturbations + 1, n_genes)
        Means of log1p-normalised cells, indexed by perturbation, with a row for the
        control; each side has its own.
    de_true, de_pred : DataFrame
        Tables of :func:`wilcoxon_de` with its defaults.
    control : str
        Name of the control's row.

    Returns
    -------
    scores : DataFrame
        Indexed by perturbation, with the names of cell-eval as columns.
        "de_spearman_sig" is one number for all perturbations, and repeated. Where a
        score is not defined it is NaN.

    See Also
    --------
    clustering_agreement, energy_distance_correlation : Two more of its scores, which
        need other packages or all cells.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklperturb.evaluation import cell_eval_metrics
    >>> bulks = pd.DataFrame([[1.0, 1], [1, 3], [2, 1]], index=["ctrl", "A", "B"])
    >>> de = pd.DataFrame({"perturbation": ["A", "A", "B", "B"], "gene": [0, 1, 0, 1],
    ...                    "log2_fold_change": [0.1, 2, 1, 0],
    ...                    "p_value": [0.5, 0.001, 0.001, 1],
    ...                    "p_adj": [1, 0.01, 0.01, 1]})
    >>> scores = cell_eval_metrics(bulks, bulks + 0.5, de, de, control="ctrl")
    >>> scores[["overlap_at_N", "mae", "roc_auc"]]
                  overlap_at_N  mae  roc_auc
    perturbation
    A                      1.0  0.5      1.0
    B                      1.0  0.5      1.0
    """
    bulks, effects = aligned_bulks(
        pseudobulk_true, pseudobulk_pred, control, own_control=True
    )
    true, pred = (
        side.in_single_precision()
        for side in aligned_tables(de_true, de_pred, bulks[0].index)
    )
    scores = {"pearson_delta": _undefined_as_nan(rowwise_pearson, *effects)}
    for suffix, (truth, prediction) in (("", bulks), ("_delta", effects)):
        difference = (truth - prediction).to_numpy()
        scores[f"mse{suffix}"] = (difference**2).mean(axis=1)
        scores[f"mae{suffix}"] = np.abs(difference).mean(axis=1)
    for metric in ("l1", "l2", "cosine"):
        scores[f"discrimination_score_{metric}"] = _discrimination(effects, metric)
    for name, by in (("overlap", true), ("precision", pred)):
        for k in (None, 50, 100, 200, 500):
            scores[f"{name}_at_{k or 'N'}"] = _overlap(true, pred, k, by)
    n_true, n_pred = true.called.sum(axis=1), pred.called.sum(axis=1)
    both = (true.called & pred.called).sum(axis=1)
    scores["de_spearman_sig"] = _spearman_of_counts(n_true, n_pred)
    same = (np.sign(true.lfc) == np.sign(pred.lfc)) & true.called
    shared = (true.called & pred.tested).sum(axis=1)
    scores["de_direction_match"] = share(same.sum(axis=1), shared)
    scores["de_spearman_lfc_sig"] = _spearman_of_fold_changes(true, pred)
    scores["de_sig_genes_recall"] = share(both, n_true)
    scores["de_nsig_counts_real"], scores["de_nsig_counts_pred"] = n_true, n_pred
    scores["pr_auc"], scores["roc_auc"] = _areas(true, pred)
    return score_frame(true.perturbations, **scores)


def _discrimination(effects, metric):
    return discrimination_score(
        *effects,
        metric=metric,
        targets=as_targets(effects[0]),
        exclude="own",
        ties="first",
        count_own=True,
    )


def _overlap(true, pred, k=None, by=None):
    """Return the share of top genes in common, as many as `by`, the truth, calls."""
    scores = np.zeros(len(true.perturbations))
    if not (true.called.any() and pred.called.any()):
        return scores
    for row, own in enumerate((by or true).called.sum(axis=1)):
        n = min(k or own, own)
        if n:
            tops = [_top_genes(s.lfc[row], s.called[row], n) for s in (true, pred)]
            scores[row] = len(np.intersect1d(*tops)) / n
    return scores


def _top_genes(lfc, called, n):
    """Return `n` called genes by falling size of fold change, equal ones in order."""
    genes = np.flatnonzero(called)
    return genes[np.argsort(-np.abs(lfc[genes]), kind="stable")][:n]


def _spearman_of_counts(n_true, n_pred):
    """Correlate the numbers of called genes over perturbations with any in truth."""
    some = n_true > 0
    if not some.any():
        return 1.0
    sides = (pd.DataFrame([n[some].astype(float)]) for n in (n_true, n_pred))
    return _undefined_as_nan(rowwise_spearman, *sides)[0]


def _spearman_of_fold_changes(true, pred):
    scores = np.full(len(true.perturbations), np.nan)
    for row, called in enumerate(true.called):
        if called.sum() > 1:
            values = np.where(pred.tested[row], pred.lfc[row], 0.0)
            # The place of infinite values is the first or last, that of NaN the last.
            ranks = [
                pd.Series(side[called]).rank(na_option="bottom").to_frame().T
                for side in (true.lfc[row], values)
            ]
            scores[row] = _undefined_as_nan(rowwise_pearson, *ranks)[0]
    return scores


def _areas(true, pred):
    """Return areas under the precision-recall and the ROC curve."""
    areas = np.full((2, len(true.perturbations)), np.nan)
    for row, tested in enumerate(true.tested):
        labels = true.called[row, tested]
        confidence = -np.log10(np.clip(pred.p_adj[row, tested], np.float32(1e-10), 1))
        if 0 < labels.sum() < len(labels):
            areas[0, row] = average_precision_score(labels, confidence)
            areas[1, row] = auc(*roc_curve(labels, confidence)[:2])
    return areas


def _undefined_as_nan(function, *sides):
    constant = [np.ptp(side.to_numpy(), axis=1) == 0 for side in sides]
    return np.where(constant[0] | constant[1], np.nan, function(*sides))
