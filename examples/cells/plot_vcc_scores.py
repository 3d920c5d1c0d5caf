"""
Predict cells and score them as the Virtual Cell Challenge does
===============================================================

A challenge gives cells of some knock-downs and asks for cells of others: raw counts in
a file. Here that file is made, and scored before it is sent.
"""

# %%
# Cells
# -----
# Generated: 30 knock-downs, of which five are held out. They are five of the ten
# strongest, since a challenge asks for perturbations that do something.
import numpy as np

from sklperturb.datasets import make_genetic_screen

screen = make_genetic_screen(
    30, 300, cells_per_perturbation=80, n_controls=600, n_batches=2, random_state=0
)
strength = (screen.effects**2).mean(axis=1).sort_values(ascending=False)
held_out = list(strength.index[:10:2])
labels = screen.X["target_gene"]
train = ~labels.isin(held_out).to_numpy()

# %%
# A model of cells
# ----------------
# `CellScreenModel` learns from counts and predicts counts. ``fit-cells`` and
# ``predict-cells`` do the same from file to file. ``amplitude="typical"`` makes effects
# of unknown genes as large as measured ones are, so that more of their genes are
# called.
from sklperturb.flow import CellScreenModel, FlowMatchingRegressor

model = CellScreenModel(
    screen.gene_embedding,
    n_components=20,
    flow=FlowMatchingRegressor(max_steps=200, random_state=0),
).fit(screen.X[train], screen.y[train])
cells = {
    amplitude: model.predict(held_out, n_cells=80, amplitude=amplitude)
    for amplitude in ("expected", "typical")
}
print(cells["expected"])

# %%
# The file, and its scores
# ------------------------
# ``"cell-eval2"`` is the layout of 2026, without controls; ``"cell-eval"`` that of
# 2025. The measured cells hold the same genes and the controls. A single context is
# scored at a time.
import tempfile
from pathlib import Path

import pandas as pd

from sklperturb.datasets import write_cells
from sklperturb.evaluation import evaluate_cells

real = screen.y[screen.is_control | ~train].copy()
control = labels[screen.is_control].iloc[0]
scores = {}
with tempfile.TemporaryDirectory() as folder:
    for amplitude, predicted in cells.items():
        path = Path(folder) / f"{amplitude}.h5ad"
        targets = predicted.obs["target_gene"].to_numpy()
        contexts = np.full(len(targets), "line1")
        write_cells(path, predicted, targets, contexts=contexts, layout="cell-eval2")
        found = evaluate_cells(
            real, path, "target_gene", control=control, convention="vcc2026"
        )
        scores[amplitude] = found.scores
pd.concat(scores, axis=1).xs("score", axis=1, level=1).round(3)

# %%
# How good is that?
# -----------------
# On the scaled axis, 0 is a mean response that is the same for every gene, and 1 is a
# second measurement, half of the measured cells scored on the other half. Where the
# second measurement is not better than the mean response, there is no such axis.
import matplotlib.pyplot as plt

scaled = pd.concat(scores, axis=1).xs("scaled", axis=1, level=1)
scaled = scaled.dropna()
fig, ax = plt.subplots(figsize=(7, 4.5), layout="constrained")
place = np.arange(len(scaled))
for shift, (name, colour) in zip(
    (-0.15, 0.15), (("expected", "#0072B2"), ("typical", "#E69F00")), strict=True
):
    ax.hlines(place + shift, 0, scaled[name], color=colour, linewidth=2)
    ax.plot(scaled[name], place + shift, "o", color=colour, label=name)
ax.axvline(0, color="grey")
ax.axvline(1, color="grey", linestyle="--")
ax.set_yticks(place, scaled.index)
ax.invert_yaxis()
ax.set_xlabel("0: mean response, 1: a second measurement")
ax.set_title("Scores of 2026, five knock-downs that were held out")
ax.legend(title="amplitude", loc="lower right")
