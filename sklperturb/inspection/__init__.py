"""Look at data, and at what models do."""

from sklperturb.auditing._audit import audit
from sklperturb.auditing._result import Inflation, LeakAudit, LeakFinding
from sklperturb.inspection._cells import CellScreenDisplay
from sklperturb.inspection._coverage import CoverageDisplay
from sklperturb.inspection._design_curve import DesignCurveDisplay
from sklperturb.inspection._effect_size import EffectSizeDisplay
from sklperturb.inspection._folds import FoldsDisplay
from sklperturb.inspection._heat_map import ConditionHeatMapDisplay
from sklperturb.inspection._leaderboard import CeilingDisplay, LeaderboardDisplay
from sklperturb.inspection._learning_curve import PerturbationLearningCurveDisplay
from sklperturb.inspection._row_errors import RowErrorDisplay
from sklperturb.inspection._signature import SignatureDisplay
from sklperturb.inspection._training_curve import TrainingCurveDisplay
from sklperturb.inspection._tuning import TuningDisplay
from sklperturb.uncertainty._ceiling import NoiseCeiling, noise_ceiling
from sklperturb.uncertainty._conformal import ConformalRegressor
from sklperturb.uncertainty._conformal_asked import ExchangeabilityWarning
from sklperturb.uncertainty._conformal_coverage import coverage_curve

__all__ = [
    "CeilingDisplay",
    "CellScreenDisplay",
    "ConditionHeatMapDisplay",
    "ConformalRegressor",
    "CoverageDisplay",
    "DesignCurveDisplay",
    "EffectSizeDisplay",
    "ExchangeabilityWarning",
    "FoldsDisplay",
    "Inflation",
    "LeaderboardDisplay",
    "LeakAudit",
    "LeakFinding",
    "NoiseCeiling",
    "PerturbationLearningCurveDisplay",
    "RowErrorDisplay",
    "SignatureDisplay",
    "TrainingCurveDisplay",
    "TuningDisplay",
    "audit",
    "coverage_curve",
    "noise_ceiling",
]
