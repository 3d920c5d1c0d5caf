"""Generative models of single cells: from control cells to perturbed cells."""

from sklperturb.flow._counts import CountLatentTransformer
from sklperturb.flow._estimator import FlowMatchingRegressor

__all__ = ["CountLatentTransformer", "FlowMatchingRegressor"]
