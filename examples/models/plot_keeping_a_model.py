"""
Keep a model and ask it for new compounds
=========================================

A model is fitted once, kept in a file, and asked a year later, by somebody else, for
compounds that did not exist when it was fitted.
"""

# %%
# Fit and keep
# ------------
# New compounds are known by their structure only, so this is a model of structures. Its
# score comes from folds in which whole compounds are held out, and goes into the file.
import tempfile
from pathlib import Path

import sklperturb
from sklperturb.comparison import compare
from sklperturb.datasets import make_chemical_screen
from sklperturb.model_selection import UnseenPerturbationKFold
from sklperturb.models import make_model

screen = make_chemical_screen(
    3, 100, 120, n_target_contexts=1, scaffold_share=0.8, random_state=0
)
comparison = compare(
    ["tanimoto_kernel"],
    screen.X,
    screen.y,
    cv=UnseenPerturbationKFold(3, random_state=0),
    baselines=["no_change", "context_mean"],
    schema=screen.schema,
)
model = make_model("tanimoto_kernel", schema=screen.schema).fit(screen.X, screen.y)
path = Path(tempfile.mkdtemp()) / "compounds.skpt"
sklperturb.save(
    model,
    path,
    X=screen.X,
    y=screen.y,
    scores=comparison.scores_of("tanimoto_kernel"),
    card={"Intended use": "To choose compounds of this library for a second screen."},
)

# %%
# What is in the file
# -------------------
# Nothing is run when a file is read, and its card can be read before the model is.
from sklperturb.persistence import read_card, read_info

info = read_info(path)
print(len(info.genes), "genes")
print(read_card(path)[:1500])

# %%
# New compounds
# -------------
# A table with the columns that the model reads: the name, the structure and the cell
# type. Here they are compounds of the screen with another substituent, and one that is
# like nothing that was measured.
import pandas as pd

measured = screen.X.drop_duplicates("sm_name")
old = measured[measured["SMILES"].str.contains("Cl")].head(9)
new = pd.DataFrame(
    {
        "sm_name": ["analogue of " + name for name in old["sm_name"]]
        + ["a fatty acid"],
        "SMILES": [*old["SMILES"].str.replace("Cl", "I"), "CCCCCCCCCCCCCCCC(=O)O"],
        "cell_type": screen.X["cell_type"].iloc[0],
    }
)
loaded = sklperturb.load(path).set_output(predict="pandas")
predicted = loaded.predict(new.set_axis(new["sm_name"]))
predicted.iloc[:, :6].round(2)

# %%
# Which of them to test
# ---------------------
# Those that are predicted to be strong and are near to a measured compound: of what is
# far from all of them, a model of structures knows the mean response, and no more.
import matplotlib.pyplot as plt
import numpy as np

from sklperturb.preprocessing import CompoundFingerprint, tanimoto_similarity

fingerprints = CompoundFingerprint("morgan_bits").fit(measured)
nearest = tanimoto_similarity(
    fingerprints.transform(new), fingerprints.transform(measured)
).max(axis=1)
strength = np.sqrt((predicted**2).mean(axis=1)).to_numpy()

order = np.argsort(strength)
fig, ax = plt.subplots(figsize=(7, 4.5), layout="constrained")
ax.hlines(new["sm_name"].iloc[order], 0, strength[order], color="#999999")
points = ax.scatter(
    strength[order],
    new["sm_name"].iloc[order],
    c=nearest[order],
    cmap="cividis",
    vmin=0,
    vmax=1,
    s=80,
    edgecolor="black",
    zorder=2,
)
fig.colorbar(points, label="Tanimoto similarity\nto the nearest measured compound")
ax.set_xlim(left=0)
ax.set_xlabel("predicted strength (RMS, signed -log10 p)")
ax.set_title("Ten compounds that were never measured")
