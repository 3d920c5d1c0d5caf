"""Split screens by condition, and compare models on the splits."""

from sklperturb.model_selection._split import (
    LeaveOneContextOut,
    UnseenContextKFold,
    UnseenPairKFold,
    UnseenPerturbationKFold,
)
from sklperturb.model_selection._split_groups import (
    UnseenGroupKFold,
    UnseenScaffoldKFold,
)

__all__ = [
    "LeaveOneContextOut",
    "UnseenContextKFold",
    "UnseenGroupKFold",
    "UnseenPairKFold",
    "UnseenPerturbationKFold",
    "UnseenScaffoldKFold",
]
