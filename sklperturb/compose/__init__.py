"""Join estimators: a regressor with a latent space of its targets."""

from sklperturb.compose._latent_target import LatentTargetRegressor

__all__ = ["LatentTargetRegressor"]
