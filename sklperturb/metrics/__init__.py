"""Score predicted responses, one row (one condition) at a time."""

from sklperturb.metrics._agreement import (
    clustering_agreement,
    energy_distance_correlation,
)
from sklperturb.metrics._cell_eval import cell_eval_metrics, vcc2025_metrics
from sklperturb.metrics._cell_scorer import (
    CellScorer,
)
from sklperturb.metrics._discrimination import (
    centroid_accuracy,
    discrimination_score,
    retrieval_rank,
)
from sklperturb.metrics._effects import (
    differential_weights,
    pearson_delta,
    weighted_r2,
    weighted_squared_error,
)
from sklperturb.metrics._evaluation import (
    CONVENTIONS,
    CellEvaluation,
    Convention,
    evaluate_cells,
)
from sklperturb.metrics._mean_rowwise import (
    mean_rowwise_absolute_error,
    mean_rowwise_cosine,
    mean_rowwise_pearson,
    mean_rowwise_root_mean_squared_error,
    mean_rowwise_spearman,
    mrmae,
    mrrmse,
)
from sklperturb.metrics._populations import (
    POPULATION_METRICS,
    energy_distance,
    maximum_mean_discrepancy,
    population_scores,
    sliced_wasserstein_distance,
    variance_ratio,
)
from sklperturb.metrics._robust import robust_metrics
from sklperturb.metrics._rowwise import (
    rowwise_absolute_error,
    rowwise_cosine,
    rowwise_pearson,
    rowwise_root_mean_squared_error,
    rowwise_spearman,
)
from sklperturb.metrics._table import (
    ROWWISE_METRICS,
    RowwiseMetric,
    get_metric,
    neg_mrmae_scorer,
    neg_mrrmse_scorer,
    rowwise_cosine_scorer,
    rowwise_pearson_scorer,
    rowwise_spearman_scorer,
)
from sklperturb.metrics._transport import (
    sinkhorn_divergence,
    wasserstein_distance,
)
from sklperturb.metrics._vcc2026 import vcc2026_metrics
from sklperturb.metrics._wilcoxon import (
    FOLD_CHANGES,
    FoldChange,
    wilcoxon_de,
)

__all__ = [
    "CONVENTIONS",
    "CellEvaluation",
    "CellScorer",
    "Convention",
    "FOLD_CHANGES",
    "FoldChange",
    "POPULATION_METRICS",
    "ROWWISE_METRICS",
    "RowwiseMetric",
    "cell_eval_metrics",
    "centroid_accuracy",
    "clustering_agreement",
    "differential_weights",
    "discrimination_score",
    "energy_distance",
    "energy_distance_correlation",
    "evaluate_cells",
    "get_metric",
    "maximum_mean_discrepancy",
    "mean_rowwise_absolute_error",
    "mean_rowwise_cosine",
    "mean_rowwise_pearson",
    "mean_rowwise_root_mean_squared_error",
    "mean_rowwise_spearman",
    "mrmae",
    "mrrmse",
    "neg_mrmae_scorer",
    "neg_mrrmse_scorer",
    "pearson_delta",
    "population_scores",
    "retrieval_rank",
    "robust_metrics",
    "rowwise_absolute_error",
    "rowwise_cosine",
    "rowwise_cosine_scorer",
    "rowwise_pearson",
    "rowwise_pearson_scorer",
    "rowwise_root_mean_squared_error",
    "rowwise_spearman",
    "rowwise_spearman_scorer",
    "sinkhorn_divergence",
    "sliced_wasserstein_distance",
    "variance_ratio",
    "vcc2025_metrics",
    "vcc2026_metrics",
    "wasserstein_distance",
    "weighted_r2",
    "weighted_squared_error",
    "wilcoxon_de",
]
