"""Split screens by condition, and choose what to measure next."""

from sklperturb.model_selection._experiments import suggest_experiments
from sklperturb.model_selection._split import (
    LeaveOneContextOut,
    UnseenContextKFold,
    UnseenPairKFold,
    UnseenPerturbationKFold,
)
from sklperturb.model_selection._split_files import NamedSplit, RowSplit, load_split
from sklperturb.model_selection._split_groups import (
    UnseenGroupKFold,
    UnseenScaffoldKFold,
)
from sklperturb.model_selection._suggest import suggest_cv

__all__ = [
    "LeaveOneContextOut",
    "NamedSplit",
    "RowSplit",
    "UnseenContextKFold",
    "UnseenGroupKFold",
    "UnseenPairKFold",
    "UnseenPerturbationKFold",
    "UnseenScaffoldKFold",
    "load_split",
    "suggest_cv",
    "suggest_experiments",
]
