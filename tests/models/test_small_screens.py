"""What is learnt from a handful of perturbations, where there is nothing to learn."""

import numpy as np
import pandas as pd
import pytest

from sklperturb.metrics import mrrmse
from sklperturb.model_selection import UnseenContextKFold, UnseenPairKFold
from sklperturb.models import make_model

# Those that choose little beside a share of the mean of all rows.
PLAIN = ["additive_joint", "token_mlp", "context_transfer", "product_kernel"]
NAMES = [*PLAIN, "ridge", "response_kernel"]


# Choices on nine rows cost something: no model can be as good as zeros on noise. With
# the whole mean of all rows, each of them is 6 to 10 % worse on pairs.
@pytest.mark.parametrize("cv", [UnseenPairKFold, UnseenContextKFold])
@pytest.mark.parametrize("name", NAMES)
def test_noise_of_three_perturbations_is_hardly_believed(name, cv):
    most = 1.03 if name in PLAIN else 1.05
    rng = np.random.default_rng(0)
    pairs = [(context, compound) for context in "ABCD" for compound in "uvw"]
    X = pd.DataFrame(pairs, columns=["cell_type", "sm_name"])
    errors, zeros = [], []
    for _ in range(1 if name == "token_mlp" else 3):
        y = rng.normal(size=(12, 60))
        for train, test in cv(3, random_state=0).split(X):
            model = make_model(name, random_state=0).fit(X.iloc[train], y[train])
            errors.append(mrrmse(y[test], model.predict(X.iloc[test])))
            zeros.append(mrrmse(y[test], 0 * y[test]))
    assert np.mean(errors) < most * np.mean(zeros)
