"""What can be learnt from a handful of perturbations."""

import numpy as np
import pytest

from sklperturb.datasets import make_chemical_screen
from sklperturb.metrics import mrrmse
from sklperturb.model_selection import UnseenContextKFold, UnseenPairKFold
from sklperturb.models import make_model


@pytest.fixture(scope="module")
def small_screens():
    screen = make_chemical_screen(4, 40, 60, random_state=0)
    measured = screen.X.groupby("sm_name")["cell_type"].nunique()
    names = measured.index[measured >= 3]
    rng = np.random.default_rng(0)
    screens = []
    for _ in range(2):
        few = screen.X["sm_name"].isin(rng.choice(names, 3, replace=False)).to_numpy()
        screens.append((screen.X[few], screen.y.to_numpy()[few]))
    return screens


@pytest.mark.parametrize("cv", [UnseenPairKFold, UnseenContextKFold])
@pytest.mark.parametrize(
    "name", ["additive_joint", "ridge", "context_transfer", "product_kernel"]
)
def test_three_perturbations_are_predicted_no_worse_than_by_zeros(
    name, cv, small_screens
):
    errors, zeros = [], []
    for X, y in small_screens:
        for train, test in cv(2, random_state=0).split(X):
            model = make_model(name).fit(X.iloc[train], y[train])
            errors.append(mrrmse(y[test], model.predict(X.iloc[test])))
            zeros.append(mrrmse(y[test], 0 * y[test]))
    assert np.mean(errors) < 1.05 * np.mean(zeros)
