"""
Put your own model on the leaderboard
=====================================

Any object with ``fit`` and ``predict`` that takes a frame of conditions can be
compared, on the same folds as the registered models and the baselines.
"""

# %%
# A model of your own
# -------------------
# This one moves each compound's mean response towards zero. The schema tells it which
# column is the compound, so that it works on any screen.
import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, RegressorMixin

from sklperturb.comparison import compare, leaderboard
from sklperturb.datasets import PerturbationSchema, make_chemical_screen
from sklperturb.model_selection import UnseenPairKFold


class ShrunkenCompoundMean(RegressorMixin, BaseEstimator):
    """Mean response of the compound, times a factor."""

    def __init__(self, factor=0.7):
        self.factor = factor

    def fit(self, X, y):
        self.column_ = PerturbationSchema.infer(X).perturbation
        y = pd.DataFrame(np.asarray(y))
        self.means_ = y.groupby(X[self.column_].to_numpy()).mean()
        return self

    def predict(self, X):
        means = self.means_.reindex(X[self.column_]).fillna(0.0)
        return self.factor * means.to_numpy()


# %%
# The comparison
# --------------
screen = make_chemical_screen(6, 60, 300, n_shared=20, random_state=0)
comparison = compare(
    {f"shrunken x {factor}": ShrunkenCompoundMean(factor) for factor in (0.4, 0.7)},
    screen.X,
    screen.y,
    cv=UnseenPairKFold(4, contexts=["B cells", "Myeloid cells"], random_state=0),
)
table = leaderboard(comparison)
print(table[["rank", "model", "kind", "mean", "ci_low", "ci_high"]].to_string())

# %%
# ``difference`` is paired: both models were scored on the same rows. An interval that
# stays below zero says that the model beats the best baseline.
columns = ["model", "difference", "difference_low", "difference_high"]
print(table.loc[table["kind"] == "custom", columns].to_string())

# %%
from sklperturb.inspection import LeaderboardDisplay

LeaderboardDisplay.from_comparison(comparison)
