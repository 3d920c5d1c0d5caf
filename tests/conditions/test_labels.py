import numpy as np
import pandas as pd
import pytest

from sklperturb.conditions import (
    PerturbationSchema,
    control_rows,
    join_combination,
    resolve_schema,
    split_combination,
)
from sklperturb.conditions._labels import as_flags, as_text, is_control_label


@pytest.mark.parametrize(
    "label", ["control", "ctrl", "Non-targeting", "non_targeting", "NTC", "DMSO_TF"]
)
def test_known_controls(label):
    assert is_control_label(label)
    assert not is_control_label(label, ("mock",))


def test_combination_parts():
    assert split_combination("B+A+ctrl+B") == ("A", "B")
    assert split_combination("ctrl+ctrl") == ()
    assert join_combination(split_combination("NT5E")) == "NT5E"
    labels = np.array([["A", "ctrl"], ["A", "MYC"]], dtype=object)
    found = control_rows(labels, PerturbationSchema(perturbation=1, context=0))
    assert found.tolist() == [True, False]
    schema = PerturbationSchema("gene", control="control")
    spelled = pd.DataFrame({"gene": ["A", "B"], "control": ["True", "False"]})
    assert control_rows(spelled, schema).tolist() == [True, False]
    with pytest.raises(ValueError, match="control is column 'control'"):
        control_rows(spelled[["gene"]], schema)


def test_explicit_labels_are_the_only_ones():
    X = pd.DataFrame({"gene": ["NT+1", "ctrl", "A", " NT+1"]})
    schema = PerturbationSchema("gene", control_labels="NT+1")
    assert control_rows(X, schema).tolist() == [True, False, False, True]


def test_a_combination_of_controls_is_a_control():
    X = pd.DataFrame({"gene": ["ctrl+ctrl", "ctrl+A", "", None, b"NTC"]})
    found = control_rows(X, PerturbationSchema("gene"))
    assert found.tolist() == [True, False, False, False, True]


def test_flags():
    values = [True, 0, "1", " False", None, np.nan, b"true", 1.0]
    assert as_flags(values, "x").tolist() == [1, 0, 1, 0, 0, 0, 1, 1]
    with pytest.raises(ValueError, match="x marks controls and holds 2; allowed are"):
        as_flags([1, 2], "x")


def test_a_label_of_the_user_enters_the_schema():
    X = pd.DataFrame({"gene": ["A", "B"], "control": [True, False]})
    assert resolve_schema(None, X).control == "control"
    assert control_rows(X, resolve_schema(None, X, "B")).tolist() == [False, True]
    named = PerturbationSchema("gene", control="control")
    assert control_rows(X, resolve_schema(named, X, "A")).tolist() == [True, False]
    with pytest.raises(ValueError, match=r"'control', which .* disagree .* in 2 of"):
        resolve_schema(named, X, "B")
    with pytest.raises(TypeError, match="must be a PerturbationSchema or None"):
        resolve_schema("gene", X)


WHOLE = [
    *("L-(+)-Rhamnose", "S(+)-Ibuprofen", "(+)-JQ1", "atenolol-(+|-)", "DL-(+/-)-X"),
    *("(+)-3-(1-propyl-piperidin-3-yl)-phenol", "CD4+", "Na+", "vitamin C+", "+-JQ1"),
    *("A)+(B", "[18F+]X", "+", "", "A++B"),
]


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("column", ["target_gene", "condition", "drug"])
def test_plus_signs_inside_names(name, column):
    schema = PerturbationSchema(column)
    assert schema.split(name) == (name,)
    assert schema.spell(name) == name
    assert not schema.names_control(name)


@pytest.mark.parametrize(
    ("schema", "combines"),
    [
        (PerturbationSchema("target_gene"), True),
        (PerturbationSchema("condition"), True),
        (PerturbationSchema(1), True),
        (PerturbationSchema("sm_name"), False),
        (PerturbationSchema("drug"), False),
        (PerturbationSchema("compound"), False),
        (PerturbationSchema("perturbation", smiles="SMILES"), False),
        (PerturbationSchema("sm_name", combines=True), True),
        (PerturbationSchema("target_gene", combines=False), False),
    ],
)
def test_where_labels_combine(schema, combines):
    expected = ("A", "HCl") if combines else ("A + HCl",)
    assert schema.split("A + HCl") == expected
    assert schema.split("DMSO") == ()
    assert schema.names_control("ctrl+ctrl") is combines
    assert "combines" not in schema.columns()
    assert schema.spell("(+)-JQ1") == "(+)-JQ1"


def test_a_name_with_plus_signs_can_be_combined():
    assert split_combination("Trametinib+(+)-JQ1") == ("(+)-JQ1", "Trametinib")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1, "1"),
        (1.0, "1"),
        (np.float32(3), "3"),
        (np.int8(1), "1"),
        (0.5, "0.5"),
        ("1.0", "1.0"),
        (True, "True"),
        (b"A", "A"),
        (b"\xff", "\xff"),
        (np.nan, "nan"),
    ],
)
def test_labels_as_text(value, text):
    assert as_text(value) == text
