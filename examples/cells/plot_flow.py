"""
From control cells to perturbed cells
=====================================

Control cells are a cloud, and each knocked-down gene leaves a cloud displaced from it.
A flow learns the way from one to the other, for genes that were never knocked down,
from raw counts to raw counts.
"""

# %%
# A screen
# --------
# Raw counts of 40 knock-downs. What a gene does follows a vector that is known of
# every gene, so that genes that were not knocked down can be predicted.
from sklperturb.datasets import make_genetic_screen

screen = make_genetic_screen(
    40, 400, cells_per_perturbation=100, n_controls=600, n_batches=2, random_state=1
)
print(screen.DESCR)

# %%
# Counts of a cell and of a gene, cells of each gene, and how far the mean of its cells
# is from that of the controls.
from sklperturb.inspection import CellScreenDisplay

CellScreenDisplay.from_screen(screen)

# %%
# Six genes are held out: five of the strongest, and a weak one.
import numpy as np

strength = np.linalg.norm(screen.effects, axis=1)
order = screen.effects.index[np.argsort(-strength)]
held_out = [*order[[0, 2, 4, 6, 8]], order[-1]]
labels = screen.X["target_gene"]
train = ~labels.isin(held_out).to_numpy()

# %%
# A latent space of counts
# ------------------------
# Principal components of the logarithms, learnt from the training cells. Below, there
# is a way back to counts.
from sklperturb.flow import CountSpace, FlowMatchingRegressor

space = CountSpace(20, n_top_genes=400).fit(screen.y[train])
cells = space.transform(screen.y)

# %%
# The flow
# --------
# The mean of a population comes from a regression on the vector of the gene, its shape
# from the flow. What "auto" came to, and what held-out perturbations said of it, can
# be read from the fitted model.
from sklperturb.preprocessing import LookupEmbedding

model = FlowMatchingRegressor(
    LookupEmbedding(screen.gene_embedding, n_components=16, add_indicator=False),
    hidden_dim=128,
    max_steps=500,
    random_state=0,
).fit(screen.X[train], cells[train])
print(model.mean_choice_, {k: round(v, 2) for k, v in model.mean_cv_errors_.items()})
print({name: round(value, 2) for name, value in model.guards_.items()})

# %%
# Clouds
# ------
# Controls in the middle; measured cells of the held-out genes around them, and next to
# them the cells that were generated without having seen any.
import matplotlib.pyplot as plt
from sklearn.decomposition import PCA

controls = cells[screen.is_control]
strong = held_out[:3]
measured = {gene: cells[(labels == gene).to_numpy()] for gene in held_out}
generated = {
    gene: model.sample(screen.X[(labels == gene).to_numpy()], 1)[:, 0]
    for gene in held_out
}
plane = PCA(2).fit(np.vstack([measured[gene] for gene in strong]))

fig, axes = plt.subplots(1, 2, figsize=(9, 4), sharex=True, sharey=True)
for ax, clouds, title in zip(
    axes, (measured, generated), ("measured", "generated"), strict=True
):
    ax.scatter(*plane.transform(controls).T, s=4, color="lightgrey", label="control")
    for gene in strong:
        ax.scatter(*plane.transform(clouds[gene]).T, s=4, label=gene)
    ax.set_title(title)
axes[1].legend(markerscale=3)
fig.tight_layout()

# %%
# How near
# --------
# The energy distance to the measured cells: of generated cells, of unchanged controls,
# and of controls displaced to the predicted mean.
import pandas as pd

from sklperturb.metrics import energy_distance

rows = {}
for gene in held_out:
    own = screen.X[(labels == gene).to_numpy()]
    change = model.predict(own) - model.predict(own.assign(control=True))
    rows[gene] = {
        "controls": energy_distance(measured[gene], controls, unbiased=True),
        "displaced controls": energy_distance(
            measured[gene], controls + change.mean(axis=0), unbiased=True
        ),
        "flow": energy_distance(measured[gene], generated[gene], unbiased=True),
    }
pd.DataFrame(rows).T.round(2)

# %%
# Counts
# ------
# Integers again: control cells, changed by as much as the flow moves their mean. Zeros
# and spread are those of counts, and a cell is as large as it was measured to be.
gene = held_out[0]
counts_of_controls = screen.y[screen.is_control]
drawn = space.perturb_counts(
    counts_of_controls, controls, generated[gene], random_state=0
)
truth = screen.y[(labels == gene).to_numpy()].X
pd.DataFrame(
    {
        name: {
            "counts per cell": counts.sum(axis=1).mean(),
            "share of zeros": 1 - counts.nnz / np.prod(counts.shape),
        }
        for name, counts in (("measured", truth), ("generated", drawn))
    }
).round(2)

# sphinx_gallery_thumbnail_number = 2
