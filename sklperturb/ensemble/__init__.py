"""Many models behind one estimator."""

from sklperturb.ensemble._boosting import BoostedTargetRegressor

__all__ = ["BoostedTargetRegressor"]
