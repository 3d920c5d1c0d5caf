"""A constraint on parameters that list the values to choose from."""

from numbers import Real

import numpy as np
from sklearn.utils._param_validation import Interval


class Grid(Interval):
    """Allow a non-empty list of positive numbers, or with `zero` of 0 too."""

    def __init__(self, *, zero=False):
        super().__init__(Real, 0, None, closed="left" if zero else "neither")

    def is_satisfied_by(self, val):
        if not np.iterable(val):
            return False
        return len(val) > 0 and all(map(super().is_satisfied_by, val))

    def __str__(self):
        return f"a non-empty list, each {super().__str__()}"
