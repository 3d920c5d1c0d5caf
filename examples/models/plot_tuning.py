"""
Tune models and score the tuning
================================

Three models are tuned inside each outer fold, so that the score of a tuned model is
that on rows which its tuning never saw. Then a search is stopped and gone on with.
"""

# %%
# Nested cross-validation of three models
# ---------------------------------------
# Each outer fold has a study of its own in the same file: the study's name comes from
# the data.
import tempfile
from pathlib import Path

from sklperturb.comparison import compare, leaderboard
from sklperturb.datasets import make_chemical_screen
from sklperturb.model_selection import UnseenPairKFold
from sklperturb.models import make_model
from sklperturb.tuning import PerturbationSearchCV

screen = make_chemical_screen(4, 24, 40, random_state=0)
folder = Path(tempfile.mkdtemp())
inner = UnseenPairKFold(2, random_state=1)


def tuned(name, n_trials, **params):
    model = make_model(name, schema=screen.schema, random_state=0)
    return PerturbationSearchCV(
        model.set_params(**params),
        cv=inner,
        scoring="mrrmse",
        n_trials=n_trials,
        storage=folder / "study.log",
        random_state=0,
    )


models = {
    "additive, tuned": tuned("additive", 2),
    "ridge, tuned": tuned("ridge", 4),
    "token MLP, tuned": tuned("token_mlp", 4, regressor__max_epochs=10),
}
comparison = compare(
    models,
    screen.X,
    screen.y,
    cv=UnseenPairKFold(2, random_state=0),
    baselines=["perturbation_mean"],
    schema=screen.schema,
)
print(leaderboard(comparison)[["rank", "model", "mean", "std"]])

# %%
# Stop and go on
# --------------
# The second call finds the four trials of the first, and adds four.
for n_trials in (4, 8):
    search = tuned("ridge", n_trials).fit(screen.X, screen.y)
    print(n_trials, "trials:", search.best_params_, f"{-search.best_score_:.4f}")

# %%
# Plots
# -----
# Scores have the sign of the metric: MRRMSE is better when lower.
from sklperturb.inspection import TuningDisplay

TuningDisplay.from_search(search, kind="slices")
