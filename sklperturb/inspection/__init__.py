"""Look at data, and at what models do."""

from sklperturb.inspection._ceiling import CeilingDisplay
from sklperturb.inspection._cells import CellScreenDisplay
from sklperturb.inspection._leaderboard import LeaderboardDisplay
from sklperturb.uncertainty._ceiling import NoiseCeiling, noise_ceiling

__all__ = [
    "CeilingDisplay",
    "CellScreenDisplay",
    "LeaderboardDisplay",
    "NoiseCeiling",
    "noise_ceiling",
]
