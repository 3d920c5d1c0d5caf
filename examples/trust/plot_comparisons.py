"""
Look at comparisons, trainings and searches
===========================================

Which model is best, how sure that is, and whether more perturbations, a longer training
or other parameters would make it better; and a first look at cells.
"""

# %%
# A leaderboard
# -------------
# The screen is generated. Whiskers are intervals over perturbations; the right axis, of
# differences on the same rows, is the one to read.
from sklperturb.comparison import compare
from sklperturb.datasets import make_chemical_screen
from sklperturb.inspection import LeaderboardDisplay
from sklperturb.model_selection import UnseenPairKFold

screen = make_chemical_screen(6, 80, 100, random_state=0)
comparison = compare(
    ["ridge", "product_kernel", "long_boosting"],
    screen.X,
    screen.y,
    cv=UnseenPairKFold(4, random_state=0),
    scoring=["mrrmse", "spearman"],
    baselines=["additive", "perturbation_mean", "gene_median", "no_change"],
    schema=screen.schema,
    return_predictions=True,
)
LeaderboardDisplay.from_comparison(comparison)

# %%
# One model against another
# -------------------------
# Fold by fold, the best model against the best baseline:
from sklperturb.inspection import FoldsDisplay

FoldsDisplay.from_comparison(comparison)

# %%
# Compound by compound, from the predictions that the comparison kept:
predictions = comparison.predictions
FoldsDisplay.from_predictions(
    screen.y,
    predictions["ridge"],
    predictions["additive"],
    X=screen.X,
    names=("ridge", "additive"),
)

# %%
# Would more compounds help?
# --------------------------
# Both models learn from parts of the compounds, and predict the same held-out ones.
from sklperturb.inspection import PerturbationLearningCurveDisplay
from sklperturb.model_selection import UnseenPerturbationKFold

PerturbationLearningCurveDisplay.from_estimator(
    {"context mean": "context_mean", "ridge": "ridge"},
    screen.X,
    screen.y,
    cv=UnseenPerturbationKFold(4, random_state=0),
    schema=screen.schema,
)

# %%
# Was the network trained long enough?
# ------------------------------------
# A fifth of the rows is held out to see. The circle is where the weights were kept.
from sklearn.pipeline import make_pipeline

from sklperturb.inspection import TrainingCurveDisplay
from sklperturb.neural_network import DualBranchRegressor
from sklperturb.preprocessing import make_condition_encoder

network = make_pipeline(
    make_condition_encoder(n_components=16),
    DualBranchRegressor(
        learning_rate=0.01,
        max_epochs=60,
        validation_fraction=0.2,
        patience=20,
        random_state=0,
    ),
)
network.fit(screen.X, screen.y)
TrainingCurveDisplay.from_estimator(network)

# %%
# What has a search found?
# ------------------------
# The score of each trial with its spread over folds, and what a parameter alone does.
from sklperturb.inspection import TuningDisplay
from sklperturb.models import make_model
from sklperturb.tuning import PerturbationSearchCV

search = PerturbationSearchCV(
    make_model("ridge", schema=screen.schema),
    cv=UnseenPairKFold(3, random_state=0),
    scoring="mrrmse",
    n_trials=24,
    pruner=None,
    refit=False,
    random_state=0,
)
search.fit(screen.X, screen.y)
TuningDisplay.from_search(search)

# %%
TuningDisplay.from_search(search, kind="importance")

# %%
# Cells before any model
# ----------------------
# Each perturbation against the controls of its own batch, beside what sampling alone
# would give.
from sklperturb.datasets import make_genetic_screen
from sklperturb.inspection import CellScreenDisplay

cells = make_genetic_screen(
    40,
    200,
    cells_per_perturbation=60,
    n_controls=300,
    embedding_dim=8,
    random_state=0,
)
CellScreenDisplay.from_screen(cells)
