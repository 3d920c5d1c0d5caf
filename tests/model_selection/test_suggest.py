"""Folds that resemble the rows to predict."""

import numpy as np
import pandas as pd
import pytest

from sklperturb.datasets import PerturbationSchema
from sklperturb.model_selection import (
    UnseenContextKFold,
    UnseenPairKFold,
    UnseenPerturbationKFold,
    suggest_cv,
)


def _table(pairs):
    return pd.DataFrame(pairs, columns=["cell_type", "sm_name"])


X = _table([(c, p) for c in "ABC" for p in "uvwx"] + [("T", p) for p in "uvw"])


def test_known_compounds_in_few_contexts():
    cv = suggest_cv(X, _table([("T", "x")]), n_splits=5)
    assert isinstance(cv, UnseenPairKFold)
    assert cv.contexts == ["T"]
    assert cv.n_splits == 3  # the target context shares three compounds
    assert len(list(cv.split(X))) == 3


def test_unseen_compounds():
    cv = suggest_cv(X, _table([("T", "y"), ("T", "z"), ("A", "u")]), n_splits=9)
    assert isinstance(cv, UnseenPerturbationKFold)
    assert cv.n_splits == 4


def test_unseen_contexts():
    cv = suggest_cv(X, _table([("D", "u"), ("D", "v")]))
    assert isinstance(cv, UnseenContextKFold)


def test_all_contexts_to_predict():
    cv = suggest_cv(X, _table([(c, "u") for c in "ABCT"]))
    assert isinstance(cv, UnseenPairKFold)
    assert cv.contexts is None


def test_no_context_column():
    schema = PerturbationSchema(perturbation="sm_name")
    cv = suggest_cv(X, _table([("T", "x")]), schema=schema)
    assert isinstance(cv, UnseenPerturbationKFold)
    assert cv.schema == schema


def test_nothing_to_predict():
    X = _table([(c, p) for c in "AB" for p in "xyz"])
    none = X.iloc[:0]
    cv = suggest_cv(X, none, n_splits=2)
    assert isinstance(cv, UnseenPairKFold) and cv.contexts is None
    once = _table([("A", "x"), ("A", "y"), ("B", "z"), ("B", "u")])
    cv = suggest_cv(once, once.iloc[:0], n_splits=9)
    assert isinstance(cv, UnseenPerturbationKFold) and cv.n_splits == 4
    # Pairs that can be held out are those of x and y.
    few = _table([("A", "x"), ("B", "x"), ("A", "y"), ("B", "y"), ("B", "z")])
    cv = suggest_cv(few, few.iloc[:0], n_splits=9)
    assert isinstance(cv, UnseenPairKFold) and cv.n_splits == 4
    assert len(list(cv.split(few))) == 4


@pytest.mark.parametrize(
    ("known", "asked"),
    [
        ([("A", p) for p in "pqr"], [("B", p) for p in "pqr"]),
        ([("A", p) for p in "pqr"], [("A", p) for p in "pqr"]),
        (
            [*zip("AAABBB", "pqrstu", strict=True)],
            [*zip("BBBAAA", "pqrstu", strict=True)],
        ),
    ],
)
def test_what_cannot_be_held_out_gives_way_to_perturbations(known, asked):
    cv = suggest_cv(_table(known), _table(asked), n_splits=3)
    assert isinstance(cv, UnseenPerturbationKFold) and cv.n_splits == 3
    assert len(list(cv.split(_table(known)))) == 3


def test_a_single_perturbation_says_that_more_are_needed():
    single = _table([("A", "p"), ("A", "p")])
    cv = suggest_cv(single, _table([("B", "p")]))
    with pytest.raises(ValueError, match=r"perturbations in X: 1\. At least 2"):
        next(cv.split(single))


def test_columns_are_needed_in_both_tables():
    asked = _table([("T", "x")])
    with pytest.raises(ValueError, match="context is column 'cell_type'"):
        suggest_cv(X, asked[["sm_name"]])
    with pytest.raises(ValueError, match="perturbation is column 'sm_name'"):
        suggest_cv(X, asked[["cell_type"]])


@pytest.mark.parametrize("type_", [int, float, str])
def test_names_are_compared_as_text(type_):
    """Files give codes of wells and compounds as numbers or as text."""
    codes = {"A": 1, "B": 2, "C": 3, "T": 4, "u": 5, "v": 6, "w": 7, "x": 8}
    coded = X.apply(lambda column: column.map(codes))
    asked = _table([("T", "x")]).apply(lambda column: column.map(codes)).astype(type_)
    cv = suggest_cv(coded, asked)
    assert isinstance(cv, UnseenPairKFold)
    assert cv.contexts == ["4"] and cv.n_splits == 3
    held_out = [coded.iloc[test]["cell_type"].unique() for _, test in cv.split(coded)]
    assert np.unique(held_out).tolist() == [4]


def test_contexts_of_several_types():
    mixed = X.assign(cell_type=X["cell_type"].replace({"A": 1}).astype(object))
    cv = suggest_cv(mixed, _table([(1, "x"), ("T", "x")]))
    assert isinstance(cv, UnseenPairKFold)
    assert cv.contexts == ["1", "T"]
    assert len(list(cv.split(mixed))) == cv.n_splits
