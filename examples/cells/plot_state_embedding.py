"""
Cells in the space of a pretrained model
========================================

Arc's State Embedding model (SE) puts a cell into a space that was learnt from many
millions of cells, and decodes that space to genes. How are cells taken there and back?
"""

# %%
# A checkpoint
# ------------
# The checkpoint here is small and has random weights, so that no number below says
# anything of SE. ``SEEmbedding("SE-600M")`` reads a downloaded one, and all else stays.
import tempfile

from sklperturb.datasets import make_genetic_screen
from sklperturb.embedding import SECheckpoint, SEConfig, SEEmbedding

screen = make_genetic_screen(
    12, 200, cells_per_perturbation=100, n_controls=200, n_batches=1, random_state=0
)
folder = tempfile.TemporaryDirectory()
checkpoint = SECheckpoint.create(
    f"{folder.name}/small.ckpt",
    config=SEConfig(length=64),
    genes=list(screen.y.var_names),
    random_state=0,
)
embedding = SEEmbedding(checkpoint).fit(screen.y)
cells = embedding.transform(screen.y)
print(cells.shape)

# %%
# Do perturbations show?
# ----------------------
# A space is of use if perturbed cells are in another place there than controls are. The
# energy distance says how far, and the same for two halves of the controls how far
# chance alone takes them.
import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from sklperturb.cells import log_normalise
from sklperturb.metrics import energy_distance

logs = log_normalise(screen.y.X).toarray()
spaces = {
    "principal components": PCA(20, random_state=0).fit_transform(logs),
    "embedding": PCA(20, random_state=0).fit_transform(
        StandardScaler().fit_transform(cells)
    ),
}
labels = screen.X["target_gene"].to_numpy()
controls = np.flatnonzero(screen.is_control)
halves = controls[::2], controls[1::2]
distances, chance = {}, {}
for name, space in spaces.items():
    spread = np.sqrt(space[controls].var(axis=0).sum())
    distances[name] = {
        gene: energy_distance(space[labels == gene], space[controls], unbiased=True)
        / spread
        for gene in screen.effects.index
    }
    first, second = (space[half] for half in halves)
    chance[name] = energy_distance(first, second, unbiased=True) / spread
distances = pd.DataFrame(distances)
print(pd.Series(chance).round(4))

# %%
# Genes back from the space
# -------------------------
# In `LatentTargetRegressor` a flow works in the space, and ``predict`` and ``sample``
# answer in genes.
from sklperturb.compose import LatentTargetRegressor
from sklperturb.flow import FlowMatchingRegressor

in_se_space = LatentTargetRegressor(
    FlowMatchingRegressor(mean_estimator="shift", max_steps=50, random_state=0),
    SEEmbedding(checkpoint),
    target_format="as_is",
    check_inverse=False,
).fit(screen.X, screen.y)
cells_of_genes = in_se_space.sample(screen.X[~screen.is_control][:2], n_cells=5)
print(cells_of_genes.shape)
folder.cleanup()

# %%
# Two spaces side by side
# -----------------------
# Each point is a knock-down, and the dashed lines are chance. A space in which most
# knock-downs lie near its line does not show them, whatever model is put on top.
import matplotlib.pyplot as plt

fig, ax = plt.subplots(layout="constrained")
x, y = (distances[name] for name in spaces)
ax.scatter(x, y, color="#0072B2")
for gene in distances.sum(axis=1).nlargest(2).index:
    ax.annotate(
        gene, (x[gene], y[gene]), (-6, 4), textcoords="offset points", ha="right"
    )
ax.axvline(chance["principal components"], color="grey", linestyle="--")
ax.axhline(chance["embedding"], color="grey", linestyle="--")
ax.set_xlabel("20 principal components of logarithms")
ax.set_ylabel("embedding of a model with random weights")
ax.set_title("Energy distance to controls, in units of their spread")
