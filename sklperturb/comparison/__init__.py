"""Compare models and baselines on the same folds, and rank them."""

from sklperturb.comparison._asked import AskedDifference, asked_difference
from sklperturb.comparison._compare import compare
from sklperturb.comparison._comparison import Comparison
from sklperturb.comparison._leaderboard import leaderboard

__all__ = [
    "AskedDifference",
    "Comparison",
    "asked_difference",
    "compare",
    "leaderboard",
]
