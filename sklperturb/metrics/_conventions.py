"""Scores of predicted cells as three public evaluators define them."""

import numpy as np
import pandas as pd
from sklearn.metrics import auc, average_precision_score, roc_curve

from sklperturb.metrics._de_arrays import paired_arrays, top_genes
from sklperturb.metrics._discrimination import discrimination_score
from sklperturb.metrics._effects import (
    differential_weights,
    pearson_delta,
    weighted_r2,
)
from sklperturb.metrics._rowwise import rowwise_pearson, rowwise_spearman

# Direction reach asks for this share of right signs, as the competition of 2026 does.
_REACH_PURITY = 0.9
# Fewer called genes than this give no stable error of their fold changes.
_MIN_GENES_NMAE = 10


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
    >>> from sklperturb.metrics import vcc2025_metrics
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
    truth, prediction = _aligned_bulks(pseudobulk_true, pseudobulk_pred, control)
    true, pred = _aligned_tables(de_true, de_pred, truth, control)
    effects = _effects(truth, control), _effects(prediction, control)
    return _frame(
        true.perturbations,
        des=_overlap(true, pred),
        pds=discrimination_score(
            *effects,
            metric="l1",
            targets=_exactly(effects[0]),
            exclude="own",
            ties="first",
            count_own=True,
        ),
        mae=_without(truth - prediction, control).abs().mean(axis=1).to_numpy(),
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
        score is not defined it is NaN. The clustering of centroids and the
        correlation of energy distances are not computed.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklperturb.metrics import cell_eval_metrics
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
    truth, prediction = _aligned_bulks(pseudobulk_true, pseudobulk_pred, control)
    true, pred = (
        side.in_single_precision()
        for side in _aligned_tables(de_true, de_pred, truth, control)
    )
    effects = _effects(truth, control), _effects(prediction, control)
    difference = _without(truth - prediction, control).to_numpy()
    of_effects = (effects[0] - effects[1]).to_numpy()
    scores = {
        "pearson_delta": _undefined_as_nan(rowwise_pearson, *effects),
        "mse": (difference**2).mean(axis=1),
        "mae": np.abs(difference).mean(axis=1),
        "mse_delta": (of_effects**2).mean(axis=1),
        "mae_delta": np.abs(of_effects).mean(axis=1),
    }
    for metric in ("l1", "l2", "cosine"):
        scores[f"discrimination_score_{metric}"] = discrimination_score(
            *effects,
            metric=metric,
            targets=_exactly(effects[0]),
            exclude="own",
            ties="first",
            count_own=True,
        )
    for k in (None, 50, 100, 200, 500):
        scores[f"overlap_at_{k or 'N'}"] = _overlap(true, pred, k)
    for k in (None, 50, 100, 200, 500):
        scores[f"precision_at_{k or 'N'}"] = _overlap(true, pred, k, precision=True)
    n_true, n_pred = true.called.sum(axis=1), pred.called.sum(axis=1)
    both = (true.called & pred.called).sum(axis=1)
    scores["de_spearman_sig"] = _spearman_of_counts(n_true, n_pred)
    same = (np.sign(true.lfc) == np.sign(pred.lfc)) & true.called
    shared = (true.called & pred.tested).sum(axis=1)
    scores["de_direction_match"] = _share(same.sum(axis=1), shared)
    scores["de_spearman_lfc_sig"] = _spearman_of_fold_changes(true, pred)
    scores["de_sig_genes_recall"] = _share(both, n_true)
    scores["de_nsig_counts_real"], scores["de_nsig_counts_pred"] = n_true, n_pred
    scores["pr_auc"], scores["roc_auc"] = _areas(true, pred)
    return _frame(true.perturbations, **scores)


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
    >>> from sklperturb.metrics import vcc2026_metrics
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
    pseudobulk_pred = _with_control(pseudobulk_true, pseudobulk_pred, control)
    truth, prediction = _aligned_bulks(pseudobulk_true, pseudobulk_pred, control)
    true, pred = (
        side.without_own() for side in _aligned_tables(de_true, de_pred, truth, control)
    )
    reference = truth.loc[control]
    effects = [_without(side, control) - reference for side in (truth, prediction)]
    distances = _corrected_distances(truth, prediction, control, noise_true, noise_pred)
    has_sign = np.isfinite(true.lfc) | np.isinf(true.lfc)
    has_sign &= (true.lfc != 0) & true.tested & pred.tested
    right = has_sign & (np.sign(true.lfc) == np.sign(pred.lfc))
    n_true = true.called.sum(axis=1)
    scored = pred.called & has_sign
    union = (true.called | pred.called).sum(axis=1)
    agreed = _share((true.called & pred.called).sum(axis=1), union)
    return _frame(
        true.perturbations,
        pds_cosine=discrimination_score(*effects, targets=_exactly(effects[0])),
        mse_numerator=distances[0],
        mse_denominator=distances[1],
        direction_fidelity_yield=_share(
            (right & scored).sum(axis=1), np.maximum(scored.sum(axis=1), n_true)
        ),
        direction_reach=_reach(true, pred, has_sign, right),
        sig_jaccard=np.where(union == 0, 1.0, agreed),
        lfc_nmae=_fold_change_error(true, pred),
    )


def _aligned_bulks(pseudobulk_true, pseudobulk_pred, control):
    """Return both with the same rows, sorted, and the same genes."""
    sides = {"pseudobulk_true": pseudobulk_true, "pseudobulk_pred": pseudobulk_pred}
    for name, side in sides.items():
        if control not in side.index:
            raise ValueError(
                f"{name} has no row for the control {control!r}; it has "
                f"{list(side.index[:5])}."
            )
        if not (side.index.is_unique and side.columns.is_unique):
            raise ValueError(f"{name} repeats a perturbation or a gene.")
    for axis, kind in (("index", "perturbations"), ("columns", "genes")):
        differing = getattr(pseudobulk_true, axis).symmetric_difference(
            getattr(pseudobulk_pred, axis)
        )
        if len(differing):
            raise ValueError(
                f"The pseudobulks hold different {kind}; {len(differing)} are in one "
                f"only, such as {list(differing[:5])}."
            )
    truth = pseudobulk_true.sort_index()
    return truth, pseudobulk_pred.loc[truth.index, truth.columns]


def _aligned_tables(de_true, de_pred, truth, control):
    true, pred = paired_arrays(de_true, de_pred)
    expected = [str(name) for name in truth.index if name != control]
    if true.perturbations != expected:
        differing = sorted(set(true.perturbations) ^ set(expected))
        raise ValueError(
            "The tables of differential expression and the pseudobulks hold different "
            f"perturbations: {len(differing)} are in one only, such as {differing[:5]}."
        )
    return true, pred


def _without(bulks, control):
    return bulks.drop(index=control)


def _effects(bulks, control):
    return _without(bulks, control) - bulks.loc[control]


def _exactly(effects):
    """Return the names as targets: "A+B" is no gene, as in the evaluators."""
    return [[name] for name in effects.index]


def _frame(perturbations, **scores):
    return pd.DataFrame(scores, index=pd.Index(perturbations, name="perturbation"))


def _share(part, whole):
    part, whole = np.asarray(part, dtype=np.float64), np.asarray(whole)
    return np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)


def _undefined_as_nan(function, y_true, y_pred):
    values = function(y_true, y_pred)
    constant = (np.ptp(y_true.to_numpy(), axis=1) == 0) | (
        np.ptp(y_pred.to_numpy(), axis=1) == 0
    )
    return np.where(constant, np.nan, values)


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
        expression; "de_jaccard" and "de_direction", the agreement of called genes and
        the share of the truth's called genes that are called with the right sign, the
        perturbation's own target left out. Only what the truth leaves undefined is
        NaN: no called gene, for "de_direction".

    Examples
    --------
    >>> import pandas as pd
    >>> from sklperturb.metrics import robust_metrics
    >>> bulks = pd.DataFrame([[1.0, 1], [1, 3], [2, 1]], index=["ctrl", "A", "B"])
    >>> de = pd.DataFrame({"perturbation": ["A", "A", "B", "B"], "gene": [0, 1, 0, 1],
    ...                    "log2_fold_change": [0.1, 2, 1, 0],
    ...                    "p_value": [0.5, 0.001, 0.001, 1],
    ...                    "p_adj": [1, 0.01, 0.01, 1]})
    >>> robust_metrics(bulks, bulks, de, de, control="ctrl").iloc[0].tolist()
    [1.0, 1.0, 1.0, 1.0, 1.0]
    """
    pseudobulk_pred = _with_control(pseudobulk_true, pseudobulk_pred, control)
    truth, prediction = _aligned_bulks(pseudobulk_true, pseudobulk_pred, control)
    true, pred = (
        side.without_own(split=True)
        for side in _aligned_tables(de_true, de_pred, truth, control)
    )
    reference = truth.loc[control]
    true_bulks, pred_bulks = (_without(side, control) for side in (truth, prediction))
    genes = true.genes.get_indexer(truth.columns.astype(str))
    strength = -np.log10(np.maximum(true.p_value, 1e-300))
    strength = np.where(genes >= 0, strength[:, genes], 0.0)
    weights = differential_weights(strength)
    n_true = true.called.sum(axis=1)
    both = true.called & pred.called
    union = (true.called | pred.called).sum(axis=1)
    right = both & (np.sign(true.lfc) == np.sign(pred.lfc))
    return _frame(
        true.perturbations,
        discrimination=discrimination_score(
            true_bulks - reference, _without_rounding(pred_bulks, reference)
        ),
        pearson_delta=pearson_delta(true_bulks, pred_bulks),
        weighted_r2=weighted_r2(true_bulks, pred_bulks, weights=weights),
        de_jaccard=np.where(union == 0, 1.0, _share(both.sum(axis=1), union)),
        de_direction=_share(right.sum(axis=1), n_true),
    )


def _without_rounding(bulks, reference):
    """Return effects, with 0 for those that are rounding errors of the means.

    Predicted control cells have no effect, and the cosine would rank their noise.
    """
    effects = bulks - reference
    return effects.where(effects.abs() > 1e-6 * reference.abs().max(), 0.0)


def _with_control(pseudobulk_true, pseudobulk_pred, control):
    """Give the prediction the measured control in place of its own."""
    others = pseudobulk_pred.drop(index=control, errors="ignore")
    own = pseudobulk_true.loc[[control]].reindex(columns=others.columns)
    return pd.concat([others, own])


def _overlap(true, pred, k=None, precision=False):
    scores = np.zeros(len(true.perturbations))
    if not (true.called.any() and pred.called.any()):
        return scores
    for row in range(len(scores)):
        own = (pred if precision else true).called[row].sum()
        n = min(k or own, own)
        if n:
            tops = [top_genes(s.lfc[row], s.called[row], n) for s in (true, pred)]
            scores[row] = len(np.intersect1d(*tops)) / n
    return scores


def _spearman_of_counts(n_true, n_pred):
    """Correlate the numbers of called genes over perturbations with any in truth."""
    some = n_true > 0
    if not some.any():
        return 1.0
    if some.sum() < 2:
        return np.nan
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
    floor = np.float32(1e-10)
    for row, tested in enumerate(true.tested):
        labels = true.called[row, tested]
        confidence = -np.log10(np.clip(pred.p_adj[row, tested], floor, 1))
        if 0 < labels.sum() < len(labels):
            areas[0, row] = average_precision_score(labels, confidence)
            areas[1, row] = auc(*roc_curve(labels, confidence)[:2])
    return areas


def _corrected_distances(truth, prediction, control, noise_true, noise_pred):
    """Return noise-corrected squared distances per gene: to the truth, to the control.

    The prediction's noise is credited at most as that of the truth, and in all at
    most as much as the predictions differ between perturbations; otherwise noise
    that cancels in the mean would lower the distance.
    """
    names = _without(truth, control).index
    n_genes = truth.shape[1]
    own = truth.columns.get_indexer(names)
    rows = np.flatnonzero(own >= 0)
    kept = np.ones((len(names), n_genes), dtype=bool)
    kept[rows, own[rows]] = False
    n_kept = kept.sum(axis=1)
    noise = [
        np.zeros(len(names)) if side is None else side.loc[names].to_numpy(dtype=float)
        for side in (noise_true, noise_pred)
    ]
    of_control = 0.0 if noise_true is None else float(noise_true.loc[control])
    true, pred = truth.loc[names].to_numpy(), prediction.loc[names].to_numpy()
    credit = np.minimum(noise[1], noise[0])
    claim = (credit / n_kept).sum()
    if claim > 0:
        credit = credit * min(1.0, _spread(pred, kept, 1.0 / n_kept) / claim)
    numerator = ((pred - true) ** 2 * kept).sum(axis=1) - credit - noise[0]
    effect = (true - truth.loc[control].to_numpy()) ** 2
    denominator = (effect * kept).sum(axis=1) - noise[0] - of_control
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
    scores = _share(error, np.abs(change).sum(axis=1))
    return np.where(gate.sum(axis=1) >= _MIN_GENES_NMAE, scores, np.nan)
