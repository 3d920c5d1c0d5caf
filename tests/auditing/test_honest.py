"""The registry's own pipelines, on folds of the toolkit, have no leak."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold

from sklperturb.datasets import load_op2, make_chemical_screen
from sklperturb.inspection import audit
from sklperturb.model_selection import (
    LeaveOneContextOut,
    UnseenContextKFold,
    UnseenPairKFold,
    UnseenPerturbationKFold,
    UnseenScaffoldKFold,
    suggest_cv,
)
from sklperturb.models import select_models

pytest.importorskip("rdkit")
SPLITTERS = {
    "pair": UnseenPairKFold(2, random_state=0),
    "perturbation": UnseenPerturbationKFold(2, random_state=0),
    "context": UnseenContextKFold(2, random_state=0),
    "scaffold": UnseenScaffoldKFold(2, random_state=0),
}
QUICK = ["additive", "perturbation_median", "nearest_compound", "product_kernel"]


@pytest.fixture(scope="module")
def chemistry():
    return make_chemical_screen(4, 24, 30, random_state=3)


def default_models():
    from sklperturb.datasets import PerturbationSchema

    schema = PerturbationSchema("sm_name", "cell_type", smiles="SMILES")
    return [entry.name for entry in select_models("default", schema)[0]]


@pytest.mark.parametrize("cv", SPLITTERS)
@pytest.mark.parametrize("model", QUICK)
def test_quick_models_have_none(chemistry, model, cv):
    found = audit(model, chemistry.X, chemistry.y, SPLITTERS[cv])
    assert found.ok, found


@pytest.mark.slow
@pytest.mark.parametrize("cv", SPLITTERS)
@pytest.mark.parametrize("model", default_models())
def test_default_models_have_none(chemistry, model, cv):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = audit(model, chemistry.X, chemistry.y, SPLITTERS[cv])
    assert found.ok, found


@pytest.mark.slow
@pytest.mark.parametrize("name", ["op3_ranks_op2_layout", "tggates_op2_layout"])
@pytest.mark.parametrize("model", ["ridge", "additive", "product_kernel"])
def test_real_screens_have_none(shared_data, name, model):
    screen = load_op2(shared_data(name))
    cv = suggest_cv(screen.X, screen.X_test, schema=screen.schema)
    for folds in (cv, *SPLITTERS.values(), LeaveOneContextOut()):
        found = audit(model, screen.X, screen.y, folds, schema=screen.schema)
        assert found.ok, found


def test_shared_perturbations_are_no_slips(chemistry):
    shared = chemistry.X["sm_name"].drop_duplicates()[:3].tolist()
    contexts = chemistry.X["cell_type"].value_counts().index[:2].tolist()
    cv = LeaveOneContextOut(shared_perturbations=shared, contexts=contexts)
    found = audit("additive", chemistry.X, chemistry.y, cv)
    assert found.ok, found
    assert found.claims["context"] == "known"


def batches_with_effects(chemistry):
    """Return the screen measured in three donors that all folds train on."""
    rng = np.random.default_rng(0)
    donor = np.repeat(["d1", "d2", "d3"], len(chemistry.X))
    X = pd.concat([chemistry.X] * 3, ignore_index=True).assign(donor=donor)
    effects = rng.normal(size=(3, chemistry.y.shape[1]))
    y = np.vstack([chemistry.y] * 3)
    return X, y + np.repeat(effects, len(chemistry.X), axis=0)


@pytest.mark.parametrize("model", ["no_change", "context_mean", "additive"])
def test_what_reads_no_batches_gains_nothing_by_them(chemistry, model):
    X, y = batches_with_effects(chemistry)
    found = audit(model, X, y, SPLITTERS["perturbation"], checks=["metadata"])
    assert found.ok, found
    assert "'donor' alone predicts held-out rows better" in found.notes[0].found


def test_numbers_of_cells_are_no_leak_to_what_does_not_read_them(chemistry):
    rng = np.random.default_rng(0)
    n_cells = rng.integers(10, 500, len(chemistry.X))
    y = chemistry.y + 3 * np.log(n_cells / 100)[:, None]
    X = chemistry.X.assign(n_cells=n_cells)
    found = audit("context_mean", X, y, SPLITTERS["perturbation"], checks=["metadata"])
    assert found.ok, found
    assert [note.kind for note in found.notes] == ["metadata"]


@pytest.mark.parametrize("column", ["time", "dose_um", "Time (h)"])
def test_other_times_are_other_conditions(column):
    rows = [(f"c{i}", "K562", t) for i in range(20) for t in (1, 6, 24)]
    X = pd.DataFrame(rows, columns=["sm_name", "cell_type", column])
    y = np.random.default_rng(0).normal(size=(60, 8))
    folds = KFold(3, shuffle=True, random_state=0)
    found = audit("additive", X, y, folds, checks=["replicates"])
    assert found.ok, found
    assert "another dose or time" in found.notes[0].found
    twice = pd.concat([X, X], ignore_index=True)
    found = audit("additive", twice, np.vstack([y, y]), folds, checks=["replicates"])
    assert [finding.kind for finding in found.findings] == ["replicates"]


@pytest.mark.parametrize("features", ["one-hot", "bits", "counts"])
def test_arrays_of_whole_numbers_may_be_features(chemistry, features):
    rng = np.random.default_rng(0)
    n = len(chemistry.X)
    X = {
        "one-hot": pd.get_dummies(chemistry.X["sm_name"]).to_numpy(dtype=float),
        "bits": (rng.random((n, 8)) < 0.3).astype(int),
        "counts": rng.poisson(1.0, (n, 40)),
    }[features]
    folds = KFold(3, shuffle=True, random_state=0)
    found = audit(Ridge(), X, chemistry.y, folds, checks=["levels", "replicates"])
    assert found.ok, found
    assert set(found.checks.values()) == {
        "nothing says what rows are; pass conditions="
    }
