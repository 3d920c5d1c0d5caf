"""Parameters that list the values to choose from."""

import numpy as np
import pytest

from sklperturb.utils._grid import Grid


@pytest.mark.parametrize("values", [[0.1, 1], (3,), np.array([1, 2]), np.float32([2])])
def test_lists_of_positive_numbers(values):
    assert Grid().is_satisfied_by(values)
    assert Grid(zero=True).is_satisfied_by(values)


@pytest.mark.parametrize("values", [[], (), 1.0, None, "12", ["1"], [-1], [[1]], {}])
def test_anything_else_is_refused(values):
    assert not Grid().is_satisfied_by(values)
    assert not Grid(zero=True).is_satisfied_by(values)


def test_zero_is_allowed_on_request():
    assert not Grid().is_satisfied_by([0, 1])
    assert Grid(zero=True).is_satisfied_by([0, 1])
    assert "non-empty list" in str(Grid())
