"""Score predicted responses, one row (one condition) at a time."""

from sklperturb.metrics._mean_rowwise import (
    mean_rowwise_absolute_error,
    mean_rowwise_cosine,
    mean_rowwise_pearson,
    mean_rowwise_root_mean_squared_error,
    mean_rowwise_spearman,
    mrmae,
    mrrmse,
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
    neg_mrmae_scorer,
    neg_mrrmse_scorer,
    rowwise_cosine_scorer,
    rowwise_pearson_scorer,
    rowwise_spearman_scorer,
)

__all__ = [
    "ROWWISE_METRICS",
    "RowwiseMetric",
    "get_metric",
    "mean_rowwise_absolute_error",
    "mean_rowwise_cosine",
    "mean_rowwise_pearson",
    "mean_rowwise_root_mean_squared_error",
    "mean_rowwise_spearman",
    "mrmae",
    "mrrmse",
    "neg_mrmae_scorer",
    "neg_mrrmse_scorer",
    "rowwise_absolute_error",
    "rowwise_cosine",
    "rowwise_cosine_scorer",
    "rowwise_pearson",
    "rowwise_pearson_scorer",
    "rowwise_root_mean_squared_error",
    "rowwise_spearman",
    "rowwise_spearman_scorer",
]
