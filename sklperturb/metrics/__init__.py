"""Score predicted responses, one row (one condition) at a time."""

from sklperturb.metrics._agreement import (
    clustering_agreement,
    energy_distance_correlation,
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
    get_scorer,
    get_scorer_names,
    neg_mrmae_scorer,
    neg_mrrmse_scorer,
    rowwise_cosine_scorer,
    rowwise_pearson_scorer,
    rowwise_spearman_scorer,
)
from sklperturb.metrics._transport import sinkhorn_divergence, wasserstein_distance
from sklperturb.metrics._weighted import (
    WeightedMSEScorer,
    weighted_mean_squared_error,
    wmse,
)

__all__ = [
    "POPULATION_METRICS",
    "ROWWISE_METRICS",
    "RowwiseMetric",
    "WeightedMSEScorer",
    "centroid_accuracy",
    "clustering_agreement",
    "differential_weights",
    "discrimination_score",
    "energy_distance",
    "energy_distance_correlation",
    "get_metric",
    "get_scorer",
    "get_scorer_names",
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
    "wasserstein_distance",
    "weighted_mean_squared_error",
    "weighted_r2",
    "weighted_squared_error",
    "wmse",
]
