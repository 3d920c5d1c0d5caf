"""Each benchmark is found, runs from its folder, and is what a page is about."""

import ast
import importlib
import re
from pathlib import Path

import pytest

from benchmarks import _goals, _peers
from benchmarks._entry import Absent, Entry, arguments
from benchmarks._runner import KEPT, chosen, listing
from benchmarks._table import ENTRIES

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "benchmarks"
BY_NAME = {entry.name: entry for entry in ENTRIES}
SCRIPTS = sorted(
    path for path in FOLDER.glob("**/*.py") if path.name[0] != "_" and path.is_file()
)


def imported(path):
    """Return the names of modules that a file imports."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_names_differ():
    assert len(BY_NAME) == len(ENTRIES)
    for entry in ENTRIES:  # a name that is an area too would choose all of it
        assert {e.area == entry.name for e in ENTRIES if e is not entry} == {False}


@pytest.mark.parametrize("name", BY_NAME)
def test_each_entry_can_be_run(name):
    entry = BY_NAME[name]
    if entry.missing_modules():
        pytest.skip(f"needs {entry.missing_modules()}")
    module = importlib.import_module(entry.module)
    assert module.__doc__ and callable(module.main)
    assert Path(module.__file__) == entry.path


@pytest.mark.parametrize("name", BY_NAME)
def test_each_entry_is_in_a_page(name):
    pages = [path.read_text("utf-8") for path in (ROOT / "docs").glob("*.md")]
    assert any(re.search(rf"\b{name}\b", page) for page in pages)


def test_each_script_is_an_entry_or_part_of_one():
    known = {entry.path for entry in ENTRIES}
    used = {name for path in FOLDER.glob("**/*.py") for name in imported(path)}
    for path in SCRIPTS:
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        assert path in known or module in used or path.name == "methods.py", (
            f"{path.name} is no entry: see benchmarks/README.md"
        )


def test_each_area_is_explained():
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert not [e.area for e in ENTRIES if f"`{e.area}`" not in readme]


def test_no_folder_is_crowded():
    for folder in (path.parent for path in SCRIPTS):
        assert len(list(folder.glob("*.py"))) < 15, folder


def test_what_make_bench_runs_takes_half_an_hour():
    assert sum(entry.minutes for entry in chosen(())) <= 25


def test_peers_are_groups_of_requirements():
    asked = {group for entry in ENTRIES for group in entry.peers}
    assert asked == set(_peers.groups())


@pytest.mark.parametrize(
    ("better", "value", "met"),
    [
        ("less", 4, "yes"),
        ("less", 6, "no"),
        ("less", 0, "yes"),
        ("less", -3, "yes"),
        ("more", 6, "yes"),
        ("more", 4, "no"),
        ("more", -3, "no"),
    ],
)
def test_whether_a_goal_is_met(better, value, met):
    names = {"what": "x", "unit": "s", "benchmark": "b", "record": "r"}
    goal = names | {"value": 5, "better": better}
    assert _goals.row(goal, {"b": {"r": value}})["met"] == met


def test_goals_name_entries_and_what_these_record():
    found = _goals.measured(KEPT)
    for goal in _goals.read():
        assert set(goal) == {
            *("area", "what", "value", "unit", "better", "benchmark", "record")
        }
        assert goal["benchmark"] in BY_NAME
        if goal["benchmark"] in found:
            assert goal["record"] in found[goal["benchmark"]], goal


def test_the_page_of_goals_is_what_was_measured():
    page = (ROOT / "docs" / "measured.md").read_text("utf-8")
    assert _goals.table(KEPT) in page


def test_listing_and_choice():
    lines = listing().splitlines()
    assert len(lines) == 2 + len(ENTRIES)
    assert all("| yes |" in lines[2 + ENTRIES.index(entry)] for entry in chosen(()))
    assert {entry.area for entry in chosen(["flow"])} == {"flow"}
    assert [entry.name for entry in chosen(["se_tokenize"])] == ["se_tokenize"]
    assert len(chosen((), everything=True)) == len(ENTRIES)
    with pytest.raises(SystemExit, match="Did you mean 'se_tokenize'"):
        chosen(["se_tokenise"])


def test_arguments_are_filled_in_or_missed(tmp_path):
    (tmp_path / "screen").mkdir()
    given = "--n 3 {data/screen} --all {data} --clone {clone.op2}"
    found = arguments(given, tmp_path, {"op2": tmp_path})
    assert found == [
        *("--n", "3", str(tmp_path / "screen"), "--all", str(tmp_path), "--clone"),
        str(tmp_path),
    ]
    with pytest.raises(Absent, match=r"other.*--data"):
        arguments("{data/other}", tmp_path, {})
    with pytest.raises(Absent, match="--clone op2=PATH"):
        arguments("{clone.op2}", tmp_path, {})
    with pytest.raises(ValueError, match="neither"):
        arguments("{peer/x}", tmp_path, {})


def test_modules_that_are_missing_are_named():
    entry = Entry("a", "trust", "nothing", needs=("json", "no_such_module"))
    assert entry.missing_modules() == ["no_such_module"]
