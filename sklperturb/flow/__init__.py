"""Generative models of single cells: from control cells to perturbed cells."""

from sklperturb.flow._counts import CountSpace
from sklperturb.flow._estimator import FlowMatchingRegressor
from sklperturb.flow._screen_model import CellScreenModel

__all__ = ["CellScreenModel", "CountSpace", "FlowMatchingRegressor"]
