"""What the metadata promises: requirements, their oldest versions, the tested ones."""

import ast
import re
import sys
from configparser import ConfigParser
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import sklperturb

ROOT = Path(__file__).parents[1]
CONFIG = ConfigParser()
CONFIG.read(ROOT / "setup.cfg", encoding="utf-8")


def requirements(text):
    found = [Requirement(line) for line in text.splitlines() if line.strip()]
    return {canonicalize_name(requirement.name): requirement for requirement in found}


CORE = requirements(CONFIG["options"]["install_requires"])
EXTRAS = requirements(CONFIG["options.extras_require"]["all"])


def pins(name):
    """Return {name: version} of a file of constraints."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(package): version for package, version in pairs}


def imported():
    """Return the distributions that the modules of the package import."""
    names = set()
    for path in Path(sklperturb.__path__[0]).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names.update(alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                names.add(node.module.partition(".")[0])
            elif getattr(getattr(node, "func", None), "id", None) == "import_extra":
                names.update(package.value for package in node.args[2:])
    of_name = packages_distributions()
    third_party = names - set(sys.stdlib_module_names) - {"sklperturb"}
    return {canonicalize_name(of_name.get(name, [name])[0]) for name in third_party}


def test_what_is_imported_is_required():
    missing = imported() - set(CORE) - set(EXTRAS)
    assert not missing, f"setup.cfg does not require {sorted(missing)}"


def test_what_is_required_is_imported():
    # The drivers of a search's PostgreSQL store, and of scanpy's clustering.
    indirect = {"psycopg", "igraph"}
    unused = (set(CORE) | set(EXTRAS)) - imported() - indirect
    assert not unused, f"nothing imports {sorted(unused)}"


def test_each_requirement_has_its_reason():
    text = (ROOT / "docs" / "requirements.md").read_text(encoding="utf-8")
    named = {
        canonicalize_name(name) for name in re.findall(r"^\| (\S+) \|", text, re.M)
    }
    assert set(CORE) | set(EXTRAS) <= named


@pytest.mark.parametrize("name", ["constraints.txt", "constraints-min.txt"])
def test_constraints_are_within_the_requirements(name):
    pinned = pins(name)
    for package, requirement in (CORE | EXTRAS).items():
        if package in pinned:
            assert requirement.specifier.contains(pinned[package]), requirement


def test_the_oldest_versions_are_pinned():
    pinned = pins("constraints-min.txt")
    for package, requirement in (CORE | EXTRAS).items():
        (floor,) = [s.version for s in requirement.specifier if s.operator == ">="]
        # Its oldest version is left to the workflow: see the file.
        if package != "torch":
            zeros = re.fullmatch(rf"{re.escape(floor)}(\.0)*", pinned[package])
            assert zeros, f"{requirement} is pinned to {pinned[package]}"


def test_the_package_says_that_it_is_typed():
    assert (Path(sklperturb.__path__[0]) / "py.typed").is_file()
    assert "py.typed" in CONFIG["options.package_data"]["sklperturb"]
