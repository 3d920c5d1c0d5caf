"""Baselines that every model is compared with on the same folds."""

from sklperturb.baseline._additive import AdditiveRegressor
from sklperturb.baseline._additive_combination import AdditiveCombinationRegressor
from sklperturb.baseline._group_statistic import GroupStatisticRegressor
from sklperturb.baseline._nearest_compound import NearestCompoundRegressor
from sklperturb.baseline._no_change import NoChangeRegressor

__all__ = [
    "AdditiveCombinationRegressor",
    "AdditiveRegressor",
    "GroupStatisticRegressor",
    "NearestCompoundRegressor",
    "NoChangeRegressor",
]
