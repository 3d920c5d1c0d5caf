"""Every model under a name."""

import pytest
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from sklperturb.datasets import PerturbationSchema
from sklperturb.models import (
    KINDS,
    ModelEntry,
    _registry,
    get_entry,
    list_models,
    make_model,
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
    registered = set()
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
    with pytest.raises(ValueError, match=r"'rigde'\. Did you mean ridge"):
        get_entry("rigde")
    with pytest.raises(ValueError, match="Registered are no_change"):
        make_model("zzz")
    with pytest.raises(ValueError, match="kind='tree' is not one of"):
        list_models("tree")


def test_missing_package_tells_what_to_install(monkeypatch):
    entry = ModelEntry(
        "needs", "linear", "", None, requires="no_such_package", extra="chem"
    )
    monkeypatch.setitem(_registry._BY_NAME, "needs", entry)
    with pytest.raises(ImportError, match=r'pip install "sklperturb\[chem\]"'):
        make_model("needs")
