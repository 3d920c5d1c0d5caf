import numpy as np
import pandas as pd
import pytest
from sklearn.utils import Bunch


@pytest.fixture
def predicted():
    """Rows of unsorted names that are hard to draw, with measured and predicted y."""
    rng = np.random.default_rng(0)
    contexts = [
        "CD4+ T cells",
        "B $cells_{x}",
        "a context with a very long name indeed",
    ]
    compounds = [f"4-[(E)-{i}-phenylethenyl]-N-methylpyridin" for i in range(8)]
    X = pd.DataFrame(
        [(c, p) for c in contexts for p in compounds], columns=["cell_type", "sm_name"]
    )
    X = X.sample(frac=1, random_state=0).iloc[:20].reset_index(drop=True)
    y = rng.normal(size=(len(X), 12)) * rng.uniform(0.5, 4, len(X))[:, None]
    y_true = pd.DataFrame(y, columns=[f"G{i}" for i in range(12)])
    y_pred = y_true * 0.5 + rng.normal(size=y.shape) * 0.2
    return Bunch(X=X, y_true=y_true, y_pred=y_pred.to_numpy())
