"""A plan of experiments, as a report shows it: reasons, and the error that is left."""

import numpy as np
from pandas.api.types import is_numeric_dtype

from sklperturb.files._fields import Fields, Listed, Maybe, Number, Text
from sklperturb.files._reading import FileError
from sklperturb.files._tables import read_parquet, read_table
from sklperturb.utils._printable import printable

# The name by which a plan in the folder of a run is found.
PLAN_FILES = ("suggestions.csv", "suggestions.parquet")
_NEEDED = ("gain", "expected_error", "cost", "reason")
_REST = "expected_error_unmeasured"
# Of a long plan, the table of a page has the first rows; the curve has all.
_MOST_ROWS = 384
_ERROR = Maybe(Number(0))
PLAN = Fields(
    {
        "columns": Listed(Text(), size="columns"),
        "conditions": Listed(Listed(Text(), size="columns")),
        "before": _ERROR,
        **dict.fromkeys(("expected", "rest", "cost"), Listed(_ERROR, size="rows")),
        "reason": Listed(Text()),
    }
)
# The curve in units of a figure, and how much room its numbers take.
_WIDTH, _HEIGHT, _LEFT, _BELOW = 520, 220, 60, 44
_TICKS = 4


def kept_plan(folder):
    """Return the plan in the folder of a run, None where there is none."""
    kept = (folder / name for name in PLAN_FILES)
    return next((path for path in kept if path.exists()), None)


def read_plan(path):
    """Read what `suggest --output` has written.

    Returns
    -------
    plan : dict
        As a run holds it.
    """
    table = read_parquet(path) if path.suffix == ".parquet" else read_table(path)
    if missing := [name for name in _NEEDED if name not in table]:
        raise FileError(
            f"{path} is no plan of experiments: it lacks {missing}. `sklperturb "
            "suggest --output` writes one."
        )
    if table.empty:
        raise FileError(f"{path} is a plan of no experiments; plan one at least.")
    for name in (*_NEEDED[:-1], _REST):
        # A column of a plan that expects nothing is empty.
        if name in table and not (
            is_numeric_dtype(table[name]) or table[name].isna().all()
        ):
            raise FileError(
                f"{path} is no plan of experiments: its column {name!r} holds other "
                "than numbers. `sklperturb suggest --output` writes one."
            )
    names = [name for name in table if name not in (*_NEEDED, _REST)]
    shown = table.iloc[:_MOST_ROWS]
    numbers = {
        "expected": table["expected_error"],
        "rest": table[_REST] if _REST in table else table["expected_error"] * np.nan,
        "cost": table["cost"],
    }
    first = table.iloc[0]
    before = numbers["expected"].iloc[:1] + first["gain"]
    return {
        "columns": [printable(str(name)) for name in names],
        "conditions": shown[names].astype(str).map(printable).to_numpy().tolist(),
        "before": _known(before)[0],
        **{name: _known(column) for name, column in numbers.items()},
        "reason": [printable(text) for text in shown["reason"].astype(str)],
    }


def _known(column):
    """Return numbers with None where there is none."""
    return [None if value != value else float(value) for value in column]


def curve(plan):
    """Return what draws the expected error against experiments, None without errors.

    Returns
    -------
    curve : dict
        ``points`` of the line, ``ticks`` of both axes as (place, text), and the ends
        of the axes.
    """
    values = [plan["before"], *plan["expected"]]
    if None in values:
        return None
    values = np.array(values)
    low, high = values.min(), values.max()
    span = (high - low) or 1.0
    across = (_WIDTH - _LEFT - 10) / (len(values) - 1)

    def place(n, value):
        up = (value - low) / span
        return _LEFT + n * across, 10 + (1 - up) * (_HEIGHT - _BELOW - 10)

    points = [place(n, value) for n, value in enumerate(values)]
    heights = np.linspace(low, high, _TICKS)
    numbers = np.unique(np.linspace(0, len(values) - 1, _TICKS).round().astype(int))
    return {
        "width": _WIDTH,
        "height": _HEIGHT,
        "left": _LEFT,
        "right": _WIDTH - 10,
        "bottom": _HEIGHT - _BELOW + 10,
        "points": " ".join(f"{x:.1f},{y:.1f}" for x, y in points),
        "up": [(round(place(0, v)[1], 1), f"{v:.3f}") for v in heights],
        "along": [(round(place(n, low)[0], 1), str(n)) for n in numbers],
    }
