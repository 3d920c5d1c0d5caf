"""Look at data, and at what models do."""

from sklperturb.inspection._cells import CellScreenDisplay
from sklperturb.inspection._leaderboard import LeaderboardDisplay

__all__ = ["CellScreenDisplay", "LeaderboardDisplay"]
