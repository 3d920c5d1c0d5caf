"""The intervals of a comparison's summary."""

import numpy as np
import pandas as pd
import pytest

from sklperturb.baseline import GroupStatisticRegressor
from sklperturb.comparison import compare
from sklperturb.inspection import audit
from sklperturb.model_selection import UnseenPerturbationKFold
from sklperturb.utils._bootstrap import ClusterBootstrap

ENDS = {"interval_of_difference": (-7.0, 9.0), "interval": (1.0, 2.0)}


@pytest.fixture
def told(monkeypatch):
    """Have intervals say which kind they are."""
    for name, ends in ENDS.items():
        monkeypatch.setattr(ClusterBootstrap, name, lambda *given, ends=ends: ends)


@pytest.fixture
def screen():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"sm_name": np.repeat([f"p{i}" for i in range(24)], 2)})
    effect = np.repeat(rng.standard_normal((24, 5)), 2, axis=0)
    return X, 1 + effect + 0.3 * rng.standard_normal((48, 5))


@pytest.mark.usefixtures("told")
def test_differences_and_shares_have_the_intervals_of_differences(screen):
    cv = UnseenPerturbationKFold(3, random_state=0)
    models = {"mine": GroupStatisticRegressor()}
    found = compare(models, *screen, cv=cv, baselines=["no_change"]).summary
    mine = found.set_index("model").loc["mine"]
    assert tuple(mine[["ci_low", "ci_high"]]) == ENDS["interval"]
    for name in ("difference", "share"):
        ends = mine[[f"{name}_low", f"{name}_high"]]
        assert tuple(ends) == ENDS["interval_of_difference"]


@pytest.mark.usefixtures("told")
def test_gains_by_leaks_have_the_intervals_of_differences(screen):
    X, y = screen
    rows = np.random.default_rng(0).permutation(48)
    folds = [(np.setdiff1d(rows, part), part) for part in np.array_split(rows, 3)]
    model = GroupStatisticRegressor(by="perturbation")
    found = audit(model, X, y, folds, claims=["perturbation"])
    gains = [f.inflation for f in found.findings]
    assert gains
    for gain in gains:
        assert (gain.low, gain.high) == ENDS["interval_of_difference"]
