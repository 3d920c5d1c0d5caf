"""
Pairs of genes that were switched on
====================================

Norman et al. (:doi:`10.1126/science.aax4438`) switched on a hundred genes and a part of
their pairs. Which of the other pairs will do something that their genes alone do not?
"""

# %%
# Cells of genes and of pairs
# ---------------------------
# The cells are generated: 30 genes and 60 pairs of them, each as far from the sum of
# its genes as a third of that sum. `fetch_norman_2019` gets the measured ones, in the
# same layout.
import numpy as np
import pandas as pd

from sklperturb.cells import mean_by_group
from sklperturb.datasets import make_genetic_screen

screen = make_genetic_screen(
    30,
    250,
    cells_per_perturbation=40,
    n_controls=500,
    n_combinations=60,
    interaction=0.35,
    n_batches=1,
    random_state=2,
)
screen.X["target_gene"].value_counts().iloc[[0, 1, -1]]

# %%
# Effects: mean logarithms less those of the controls, for each gene and each pair.
labels, names = pd.factorize(screen.X["target_gene"], sort=True)
means, n_cells = mean_by_group(screen.y, labels, len(names), target_sum=1e4)
control = list(names).index(screen.X.loc[screen.is_control, "target_gene"].iloc[0])
X = pd.DataFrame({"target_gene": np.delete(names, control)})
y = pd.DataFrame(
    np.delete(means, control, 0) - means[control], columns=screen.y.var_names
)

# %%
# Two questions
# -------------
# Pairs are held out. In the first set of folds their genes were seen alone; in the
# second, harder one, whatever holds one of the genes of a pair is left out of training
# too.
from sklperturb.conditions import split_combination

parts = [split_combination(name) for name in X["target_gene"]]
pairs = np.array([at for at, genes in enumerate(parts) if len(genes) == 2])
rng = np.random.default_rng(0)
seen, unseen = [], []
for held in np.array_split(rng.permutation(pairs), 4):
    seen.append((np.setdiff1d(np.arange(len(X)), held), held))
for held in np.array_split(rng.permutation(pairs), 12):
    genes = {gene for at in held for gene in parts[at]}
    free = [at for at, own in enumerate(parts) if not genes.intersection(own)]
    unseen.append((np.array(free), held))

# %%
# The vectors of genes that come with the generated screen stand for what is known of
# genes; they tell more than gene sets do of real ones, where the sum is hard to beat.
from sklperturb.baseline import (
    AdditiveCombinationRegressor,
    GroupStatisticRegressor,
    NoChangeRegressor,
)
from sklperturb.comparison import compare
from sklperturb.inspection import LeaderboardDisplay
from sklperturb.linear_model import GeneKnowledgeRidge

models = {"gene knowledge": GeneKnowledgeRidge([screen.gene_embedding])}
baselines = {
    "sum of both": AdditiveCombinationRegressor(),
    "mean": GroupStatisticRegressor(),
    "no change": NoChangeRegressor(),
}
both_seen = compare(models, X, y, cv=seen, baselines=baselines, return_predictions=True)
LeaderboardDisplay.from_comparison(both_seen)

# %%
# Of genes that were never seen, the sum can only say what genes do on average, and is
# no better than the mean.
neither_seen = compare(models, X, y, cv=unseen, baselines=baselines)
LeaderboardDisplay.from_comparison(neither_seen)

# %%
# What is more than the sum
# -------------------------
# The pair that is farthest from its sum, with the genes named that the sum misses most.
# A single pair may be far by chance: measure it again before you believe it.
distance = np.sqrt(((y.to_numpy() - both_seen.predictions["sum of both"]) ** 2).mean(1))
farthest = X["target_gene"][np.nanargmax(np.where(np.isnan(distance), -1, distance))]

from sklperturb.inspection import SignatureDisplay

SignatureDisplay.from_comparison(
    both_seen,
    X,
    y,
    "sum of both",
    condition={"perturbation": farthest},
    rank_by="error",
    unit="change of mean log(1 + x)",
)

# sphinx_gallery_thumbnail_number = -1
