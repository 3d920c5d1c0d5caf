"""Combine several fits, several models and unlabelled conditions."""

from sklperturb.ensemble._blend import BlendRegressor
from sklperturb.ensemble._boosting import BoostedTargetRegressor
from sklperturb.ensemble._long_form import LongFormBoostingRegressor
from sklperturb.ensemble._pseudo_label import PseudoLabelRegressor
from sklperturb.ensemble._rescale import RescaledRegressor
from sklperturb.ensemble._residual import ResidualRegressor
from sklperturb.ensemble._seeds import SeedEnsembleRegressor
from sklperturb.ensemble._seen_unseen import SeenUnseenRegressor
from sklperturb.ensemble._stretch import Stretch, StretchedRegressor
from sklperturb.ensemble._weighted import WeightedErrorRegressor

__all__ = [
    "BlendRegressor",
    "BoostedTargetRegressor",
    "LongFormBoostingRegressor",
    "PseudoLabelRegressor",
    "RescaledRegressor",
    "ResidualRegressor",
    "SeedEnsembleRegressor",
    "SeenUnseenRegressor",
    "Stretch",
    "StretchedRegressor",
    "WeightedErrorRegressor",
]
