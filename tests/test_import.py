"""What ``import sklperturb`` costs, and what it gives."""

import importlib.metadata
import inspect
import json
import statistics
import subprocess
import sys

import pytest

import sklperturb

HEAVY = ("anndata", "matplotlib", "pandas", "sklearn", "skorch", "torch")
FUNCTIONS = {
    "config_context": "conditions",
    "get_config": "conditions",
    "load": "persistence",
    "save": "persistence",
    "set_config": "conditions",
}
SUBMODULES = sorted({*sklperturb.__all__} - {"__version__", *FUNCTIONS})
MEASURE = """
import json, sys, time
start = time.perf_counter()
import sklperturb
seconds = time.perf_counter() - start
print(json.dumps({"seconds": seconds, "modules": list(sys.modules)}))
"""


def import_in_new_process():
    done = subprocess.run(
        [sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def test_import_loads_nothing_heavy():
    modules = import_in_new_process()["modules"]
    assert "sklperturb" in modules
    assert not {m.partition(".")[0] for m in modules}.intersection(HEAVY)


def test_import_is_instant():
    seconds = [import_in_new_process()["seconds"] for _ in range(5)]
    assert statistics.median(seconds) < 0.3, seconds


@pytest.mark.parametrize("name", SUBMODULES)
def test_submodules_resolve(name):
    module = getattr(sklperturb, name)
    assert inspect.ismodule(module)
    assert module.__name__ == f"sklperturb.{name}"
    for public in getattr(module, "__all__", ()):
        assert hasattr(module, public)


@pytest.mark.parametrize(("name", "room"), FUNCTIONS.items())
def test_functions_resolve(name, room):
    assert getattr(sklperturb, name) is getattr(getattr(sklperturb, room), name)


def test_dir_lists_submodules():
    assert {*SUBMODULES, *FUNCTIONS} <= set(dir(sklperturb))


def test_unknown_attribute():
    with pytest.raises(AttributeError, match="no attribute 'magic'"):
        _ = sklperturb.magic


def test_version_matches_metadata():
    assert sklperturb.__version__ == importlib.metadata.version("sklperturb")
