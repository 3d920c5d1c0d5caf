"""
From counts to signatures, and how good a model could be
========================================================

Raw counts of cells from four donors become one signature for each perturbation in each
line. The halves of the cells say how noisy these are, and so how near to the best
possible score a model is.
"""

# %%
# Counts
# ------
# Generated cells; batches stand for donors.
from sklperturb.datasets import PerturbationSchema, make_genetic_screen

screen = make_genetic_screen(
    24,
    150,
    cells_per_perturbation=300,
    n_controls=1500,
    n_contexts=3,
    n_batches=4,
    context_specificity=0.2,
    random_state=0,
)
cells = screen.y
cells.obs = cells.obs.rename(columns={"batch": "donor"})
print(cells.shape)

# %%
# Signatures
# ----------
# Cells of a donor are added up, each perturbation is compared with the controls of its
# line, and what differs between donors is taken off: they are replicates.
from sklperturb.signatures import DifferentialSignatures, signature_halves

control = screen.X.loc[screen.is_control, "target_gene"].iloc[0]
schema = PerturbationSchema("target_gene", context="cell_line", replicate="donor")
model = DifferentialSignatures(schema, control=control, covariates=["donor"])
found = signature_halves(cells, ["cell_line", "target_gene", "donor"], model=model)
X, y = found.X, found.y
print(X.shape, y.shape)

# %%
# A look at what was computed: strong and weak knock-downs, alike in all lines.
from sklearn.utils import Bunch

from sklperturb.inspection import ConditionHeatMapDisplay

ConditionHeatMapDisplay.from_screen(
    Bunch(X=X, y=y, schema=schema), unit="signed -log10 p"
)

# %%
# The noise ceiling
# -----------------
# Had a model known the truth, it would still not meet the noise of the measurements.
# The two halves of the cells tell how far off it would be.
from sklperturb.inspection import noise_ceiling

ceiling = noise_ceiling(X, y, halves=found.halves)
print(ceiling)

# %%
# Models on the way to it
# -----------------------
# Pairs of a known gene and a known line are held out. On the right, 0 is the best
# baseline and 1 a model that knows the truth.
from sklperturb.comparison import compare, leaderboard
from sklperturb.inspection import CeilingDisplay
from sklperturb.model_selection import UnseenPairKFold

comparison = compare(
    ["ridge", "response_kernel", "product_kernel"],
    X,
    y,
    cv=UnseenPairKFold(4, random_state=0),
    baselines=["no_change", "perturbation_mean", "context_mean"],
    ceiling=ceiling,
)
table = leaderboard(comparison)
CeilingDisplay(table).plot()
table[["model", "mean", "ceiling", "share_of_ceiling"]].round(3)

# sphinx_gallery_thumbnail_number = -1
