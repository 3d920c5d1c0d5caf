"""Scores of predicted cells as the Virtual Cell Challenge 2026 defines them."""

import numpy as np

from sklperturb.evaluation._paired import (
    aligned_bulks,
    aligned_tables,
    as_targets,
    score_frame,
    share,
)
from sklperturb.metrics._discrimination import discrimination_score, target_mask

# Direction reach asks for this share of right signs, as the competition does.
_REACH_PURITY = 0.9
# Fewer called genes than this give no stable error of their fold changes.
_MIN_GENES_NMAE = 10


def vcc2026_metrics(
    pseudobulk_true,
    pseudobulk_pred,
    de_true,
    de_pred,
    *,
    control,
    noise_true=None,
    noise_pred=None,
):
    """Compute the six scores of the Virtual Cell Challenge 2026, per perturbation.

    Parameters
    ----------
    pseudobulk_true, pseudobulk_pred : DataFrame of shape (n_perturbations + 1, n_genes)
        log1p of summed counts scaled to 50,000 per perturbation. The control's row of
        the truth serves both sides; that of the prediction may be missing.
    de_true, de_pred : DataFrame
        Tables of :func:`wilcoxon_de` with ``values="counts"``,
        ``fold_change="arithmetic"``, ``min_control_cpm=5`` and measured controls on
        both sides.
    control : str
        Name of the control's row.
    noise_true, noise_pred : Series, default=None
        Jackknife variance of each row of the pseudobulks, summed over genes, as
        :func:`evaluate_cells` computes it. None corrects for no noise.

    Returns
    -------
    scores : DataFrame
        Indexed by perturbation: "pds_cosine"; "mse_numerator" and "mse_denominator",
        whose sums over the perturbations divide to give "expr_mse_norm";
        "direction_fidelity_yield", "direction_reach", "sig_jaccard" and "lfc_nmae".
        Where a score is not defined, for lack of called genes, it is NaN.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklperturb.evaluation import vcc2026_metrics
    >>> bulks = pd.DataFrame([[1.0, 1], [1, 3], [2, 1]], index=["ctrl", "A", "B"])
    >>> de = pd.DataFrame({"perturbation": ["A", "A", "B", "B"], "gene": [0, 1, 0, 1],
    ...                    "log2_fold_change": [0.1, 2, 1, 0],
    ...                    "p_value": [0.5, 0.001, 0.001, 1],
    ...                    "p_adj": [1, 0.01, 0.01, 1]})
    >>> scores = vcc2026_metrics(bulks, bulks, de, de, control="ctrl")
    >>> scores[["pds_cosine", "sig_jaccard"]]
                  pds_cosine  sig_jaccard
    perturbation
    A                    1.0          1.0
    B                    1.0          1.0
    """
    bulks, effects = aligned_bulks(pseudobulk_true, pseudobulk_pred, control)
    true, pred = (
        side.without_own() for side in aligned_tables(de_true, de_pred, bulks[0].index)
    )
    distances = _corrected_distances(
        *bulks, effects[0], control, noise_true, noise_pred
    )
    has_sign = ~np.isnan(true.lfc) & (true.lfc != 0) & true.tested & pred.tested
    right = has_sign & (np.sign(true.lfc) == np.sign(pred.lfc))
    n_true = true.called.sum(axis=1)
    scored = pred.called & has_sign
    union = (true.called | pred.called).sum(axis=1)
    agreed = share((true.called & pred.called).sum(axis=1), union)
    return score_frame(
        true.perturbations,
        pds_cosine=discrimination_score(*effects, targets=as_targets(effects[0])),
        mse_numerator=distances[0],
        mse_denominator=distances[1],
        direction_fidelity_yield=share(
            (right & scored).sum(axis=1), np.maximum(scored.sum(axis=1), n_true)
        ),
        direction_reach=_reach(true, pred, has_sign, right),
        sig_jaccard=np.where(union == 0, 1.0, agreed),
        lfc_nmae=_fold_change_error(true, pred),
    )


def _corrected_distances(truth, prediction, effects, control, noise_true, noise_pred):
    """Return noise-corrected squared distances per gene: to the truth, to the control.

    The prediction's noise is credited at most as that of the truth, and in all at
    most as much as the predictions differ between perturbations; otherwise noise
    that cancels in the mean would lower the distance.
    """
    names = truth.index
    kept = ~target_mask(as_targets(effects), truth.columns)
    n_kept = kept.sum(axis=1)
    noise = [
        np.zeros(len(names)) if side is None else side.loc[names].to_numpy(dtype=float)
        for side in (noise_true, noise_pred)
    ]
    of_control = 0.0 if noise_true is None else float(noise_true.loc[control])
    true, pred = truth.to_numpy(), prediction.to_numpy()
    credit = np.minimum(noise[1], noise[0])
    claim = (credit / n_kept).sum()
    if claim > 0:
        credit = credit * min(1.0, _spread(pred, kept, 1.0 / n_kept) / claim)
    numerator = ((pred - true) ** 2 * kept).sum(axis=1) - credit - noise[0]
    effect = (effects.to_numpy() ** 2 * kept).sum(axis=1)
    denominator = effect - noise[0] - of_control
    return numerator / n_kept, denominator / n_kept


def _spread(pred, kept, weights):
    """Sum over genes the weighted squares of predictions around their mean."""
    deviation = pred - pred.mean(axis=0)
    weight = kept * weights[:, None]
    total = weight.sum(axis=0)
    usable = (kept.sum(axis=0) >= 2) & (total > 0)
    first = (weight * deviation).sum(axis=0)
    squares = (weight * deviation**2).sum(axis=0)
    around = squares[usable] - first[usable] ** 2 / total[usable]
    return np.maximum(around, 0.0).sum()


def _reach(true, pred, has_sign, right):
    """Return how deep the truth's called genes are right in sign, by confidence.

    The genes stand in the order of the predicted p-values; the deepest place down to
    which at least nine in ten signs are right is divided by the number of genes.
    """
    scores = np.full(len(true.perturbations), np.nan)
    # Genes that tie in everything stand in the order of their names.
    by_name = np.argsort(np.argsort(true.genes.to_numpy().astype(str)))
    for row, called in enumerate(true.called):
        n_called = called.sum()
        if not n_called:
            continue
        genes = np.flatnonzero(called & pred.tested[row])
        size = np.abs(pred.lfc[row, genes])
        keys = (
            by_name[genes],
            -np.where(np.isnan(size), -np.inf, size),
            pred.p_value[row, genes],
            pred.p_adj[row, genes],
        )
        genes = genes[np.lexsort(keys)]
        depth = has_sign[row, genes].cumsum()
        purity = right[row, genes].cumsum() / np.maximum(depth, 1)
        pure = depth[(depth > 0) & (purity >= _REACH_PURITY)]
        scores[row] = pure.max(initial=0) / n_called
    return scores


def _fold_change_error(true, pred):
    """Return the error of fold changes over that of predicting none."""
    gate = true.called & np.isfinite(true.lfc)
    change = np.where(gate, true.lfc, 0.0)
    predicted = np.where(gate & np.isfinite(pred.lfc), pred.lfc, 0.0)
    error = np.abs(predicted - change).sum(axis=1)
    scores = share(error, np.abs(change).sum(axis=1))
    return np.where(gate.sum(axis=1) >= _MIN_GENES_NMAE, scores, np.nan)
