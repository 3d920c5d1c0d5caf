"""What a column of mechanisms or targets lists, and how alike such lists are."""

import numpy as np
import pandas as pd
import pytest

from sklperturb.conditions import PerturbationSchema
from sklperturb.conditions._annotations import (
    TermVectors,
    read_mechanisms,
    split_terms,
)


@pytest.mark.parametrize(
    ("value", "terms"),
    [
        ("HDAC inhibitor", ("HDAC inhibitor",)),
        ("JAK1|JAK2; TYK2,  JAK1", ("JAK1", "JAK2", "TYK2")),
        ("jak1|JAK1", ("jak1",)),
        ("1,25-dihydroxyvitamin D", ("1,25-dihydroxyvitamin D",)),
        ("CDK4,CDK6", ("CDK4", "CDK6")),
        ("  two   blanks ", ("two blanks",)),
        ("unknown", ()),
        ("EGFR|Unknown", ("EGFR",)),
        ("; |", ()),
        ("", ()),
        (None, ()),
        (np.nan, ()),
        (pd.NA, ()),
        (3, ("3",)),
        (np.array(["JAK1", "TYK2"]), ("JAK1", "TYK2")),
        (["PI3K, beta", None, "unknown", "CDK4"], ("PI3K, beta", "CDK4")),
        (("CDK4", "cdk4", 6), ("CDK4", "6")),
        ({"b", "a", "c"}, ("a", "b", "c")),
        ([], ()),
        ({"JAK1": 1}, ()),
    ],
)
def test_terms_that_an_annotation_lists(value, terms):
    assert split_terms(value) == terms


def test_rows_without_a_column_have_no_terms():
    X = pd.DataFrame({"drug": ["u", "v", "w"], "moa": ["A|B", None, "b;C"]})
    assert read_mechanisms(PerturbationSchema("drug"), X) == [()] * 3
    schema = PerturbationSchema.infer(X)
    assert schema.mechanism == "moa"
    assert read_mechanisms(schema, X) == [("A", "B"), (), ("b", "C")]
    X["moa"] = [["b", "A"], np.array([], dtype=object), None]
    assert read_mechanisms(schema, X) == [("b", "A"), (), ()]
    with pytest.raises(ValueError, match="mechanism is column 'moa', which X does not"):
        read_mechanisms(schema, X[["drug"]])


def test_rare_terms_count_for_more():
    """By hand: N = 3; A is in 2 sets and weighs log(4/3) + 1, B in 1, C in none."""
    vectors = TermVectors([("A",), ("A", "B"), ("D",)])
    a, b, c = (np.log(4 / (n + 1)) + 1 for n in (2, 1, 0))
    rows = vectors.rows([("a",), ("A", "B"), ("A", "C"), ("C",), ()])
    found = (rows @ vectors.rows([("A",), ("B",)]).T).toarray()
    both, unheard = np.hypot(a, b), np.hypot(a, c)
    expected = [[1, 0], [a / both, b / both], [a / unheard, 0], [0, 0], [0, 0]]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert b > a  # the rare one


@pytest.mark.parametrize(
    ("columns", "mechanism"),
    [
        (["sm_name", "moa"], "moa"),
        (["sm_name", "target"], "target"),
        (["perturbation", "SMILES", "targets"], "targets"),
        (["perturbation", "mechanism_of_action"], "mechanism_of_action"),
        (["sm_name", "moa", "target"], "moa"),
        # In a screen of genes these name what was perturbed.
        (["target_gene", "target"], None),
        (["perturbation", "target"], None),
        (["cell_type", "target"], None),
        (["target", "SMILES"], None),
    ],
)
def test_column_that_is_inferred(columns, mechanism):
    assert PerturbationSchema.infer(pd.DataFrame(columns=columns)).mechanism == (
        mechanism
    )


def test_columns_of_genes_are_no_near_misses(recwarn):
    PerturbationSchema.infer(pd.DataFrame(columns=["target_gene", "Targets"]))
    assert not recwarn
    with pytest.warns(UserWarning, match="'Targets' is not read: as mechanism"):
        PerturbationSchema.infer(pd.DataFrame(columns=["sm_name", "Targets"]))


def test_named_column_is_taken_whatever_it_is():
    X = pd.DataFrame(columns=["target_gene", "target", "sm_name"])
    schema = PerturbationSchema.infer(X, perturbation="sm_name", mechanism="target")
    assert schema.columns("mechanism", "smiles") == ["target"]
    assert schema.columns() == ["sm_name", "target"]
