"""A transformer over feature tokens: the mission's first system, without its leaks."""

from numbers import Integral, Real

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from sklperturb.modules import ConditionTransformer
from sklperturb.neural_network._base import BaseNetRegressor


class TransformerRegressor(BaseNetRegressor):
    pass
