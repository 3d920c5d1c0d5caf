"""What is measured, can be measured and is asked for, and limits of a choice."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest

from sklperturb.conditions import PerturbationSchema
from sklperturb.datasets import make_chemical_screen
from sklperturb.linear_model import (
    GeneKnowledgeRidge,
    ProductKernelRidge,
    ResponseKernelRidge,
    TanimotoKernelRidge,
)
from sklperturb.model_selection import suggest_experiments
from sklperturb.model_selection._design_task import Limits


@pytest.fixture(scope="module")
def screen():
    return make_chemical_screen(4, 20, 30, n_shared=8, random_state=0)


def test_a_combination_is_the_same_in_either_order():
    table = pd.DataFrame(np.random.RandomState(0).normal(size=(4, 3)), list("ABCD"))
    known = pd.DataFrame({"target_gene": ["A", "B", "C", "A+B", "B+C"]})
    y = np.random.RandomState(1).normal(size=(5, 10))
    for names, message in [
        (["D", "B+A"], r"1 of 2 candidates are measured already, such as \['B\+A'\]"),
        (["D", "A+ctrl"], "1 of 2 candidates are measured already"),
        (["A+D", "D+A"], "1 of 2 candidates are there twice"),
    ]:
        rest = pd.DataFrame({"target_gene": names})
        with pytest.raises(ValueError, match=message):
            suggest_experiments(GeneKnowledgeRidge([table]), known, y, rest, 1)


@pytest.mark.parametrize("lacking", [{"dose": np.nan}, {}])
def test_a_table_without_doses_is_of_no_dose(screen, lacking):
    X = screen.X.assign(dose=1.0)
    asked = screen.X_test.assign(**lacking)
    task = ResponseKernelRidge(), X, screen.y
    plan = suggest_experiments(*task, asked, 3, calibrate=False)
    expected = suggest_experiments(
        *(ResponseKernelRidge(), screen.X, screen.y, screen.X_test, 3), calibrate=False
    )
    assert plan["gain"].tolist() == expected["gain"].tolist()
    can = asked.assign(dose=2.0)
    plan = suggest_experiments(*task, can, 3, targets=asked, calibrate=False)
    assert plan["gain"].tolist() == expected["gain"].tolist()
    with pytest.raises(ValueError, match="measured already"):
        suggest_experiments(*task, X, 3, targets=asked, calibrate=False)


def test_structures_are_taken_from_the_table_that_has_them():
    smiles = ["CCO", "CCCO", "CCCCO", "c1ccccc1N", "c1ccccc1NC", "c1ccccc1NCC"]
    rest = pd.DataFrame({"sm_name": list("uvwxyz"), "SMILES": smiles})
    known = rest.assign(sm_name=[f"{name} too" for name in rest["sm_name"]])
    y = np.repeat(np.eye(2), 3, axis=0) @ np.random.RandomState(0).normal(size=(2, 9))
    task = TanimotoKernelRidge(), known, y, rest, 2
    given = suggest_experiments(*task, calibrate=False)
    names = suggest_experiments(*task, calibrate=False, targets=rest[["sm_name"]])
    pd.testing.assert_frame_equal(names, given)
    # Without any in the tables of what is new, those that are known will do ...
    others = PerturbationSchema("sm_name", context="cell", smiles="SMILES")
    first = known.assign(cell="A")
    second = first.assign(cell="B")
    options = {"calibrate": False, "schema": others}
    model = TanimotoKernelRidge(schema=others)
    with pytest.warns(UserWarning, match="never measured"):
        plans = [
            suggest_experiments(model, first, y, table, 2, **options)
            for table in (second, second.drop(columns="SMILES"))
        ]
    np.testing.assert_allclose(plans[1]["gain"], plans[0]["gain"])
    # ... and where not, the column is asked for.
    with pytest.raises(ValueError, match=r"lack the columns \['SMILES'\], by which"):
        suggest_experiments(*task[:3], rest[["sm_name"]], 2, calibrate=False)


@pytest.mark.parametrize("model", [ResponseKernelRidge, ProductKernelRidge])
def test_a_single_row_does_not_promise_that_nothing_is_left(screen, model):
    task = model(), screen.X[:1], screen.y[:1], screen.X_test, 3
    with pytest.warns(UserWarning, match="never measured"):
        plan = suggest_experiments(*task)
    size = np.sqrt(np.square(np.asarray(screen.y[:1])).mean())
    assert plan["expected_error"].iloc[-1] > size
    assert (plan["gain"] > 0).all()


def test_limits_of_many_levels_need_little_memory():
    rest = pd.DataFrame({"sm_name": [f"p{i}" for i in range(4000)]})
    tracemalloc.start()
    limits = Limits({"sm_name": 1}, rest, list(np.arange(4000)[:, None]))
    limits.check(4000, "candidates")
    limits.take(7)
    assert limits.allowed().sum() == 3999
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()
    two = Limits({"plate": 2}, pd.DataFrame({"plate": list("aaab")}), [[0, 1], [2, 3]])
    assert two.allowed().all()
    two.take(0)
    assert not two.allowed().any()
