"""Score predicted cells against measured ones, by a named convention."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from sklperturb.cells._files import opened_cells
from sklperturb.evaluation._anchors import halves, mean_response
from sklperturb.evaluation._cell_eval import cell_eval_metrics, vcc2025_metrics
from sklperturb.evaluation._robust import robust_metrics
from sklperturb.evaluation._summary import Population, check_values, summarise
from sklperturb.evaluation._vcc2026 import vcc2026_metrics
from sklperturb.evaluation._wilcoxon import check_same_genes


@dataclass(frozen=True)
class Convention:
    """How an evaluator scores cells.

    Attributes
    ----------
    name : str
    description : str
    function : callable
        Of two pseudobulks and two tables; gives scores per perturbation.
    values : str
        What the cells hold: "log1p" or "counts".
    de : dict
        Options of :func:`wilcoxon_de`.
    own_control : bool
        Whether effects of the prediction are measured from its own control cells.
    errors : tuple of str
        Scores of which smaller is better.
    unscored : tuple of str
        Columns that are no scores.
    where_called : tuple of str or None
        If given, a score that is undefined for one perturbation is undefined as a
        whole; these are averaged over perturbations of which a gene is called in
        truth. None leaves out undefined scores.
    normalisation : str
        "clipped": the gain over the baseline as a share of what is left to the best
        value, not below 0. "anchored": the gain over the baseline as a share of the
        gain of a second measurement.

    Examples
    --------
    >>> from sklperturb.evaluation import CONVENTIONS
    >>> CONVENTIONS["vcc2025"].errors
    ('mae',)
    """

    name: str
    description: str
    function: Callable
    values: str
    de: dict = field(default_factory=dict)
    own_control: bool = False
    errors: tuple = ()
    unscored: tuple = ()
    where_called: tuple | None = None
    normalisation: str = "anchored"


_DE = {"values": "log1p", "fold_change": "geometric", "fdr": "perturbation"}
CONVENTIONS = {
    convention.name: convention
    for convention in (
        Convention(
            "robust",
            "scores that no known trick raises",
            robust_metrics,
            "log1p",
            _DE,
        ),
        Convention(
            "vcc2025",
            "Virtual Cell Challenge 2025: DES, PDS, MAE",
            vcc2025_metrics,
            "log1p",
            _DE | {"fold_change": "geometric_clipped", "fdr": "global"},
            own_control=True,
            errors=("mae",),
            normalisation="clipped",
        ),
        Convention(
            "cell_eval",
            "cell-eval 0.8, profile full",
            cell_eval_metrics,
            "log1p",
            _DE,
            own_control=True,
            errors=("mse", "mae", "mse_delta", "mae_delta"),
            unscored=("de_nsig_counts_real", "de_nsig_counts_pred"),
            where_called=(
                "de_direction_match",
                "de_spearman_lfc_sig",
                "de_sig_genes_recall",
            ),
            normalisation="clipped",
        ),
        Convention(
            "vcc2026",
            "Virtual Cell Challenge 2026: six scores between two anchors",
            vcc2026_metrics,
            "counts",
            {
                "values": "counts",
                "fold_change": "arithmetic",
                "fdr": "perturbation",
                "min_control_cpm": 5.0,
            },
            errors=("expr_mse_norm", "lfc_nmae"),
            unscored=("mse_numerator", "mse_denominator"),
        ),
    )
}


@dataclass(frozen=True)
class CellEvaluation:
    """Scores of predicted cells.

    Attributes
    ----------
    convention : str
    scores : DataFrame
        Indexed by metric: "score", "baseline" (a mean response), "ceiling" (half of
        the measured cells scored on the other half), "scaled" (between the two, by
        the convention) and "greater_is_better".
    per_perturbation : DataFrame
        Indexed by perturbation, one column per metric.
    overall : float
        Mean of the scaled scores; NaN without anchors.

    See Also
    --------
    evaluate_cells : Makes it.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from anndata import AnnData
    >>> from sklperturb.evaluation import evaluate_cells
    >>> obs = pd.DataFrame({"gene": np.repeat(["control", "A", "B"], 40)}, dtype=str)
    >>> values = np.random.default_rng(0).poisson(1, (120, 6))
    >>> values[40:80, 0] += 3
    >>> values[80:, 1] += 3
    >>> cells = AnnData(np.log1p(values), obs.rename(index=str))
    >>> found = evaluate_cells(cells, cells, "gene", control="control")
    >>> list(found.per_perturbation.index)
    ['A', 'B']
    """

    convention: str
    scores: pd.DataFrame
    per_perturbation: pd.DataFrame
    overall: float


def evaluate_cells(
    real,
    pred,
    groupby,
    *,
    control,
    convention="robust",
    layer=None,
    anchors=True,
    baseline=None,
    random_state=0,
):
    """Score predicted cells against measured ones.

    Both may be files that do not fit into memory. Beside each score stand that of a
    mean response, which knows no perturbation from another, and that of a second
    measurement: one half of the measured cells, scored on the other.

    Parameters
    ----------
    real, pred : AnnData, str or path-like
        Measured and predicted cells with the same genes in the same order and the
        same perturbations. A path names an h5ad file.
    groupby : str
        Column of `obs` with the perturbation of each cell, in both.
    control : str
        Label of the control cells. The prediction need not hold any, but for the
        conventions "vcc2025" and "cell_eval".
    convention : {"robust", "vcc2025", "cell_eval", "vcc2026"}, default="robust"
        Whose definitions to use; see ``CONVENTIONS``. "vcc2026" needs raw counts, the
        others log1p-normalised values.
    layer : str, default=None
        Layer to score instead of `X`.
    anchors : bool, default=True
        Whether to score the baseline and the ceiling too, which takes twice the time.
    baseline : AnnData, str or path-like, default=None
        Cells to score as the baseline, such as the mean of the training perturbations
        that a challenge prescribes. None makes them of the measured response.
    random_state : int, RandomState instance or None, default=0
        Seed of the baseline's cells and of the halves.

    Returns
    -------
    evaluation : CellEvaluation

    Raises
    ------
    ValueError
        If genes or perturbations differ, a control is missing, or the cells do not
        hold what the convention scores.

    See Also
    --------
    wilcoxon_de : The tests behind the scores.
    population_scores : Distances between whole populations.

    Notes
    -----
    A perturbation for which the truth leaves a score undefined is left out of the
    mean, and no prediction can change which ones these are, except in the direction
    fidelity of "vcc2026". In "cell_eval" an undefined score, such as the area under the
    curve of a perturbation without called genes, makes the mean undefined; it is then
    worth 0.

    Examples
    --------
    >>> import anndata as ad
    >>> import numpy as np
    >>> import pandas as pd
    >>> from sklperturb.evaluation import evaluate_cells
    >>> rng = np.random.default_rng(0)
    >>> labels = np.repeat(["control", "A", "B"], 60)
    >>> rate = np.ones((180, 8))
    >>> rate[60:120, 0], rate[120:, 1] = 4, 4
    >>> obs = pd.DataFrame({"target_gene": labels}, index=np.arange(180).astype(str))
    >>> real, pred = (ad.AnnData(np.log1p(rng.poisson(rate) / 8), obs=obs)
    ...               for _ in range(2))
    >>> found = evaluate_cells(real, pred, "target_gene", control="control")
    >>> found.scores["score"].round(2).to_dict()["discrimination"]
    1.0
    """
    rule = _find(convention)
    with ExitStack() as stack:
        true, predicted = (
            _open(stack, cells, groupby, layer, rule) for cells in (real, pred)
        )
        check_same_genes(true.genes, predicted.genes, "pred", "real")
        _check_labels(true, predicted, control, rule)
        truth = summarise(true, control, rule)
        others = None if rule.own_control else true
        found = _score(
            truth, summarise(predicted, control, rule, others), control, rule
        )
        columns = {"score": _aggregate(found, rule)}
        if anchors:
            if baseline is None:
                mean = mean_response(true, control, truth, rule, random_state)
            else:
                mean = _open(stack, baseline, groupby, layer, rule)
                check_same_genes(true.genes, mean.genes, "baseline", "real")
            own = rule.own_control and control in mean.names()
            of_mean = summarise(mean, control, rule, None if own else true)
            if not own:
                of_mean = _with_controls_of(of_mean, truth, control)
            columns["baseline"] = _aggregate(
                _score(truth, of_mean, control, rule), rule
            )
            columns["ceiling"] = _ceiling(true, control, rule, random_state)
    scores = pd.DataFrame(columns).reindex(columns=["score", "baseline", "ceiling"])
    scores.index.name = "metric"
    scores["scaled"] = _scale(scores, found, rule)
    scores["greater_is_better"] = [name not in rule.errors for name in scores.index]
    overall = float(scores["scaled"].mean()) if anchors else np.nan
    return CellEvaluation(rule.name, scores, found, overall)


def _find(convention):
    if convention not in CONVENTIONS:
        raise ValueError(
            f"convention={convention!r}; allowed are {', '.join(CONVENTIONS)}."
        )
    return CONVENTIONS[convention]


def _open(stack, cells, groupby, layer, rule):
    obs, var, matrix = stack.enter_context(opened_cells(cells, layer))
    check_values(matrix, rule.values)
    if groupby not in obs:
        raise ValueError(f"groupby={groupby!r} is no column of obs: {list(obs)}.")
    if obs[groupby].isna().any():
        raise ValueError(f"Cells without a label in {groupby!r}; leave them out.")
    labels = obs[groupby].astype(str).to_numpy(dtype=object)
    return Population(matrix, labels, var.index)


def _check_labels(true, predicted, control, rule):
    names = [set(side.names()) for side in (true, predicted)]
    for side, labels in zip(("real", "pred"), names, strict=True):
        if control not in labels and (side == "real" or rule.own_control):
            raise ValueError(
                f"{side} holds no control cells {control!r}; convention "
                f"{rule.name!r} needs them. Its labels are {sorted(labels)[:5]} ..."
            )
    differing = sorted((names[0] ^ names[1]) - {control})
    if differing:
        raise ValueError(
            f"real and pred hold different perturbations: {len(differing)} are in one "
            f"only, such as {differing[:5]}. Predict those of real, and no others."
        )


def _score(truth, prediction, control, rule):
    options = {}
    if rule.values == "counts":
        options = {"noise_true": truth.noise, "noise_pred": prediction.noise}
    return rule.function(
        truth.pseudobulks,
        prediction.pseudobulks,
        truth.de,
        prediction.de,
        control=control,
        **options,
    )


def _with_controls_of(summary, truth, control):
    bulks = summary.pseudobulks.drop(index=control, errors="ignore")
    bulks = pd.concat([bulks, truth.pseudobulks.loc[[control]]])
    return type(summary)(bulks, summary.noise, summary.de)


def _aggregate(found, rule):
    """Average over perturbations, as the convention treats undefined scores."""
    scores = found.drop(columns=list(rule.unscored))
    if rule.where_called is None:
        scores = scores.mean()
    else:
        gated = scores[list(rule.where_called)][found["de_nsig_counts_real"] > 0]
        scores = scores.mean(skipna=False)
        scores[gated.columns] = gated.mean(skipna=False)
    if "mse_numerator" in found:
        total = found["mse_denominator"].sum()
        norm = found["mse_numerator"].sum() / total if total > 0 else np.nan
        scores["expr_mse_norm"] = norm
    return scores


def _ceiling(true, control, rule, random_state):
    first, second = halves(true, random_state)
    truth = summarise(first, control, rule)
    other = summarise(second, control, rule, None if rule.own_control else first)
    return _aggregate(_score(truth, other, control, rule), rule)


def _scale(scores, found, rule):
    best = np.where(scores.index.isin(rule.errors), 0.0, 1.0)
    if rule.normalisation == "clipped":
        gain = (scores["score"] - scores["baseline"]) / (best - scores["baseline"])
        if scores["baseline"].isna().all():
            return gain
        gain = gain.fillna(0.0).clip(lower=0.0)
        if rule.where_called is not None and not found["de_nsig_counts_real"].any():
            gain[list(rule.where_called)] = np.nan  # no score at all, and not averaged
        return gain
    # What the prediction alone leaves undefined is worth as little as can be.
    worst = scores["baseline"].where(scores.index.isin(rule.errors), 0.0)
    worst = worst.mask(scores.index == "lfc_nmae", np.inf)
    gain = scores["score"].fillna(worst) - scores["baseline"]
    scaled = gain / (scores["ceiling"] - scores["baseline"])
    if "expr_mse_norm" in scaled:
        scaled["expr_mse_norm"] = np.clip(scaled["expr_mse_norm"], 0.0, 1.0)
        scaled["lfc_nmae"] = np.maximum(scaled["lfc_nmae"], -6.0)
    return scaled
