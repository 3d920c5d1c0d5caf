"""Join estimators: a regressor with a latent space, or with the mean of controls."""

from sklperturb.compose._latent_target import LatentTargetRegressor
from sklperturb.compose._perturbation_effect import PerturbationEffectRegressor

__all__ = ["LatentTargetRegressor", "PerturbationEffectRegressor"]
