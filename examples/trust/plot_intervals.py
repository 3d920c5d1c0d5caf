"""
How far off may a prediction be?
================================

A list of genes that a compound should raise is worth an experiment only if the
predictions behind it are sure enough. Intervals say which are, and some compounds are
better not predicted at all.
"""

# %%
# A model with intervals
# ----------------------
# `ConformalRegressor` wraps any model. The errors of held-out pairs make the intervals,
# so the folds have to ask what will be asked.
from sklperturb.datasets import make_chemical_screen
from sklperturb.inspection import ConformalRegressor
from sklperturb.model_selection import suggest_cv
from sklperturb.models import make_model

screen = make_chemical_screen(5, 80, 100, n_shared=30, random_state=0)
X, y, X_test, y_test = screen.X, screen.y, screen.X_test, screen.y_test
cv = suggest_cv(X, X_test, n_splits=4)
model = ConformalRegressor(make_model("ridge", schema=screen.schema), cv=cv).fit(X, y)
y_pred = model.predict(X_test)
lower, upper = model.predict_interval(X_test)

# %%
# One compound
# ------------
# The strongest prediction, its twenty strongest genes. A gene whose interval is on one
# side of zero is one to follow up. That 90 % are covered is said of all compounds; of
# the strongest one fewer are, since how strong it will be is known in part only.
import matplotlib.pyplot as plt
import numpy as np

row = np.argmax((y_pred**2).sum(axis=1))
genes = np.argsort(-np.abs(y_pred[row]))[:20]
place = np.arange(len(genes))
sure = (lower[row, genes] > 0) | (upper[row, genes] < 0)
print(f"{sure.sum()} of 20 intervals do not hold zero")

fig, ax = plt.subplots(figsize=(6.4, 5.5), layout="constrained")
width = [y_pred - lower, upper - y_pred]
for chosen, colour, label in (
    (sure, "#0072B2", "interval without zero"),
    (~sure, "#999999", "interval holds zero"),
):
    ax.errorbar(
        y_pred[row, genes[chosen]],
        place[chosen],
        xerr=[side[row, genes[chosen]] for side in width],
        fmt="o",
        color=colour,
        label=label,
    )
ax.plot(y_test.to_numpy()[row, genes], place, "D", color="#D55E00", label="measured")
ax.axvline(0, color="grey")
ax.set_yticks(place, np.array(screen.target_names)[genes])
ax.invert_yaxis()
ax.set_xlabel("signed -log10 p, 90 % intervals")
ax.set_title(f"{X_test['sm_name'].iloc[row]} in {X_test['cell_type'].iloc[row]}")
ax.legend()

# %%
# Do they cover what they say?
# ----------------------------
# On the pairs to predict, whose answer is known in a generated screen. With your own
# data, ``coverage_curve(model, X, y, cv=outer)`` holds rows out.
from sklperturb.inspection import CoverageDisplay, coverage_curve

curve = coverage_curve(model, X_test, y_test, by="context")
CoverageDisplay(curve).plot()

# %%
# When not to answer
# ------------------
# Two kinds of rows are asked: compounds that were measured in other cell types, and
# some that were measured nowhere. The distance from training tells them apart, and the
# model warns that new compounds are not what its folds held out.
import warnings

from sklperturb.inspection import ExchangeabilityWarning

new = X_test.iloc[::4].assign(
    sm_name=lambda table: "new " + table["sm_name"], SMILES=None
)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always", ExchangeabilityWarning)
    model.predict_interval(new)
print(str(caught[0].message).split(".")[0])
print(f"abstains of known compounds: {model.abstain(X_test).mean():.0%}")
print(f"abstains of new compounds: {model.abstain(new).mean():.0%}")

# %%
fig, ax = plt.subplots(layout="constrained")
bins = np.linspace(0, 1, 31)
for rows, colour, label in (
    (X_test, "#0072B2", "measured in other cell types"),
    (new, "#D55E00", "measured nowhere"),
):
    ax.hist(model.distance(rows), bins, color=colour, alpha=0.7, label=label)
ax.set_xlabel("distance from training (0: measured, 1: like nothing measured)")
ax.set_ylabel("conditions")
ax.legend()

# sphinx_gallery_thumbnail_number = 1
