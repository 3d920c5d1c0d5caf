"""The intervals of a comparison's summary."""

import numpy as np
import pytest

from sklperturb.comparison._summary import interval_of_difference
from sklperturb.utils._bootstrap import ClusterBootstrap


@pytest.mark.parametrize(
    ("unit", "wider"),
    [
        ("perturbation", 1.15),
        ("scaffold", 1.15),
        ("perturbation and context", 1.15),
        ("context", 1.0),
    ],
)
def test_differences_of_perturbations_have_wider_intervals(unit, wider):
    paired = np.exp(np.random.default_rng(0).standard_normal(40))
    bootstrap = ClusterBootstrap(np.arange(40), 200, 0.95, np.random.RandomState(0))
    plain = np.array(bootstrap.interval(paired)) - paired.mean()
    found = np.array(interval_of_difference(paired, bootstrap, unit)) - paired.mean()
    assert found == pytest.approx(wider * plain)
    assert found[0] < 0 < found[1]


def test_of_too_few_units_there_is_no_interval_of_a_difference():
    bootstrap = ClusterBootstrap(["a", "b"], 20, 0.95, np.random.RandomState(0))
    found = interval_of_difference(np.array([1.0, 2.0]), bootstrap, "perturbation")
    assert np.isnan(found).all()
