"""
Doses and times that were not measured
======================================

Compounds were given at three doses and two times. The highest dose at 24 hours was
measured of some compounds only. What do the cheaper conditions say of it?
"""

# %%
# A screen
# --------
# A time and a dose together are the context, as a cell type is elsewhere. Every
# compound has a dose of its own at which half of its effect is reached, and 6 hours are
# less than 24. At 24 hours and 10 uM every third compound was measured, of
# those sorted by strength at 1 uM.
import numpy as np
import pandas as pd

from sklperturb.datasets import PerturbationSchema, make_chemical_screen

rng = np.random.default_rng(0)
base = make_chemical_screen(
    3, 60, 120, n_target_contexts=1, n_lost=(0, 0), strong_fraction=0.3, random_state=1
)
early, late = base.X["cell_type"].unique()[:2]
doses = {"0.1 uM": 0.1, "1 uM": 1.0, "10 uM": 10.0}
half = 10 ** rng.uniform(-1, 1, 60)
conditions, responses = [], []
for hours, time, power in (("6 h", early, 0.6), ("24 h", late, 1.0)):
    rows = base.X["cell_type"] == time
    effects = base.y[rows].set_index(base.X["sm_name"][rows]).clip(-8, 8)
    for compound, effect in effects.iterrows():
        at_half = half[list(effects.index).index(compound)]
        for name, dose in doses.items():
            share = power * dose / (dose + at_half)
            conditions.append((compound, f"{hours}, {name}", hours, dose))
            responses.append(share * effect + rng.normal(0, 0.4, len(effect)))
X = pd.DataFrame(conditions, columns=["sm_name", "time_dose", "time", "dose_uM"])
y = pd.DataFrame(np.vstack(responses), columns=base.y.columns)
schema = PerturbationSchema("sm_name", context="time_dose", dose="dose_uM")

asked = "24 h, 10 uM"
at_middle = (X["time_dose"] == "24 h, 1 uM").to_numpy()
strength = (y[at_middle] ** 2).mean(axis=1).set_axis(X["sm_name"][at_middle])
known = set(strength.sort_values(ascending=False).index[::3])
unknown = ((X["time_dose"] == asked) & ~X["sm_name"].isin(known)).to_numpy()
X_test, y_test = X[unknown], y[unknown]
X, y = X[~unknown].reset_index(drop=True), y[~unknown].reset_index(drop=True)

# %%
# Which model
# -----------
# Only pairs at 24 hours and 10 uM are held out, since only these are asked. What a
# compound does at other doses is in training.
from sklperturb.comparison import compare
from sklperturb.inspection import LeaderboardDisplay
from sklperturb.model_selection import UnseenPairKFold

comparison = compare(
    ["response_kernel", "product_kernel", "context_transfer"],
    X,
    y,
    cv=UnseenPairKFold(5, contexts=[asked], schema=schema, random_state=0),
    baselines=["no_change", "perturbation_mean", "additive"],
    schema=schema,
)
LeaderboardDisplay.from_comparison(comparison)

# %%
# Prediction
# ----------
# The mean of a compound over its doses is too weak for the highest one. A model that
# learns how strongly each context responds takes that into account: its slope is nearer
# to 1.
import matplotlib.pyplot as plt

from sklperturb.inspection import EffectSizeDisplay
from sklperturb.models import make_model

fig, axes = plt.subplots(1, 2, figsize=(11, 5), layout="constrained")
for ax, name in zip(axes, ("perturbation_mean", "response_kernel"), strict=True):
    model = make_model(name, schema=schema).fit(X, y)
    EffectSizeDisplay.from_predictions(
        y_test, model.predict(X_test), X=X_test, schema=schema, name=name, ax=ax
    )

# %%
# From dose to dose
# -----------------
# The strength of all measured rows, with the predicted one of compounds that were not
# measured at the highest dose.
model = make_model("response_kernel", schema=schema).fit(X, y)
predicted = model.predict(X_test)
late_rows = (X["time"] == "24 h").to_numpy()
strength = X[late_rows].assign(rms=np.sqrt((y[late_rows] ** 2).mean(axis=1)))
strength = strength.pivot(index="sm_name", columns="dose_uM", values="rms")
top = pd.Series(np.sqrt((predicted**2).mean(axis=1)), X_test["sm_name"])
shown = top.nlargest(8).index

fig, ax = plt.subplots(layout="constrained")
for compound in shown:
    (line,) = ax.plot([0.1, 1], strength.loc[compound, [0.1, 1.0]], marker="o")
    ax.plot(
        [1, 10],
        [strength.loc[compound, 1.0], top[compound]],
        color=line.get_color(),
        linestyle="--",
        marker="*",
        markevery=[1],
        markersize=12,
        label=compound,
    )
ax.set_xscale("log")
ax.set_xlabel("dose (uM)")
ax.set_ylabel("strength at 24 h (RMS, signed -log10 p)")
ax.set_title("Circles measured, stars predicted")
ax.legend(fontsize=8)

# sphinx_gallery_thumbnail_number = -1
