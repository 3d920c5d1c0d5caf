"""Score predicted cells by the conventions of public evaluators."""

from sklperturb.evaluation._cell_eval import cell_eval_metrics, vcc2025_metrics
from sklperturb.evaluation._cell_scorer import CellScorer
from sklperturb.evaluation._conventions import CONVENTIONS, Convention
from sklperturb.evaluation._evaluation import CellEvaluation, evaluate_cells
from sklperturb.evaluation._populations import population_metrics
from sklperturb.evaluation._robust import robust_metrics
from sklperturb.evaluation._vcc2026 import vcc2026_metrics
from sklperturb.evaluation._wilcoxon import FOLD_CHANGES, FoldChange, wilcoxon_de

__all__ = [
    "CONVENTIONS",
    "CellEvaluation",
    "CellScorer",
    "Convention",
    "FOLD_CHANGES",
    "FoldChange",
    "cell_eval_metrics",
    "evaluate_cells",
    "population_metrics",
    "robust_metrics",
    "vcc2025_metrics",
    "vcc2026_metrics",
    "wilcoxon_de",
]
