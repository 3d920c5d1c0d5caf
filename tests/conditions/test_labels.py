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
from sklperturb.conditions._labels import as_flags, is_control_label


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
