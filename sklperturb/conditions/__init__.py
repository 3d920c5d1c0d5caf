"""Read rows of conditions: roles, labels, controls, levels."""

from sklperturb.conditions._frames import take_columns
from sklperturb.conditions._labels import (
    control_rows,
    join_combination,
    split_combination,
)
from sklperturb.conditions._regressor import ConditionRegressor
from sklperturb.conditions._schema import PerturbationSchema
from sklperturb.conditions._validation import resolve_schema, validate_conditions

__all__ = [
    "ConditionRegressor",
    "PerturbationSchema",
    "control_rows",
    "join_combination",
    "resolve_schema",
    "split_combination",
    "take_columns",
    "validate_conditions",
]
