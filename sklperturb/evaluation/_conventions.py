"""What the public evaluators agree and differ in, as one table."""

from collections.abc import Callable
from dataclasses import dataclass, field

from sklperturb.evaluation._cell_eval import cell_eval_metrics, vcc2025_metrics
from sklperturb.evaluation._populations import population_metrics
from sklperturb.evaluation._robust import robust_metrics
from sklperturb.evaluation._vcc2026 import vcc2026_metrics


@dataclass(frozen=True)
class Convention:
    """How an evaluator scores cells.

    Attributes
    ----------
    name : str
    description : str
    function : callable
        Of two pseudobulks and two tables of differential expression, or one of
        distances; returns scores per perturbation.
    values : str
        What the cells hold: "log1p", "counts", or "any".
    de : dict or None
        Options of :func:`wilcoxon_de`. None compares populations instead of testing
        genes.
    own_control : bool
        Whether effects of the prediction are measured from its own control cells.
    errors : tuple of str
        Scores of which smaller is better.
    unscored : tuple of str
        Columns that are no scores.
    without_targets : tuple of str
        Scores from which target genes are left out: that of the perturbation, or
        those of all.
    combinations : bool
        Whether "A+B" has the targets A and B, and is not the name of one.
    where_called : tuple of str or None
        If given, a score that is undefined for one perturbation is undefined as a
        whole; these are averaged over perturbations of which a gene is called in
        truth. None leaves out undefined scores.
    normalisation : str
        "clipped": the gain over the baseline as a share of what is left to the best
        value, not below 0. "anchored": the gain over the baseline as a share of the
        gain of a second measurement. "certain": the same, not defined where the latter
        is within two standard errors, over perturbations, of none.

    Examples
    --------
    >>> from sklperturb.evaluation import CONVENTIONS
    >>> CONVENTIONS["vcc2025"].errors
    ('mae',)
    """

    name: str
    description: str
    function: Callable
    values: str = "log1p"
    de: dict | None = field(default_factory=dict)
    own_control: bool = False
    errors: tuple = ()
    unscored: tuple = ()
    without_targets: tuple = ()
    combinations: bool = False
    where_called: tuple | None = None
    normalisation: str = "anchored"


CONVENTIONS = {
    convention.name: convention
    for convention in (
        Convention(
            "robust",
            "scores that no known trick raises",
            robust_metrics,
            without_targets=(
                "discrimination",
                "weighted_r2",
                "de_agreement",
                "de_direction",
            ),
            combinations=True,
            normalisation="certain",
        ),
        Convention(
            "vcc2025",
            "Virtual Cell Challenge 2025: DES, PDS, MAE",
            vcc2025_metrics,
            de={"fold_change": "geometric_clipped", "fdr": "global"},
            own_control=True,
            errors=("mae",),
            without_targets=("pds",),
            normalisation="clipped",
        ),
        Convention(
            "cell_eval",
            "cell-eval 0.8, profile full",
            cell_eval_metrics,
            own_control=True,
            errors=("mse", "mae", "mse_delta", "mae_delta"),
            unscored=("de_nsig_counts_real", "de_nsig_counts_pred"),
            without_targets=(
                "discrimination_score_l1",
                "discrimination_score_l2",
                "discrimination_score_cosine",
            ),
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
            {"values": "counts", "fold_change": "arithmetic", "min_control_cpm": 5.0},
            errors=("expr_mse_norm", "lfc_nmae"),
            unscored=("mse_numerator", "mse_denominator"),
            without_targets=(
                "pds_cosine",
                "expr_mse_norm",
                "direction_fidelity_yield",
                "direction_reach",
                "sig_jaccard",
                "lfc_nmae",
            ),
        ),
        Convention(
            "populations",
            "distances between whole populations, in an embedding or of genes",
            population_metrics,
            "any",
            None,
            errors=("energy", "sliced_wasserstein", "variance_error"),
            unscored=("variance_ratio",),
            without_targets=("discrimination",),
            combinations=True,
            normalisation="certain",
        ),
    )
}
