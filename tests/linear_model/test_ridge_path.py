"""One decomposition a fold gives the ridge that scikit-learn's search gives."""

import numpy as np
import pytest
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklperturb.linear_model._ridge_path import ALPHAS, ScaledRidge


def made_up(seed):
    """Rows of which a feature and a target are constant, more or fewer than features.

    The noise differs, so that all penalties are chosen by one seed or another.
    """
    rng = np.random.default_rng(seed)
    n_rows, n_features, n_targets = rng.integers((20, 1, 1), (90, 60, 20))
    Z = rng.normal(size=(n_rows, n_features)) * rng.exponential(size=n_features)
    targets = Z @ rng.normal(size=(n_features, n_targets))
    targets += rng.choice([0.1, 3, 30]) * rng.normal(size=targets.shape)
    if seed % 3 == 0:
        Z[:, 0] = 1.0
    if seed % 4 == 0:
        targets[:, 0] = 2.0
    folds = GroupKFold(5).split(Z, groups=np.arange(n_rows) // 2)
    return Z, targets, list(folds), rng.normal(size=(7, n_features))


@pytest.mark.parametrize("grouped", [False, True])
def test_as_scikit_learn(grouped):
    chosen = set()
    for seed in range(24):
        Z, targets, folds, new = made_up(seed)
        folds = folds if grouped else None
        found = ScaledRidge.fit(Z, targets, folds)
        expected = make_pipeline(StandardScaler(), RidgeCV(ALPHAS, cv=folds))
        expected.fit(Z, targets)
        assert found.alpha == expected[-1].alpha_
        predicted = expected.predict(new).reshape(len(new), -1)
        scale = np.abs(predicted).max()
        np.testing.assert_allclose(found.predict(new), predicted, atol=1e-9 * scale)
        chosen.add(found.alpha)
    assert len(chosen) > 5


def test_folds_of_one_row_do_not_count():
    Z, targets, folds, _ = made_up(1)
    with_one = [*folds, (np.arange(1, len(Z)), np.array([0]))]
    assert (
        ScaledRidge.fit(Z, targets, with_one).alpha
        == ScaledRidge.fit(Z, targets, folds).alpha
    )
