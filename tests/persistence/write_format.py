"""Write small files of the present version of the format, which later ones must read.

    python -m tests.persistence.write_format

Run it once for each new version, and keep the folder for good.
"""

import json
from pathlib import Path

import numpy as np
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import sklperturb
from sklperturb.baseline import AdditiveRegressor
from sklperturb.datasets import make_chemical_screen
from sklperturb.ensemble import ResidualRegressor
from sklperturb.flow import FlowMatchingRegressor
from sklperturb.linear_model import (
    GeneKnowledgeRidge,
    ProductKernelRidge,
    ResponseKernelRidge,
    TanimotoKernelRidge,
    TargetEncodedRidge,
)
from sklperturb.models import BestRegressor, make_model
from sklperturb.neural_network import TokenEmbeddingMLPRegressor
from sklperturb.persistence._manifest import VERSION
from sklperturb.preprocessing import make_condition_encoder

FOLDER = Path(__file__).parent / f"format_{VERSION}"


def models():
    """Return what the files hold, by name."""
    network = TokenEmbeddingMLPRegressor(
        hidden_dim=4, max_epochs=3, target_components=2, clip=False, random_state=0
    )
    return {
        "ridge": TargetEncodedRidge(),
        "kernel": ProductKernelRidge(),
        "response": ResponseKernelRidge(),
        "gene_kernel": GeneKnowledgeRidge(max_iter=5),
        "tanimoto": TanimotoKernelRidge(),
        "token_mlp": ResidualRegressor(AdditiveRegressor("joint"), network, cv=2),
        "pipeline": make_pipeline(
            make_condition_encoder(n_components=2), StandardScaler(), PCA(3), Ridge()
        ),
        "boosting": make_model("boosting", random_state=0).set_params(
            regressor__n_estimators=10
        ),
        "best": BestRegressor(parts=["response", "ridge"], random_state=0),
        "flow": FlowMatchingRegressor(
            hidden_dim=8, max_steps=30, cells_per_condition=32, random_state=0
        ),
        "search": GridSearchCV(TargetEncodedRidge(), {"smooth": [1.0, 10.0]}, cv=2),
    }


def main():
    FOLDER.mkdir()
    screen = make_chemical_screen(3, 8, 4, random_state=0)
    asked = screen.X_test.iloc[:4].astype({"control": bool})
    expected = {"conditions": json.loads(asked.to_json(orient="split"))}
    for name, model in models().items():
        model.fit(screen.X, screen.y)
        path = FOLDER / f"{name}.skpt"
        sklperturb.save(model, path, X=screen.X, y=screen.y)
        expected[name] = np.asarray(model.predict(asked)).tolist()
    text = json.dumps(expected, indent=1)
    (FOLDER / "expected.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
