"""Scores of predicted cells that are hard to raise without a better prediction."""

import numpy as np

from sklperturb.evaluation._paired import (
    aligned_bulks,
    aligned_tables,
    score_frame,
    share,
)
from sklperturb.metrics._discrimination import discrimination_score
from sklperturb.metrics._effects import differential_weights, pearson_delta, weighted_r2


def robust_metrics(pseudobulk_true, pseudobulk_pred, de_true, de_pred, *, control):
    """Compute scores that are hard to raise without a better prediction.

    Parameters
    ----------
    pseudobulk_true, pseudobulk_pred : DataFrame of shape (n_perturbations + 1, n_genes)
        Means of log1p-normalised cells, indexed by perturbation. The control's row of
        the truth serves both sides; that of the prediction may be missing.
    de_true, de_pred : DataFrame
        Tables of :func:`wilcoxon_de` against measured controls on both sides.
    control : str
        Name of the control's row.

    Returns
    -------
    scores : DataFrame
        Indexed by perturbation. "discrimination" by cosine, without the target genes
        of all perturbations, ties in the middle; "pearson_delta" from the mean of the
        measured perturbations; "weighted_r2" from the same, weighted by differential
        expression; "de_agreement", Matthews' correlation of the called genes, 1 if
        neither side calls any and 0 if one alone does, or all; "de_direction",
        the share of the truth's called genes whose predicted effect has the right sign,
        less the share with the wrong one. The perturbation's own target is
        left out of both. Only what the truth leaves undefined is NaN: no called gene,
        for "de_direction".

    Notes
    -----
    "de_agreement" alone sees how much the predicted cells vary. Cells that are all
    alike make every gene significant; a list of all genes agrees by chance only, which
    Matthews' correlation takes off, and the share of the truth's genes that are called
    does not.

    References
    ----------
    .. [1] Chicco and Jurman. "The advantages of the Matthews correlation coefficient
       (MCC) over F1 score and accuracy in binary classification evaluation". BMC
       Genomics 21, 2020. :doi:`10.1186/s12864-019-6413-7`

    Examples
    --------
    >>> import pandas as pd
    >>> from sklperturb.evaluation import robust_metrics
    >>> bulks = pd.DataFrame([[1.0, 1], [1, 3], [2, 1]], index=["ctrl", "A", "B"])
    >>> de = pd.DataFrame({"perturbation": ["A", "A", "B", "B"], "gene": [0, 1, 0, 1],
    ...                    "log2_fold_change": [0.1, 2, 1, 0],
    ...                    "p_value": [0.5, 0.001, 0.001, 1],
    ...                    "p_adj": [1, 0.01, 0.01, 1]})
    >>> robust_metrics(bulks, bulks, de, de, control="ctrl").iloc[0].tolist()
    [1.0, 1.0, 1.0, 1.0, 1.0]
    """
    bulks, effects = aligned_bulks(pseudobulk_true, pseudobulk_pred, control)
    true, pred = (
        side.without_own(split=True)
        for side in aligned_tables(de_true, de_pred, bulks[0].index)
    )
    genes = true.genes.get_indexer(bulks[0].columns.astype(str))
    strength = -np.log10(np.maximum(true.p_value, 1e-300))
    strength = np.where(genes >= 0, strength[:, genes], 0.0)
    weights = differential_weights(strength)
    # Predicted control cells have no effect, and the cosine would rank the rounding
    # errors of their means.
    rounding = 1e-6 * pseudobulk_true.loc[control].abs().max()
    effects[1] = effects[1].where(effects[1].abs() > rounding, 0.0)
    # The mean product of both signs over the truth's called genes.
    signs = np.sign(effects[0].to_numpy()) * np.sign(effects[1].to_numpy())
    called = np.where(genes >= 0, true.called[:, genes], False)
    return score_frame(
        true.perturbations,
        discrimination=discrimination_score(*effects),
        pearson_delta=pearson_delta(*bulks),
        weighted_r2=weighted_r2(*bulks, weights=weights),
        de_agreement=_matthews(true, pred),
        de_direction=share((signs * called).sum(axis=1), called.sum(axis=1)),
    )


def _matthews(true, pred):
    """Correlate what is called, over the genes that both sides tested."""
    tested = true.tested & pred.tested
    n = tested.sum(axis=1)
    both, n_true, n_pred = (
        (called & tested).sum(axis=1)
        for called in (true.called & pred.called, true.called, pred.called)
    )
    product = n_true * n_pred * (n - n_true) * (n - n_pred).astype(np.float64)
    scale = np.sqrt(np.where(product > 0, product, 1.0))
    scores = np.where(product > 0, (both * n - n_true * n_pred) / scale, 0.0)
    same = (true.called == pred.called) | ~tested
    return np.where(same.all(axis=1), 1.0, scores)
