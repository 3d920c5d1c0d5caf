"""Join estimators: a regressor with a latent space, or with controls."""

from sklperturb.compose._displaced_controls import DisplacedControlsRegressor
from sklperturb.compose._latent_target import LatentTargetRegressor
from sklperturb.compose._perturbation_effect import PerturbationEffectRegressor

__all__ = [
    "DisplacedControlsRegressor",
    "LatentTargetRegressor",
    "PerturbationEffectRegressor",
]
