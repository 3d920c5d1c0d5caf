"""Look at what models do."""

from sklperturb.inspection._leaderboard import LeaderboardDisplay

__all__ = ["LeaderboardDisplay"]
