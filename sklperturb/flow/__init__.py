"""Generative models of single cells: from control cells to perturbed cells."""

from sklperturb.flow._estimator import FlowMatchingRegressor

__all__ = ["FlowMatchingRegressor"]
