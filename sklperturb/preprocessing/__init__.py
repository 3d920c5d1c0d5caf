"""Turn conditions into features and targets into a compact basis."""

from sklperturb.preprocessing._condition_encoder import (
    SchemaColumns,
    make_condition_encoder,
)
from sklperturb.preprocessing._target_reducer import TargetReducer
from sklperturb.preprocessing._target_statistics import TargetStatisticsEncoder

__all__ = [
    "SchemaColumns",
    "TargetReducer",
    "TargetStatisticsEncoder",
    "make_condition_encoder",
]
