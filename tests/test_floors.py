"""A room imports from the floors below it, and from nothing beside or above it."""

import ast
from pathlib import Path

import pytest

import sklperturb

ROOT = Path(sklperturb.__file__).parent
# From the ground up; docs/architecture.md shows the same picture.
FLOORS = (
    {"_version", "conditions", "modules", "utils"},
    {"cells"},
    {"datasets", "embedding", "inspection", "metrics", "signatures"},
    {"evaluation", "preprocessing"},
    {"baseline", "linear_model", "model_selection", "neural_network"},
    {"compose", "ensemble", "flow"},
    {"models"},
    {"comparison", "testing", "tuning"},
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


@pytest.mark.parametrize("room", sorted(rooms_of_the_house() - {"_version"}))
def test_imports_point_down(room):
    upward = {
        (str(path.relative_to(ROOT)), other)
        for path in (ROOT / room).glob("*.py")
        for other in imported_rooms(path)
        if other != room and FLOOR[other] >= FLOOR[room]
    }
    assert not upward
