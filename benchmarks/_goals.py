"""Numbers that were asked for, beside what was measured."""

import json
import tomllib
from pathlib import Path

from benchmarks import _output

GOALS = Path(__file__).with_name("goals.toml")
COLUMNS = ("what", "goal", "measured", "ratio", "met", "benchmark")


def read(path=GOALS):
    """Return the goals, as dicts; see the head of the file."""
    return tomllib.loads(path.read_text("utf-8"))["goal"]


def measured(kept):
    """Return {benchmark: {record: number}} of a kept file."""
    if not kept.exists():
        return {}
    results = json.loads(kept.read_text("utf-8"))
    return {
        name: {
            entry["name"]: entry["value"]
            for one in result["runs"]
            for entry in one.get("records", [])
        }
        for name, result in results.items()
    }


def ratio(goal, value):
    """Return how many times the goal is reached: 1 or more is met."""
    if goal["better"] == "more":
        return value / goal["value"]
    # Nothing at all, or less than nothing, as the overhead of what is quicker.
    return goal["value"] / value if value > 0 else float("inf")


def row(goal, found):
    """Return a row of the table."""
    sign = {"less": "at most", "more": "at least"}[goal["better"]]
    unit = f" {goal['unit']}" if goal["unit"] else ""
    value = found.get(goal["benchmark"], {}).get(goal["record"])
    cells = {
        "what": goal["what"],
        "goal": f"{sign} {goal['value']:,g}{unit}",
        "measured": "not yet",
        "ratio": "",
        "met": "",
        "benchmark": f"`{goal['benchmark']}`",
    }
    if value is not None:
        times = ratio(goal, value)
        cells["measured"] = f"{number(value)}{unit}"
        cells["ratio"] = _output.shown(times) if times < 1e6 else "-"
        cells["met"] = "yes" if times >= 1 else "no"
    return cells


def number(value):
    """Return a number as the table shows it."""
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return _output.shown(value)


def table(kept, goals=GOALS):
    """Return the table, in Markdown, an area after another."""
    found = measured(kept)
    lines, area = [], None
    for goal in read(goals):
        if goal["area"] != area:
            area = goal["area"]
            lines += ["", f"## {area}", "", f"| {' | '.join(COLUMNS)} |"]
            lines.append("|---|---|---|---:|---|---|")
        lines.append(f"| {' | '.join(row(goal, found).values())} |")
    return "\n".join([*lines, "", machines(kept)]).strip()


def machines(kept):
    """Return a sentence about where and when the numbers were measured."""
    if not kept.exists():
        return ""
    results = json.loads(kept.read_text("utf-8")).values()
    found = {}
    for result in results:
        machine = result["machine"]
        parts = [machine["processor"], f"{machine['cores']} cores", machine.get("gpu")]
        name = ", ".join(filter(None, parts))
        found.setdefault(name, []).append((result["date"], machine.get("load", 0)))
    lines = []
    for name, seen in found.items():
        dates, loads = zip(*seen, strict=True)
        lines.append(
            f"{len(seen)} benchmarks, {min(dates)} to {max(dates)}, on {name}; at the "
            f"start {min(loads):g} to {max(loads):g} processes wanted a core."
        )
    return "\n".join(lines)


def update_page(kept, page):
    """Put the table into its page, if there is a place for it."""
    if page.exists() and _output.has_block(page.read_text("utf-8"), "goals"):
        _output.update(page, "goals", table(kept))
