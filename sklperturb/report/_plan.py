"""A plan of experiments, as a report shows it: reasons, and the error that is left."""

import numpy as np
import pandas as pd
from pandas.api.types import is_bool_dtype, is_numeric_dtype

from sklperturb.files._fields import LARGEST, Fields, Listed, Maybe, Number, Text
from sklperturb.files._reading import FileError
from sklperturb.files._tables import read_header, read_parquet, read_table
from sklperturb.utils._printable import printable

# The name by which a plan in the folder of a run is found.
PLAN_FILES = ("suggestions.csv", "suggestions.parquet")
_NEEDED = ("gain", "expected_error", "cost", "reason")
_REST = "expected_error_unmeasured"
_MAKE = "`sklperturb suggest --output` writes one."
# Of a long plan, the table of a page has the first rows and columns.
_MOST_ROWS, _MOST_COLUMNS = 384, 24
# A curve of a screen's width shows no more.
_MOST_POINTS = 600
_ERROR = Maybe(Number(0))
PLAN = Fields(
    {
        # Sizes have names of their own: a run has rows, too.
        "columns": Listed(Text(), size="columns of the plan"),
        "n_columns": Number(0, whole=True),
        "conditions": Listed(Listed(Text(), size="columns of the plan")),
        "before": _ERROR,
        **dict.fromkeys(
            ("expected", "rest", "cost"), Listed(_ERROR, size="experiments")
        ),
        "reason": Listed(Text()),
    }
)
# The curve in units of a figure, and how much room its numbers take.
_WIDTH, _HEIGHT, _LEFT, _BELOW = 520, 220, 60, 44
_TICKS = 4


def kept_plan(folder):
    """Return the plan in the folder of a run, None where there is none."""
    kept = (folder / name for name in PLAN_FILES)
    # A link to what is gone is an error, not a run without a plan.
    return next((p for p in kept if p.is_symlink() or p.exists()), None)


def read_plan(path):
    """Read what `suggest --output` has written.

    Returns
    -------
    plan : dict
        As a run holds it.
    """
    if path.suffix == ".parquet":
        return as_plan(read_parquet(path), path)
    numbers = {*_NEEDED[:-1], _REST}
    labels = [n for n in map(str.strip, read_header(path)) if n and n not in numbers]
    return as_plan(read_table(path, labels), path)


def as_plan(table, path=None):
    """Return a plan as a run holds it.

    Parameters
    ----------
    table : DataFrame
        As `suggest_experiments` returns it.
    path : Path, default=None
        The file that it was read from.

    Raises
    ------
    ValueError
        If it is no plan; a FileError of a plan from a file.
    """
    name = "plan" if path is None else path
    if missing := [needed for needed in _NEEDED if needed not in table]:
        _refuse(path, f"{name} is no plan of experiments: it lacks {missing}. {_MAKE}")
    if table.empty:
        _refuse(path, f"{name} is a plan of no experiments; plan one at least.")
    numbers = {
        column: _numbers(table, column, path)
        for column in (*_NEEDED[:-1], _REST)
        if column in table
    }
    expected, rest = numbers["expected_error"], numbers.get(_REST)
    names = [name for name in table if name not in (*_NEEDED, _REST)]
    shown = table[names[:_MOST_COLUMNS]].iloc[:_MOST_ROWS]
    before = max(expected[0] + numbers["gain"][0], 0.0)
    return {
        "columns": [printable(str(name)) for name in shown],
        "n_columns": len(names),
        "conditions": [list(map(_text, row)) for row in shown.to_numpy(dtype=object)],
        "before": _known([before])[0],
        "expected": _known(expected),
        "rest": [None] * len(expected) if rest is None else _known(rest),
        "cost": _known(numbers["cost"]),
        "reason": list(map(_text, table["reason"].iloc[:_MOST_ROWS])),
    }


def _refuse(path, said):
    raise (ValueError if path is None else FileError)(said)


def _numbers(table, column, path):
    """Return a column of a plan as floats, NaN where a plan expects nothing."""
    values, name = table[column], "plan" if path is None else path
    plain = is_numeric_dtype(values) and not is_bool_dtype(values)
    if not plain and not values.isna().all():
        _refuse(
            path,
            f"{name} is no plan of experiments: its column {column!r} holds other than "
            f"numbers. {_MAKE}",
        )
    values = values.to_numpy(dtype=np.float64, na_value=np.nan)
    # A gain can be below zero, where a model expects more after a measurement.
    bad = np.flatnonzero((np.abs(values) > LARGEST) | (values < 0) & (column != "gain"))
    if len(bad):
        _refuse(
            path,
            f"{name} is no plan of experiments: {column!r} is {values[bad[0]]} in row "
            f"{bad[0] + 1}, and must be from 0 to {LARGEST:g}. {_MAKE}",
        )
    return values


def _text(value):
    """Return what a cell shows; nothing where there is nothing."""
    return "" if pd.isna(value) else printable(str(value))


def _known(values):
    """Return numbers with None where there is none."""
    return [None if value != value else float(value) for value in values]


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
    drawn = np.linspace(0, len(values) - 1, _MOST_POINTS).round().astype(int)
    low, high = values.min(), values.max()
    span = (high - low) or 1.0
    across = (_WIDTH - _LEFT - 10) / (len(values) - 1)

    def place(n, value):
        up = (value - low) / span
        return _LEFT + n * across, 10 + (1 - up) * (_HEIGHT - _BELOW - 10)

    points = [place(n, values[n]) for n in np.unique(drawn)]
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
