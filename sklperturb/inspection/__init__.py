"""Look at data, and at what models do."""

from sklperturb.inspection._ceiling import CeilingDisplay
from sklperturb.inspection._cells import CellScreenDisplay
from sklperturb.inspection._effect_size import EffectSizeDisplay
from sklperturb.inspection._heat_map import ConditionHeatMapDisplay
from sklperturb.inspection._leaderboard import LeaderboardDisplay
from sklperturb.inspection._row_errors import RowErrorDisplay
from sklperturb.inspection._signature import SignatureDisplay
from sklperturb.uncertainty._ceiling import NoiseCeiling, noise_ceiling

__all__ = [
    "CeilingDisplay",
    "CellScreenDisplay",
    "ConditionHeatMapDisplay",
    "EffectSizeDisplay",
    "LeaderboardDisplay",
    "NoiseCeiling",
    "RowErrorDisplay",
    "SignatureDisplay",
    "noise_ceiling",
]
