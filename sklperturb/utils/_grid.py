"""A constraint on parameters that list the values to choose from."""

from numbers import Real

import numpy as np
from sklearn.utils._param_validation import Interval


class Grid(Interval):
    """Allow a non-empty list of positive numbers, or with `zero` of 0 too.

    With `largest` they are that at most, and `zero` is taken for granted.
    """

    def __init__(self, *, zero=False, largest=None):
        closed = "both" if largest is not None else "left" if zero else "neither"
        super().__init__(Real, 0, largest, closed=closed)

    def is_satisfied_by(self, val):
        if not np.iterable(val):
            return False
        return len(val) > 0 and all(map(super().is_satisfied_by, val))

    def __str__(self):
        return f"a non-empty list, each {super().__str__()}"
