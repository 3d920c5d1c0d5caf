"""The rows of one condition."""

import pandas as pd
import pytest

from sklperturb.conditions import PerturbationSchema
from sklperturb.conditions._validation import find_condition, name_conditions

X = pd.DataFrame(
    {
        "cell_type": ["B", "NK", "B", "B"],
        "sm_name": ["u", "u", "v", "v"],
        "dose_uM": [1, 1, 1, 10],
    }
)


@pytest.mark.parametrize(
    ("condition", "rows"),
    [
        ({"perturbation": "u", "context": "B"}, [0]),
        ({"sm_name": "u", "cell_type": "NK"}, [1]),
        ({"sm_name": "v", "dose": 10.0}, [3]),
        ({"sm_name": "v", "dose_uM": "1"}, [2]),
    ],
)
def test_roles_and_columns(condition, rows):
    assert find_condition(X, None, condition).tolist() == rows


def test_a_name_alone_is_that_of_a_perturbation():
    table = X[["sm_name"]].to_numpy()
    assert find_condition(table, PerturbationSchema(0), "v").tolist() == [2, 3]
    with pytest.raises(ValueError, match="conditions, such as 'v in B in 1' and"):
        find_condition(X, None, "v")


def test_names():
    assert name_conditions(X[["sm_name", "cell_type"]], None)[1] == "u in NK"


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ({"context": "b"}, "No row has context='b'; there are .*Did you mean 'B'"),
        ({"plate": "1"}, "neither a column of X nor a role"),
        ({"sm_name": "v", "cell_type": "NK"}, "its parts occur apart"),
    ],
)
def test_what_is_not_there(condition, message):
    with pytest.raises(ValueError, match=message):
        find_condition(X, None, condition)
