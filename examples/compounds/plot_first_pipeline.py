"""
A first pipeline
================

Predict how compounds act on cell types in which they were not measured: encode the
conditions, fit a model, and score it as the Open Problems competition does.
"""

# %%
# A screen
# --------
# Two cell types were measured for a third of the compounds; the rest is to be
# predicted. With the competition's files, ``load_op2(folder)`` gives the same object.
from sklperturb.datasets import make_chemical_screen

screen = make_chemical_screen(6, 60, 300, n_shared=20, random_state=0)
print(screen.DESCR)
screen.X.head()

# %%
# A pipeline
# ----------
# One-hot columns and cross-fitted target statistics, then ridge. The statistics see
# the response, so they belong inside the pipeline: fitted outside the folds they
# would show each held-out row its own answer.
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline

from sklperturb.preprocessing import make_condition_encoder

pipeline = Pipeline(
    [
        ("encoder", make_condition_encoder(n_components=16)),
        ("regressor", Ridge(alpha=100.0)),
    ]
)
pipeline.fit(screen.X, screen.y)
y_pred = pipeline.predict(screen.X_test)

# %%
# An honest score
# ---------------
# ``UnseenPairKFold`` asks in cross-validation what the submission will be asked:
# known compounds, in cell types where they were not seen.
from sklearn.model_selection import cross_val_score

from sklperturb.metrics import mrrmse, neg_mrrmse_scorer
from sklperturb.model_selection import UnseenPairKFold

cv = UnseenPairKFold(4, contexts=["B cells", "Myeloid cells"], random_state=0)
scores = -cross_val_score(
    pipeline, screen.X, screen.y, cv=cv, scoring=neg_mrrmse_scorer
)
print(f"MRRMSE in cross-validation: {scores.mean():.3f} +- {scores.std():.3f}")
print(f"MRRMSE on the rows to predict: {mrrmse(screen.y_test, y_pred):.3f}")

# %%
# Against the baselines
# ---------------------
# A score means little alone. ``compare`` puts models and baselines on the same folds.
# Here it says that a plain ridge is behind most baselines, and what is not.
from sklperturb.comparison import compare, leaderboard
from sklperturb.inspection import LeaderboardDisplay

comparison = compare(
    {"my pipeline": pipeline, "product kernel": "product_kernel"},
    screen.X,
    screen.y,
    cv=cv,
)
table = leaderboard(comparison)
LeaderboardDisplay.from_comparison(comparison)
table[["rank", "model", "mean", "difference", "difference_low", "difference_high"]]
