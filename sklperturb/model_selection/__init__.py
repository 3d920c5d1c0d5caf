"""Split screens by condition, compare models on the splits, and tune them."""

from sklperturb.model_selection._compare import compare
from sklperturb.model_selection._leaderboard import leaderboard
from sklperturb.model_selection._search import PerturbationSearchCV
from sklperturb.model_selection._spaces import search_space
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
    "PerturbationSearchCV",
    "RowSplit",
    "UnseenContextKFold",
    "UnseenGroupKFold",
    "UnseenPairKFold",
    "UnseenPerturbationKFold",
    "UnseenScaffoldKFold",
    "compare",
    "leaderboard",
    "load_split",
    "search_space",
    "suggest_cv",
]
