"""
Predict in a latent space
=========================

A model in two stages: a transformer compresses the responses into a latent space, and
a regressor predicts the point in that space from the encoded condition. What it
predicts is decoded into genes. Here the latent space of an autoencoder is compared
with that of a PCA, and with no latent space at all.
"""

# %%
# A screen
# --------
# Two cell types were measured for few compounds only; the others are to be predicted.
from sklperturb.datasets import make_chemical_screen

screen = make_chemical_screen(5, 40, 400, n_shared=12, random_state=0)
screen.X.groupby("cell_type").size()

# %%
# Two stages in one estimator
# ---------------------------
# `LatentTargetRegressor` fits the latent space on the responses it is trained with,
# and the regressor on the latent coordinates. The encoder of the conditions learns
# from the responses too, so it is part of the pipeline: in a cross-validation nothing
# here ever sees a held-out row.
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklperturb.compose import LatentTargetRegressor
from sklperturb.neural_network import AutoencoderTransformer, LatentNetRegressor
from sklperturb.preprocessing import make_condition_encoder


def pipeline(regressor):
    return make_pipeline(
        make_condition_encoder(n_components=8), StandardScaler(), regressor
    )


network = LatentNetRegressor(64, max_epochs=60, random_state=0)
autoencoder = AutoencoderTransformer(16, max_epochs=100, random_state=0)
models = {
    "autoencoder": pipeline(LatentTargetRegressor(network, autoencoder)),
    "PCA": pipeline(LatentTargetRegressor(network, PCA(16))),
    "no latent space": pipeline(network),
}

# %%
# The same folds for all
# ----------------------
# Pairs of a compound and one of the two cell types are held out; the compound was seen
# in other cell types. The score is the competition's error, so lower is better; that
# of predicting no response at all is on the right.
import pandas as pd
from sklearn.model_selection import cross_validate

from sklperturb.baseline import NoChangeRegressor
from sklperturb.metrics import neg_mrrmse_scorer
from sklperturb.model_selection import UnseenPairKFold

sparse_contexts = screen.X_test["cell_type"].unique().tolist()
cv = UnseenPairKFold(3, contexts=sparse_contexts, random_state=0)
scores = {
    name: -cross_validate(model, screen.X, screen.y, cv=cv, scoring=neg_mrrmse_scorer)[
        "test_score"
    ]
    for name, model in {**models, "no change": NoChangeRegressor()}.items()
}
scores = pd.DataFrame(scores).rename_axis("fold")
scores.round(3)

# %%
import matplotlib.pyplot as plt

fig, ax = plt.subplots(layout="constrained")
scores.mean().plot.bar(ax=ax, rot=0)
for position, name in enumerate(scores):
    ax.scatter([position] * len(scores), scores[name], color="black", zorder=2)
ax.set_ylabel("MRRMSE (a dot is a fold)")

# %%
# What the latent space can express
# ---------------------------------
# No regressor does better than the latent space itself. Held-out responses, encoded
# and decoded, show how much is lost before anything is predicted.
from sklperturb.metrics import mrrmse

best = models["autoencoder"].fit(screen.X, screen.y)
for name, space in (
    ("autoencoder", best[-1].transformer_),
    ("PCA", PCA(16).fit(screen.y.to_numpy())),
):
    rebuilt = space.inverse_transform(space.transform(screen.y_test.to_numpy()))
    print(f"{name}: {mrrmse(screen.y_test, rebuilt):.3f}")

# %%
# A submission
# ------------
# Predictions have the genes of `y` in their order, and the rows of `X_test`.
import tempfile
from pathlib import Path

from sklperturb.datasets import write_submission

with tempfile.TemporaryDirectory() as folder:
    path = write_submission(
        Path(folder) / "submission.csv",
        best.predict(screen.X_test),
        screen.X_test,
        screen.target_names,
    )
    submission = pd.read_csv(path, index_col="id")
submission.iloc[:3, :5]
