"""The nearest compounds, against a loop over rows."""

import numpy as np
import pandas as pd
import pytest

from sklperturb.baseline import NearestCompoundRegressor

pytest.importorskip("rdkit", reason="structures need rdkit")
from rdkit import Chem, DataStructs
from rdkit.Chem import rdFingerprintGenerator


def rdkit_similarity(one, other):
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=2048)
    a, b = (
        generator.GetCountFingerprint(Chem.MolFromSmiles(text)) for text in (one, other)
    )
    return DataStructs.TanimotoSimilarity(a, b)


def naive_prediction(X, y, row, n_neighbors, power, shrinkage):
    neighbours = []
    for name, rows in X.groupby("sm_name"):
        similarity = rdkit_similarity(row["SMILES"], rows["SMILES"].iloc[0])
        here = rows[rows["cell_type"] == row["cell_type"]]
        response = y.loc[(here if len(here) else rows).index].mean(axis=0)
        neighbours.append((-similarity, name, response))
    neighbours = sorted(neighbours, key=lambda n: n[:2])[:n_neighbors]
    weights = [(-s) ** power for s, _, _ in neighbours] + [shrinkage]
    mean = y[X["cell_type"] == row["cell_type"]].mean(axis=0)
    return np.average([r for *_, r in neighbours] + [mean], axis=0, weights=weights)


@pytest.mark.parametrize(
    ("k", "power", "shrinkage"), [(1, 1, 0), (5, 3, 1), (99, 2, 1)]
)
def test_against_a_loop(screen, k, power, shrinkage):
    model = NearestCompoundRegressor(k, power=power, shrinkage=shrinkage)
    y_pred = model.fit(screen.X, screen.y).predict(screen.X_test)
    expected = [
        naive_prediction(screen.X, screen.y, row, k, power, shrinkage)
        for _, row in screen.X_test.iterrows()
    ]
    np.testing.assert_allclose(y_pred, expected, rtol=1e-10)


def table(*rows):
    return pd.DataFrame(rows, columns=["cell_type", "sm_name", "SMILES"])


TRAIN = table(
    ("A", "ethanol", "CCO"),
    ("B", "ethanol", "CCO"),
    ("A", "phenol", "Oc1ccccc1"),
    ("B", "antibody", None),
)
Y = [1.0, 2.0, 10.0, 50.0]


def predict(*rows, **params):
    params = {"n_neighbors": 1, "shrinkage": 0} | params
    return NearestCompoundRegressor(**params).fit(TRAIN, Y).predict(table(*rows))


def test_a_neighbour_speaks_for_the_context():
    assert predict(("A", "propanol", "CCCO"))[0] == 1
    assert predict(("B", "propanol", "CCCO"))[0] == 2
    assert predict(("a new one", "propanol", "CCCO"))[0] == 1.5
    # Phenol was not measured in B, and is its own neighbour there.
    assert predict(("B", "phenol", "Oc1ccccc1"))[0] == 10


def test_without_a_structure_the_mean_of_the_context():
    assert predict(("A", "antibody", None))[0] == 5.5
    assert predict(("B", "unheard of", None))[0] == 26
    assert predict(("C", "unheard of", None))[0] == 63 / 4
    # Nothing in common with any compound.
    assert predict(("A", "sodium", "[Na+]"))[0] == 5.5


def test_a_known_name_brings_its_structure():
    assert predict(("B", "phenol", None))[0] == 10


def test_without_any_structure():
    X = TRAIN.assign(SMILES=None)
    y_pred = NearestCompoundRegressor().fit(X, Y).predict(X)
    np.testing.assert_allclose(y_pred, [5.5, 26, 5.5, 26])
    y_pred = (
        NearestCompoundRegressor()
        .fit(X.drop(columns="SMILES"), Y)
        .predict(X.drop(columns="SMILES"))
    )
    np.testing.assert_allclose(y_pred, [5.5, 26, 5.5, 26])


def test_ties_go_by_name():
    X = table(("A", "v", "CCO"), ("A", "u", "OCC"), ("A", "w", "CCO"))
    new = table(("A", "x", "CCO"))
    for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
        y = np.array([1.0, 2.0, 3.0])[order]
        model = NearestCompoundRegressor(1, shrinkage=0).fit(X.iloc[order], y)
        assert model.predict(new)[0] == 2


def test_invalid_structures_give_one_warning():
    X = table(("A", "u", "bad("), ("A", "v", "bad("), ("A", "w", "CCO"))
    with pytest.warns(UserWarning, match="NearestCompoundRegressor treats") as caught:
        model = NearestCompoundRegressor().fit(X, [1.0, 2.0, 3.0])
    assert len(caught) == 1
    assert model.compounds_.tolist() == ["w"]


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({"n_neighbors": 0}, r"'n_neighbors' .* Got 0 instead"),
        ({"power": -1}, r"'power' .* Got -1 instead"),
        ({"shrinkage": "a"}, r"'shrinkage' .* Got 'a' instead"),
        ({"kind": "descriptors"}, r"'kind' .* Got 'descriptors' instead"),
        ({"kind": ["maccs"]}, r"'kind' .* Got \['maccs'\] instead"),
        ({"n_bits": 0}, r"'n_bits' .* Got 0 instead"),
        ({"radius": 1.5}, r"'radius' .* Got 1.5 instead"),
    ],
)
def test_errors(params, match):
    with pytest.raises(ValueError, match=match):
        NearestCompoundRegressor(**params).fit(TRAIN, Y)
