"""
Look at what a model predicts
=============================

A score is a mean over conditions and genes. These displays show what it is made of:
one signature, the errors of all conditions, the strength of predictions, and a map of
the screen. Each takes a fitted estimator, predictions, or a comparison.
"""

# %%
# A screen, and two models on its folds
# -------------------------------------
# The screen is generated, in the layout of OP2: two of the six contexts were measured
# for few compounds. With ``return_predictions=True``, `compare` keeps what each model
# predicts for the rows that its fold held out.
from sklperturb.comparison import compare
from sklperturb.datasets import make_chemical_screen
from sklperturb.model_selection import UnseenPairKFold

screen = make_chemical_screen(6, 80, 300, random_state=0)
X, y, unit = screen.X, screen.y, "signed -log10 p"
comparison = compare(
    ["ridge"],
    X,
    y,
    cv=UnseenPairKFold(4, random_state=0),
    baselines=["additive"],
    return_predictions=True,
)
comparison.summary[["model", "mean", "ci_low", "ci_high"]].round(3)

# %%
# What was measured
# -----------------
# This map needs no model. A mark stands for a condition that is to be predicted.
from sklperturb.inspection import ConditionHeatMapDisplay

ConditionHeatMapDisplay.from_screen(screen, unit=unit)

# %%
# One signature
# -------------
# The strongest genes of one compound in one context, held out. Without an estimator
# that is fitted, ``from_estimator(..., cv=...)`` fits only the folds that it needs.
from sklperturb.inspection import SignatureDisplay

strongest = (y**2).mean(axis=1).idxmax()
condition = {"perturbation": X["sm_name"][strongest], "context": "NK cells"}
SignatureDisplay.from_comparison(
    comparison, X, y, "ridge", condition=condition, unit=unit
)

# %%
# Where a model fails
# -------------------
# Strong compounds have the largest errors whatever the model is, so another model on
# the same rows tells more than the order.
from sklperturb.inspection import RowErrorDisplay

RowErrorDisplay.from_comparison(
    comparison, X, y, "ridge", baseline="additive", max_groups=10, unit=unit
)

# %%
# The same errors, one for each condition:
ConditionHeatMapDisplay.from_comparison(comparison, X, y, "ridge", unit=unit)

# %%
# Are predictions as strong as measurements?
# ------------------------------------------
# A slope above 1 says that predictions of this context are too weak, one below 1 that
# they are too strong. Here the weak rows, below the dashed line, are overestimated.
from sklperturb.inspection import EffectSizeDisplay

display = EffectSizeDisplay.from_comparison(comparison, X, y, "ridge", unit=unit)
display.slopes().round(2)

# %%
# With a fitted estimator
# -----------------------
# The conditions to predict were measured in this generated screen.
from sklperturb.models import make_model

model = make_model("ridge", schema=screen.schema).fit(X, y)
RowErrorDisplay.from_estimator(
    model,
    screen.X_test,
    screen.y_test,
    by="context",
    baseline=0,
    baseline_name="no change",
    unit=unit,
)
