"""Names that differ in spelling only, and what is said of them."""

import time
import warnings

import numpy as np
import pandas as pd
import pytest

from sklperturb.baseline import AdditiveRegressor
from sklperturb.conditions import PerturbationSchema, resolve_schema
from sklperturb.conditions._doubts import doubtful_controls, doubtful_names, warn
from sklperturb.conditions._near import fold, near_misses, spelling_hint, twins


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("B cell", "b_cell"),
        ("B cell", "B  cells"[:-1]),
        ("T cells CD4+", "t-cells cd4+"),
        ("TP53", "Tp53"),
        ("HLA-A", "hla a"),
        ("BRD4 ", "BRD4"),
        ("A+B", "b + a"),
        ("24h", "24 hours"),
        ("1 day", "24 h"),
        ("50 nM", "0.05 uM"),
        ("1.0", 1),
        (b"x", "x"),
        ("\u00b5g", "\u03bcg"),
    ],
)
def test_spellings_of_one_name(one, other):
    assert fold(one) == fold(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("T cells CD4+", "T cells CD8+"),
        ("1-2", "12"),
        ("24h", "48h"),
        ("-0.5", "0.5"),
        ("(+)-JQ1", "(-)-JQ1"),
        ("TP53", "TP63"),
        ("10 M", "10 m"),
    ],
)
def test_other_names(one, other):
    assert fold(one) != fold(other)


def test_near_misses():
    assert near_misses(["b cells", "NK", "new"], ["B cells", "NK"]) == {
        "b cells": "B cells"
    }
    assert near_misses([1.0, "x"], [1, "y"]) == {}
    assert twins(["B cell", "b cell", "B_cell", "NK"]) == {
        "B_cell": "B cell",
        "b cell": "B cell",
    }
    assert spelling_hint(["k562"], ["K562"]) == " Did you mean 'K562' for 'k562'?"
    assert spelling_hint(["other"], ["K562"]) == ""


def test_many_names_take_no_time():
    names = [f"Gene-{i}" for i in range(20_000)]
    start = time.perf_counter()
    near = near_misses([name.lower() for name in names], names)
    assert len(near) == 20_000
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize(
    ("column", "role", "known"),
    [
        ("Cell Type", "context", "cell_type"),
        ("cell_Type", "context", "cell_type"),
        ("cell_type ", "context", "cell_type"),
        ("cell-lines", "context", "cell_line"),
        ("Smiles", "smiles", "SMILES"),
        ("Dose (\u00b5M)", "dose", "dose_uM"),
        ("Batch", "batch", "batch"),
    ],
)
def test_columns_that_are_nearly_known(column, role, known):
    X = pd.DataFrame({"sm_name": ["u"], column: ["B"]})
    match = f"as {role}, the name {known!r} is known"
    with pytest.warns(UserWarning, match=match) as caught:
        assert getattr(PerturbationSchema.infer(X), role) is None
    assert caught[0].filename == __file__
    named = PerturbationSchema("sm_name", **{role: column})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        resolve_schema(named, X)


def test_a_nearly_known_perturbation_is_in_the_error():
    for name in ("Target_Genes", "SM name", "Perturbation"):
        with pytest.raises(ValueError, match=f"It may be '{name}'"):
            PerturbationSchema.infer(pd.DataFrame({name: ["A"]}))
    X = pd.DataFrame({"sm_name": ["A"], "Cell_Type": ["B"]})
    with pytest.raises(ValueError, match="Did you mean 'Cell_Type' for 'cell_type'"):
        PerturbationSchema("sm_name", "cell_type").require(X, "context")


def test_a_level_that_is_nearly_known_is_named_in_predict():
    X = pd.DataFrame({"cell_type": list("ABAB"), "sm_name": list("uuvv")})
    model = AdditiveRegressor().fit(X, np.eye(4))
    with pytest.warns(UserWarning, match="1 names .* Did you mean 'A' for 'a'"):
        model.predict(pd.DataFrame({"cell_type": ["a", "C"], "sm_name": ["u", "w"]}))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.predict(pd.DataFrame({"cell_type": ["C"], "sm_name": ["w"]}))


def test_labels_are_compared_as_text_of_any_type():
    X = pd.DataFrame({"cell_type": [1, 2, 1, 2], "sm_name": list("uuvv")})
    expected = AdditiveRegressor().fit(X, np.eye(4)).predict(X)
    for kind in (float, str, np.int8, "category"):
        model = AdditiveRegressor().fit(X, np.eye(4))
        np.testing.assert_array_equal(
            model.predict(X.astype({"cell_type": kind})), expected
        )
    model.predict(X.assign(cell_type=[b"1", "2", 1, 2.0]))
    assert len(model.contexts_) == 2


LIKE = [
    *("NTC", "safe-targeting", "NT-1", "NegCtrl0", "non-targeting_1", "sgNT-12"),
    *("Non-Targeting ", "AAVS1", "DMSO", "negative control 3", "no-target"),
]


@pytest.mark.parametrize("label", LIKE)
def test_labels_that_read_like_controls(label):
    labels = np.array(["non-targeting", label, "A"], dtype=object)
    schema = PerturbationSchema("target_gene", control_labels="non-targeting")
    [message] = doubtful_controls(labels, labels == "non-targeting", schema)
    assert f"holds {label!r} in 1 rows" in message
    assert f"control_labels=['non-targeting', {label!r}]" in message


@pytest.mark.parametrize("label", ["NTN1", "NT5E", "NTF3", "CTRB1", "SCRIB", "TP53"])
def test_genes_do_not_read_like_controls(label):
    labels = np.array(["non-targeting", label], dtype=object)
    is_control = np.array([True, False])
    assert doubtful_controls(labels, is_control, PerturbationSchema("gene")) == []


def test_names_in_doubt():
    X = pd.DataFrame(
        {
            "gene": ["A", "nan", "unknown", "None", "control"],
            "cell_type": ["B cell", "b cell", "unknown", None, "B cell"],
        }
    )
    schema = PerturbationSchema("gene", "cell_type")
    first, second = doubtful_names(X, schema, (X["gene"] == "control").to_numpy())
    assert "'gene' holds 'None', 'nan', 'unknown' as text" in first
    assert "'cell_type' holds names that differ" in second
    assert "'B cell' and 'b cell'" in second


def test_warnings_point_at_the_caller():
    with pytest.warns(UserWarning, match="x") as caught:
        warn("x")
    assert caught[0].filename == __file__
