"""
Find the leak
=============

A colleague has added "a few useful columns" to the table of conditions, and the score
is much better now. Is it the columns, or do they hold the answer?
"""

# %%
# The columns
# -----------
# They are principal components of the responses: of all of them, those included that a
# fold will hold out. Beside them stands what was there before, the cell type.
import pandas as pd
from sklearn.decomposition import PCA

from sklperturb.datasets import make_chemical_screen

screen = make_chemical_screen(4, 60, 60, effect_strength=2.0, random_state=0)
X, y = screen.X, screen.y
honest = pd.get_dummies(X["cell_type"]).astype(float)
components = PCA(8, random_state=0).set_output(transform="pandas").fit_transform(y)
components.index = X.index
improved = pd.concat([honest, components], axis=1)

# %%
# What a score says
# -----------------
# Nothing is wrong with the folds: they hold out pairs of a compound and a cell type.
from sklearn.linear_model import Ridge
from sklearn.model_selection import cross_val_score

from sklperturb.metrics import neg_mrrmse_scorer
from sklperturb.model_selection import UnseenPairKFold

cv = UnseenPairKFold(3, random_state=0)
folds = list(cv.split(X))
for name, features in (("before", honest), ("improved", improved)):
    scores = -cross_val_score(Ridge(), features, y, cv=folds, scoring=neg_mrrmse_scorer)
    print(f"{name}: MRRMSE {scores.mean():.3f} +- {scores.std():.3f}")

# %%
# What the audit says
# -------------------
# `audit` gets the features, and with ``conditions`` the table by which the folds are
# cut. On the command line, ``sklperturb audit`` ends with the exit code 3 if there is a
# leak.
from sklperturb.inspection import audit

found = audit(Ridge(), improved, y, cv, conditions=X)
print(found)

# %%
# The same without the columns:
clean = audit(Ridge(), honest, y, cv, conditions=X)
print("no leak found:", clean.ok)

# %%
# How much of the score was the leak
# ----------------------------------
# The columns are computed anew from the training rows of each fold, and the difference
# is what the leak was worth; its interval is over compounds. The honest way to use them
# is a step of the pipeline, such as `make_condition_encoder`, which is fitted in each
# fold.
import matplotlib.pyplot as plt

inflation = found.findings[0].inflation
fig, ax = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
ax.barh(
    ["with the leak", "leak taken away"],
    [inflation.score, inflation.score_without],
    color=["#D55E00", "#0072B2"],
)
low, high = inflation.inflation - inflation.low, inflation.high - inflation.inflation
ax.errorbar(inflation.score_without, 1, xerr=[[low], [high]], color="black", capsize=4)
ax.set_xlabel("MRRMSE on the same held-out rows")
ax.set_title("What the columns were worth, with a 95 % interval")
