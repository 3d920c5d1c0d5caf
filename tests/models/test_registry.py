"""Every model under a name."""

import re
import subprocess
import sys

import pytest
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from sklperturb.compose import DisplacedControlsRegressor
from sklperturb.datasets import PerturbationSchema
from sklperturb.ensemble import WeightedErrorRegressor
from sklperturb.inspection import ConformalRegressor
from sklperturb.models import (
    KINDS,
    BestCellsRegressor,
    ModelEntry,
    _registry,
    get_entry,
    list_models,
    make_model,
    select_models,
)
from sklperturb.testing import all_estimators

ENTRIES = list_models()


def _classes(estimator):
    """Return the classes of an estimator and of all that it is made of."""
    found = {type(estimator)}
    for value in estimator.get_params().values():
        found.add(type(value))
    if isinstance(estimator, Pipeline):
        found.update(type(step) for _, step in estimator.steps)
    return found


def test_names_are_unique_and_kinds_known():
    names = [entry.name for entry in ENTRIES]
    assert len(set(names)) == len(names)
    assert {entry.kind for entry in ENTRIES} <= set(KINDS)
    assert list_models("baseline") == [e for e in ENTRIES if e.kind == "baseline"]


def test_every_regressor_of_the_toolkit_is_registered():
    # Not without weights for `fit`, which a leaderboard does not hand on; nor what
    # predicts as the model within it; and models of cells have names of their own.
    registered = {
        ConformalRegressor,
        WeightedErrorRegressor,
        DisplacedControlsRegressor,
        BestCellsRegressor,
    }
    for entry in ENTRIES:
        if entry.available:
            registered |= _classes(make_model(entry.name))
    missing = {
        name for name, cls in all_estimators("regressor") if cls not in registered
    }
    assert not missing


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_models_build_clone_and_take_the_schema(entry):
    if not entry.available:
        pytest.skip(f"needs {entry.requires}")
    schema = PerturbationSchema(perturbation="drug", context="line")
    model = make_model(entry.name, schema=schema, random_state=3)
    clone(model)
    params = model.get_params()
    schemas = [v for k, v in params.items() if k.split("__")[-1] == "schema"]
    assert all(value == schema for value in schemas)
    seeds = [v for k, v in params.items() if k.split("__")[-1] == "random_state"]
    assert entry.kind != "network" or 3 in seeds


def test_bad_names_and_kinds():
    with pytest.raises(ValueError, match=r"'rigde' is no model\. Did you mean 'ridge'"):
        get_entry("rigde")
    with pytest.raises(ValueError, match=r"There are \['no_change', "):
        make_model("zzz")
    with pytest.raises(ValueError, match=r"'tree' is no kind of model\. There are"):
        list_models("tree")


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_entries_name_what_they_lead_to(entry):
    if not entry.available:
        pytest.skip(f"needs {entry.requires}")
    model = make_model(entry.name)
    named = set(re.findall(r"\b[A-Z]\w+", entry.made_of))
    assert named <= {cls.__name__ for cls in _classes(model)}
    if entry.composition is None:
        assert named == {type(model).__name__}
    assert entry.made_of.startswith("pipeline") == isinstance(model, Pipeline)


def test_listing_imports_no_library():
    code = (
        "import sys; from sklperturb.models import list_models; "
        "print([(e.made_of, e.needs, e.available) for e in list_models()]); "
        "print(sorted({m.partition('.')[0] for m in sys.modules}), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    loaded = set(re.findall(r"'(\w+)'", done.stderr))
    assert "sklperturb" in loaded
    assert not loaded & {"numpy", "pandas", "sklearn", "torch"}


@pytest.fixture
def needy(monkeypatch):
    """A registered model whose package is not installed."""
    entry = ModelEntry(
        "needs", "linear", "", "x:Y", requires="no_such_package", extra="chem"
    )
    monkeypatch.setattr(_registry, "ENTRIES", (*_registry.ENTRIES, entry))
    monkeypatch.setitem(_registry._BY_NAME, "needs", entry)
    return entry


@pytest.mark.parametrize("call", [make_model, lambda name: select_models([name])])
def test_missing_package_tells_what_to_install(needy, call):
    with pytest.raises(ImportError, match=r'pip install "sklperturb\[chem\]"'):
        call("needs")


def names_of(selection):
    return [entry.name for entry in selection[0]]


def test_selection_holds_what_can_run_and_says_what_cannot(needy):
    plain = PerturbationSchema(perturbation="drug", context="line")
    controls = PerturbationSchema(perturbation="drug", context="line", control="ctrl")
    default, left_out = select_models("default", plain)
    assert all(entry.default and entry.role is None for entry in default)
    assert "ridge" in names_of((default, left_out))
    assert left_out["nearest_compound"] == "it needs a smiles column"
    assert "no_such_package, which is not installed" in left_out["needs"]
    assert "flow" not in left_out  # never in the default set

    every, left_out = select_models("all", controls)
    assert "flow" in names_of((every, left_out))
    told = ("smiles", "smiles or mechanism")
    entries = [e for e in list_models() if e.available and e.role not in told]
    assert every == entries
    assert set(left_out) == {e.name for e in list_models()} - set(
        names_of((every, left_out))
    )
    # Without a schema, columns are not asked about.
    assert "needs" in select_models("all")[1]
    assert "it needs a smiles column" not in select_models("all")[1].values()


def test_selection_of_a_kind_and_by_name():
    baselines = select_models("all", kind="baseline")[0]
    assert {entry.kind for entry in baselines} == {"baseline"}
    assert names_of(select_models(["ridge", "flow"])) == ["ridge", "flow"]
    with pytest.raises(ValueError, match="Did you mean 'ridge'"):
        select_models(["rigde"])
    for wrong in ("ridge", [3]):
        with pytest.raises(TypeError, match="'default', 'all', or a list of names"):
            select_models(wrong)
