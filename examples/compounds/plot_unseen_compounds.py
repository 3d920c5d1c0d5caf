"""
Predict compounds that were never measured
==========================================

Of an unseen compound nothing is known but its structure. Does that beat predicting the
mean? On generated data, where we can say how much structure tells.
"""

# %%
# A screen of 120 compounds in two contexts. With ``scaffold_share=0.8``, compounds on
# one scaffold respond much alike.

from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline

from sklperturb.baseline import (
    GroupStatisticRegressor,
    NearestCompoundRegressor,
    NoChangeRegressor,
)
from sklperturb.datasets import make_chemical_screen
from sklperturb.linear_model import TanimotoKernelRidge
from sklperturb.model_selection import UnseenPerturbationKFold
from sklperturb.preprocessing import CompoundFingerprint

screen = make_chemical_screen(
    3, 120, 100, n_target_contexts=1, scaffold_share=0.8, random_state=0
)
screen.X.head()

# %%
# `CompoundFingerprint` turns the SMILES column into features. Here is what a chemist
# would read off the first compounds.

physchem = CompoundFingerprint("physchem").set_output(transform="pandas")
features = physchem.fit_transform(screen.X.drop_duplicates("sm_name"))
features.iloc[:5, :6].round(1)

# %%
# Three ways of using structure against two of not using it, each scored on compounds
# of which no row was in training.

from sklperturb.comparison import compare
from sklperturb.inspection import LeaderboardDisplay

models = {
    "nearest compounds": NearestCompoundRegressor(),
    "ridge on Morgan bits": make_pipeline(
        CompoundFingerprint("morgan_bits"), Ridge(alpha=300)
    ),
    "Tanimoto kernel": TanimotoKernelRidge(powers=[1, 2, 4]),
}
comparison = compare(
    models,
    screen.X,
    screen.y,
    cv=UnseenPerturbationKFold(5, random_state=0),
    baselines={
        "zeros": NoChangeRegressor(),
        "mean of the context": GroupStatisticRegressor(by="context"),
    },
)
LeaderboardDisplay.from_comparison(comparison)
comparison.summary[["model", "mean", "ci_low", "ci_high"]].round(3)

# %%
# A fitted kernel says what it found: how alike compounds must be to respond alike
# (`power_`), and what error to expect for a compound that was left out.

model = TanimotoKernelRidge(powers=[1, 2, 4]).fit(screen.X, screen.y)
print(f"power {model.power_}, error left out {model.left_out_error_:.3f}")
