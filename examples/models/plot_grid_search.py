"""
Tune an encoder and a network together
======================================

Everything is a scikit-learn estimator, so one grid reaches the encoder, the network
and the optimiser at once, and each candidate's encoder is fitted inside its folds.
"""

# %%
# A pipeline with nested names
# ----------------------------
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from sklperturb.datasets import make_chemical_screen
from sklperturb.metrics import mrrmse, neg_mrrmse_scorer
from sklperturb.model_selection import UnseenPairKFold
from sklperturb.neural_network import TransformerRegressor
from sklperturb.preprocessing import make_condition_encoder

screen = make_chemical_screen(5, 30, 100, random_state=0)
pipeline = Pipeline(
    [
        ("encoder", make_condition_encoder(statistics=["mean"])),
        ("scaler", StandardScaler()),
        (
            "network",
            TransformerRegressor(
                embedding_dim=16,
                hidden_dim=32,
                n_layers=1,
                loss="mrrmse",
                max_epochs=15,
                random_state=0,
            ),
        ),
    ]
)

# %%
# The search
# ----------
search = GridSearchCV(
    pipeline,
    {
        "encoder__statistics__n_components": [4, 16],
        "network__learning_rate": [0.002, 0.01],
    },
    scoring=neg_mrrmse_scorer,
    cv=UnseenPairKFold(3, random_state=0),
)
search.fit(screen.X, screen.y)
print("Best:", search.best_params_)
print(f"MRRMSE in cross-validation: {-search.best_score_:.3f}")

# %%
# The score of the winner is optimistic, since it won on these folds; rows that the
# search never saw give the honest one.
print(f"MRRMSE on new rows: {mrrmse(screen.y_test, search.predict(screen.X_test)):.3f}")

# %%
# Was the winner trained long enough?
# -----------------------------------
# The loss of held-out rows still falls at the last epoch: more of them would help.
from sklperturb.inspection import TrainingCurveDisplay

TrainingCurveDisplay.from_estimator(search.best_estimator_)
