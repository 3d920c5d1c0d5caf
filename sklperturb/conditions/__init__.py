"""Read rows of conditions: roles, labels, controls, levels."""

from sklperturb.conditions._frames import take_columns
from sklperturb.conditions._labels import (
    control_rows,
    join_combination,
    split_combination,
)
from sklperturb.conditions._named_predictions import (
    config_context,
    get_config,
    set_config,
)
from sklperturb.conditions._regressor import ConditionRegressor
from sklperturb.conditions._schema import PerturbationSchema
from sklperturb.conditions._validation import resolve_schema, validate_conditions

__all__ = [
    "ConditionRegressor",
    "PerturbationSchema",
    "config_context",
    "control_rows",
    "get_config",
    "join_combination",
    "resolve_schema",
    "set_config",
    "split_combination",
    "take_columns",
    "validate_conditions",
]
