import numpy as np
import pandas as pd
import pytest

from sklperturb.datasets import PerturbationSchema


@pytest.mark.parametrize(
    ("columns", "perturbation", "context"),
    [
        (["cell_type", "sm_name", "SMILES"], "sm_name", "cell_type"),
        (["target_gene", "batch"], "target_gene", None),
        (["cell_line", "drug", "dose_uM"], "drug", "cell_line"),
        (["gene", "condition"], "condition", None),  # the more specific one
    ],
)
def test_infer_knows_public_spellings(columns, perturbation, context):
    schema = PerturbationSchema.infer(pd.DataFrame(columns=columns))
    assert schema.perturbation == perturbation
    assert schema.context == context


def test_infer_takes_columns_of_an_array_by_position():
    assert PerturbationSchema.infer(np.zeros((3, 1))) == PerturbationSchema(0)
    assert PerturbationSchema.infer(np.zeros((3, 2))) == PerturbationSchema(1, 0)


def test_infer_says_what_is_known():
    with pytest.raises(ValueError, match=r"No column of \['a'\] .*'sm_name'"):
        PerturbationSchema.infer(pd.DataFrame(columns=["a"]))


def test_columns_leaves_out_absent_roles():
    schema = PerturbationSchema("p", smiles="s")
    assert schema.columns() == ["p", "s"]
    assert schema.columns("smiles", "context", "perturbation") == ["s", "p"]


def test_require_names_the_role_or_the_column():
    X = pd.DataFrame(columns=["p"])
    schema = PerturbationSchema("p", smiles="s")
    schema.require(X, "perturbation")
    with pytest.raises(ValueError, match="names no dose column"):
        schema.require(X, "dose")
    with pytest.raises(ValueError, match="smiles is column 's', which X does not have"):
        schema.require(X, "smiles")


def test_known_roles_are_not_looked_for():
    X = pd.DataFrame({"sm_name": ["a"], "cell_type": ["B"], "line": ["x"]})
    assert PerturbationSchema.infer(X, context="line").context == "line"
    schema = PerturbationSchema.infer(X, perturbation="cell_type")
    assert (schema.perturbation, schema.context) == ("cell_type", None)


def test_one_column_cannot_be_perturbation_and_context():
    with pytest.raises(ValueError, match="'drug' cannot be both"):
        PerturbationSchema("drug", context="drug")
