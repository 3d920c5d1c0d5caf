"""
Expression of unseen compounds, by a weighted error
===================================================

The layout and the score of the VCPI contest of 2026, on generated data: predict the
expression that compounds bring about from their structures alone, where genes that a
compound changes count more than others.
"""

# %%
# A screen
# --------
# With the contest's files, ``load_vcpi(folder)`` gives such a screen with the contest's
# `weights`. Here, effects of generated compounds are laid on the expression of one cell
# type, and weights are made as the contest makes them, from t-like scores.
import numpy as np
import pandas as pd

from sklperturb.datasets import make_chemical_screen
from sklperturb.metrics import differential_weights

screen = make_chemical_screen(3, 300, 100, random_state=0)
rows = (screen.X["cell_type"] == screen.X["cell_type"].iloc[0]).to_numpy()
X = screen.X.loc[rows, ["cell_type", "sm_name", "SMILES"]].reset_index(drop=True)
effects = screen.y[rows].reset_index(drop=True)
level = np.random.default_rng(0).uniform(2, 10, effects.shape[1])
y = effects / 4 + level
weights = pd.DataFrame(
    differential_weights(effects - effects.mean()), X["sm_name"], y.columns
)

# %%
# A scorer that knows the weights
# -------------------------------
# The scorer finds the weights of the rows that a fold holds out by the compound's name.
# It goes wherever scikit-learn takes a scorer, and into ``compare``.
from sklearn.model_selection import cross_val_score

from sklperturb.linear_model import TanimotoKernelRidge
from sklperturb.metrics import WeightedMSEScorer
from sklperturb.model_selection import UnseenPerturbationKFold

scorer = WeightedMSEScorer(weights, by="sm_name")
cv = UnseenPerturbationKFold(4, random_state=0)
kernel = TanimotoKernelRidge()
print(-cross_val_score(kernel, X, y, cv=cv, scoring=scorer))

# %%
# Against the baselines
# ---------------------
# Values are expression and not effects, so the mean of each gene is the baseline to
# beat, and zeros are far off. Structures say little about these compounds.
# ``WeightedErrorRegressor`` learns out of fold how much of the model to believe under
# these weights, and here that is nothing. On real screens it was a stretch by 1.3 to 2.
from sklperturb.comparison import compare, leaderboard
from sklperturb.ensemble import WeightedErrorRegressor

fitted = WeightedErrorRegressor(kernel, weights, by="sm_name", cv=cv)
comparison = compare(
    {"kernel": kernel, "kernel, for the weighted error": fitted},
    X,
    y,
    cv=cv,
    scoring=[scorer, "mrrmse"],
    baselines=["no_change", "gene_mean"],
)
leaderboard(comparison)[["metric", "rank", "model", "mean", "ci_low", "ci_high"]]

# %%
# Errors of the contest, and their differences from the better baseline on the same
# compounds:
from sklperturb.inspection import LeaderboardDisplay

LeaderboardDisplay.from_comparison(comparison)
