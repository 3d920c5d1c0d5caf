"""How far conditions are from training."""

import numpy as np
import pandas as pd
import pytest

from sklperturb.conditions import PerturbationSchema
from sklperturb.uncertainty._conformal_distance import KernelDistance


def made(X, schema):
    contexts, codes = np.unique(X["cell_type"], return_inverse=True)
    names = X[schema.perturbation].to_numpy(dtype=object)
    return KernelDistance(schema).fit(X, codes, names), contexts


def asked(distance, contexts, X, schema):
    codes = pd.Index(contexts).get_indexer(X["cell_type"])
    return distance(X, codes, X[schema.perturbation].to_numpy(dtype=object))


def table(*rows, columns=("cell_type", "target_gene")):
    return pd.DataFrame(rows, columns=columns)


SCHEMA = PerturbationSchema("target_gene", "cell_type")


def test_the_less_is_known_the_farther():
    X = table(*[(c, p) for c in "ABC" for p in "pqrst"][:-2])
    known, contexts = made(X, SCHEMA)
    # C was measured with p, q and r, and t and s elsewhere.
    rows = table(("A", "p"), ("C", "s"), ("C", "new"), ("new", "p"), ("new", "new"))
    found = asked(known, contexts, rows, SCHEMA)
    assert found[0] < 0.4 < found[1] < found[2] < found[4] <= 1
    assert found[0] < found[3] < found[4]


def test_more_contexts_are_nearer():
    X = table(("A", "p"), ("B", "p"), ("A", "q"), ("C", "r"))
    known, contexts = made(X, SCHEMA)
    twice, once = asked(known, contexts, table(("C", "p"), ("C", "q")), SCHEMA)
    assert twice < once


def test_parts_of_combinations_count():
    X = table(("A", "p"), ("A", "q"), ("A", "r+s"), ("A", "control"))
    known, contexts = made(X, SCHEMA)
    rows = table(("A", "p+q"), ("A", "q+p"), ("A", "p+x"), ("A", "x+z"))
    found = asked(known, contexts, rows, SCHEMA)
    assert found[0] == found[1] < found[2] < found[3]


def test_held_out_rows_are_as_far_as_if_asked_later():
    X = table(*[(c, p) for c in "ABC" for p in "pqrst"])
    known, _ = made(X, SCHEMA)
    train, test = np.arange(0, 12), np.array([14, 13, 14])
    again, contexts = made(X.iloc[train], SCHEMA)
    np.testing.assert_allclose(
        known.left_out(train, test), asked(again, contexts, X.iloc[test], SCHEMA)
    )


def test_structures():
    pytest.importorskip("rdkit")
    schema = PerturbationSchema("sm_name", "cell_type", smiles="SMILES")
    columns = ["cell_type", "sm_name", "SMILES"]
    X = table(
        ("A", "phenol", "Oc1ccccc1"),
        ("A", "aniline", "Nc1ccccc1"),
        ("A", "unknown", None),
        columns=columns,
    )
    known, contexts = made(X, schema)
    rows = table(
        ("A", "phenol", None),
        ("A", "other name", "c1ccccc1O"),
        ("A", "toluene", "Cc1ccccc1"),
        ("A", "octane", "CCCCCCCC"),
        ("A", "unknown", None),
        columns=columns,
    )
    found = asked(known, contexts, rows, schema)
    np.testing.assert_allclose(found[0], found[1])
    assert found[0] < found[2] < found[3]
    assert found[4] < found[2]
    # A table to predict may repeat the names only.
    without = asked(known, contexts, rows[columns[:2]], schema)
    np.testing.assert_allclose(without[[0, 4]], found[[0, 4]])
    assert without[2] > found[2]
