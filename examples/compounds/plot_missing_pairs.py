"""
Complete a screen with missing pairs
====================================

Eighty compounds were measured in four cell types, and a third of them in two more. What
do the others do there? From a look at the design to a file that can be submitted.
"""

# %%
# What was measured
# -----------------
# A mark stands for a pair to predict. With the files of the Open Problems competition,
# ``load_op2(folder)`` gives the same object. The strongest compounds stand on the left;
# in the cell types to predict, few of these were measured.
from sklperturb.datasets import make_chemical_screen
from sklperturb.inspection import ConditionHeatMapDisplay

screen = make_chemical_screen(6, 80, 200, n_shared=24, random_state=0)
print(screen.DESCR)
ConditionHeatMapDisplay.from_screen(screen, unit="signed -log10 p")

# %%
# Which model
# -----------
# `suggest_cv` holds out what will be asked: known compounds, in the two cell types. A
# model that does not beat the best baseline there, has no reason to be used.
from sklperturb.comparison import compare, leaderboard
from sklperturb.model_selection import suggest_cv

cv = suggest_cv(screen.X, screen.X_test, n_splits=4)
comparison = compare(
    ["ridge", "product_kernel", "response_kernel"],
    screen.X,
    screen.y,
    cv=cv,
    baselines=["no_change", "perturbation_mean", "context_mean", "additive"],
    schema=screen.schema,
)
table = leaderboard(comparison)
table[["rank", "model", "mean", "difference", "difference_low", "difference_high"]]

# %%
# Intervals are over the compounds that were measured in both, and these are few:
from sklperturb.inspection import LeaderboardDisplay

LeaderboardDisplay.from_comparison(comparison)

# %%
# Fit and submit
# --------------
# The model is fitted to all rows, and the file has a row for each pair to predict.
import tempfile
from pathlib import Path

import pandas as pd

from sklperturb.datasets import write_submission
from sklperturb.models import make_model

best = table.loc[table["kind"] != "baseline", "model"].iloc[0]
model = make_model(best, schema=screen.schema).fit(screen.X, screen.y)
y_pred = model.predict(screen.X_test)
with tempfile.TemporaryDirectory() as folder:
    path = write_submission(
        Path(folder) / "submission.csv", y_pred, screen.id_map, screen.target_names
    )
    submission = pd.read_csv(path, index_col="id")
print(best)
submission.iloc[:3, :5]

# %%
# What came of it
# ---------------
# Of generated pairs the answer is known. Each compound of each cell type is a dot.
from sklperturb.inspection import RowErrorDisplay

RowErrorDisplay.from_predictions(
    screen.y_test,
    y_pred,
    X=screen.X_test,
    by="context",
    baseline=0,
    baseline_name="no change",
    unit="signed -log10 p",
)

# sphinx_gallery_thumbnail_number = 1
