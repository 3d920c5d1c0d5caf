"""
Genes that were never knocked down
==================================

A screen of knock-downs covers some hundred genes. What would the others do? Gene sets
and a screen in another cell line each know a part of it.
"""

# %%
# A screen in two lines
# ---------------------
# Cells are generated: raw counts, in which the same 80 genes were knocked down in two
# lines. An effect is the difference of mean logarithms from the controls of the line.
import numpy as np
import pandas as pd

from sklperturb.cells import mean_by_group
from sklperturb.datasets import make_genetic_screen

screen = make_genetic_screen(
    80,
    300,
    cells_per_perturbation=50,
    n_controls=400,
    n_contexts=2,
    context_specificity=0.4,
    n_batches=1,
    random_state=0,
)
groups = screen.X.groupby(["cell_line", "target_gene"], sort=True)
codes = groups.ngroup().to_numpy()
means, _ = mean_by_group(screen.y, codes, groups.ngroups, target_sum=1e4)
table = pd.DataFrame(means, groups.size().index, screen.target_names)
control = screen.X.loc[screen.is_control, "target_gene"].iloc[0]
effects = {
    line: rows.droplevel("cell_line").drop(control) - rows.xs(control, level=1).iloc[0]
    for line, rows in table.groupby(level="cell_line")
}
print({line: effect.shape for line, effect in effects.items()})

# %%
# What is known of genes
# ----------------------
# A ``.gmt`` file of gene sets, here groups of linked genes, and the signatures of the
# other line, an ``.h5ad`` file: both as you would have them of real genes.
import tempfile
from pathlib import Path

import anndata

folder = Path(tempfile.mkdtemp())
genes = np.array(screen.target_names)
links = screen.gene_graph.toarray() > 0
(folder / "sets.gmt").write_text(
    "".join(
        "\t".join([f"around {gene}", "", gene, *genes[linked]]) + "\n"
        for gene, linked in zip(genes, links, strict=True)
    )
)
first, second = effects["line1"], effects["line2"]
anndata.AnnData(
    first.to_numpy(),
    obs=pd.DataFrame({"target_gene": first.index.to_numpy()}, index=first.index),
    var=pd.DataFrame(index=genes),
).write_h5ad(folder / "line1.h5ad")

# %%
# Which knowledge helps
# ---------------------
# The second line is predicted, and whole genes are held out: in it, nothing was seen of
# them. The mean over all genes is what to beat.
from sklperturb.comparison import compare, leaderboard
from sklperturb.inspection import LeaderboardDisplay
from sklperturb.linear_model import GeneKnowledgeRidge
from sklperturb.model_selection import UnseenPerturbationKFold

X = pd.DataFrame({"target_gene": second.index.to_numpy()})
y = second.reset_index(drop=True)
sets, line = str(folder / "sets.gmt"), str(folder / "line1.h5ad")
comparison = compare(
    {
        "gene sets": GeneKnowledgeRidge([sets]),
        "other line": GeneKnowledgeRidge([line]),
        "both": GeneKnowledgeRidge([sets, line]),
    },
    X,
    y,
    cv=UnseenPerturbationKFold(4, random_state=0),
    scoring=["mrrmse", "pearson"],
    baselines=["no_change", "gene_mean"],
    return_predictions=True,
)
LeaderboardDisplay.from_comparison(comparison)
leaderboard(comparison)[
    ["metric", "model", "mean", "difference_low", "difference_high"]
]

# %%
# What each source explains
# -------------------------
model = GeneKnowledgeRidge([sets, line]).fit(X, y)
pd.DataFrame(model.shares_).round(2)

# %%
# One knock-down
# --------------
# The strongest gene, predicted by a model that was fitted without it.
from sklperturb.inspection import SignatureDisplay

strongest = X["target_gene"][np.argmax((y**2).sum(axis=1))]
SignatureDisplay.from_comparison(
    comparison,
    X,
    y,
    "both",
    condition={"perturbation": strongest},
    unit="change of mean log(1 + x)",
)

# sphinx_gallery_thumbnail_number = -1
