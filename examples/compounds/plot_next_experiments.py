"""
Choose what to measure next
===========================

A library was screened in one cell type, and will be used in four more, of which next to
nothing is known. Which measurements there tell most of all the others?
"""

# %%
# What is measured
# ----------------
# A generated screen of forty compounds in five cell types stands for the truth. Known
# are all compounds in one cell type, and four in each of the others. A third of what is
# left shall be predicted and cannot be measured; the others are the candidates.
import numpy as np
import pandas as pd

from sklperturb.datasets import make_chemical_screen
from sklperturb.model_selection import suggest_experiments

screen = make_chemical_screen(5, 40, 150, n_target_contexts=4, random_state=0)
X = pd.concat([screen.X, screen.X_test], ignore_index=True)
y = pd.concat([screen.y, screen.y_test]).clip(-4, 4).to_numpy()
rng = np.random.default_rng(0)
first = screen.X["cell_type"].value_counts().index[0]
few = X.groupby("cell_type").sample(4, random_state=0).index
known = (X["cell_type"] == first) | X.index.isin(few)
role = np.where(
    known, "known", rng.choice(["target", "candidate", "candidate"], len(X))
)
pd.crosstab(X["cell_type"], role)

# %%
# Ask the model
# -------------
# A kernel model says how responses go together before they are measured. So it knows by
# how much each measurement would lower the error that it expects of the targets,
# whatever the outcome, and each choice counts on those before it.
from sklperturb.linear_model import ResponseKernelRidge

N = 48
candidates, targets = X[role == "candidate"], X[role == "target"]
task = ResponseKernelRidge(), X[role == "known"], y[role == "known"], candidates, N
plan = suggest_experiments(*task, targets=targets)
plan[["sm_name", "cell_type", "gain", "expected_error", "reason"]].head(8)

# %%
# How right such numbers are is learnt from rows that are held out: expected errors are
# multiplied by the ratio of measured to expected ones there, which has an interval.
plan.attrs["calibration"]

# %%
# And did it help?
# ----------------
# Here, the answers are known. The model is fitted anew with the first experiments of
# the plan, of another design and of ten random ones, and asked for the targets.
from sklperturb.metrics import mrrmse

sizes = [0, 6, 12, 24, 48]


def errors_of(**how):
    """Return the error of the targets after each number of experiments."""
    chosen = suggest_experiments(*task, targets=targets, calibrate=False, **how).index
    errors = []
    for n in sizes:
        rows = np.concatenate([np.flatnonzero(role == "known"), chosen[:n]])
        model = ResponseKernelRidge().fit(X.iloc[rows], y[rows])
        errors.append(mrrmse(y[role == "target"], model.predict(targets)))
    return errors


curves = {name: errors_of(strategy=name) for name in ("expected_error", "k_centre")}
random = [errors_of(strategy="random", random_state=seed) for seed in range(10)]

# %%
# Six experiments of the plan do more here than forty-eight random ones. That much is
# luck: on real screens it is less, and a plan is better made in rounds, each of which
# learns from the last.
from matplotlib import pyplot as plt

figure, ax = plt.subplots(layout="constrained")
low, mean, high = np.min(random, 0), np.mean(random, 0), np.max(random, 0)
ax.fill_between(sizes, low, high, color="0.88", label="ten random designs")
ax.plot(sizes, mean, color="0.5", linestyle="--", label="their mean")
for (name, errors), colour in zip(curves.items(), ("C0", "C1"), strict=True):
    ax.plot(sizes, errors, color=colour, marker="o", label=name)
ax.set(xlabel="experiments", ylabel="MRRMSE of the targets (lower is better)")
ax.legend()
