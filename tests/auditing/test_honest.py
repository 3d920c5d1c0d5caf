"""The registry's own pipelines, on folds of the toolkit, have no leak."""

import warnings

import pytest

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
