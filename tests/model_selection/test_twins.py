"""One structure under several names is on one side of a split."""

import sys
import warnings

import numpy as np
import pandas as pd
import pytest

from sklperturb.conditions import PerturbationSchema
from sklperturb.datasets import make_chemical_screen
from sklperturb.model_selection import (
    UnseenPerturbationKFold,
    UnseenScaffoldKFold,
    suggest_cv,
)

SMILES = {
    "ethanol": "CCO",
    "alcohol": "OCC",  # a twin of ethanol, spelled in another way
    "spirit": "CCO",  # and in the same
    "R-lactate": "C[C@@H](O)C(=O)O",
    "S-lactate": "C[C@H](O)C(=O)O",
    "sodium lactate": "CC(O)C(=O)[O-].[Na+]",
    "toluene": "Cc1ccccc1",
    "pyridine": "c1ccncc1",
}
TWINS = {"ethanol", "alcohol", "spirit"}
LACTATES = {"R-lactate", "S-lactate", "sodium lactate"}


def make_table(smiles=SMILES):
    rows = [(context, *row) for context in "AB" for row in smiles.items()]
    return pd.DataFrame(rows, columns=["cell_type", "sm_name", "SMILES"])


def groups(X, cls=UnseenPerturbationKFold, n_splits=None, **params):
    """Return the groups that are dealt: what a fold for each of them holds out."""
    if n_splits is None:
        with pytest.raises(ValueError, match="n_splits=99") as error:
            next(cls(99, **params).split(X))
        n_splits = int(str(error.value).partition(" in X: ")[2].partition(".")[0])
    cv = cls(n_splits, random_state=0, **params)
    return {frozenset(X["sm_name"].iloc[test]) for _, test in cv.split(X)}


def singles(names):
    return {frozenset([name]) for name in names}


@pytest.mark.parametrize("seed", range(5))
def test_twins_are_never_on_both_sides(seed):
    X = make_table()
    for train, test in UnseenPerturbationKFold(3, random_state=seed).split(X):
        sides = [set(X["sm_name"].iloc[rows]) & TWINS for rows in (train, test)]
        assert not all(sides)


def test_what_each_option_joins():
    X = make_table()
    others = set(SMILES) - TWINS
    assert groups(X) == {frozenset(TWINS)} | singles(others)
    assert groups(X, by_structure=False) == singles(SMILES)
    expected = {frozenset(TWINS), frozenset(LACTATES)} | singles(others - LACTATES)
    assert groups(X, by_structure="parent") == expected


def test_without_rdkit_equal_texts_are_joined(monkeypatch):
    monkeypatch.setitem(sys.modules, "rdkit", None)
    X = make_table()
    alike = {"ethanol", "spirit"}
    assert groups(X) == {frozenset(alike)} | singles(set(SMILES) - alike)
    with pytest.raises(ImportError, match=r'pip install "sklperturb\[chem\]"'):
        next(UnseenPerturbationKFold(2, by_structure="parent").split(X))


def test_a_name_with_two_structures_joins_their_names():
    names = ["mixture", "mixture", "ethanol", "toluene", "pyridine", "none"]
    smiles = ["CCO", "Cc1ccccc1", "CCO", "Cc1ccccc1", "c1ccncc1", None]
    X = pd.DataFrame({"sm_name": names, "SMILES": smiles})
    joined = {"mixture", "ethanol", "toluene"}
    assert groups(X) == {frozenset(joined)} | singles(["pyridine", "none"])


def test_unreadable_and_missing_structures_join_nothing():
    smiles = {"a": "-666", "b": "-666", "c": None, "d": "", "e": "CCO", "f": "OCC"}
    with pytest.warns(UserWarning, match=r"cannot read 1 SMILES \('-666'\)"):
        found = groups(make_table(smiles), n_splits=5)
    assert found == singles("abcd") | {frozenset("ef")}


def test_controls_that_stay_in_training_join_nothing():
    X = make_table({"DMSO": "CS(C)=O", "dimethyl sulfoxide": "CS(C)=O", **SMILES})
    X["control"] = X["sm_name"] == "DMSO"
    assert frozenset(["DMSO", "dimethyl sulfoxide"]) in groups(X)
    assert frozenset(["dimethyl sulfoxide"]) in groups(X, keep_controls=True)


def test_unique_structures_leave_the_folds_as_they_are():
    screen = make_chemical_screen(4, 20, 10, random_state=0)
    assert screen.X["SMILES"].nunique() == screen.X["sm_name"].nunique()
    for other in (False, "parent"):
        folds = [
            [
                test.tolist()
                for _, test in UnseenPerturbationKFold(
                    4, by_structure=how, random_state=3
                ).split(screen.X)
            ]
            for how in ("auto", other)
        ]
        assert folds[0] == folds[1]


def test_folds_come_through_the_schema():
    X = make_table().rename(columns={"SMILES": "structure"})
    schema = PerturbationSchema("sm_name", "cell_type", smiles="structure")
    to_predict = pd.DataFrame({"cell_type": ["A"], "sm_name": ["new"]})
    cv = suggest_cv(X, to_predict, n_splits=20, schema=schema)
    assert isinstance(cv, UnseenPerturbationKFold)
    held = {frozenset(X["sm_name"].iloc[test]) for _, test in cv.split(X)}
    assert frozenset(TWINS) in held
    assert cv.n_splits == len(held) == len(SMILES) - 2
    # A schema that names no structures, or a table without them: folds by name.
    assert suggest_cv(X, to_predict, n_splits=20).n_splits == len(SMILES)
    X = X.drop(columns="structure")
    assert len(groups(X, schema=schema)) == len(SMILES)
    with pytest.raises(ValueError, match="smiles is column 'structure'"):
        next(UnseenPerturbationKFold(2, schema=schema, by_structure="parent").split(X))


def test_array_by_position():
    X = make_table()
    schema = PerturbationSchema(1, 0, smiles=2)
    cv = UnseenPerturbationKFold(3, schema=schema, random_state=0)
    for by_name, by_position in zip(
        UnseenPerturbationKFold(3, random_state=0).split(X),
        cv.split(X.to_numpy()),
        strict=True,
    ):
        np.testing.assert_array_equal(by_name[1], by_position[1])


def test_scaffolds_hold_out_acyclic_twins_and_salts_together():
    drug = "CN(C)CCCCCCCCCCO"
    salts = {
        "base": drug,
        "besylate": drug + ".O=S(=O)(O)c1ccccc1",
        "HCl": drug + ".Cl",
    }
    X = make_table(SMILES | salts)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = groups(X, UnseenScaffoldKFold, n_splits=4)
    # The ring of a counter-ion is a scaffold, which toluene has too.
    salts = frozenset(["toluene", *salts])
    pyridine = frozenset(["pyridine"])
    assert found == {frozenset(TWINS), frozenset(LACTATES), salts, pyridine}


def test_unknown_option():
    cv = UnseenPerturbationKFold(2, by_structure="scaffold")
    with pytest.raises(ValueError, match="by_structure='scaffold'; allowed are 'auto'"):
        next(cv.split(make_table()))
