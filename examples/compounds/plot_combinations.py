"""
Two compounds at once
=====================

All compounds of a library were measured alone, and some pairs of them. What will the
other pairs do, and is a pair more than the sum of its compounds?
"""

# %%
# A screen of pairs
# -----------------
# Single compounds are generated. A pair does some three quarters of the sum, as where
# both saturate the same response; four pairs are antagonists and do next to nothing.
# ``combines=True`` says that ``A+B`` is a pair: names of compounds may hold plus signs.
import itertools

import numpy as np
import pandas as pd

from sklperturb.conditions import join_combination
from sklperturb.datasets import PerturbationSchema, make_chemical_screen

rng = np.random.default_rng(0)
singles = make_chemical_screen(2, 24, 150, n_target_contexts=1, random_state=3)
rows = (singles.X["cell_type"] == singles.X["cell_type"].iloc[0]).to_numpy()
alone = singles.y[rows].set_index(singles.X["sm_name"][rows].to_numpy())
alone = alone.clip(-6, 6)
every = list(itertools.combinations(alone.index, 2))
pairs = [every[i] for i in rng.choice(len(every), 70, replace=False)]
share = rng.normal(0.75, 0.1, len(pairs))
strength = [np.linalg.norm(alone.loc[list(pair)].sum()) for pair in pairs]
antagonists = np.argsort(strength)[-12::3]
share[antagonists] = 0.1
both = [
    part * alone.loc[list(pair)].sum().to_numpy() + rng.normal(0, 0.5, alone.shape[1])
    for part, pair in zip(share, pairs, strict=True)
]
names = [*alone.index, *(join_combination(pair) for pair in pairs)]
X = pd.DataFrame({"sm_name": names})
y = pd.DataFrame(np.vstack([alone, both]), columns=alone.columns)
schema = PerturbationSchema("sm_name", combines=True)

# %%
# Folds of pairs
# --------------
# What will be asked are pairs, whose compounds are known. So pairs are held out, and
# the single compounds are in every training set.
is_pair = np.array([len(schema.split(name)) == 2 for name in names])
fold = np.where(is_pair, rng.permutation(len(X)) % 5, -1)
cv = [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(5)]

# %%
# The sum of both is the baseline to beat. `GeneKnowledgeRidge` does not know of sums: a
# pair is like those with which it shares a compound, as much as measured pairs say.
from sklperturb.baseline import (
    AdditiveCombinationRegressor,
    GroupStatisticRegressor,
    NoChangeRegressor,
)
from sklperturb.comparison import compare
from sklperturb.inspection import LeaderboardDisplay
from sklperturb.linear_model import GeneKnowledgeRidge

comparison = compare(
    {"shared compounds": GeneKnowledgeRidge(schema=schema)},
    X,
    y,
    cv=cv,
    baselines={
        "sum of both": AdditiveCombinationRegressor(schema=schema),
        "mean": GroupStatisticRegressor(schema=schema),
        "no change": NoChangeRegressor(),
    },
    schema=schema,
    return_predictions=True,
)
LeaderboardDisplay.from_comparison(comparison)

# %%
# Less than the sum?
# ------------------
# The slope of what was measured on the sum: 1 would be no interaction.
from sklperturb.inspection import EffectSizeDisplay

display = EffectSizeDisplay.from_comparison(
    comparison, X, y, "sum of both", schema=schema, unit="signed -log10 p"
)
display.slopes().round(2)

# %%
# Antagonists
# -----------
# For each pair, the factor by which its sum would have to be multiplied. That most lie
# near three quarters is saturation; the pairs far below are worth a second experiment.
# Of weak pairs the factor is mostly noise, so that it is drawn against strength.
import matplotlib.pyplot as plt

expected = comparison.predictions["sum of both"][is_pair]
measured = y[is_pair].to_numpy()
length = (expected**2).sum(axis=1)
factor = (measured * expected).sum(axis=1) / length
size = np.sqrt(length / y.shape[1])
low = (factor < 0.4) & (size > np.median(size))

fig, ax = plt.subplots(layout="constrained")
ax.axhline(1, color="grey", linestyle="--")
ax.scatter(size[~low], factor[~low], color="#0072B2", label="pair")
for at, marker in zip(np.flatnonzero(low), itertools.cycle("sD^v"), strict=False):
    name = f"{pairs[at][0]} + {pairs[at][1]}"
    ax.scatter(size[at], factor[at], color="#D55E00", marker=marker, label=name)
ax.set_xlabel("strength of the sum (RMS, signed -log10 p)")
ax.set_ylabel("measured / sum of both")
ax.set_title("Pairs against the sum of their compounds")
ax.legend(loc="lower left")

# sphinx_gallery_thumbnail_number = -1
