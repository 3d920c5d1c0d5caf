"""A room imports from the floors below it, and from nothing beside or above it."""

import ast
import re
from pathlib import Path

import pytest

import sklperturb

ROOT = Path(sklperturb.__file__).parent
# From the ground up; docs/architecture.md shows the same picture.
FLOORS = (
    {"_version", "conditions", "files", "modules", "utils"},
    {"cells", "downloads"},
    {"datasets", "embedding", "metrics", "persistence", "signatures"},
    {"evaluation", "preprocessing"},
    {"baseline", "linear_model", "model_selection", "neural_network"},
    {"compose", "ensemble", "flow", "uncertainty"},
    {"models"},
    {"comparison", "testing", "tuning"},
    {"auditing"},
    {"inspection"},
    {"report"},
    {"cli"},
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}


def imported_rooms(path):
    """Return the rooms that a file imports from, wherever in it the import stands."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
            if node.module == "sklperturb":
                names = [f"sklperturb.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            package, _, rest = name.partition(".")
            if package == "sklperturb" and rest and not rest.startswith("__version"):
                yield rest.partition(".")[0]


def rooms_of_the_house():
    return {p.parent.name for p in ROOT.glob("*/__init__.py")} | {"_version"}


def test_every_room_has_a_floor():
    assert rooms_of_the_house() == set(FLOOR)


def test_the_documentation_shows_the_same_floors():
    page = ROOT.parent / "docs" / "architecture.md"
    shown = re.findall(r"^\| (\d+) \| (.*) \|$", page.read_text("utf-8"), re.M)
    floors = {int(n): set(re.findall(r"`(\w+)`", rooms)) for n, rooms in shown}
    expected = {n: rooms - {"_version"} for n, rooms in enumerate(FLOORS, 1)}
    assert floors == expected


@pytest.mark.parametrize("room", sorted(rooms_of_the_house() - {"_version"}))
def test_rooms_and_files_can_be_read_in_one_sitting(room):
    files = list((ROOT / room).glob("*.py"))
    assert len(files) < 15
    lines = {path.name: len(path.read_text("utf-8").splitlines()) for path in files}
    assert not {name: n for name, n in lines.items() if n > 450}


@pytest.mark.parametrize("room", sorted(rooms_of_the_house() - {"_version"}))
def test_imports_point_down(room):
    upward = {
        (str(path.relative_to(ROOT)), other)
        for path in (ROOT / room).glob("*.py")
        for other in imported_rooms(path)
        if other != room and FLOOR[other] >= FLOOR[room]
    }
    assert not upward
