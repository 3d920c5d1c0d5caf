"""What a benchmark prints, what it records, and the pages that show it."""

import json
import os
import re
from numbers import Integral, Real
from pathlib import Path

RECORDS = "SKLPERTURB_BENCHMARK_RECORDS"


def shown(number):
    """Return a number with three significant digits, without an exponent."""
    if isinstance(number, bool | Integral) or not isinstance(number, Real):
        return str(number)
    number = float(number)
    if number != number:
        return "nan"
    for digits, least in ((0, 100), (1, 10), (2, 1), (3, 0.1)):
        if abs(number) >= least:
            return f"{number:.{digits}f}"
    return f"{number:.3g}"


def show(rows, title=None):
    """Print rows, dicts with the same keys or a data frame, as a table in Markdown."""
    rows = _rows_of(rows) if hasattr(rows, "columns") else list(rows)
    if title:
        print(f"{title}\n")
    print(f"| {' | '.join(rows[0])} |")
    print(f"|{'---|' * len(rows[0])}")
    for row in rows:
        print(f"| {' | '.join(shown(value) for value in row.values())} |")
    print(flush=True)


def _rows_of(frame):
    """Return the rows of a data frame; what names them comes first, numbers do not."""
    if list(frame.index) != list(range(len(frame))):
        frame = frame.reset_index(names=None)
    joined = (" ".join(map(str, c)) if isinstance(c, tuple) else c for c in frame)
    names = [str(name).strip() for name in joined]
    return [dict(zip(names, row, strict=True)) for row in frame.itertuples(index=False)]


def record(name, value, unit="", **more):
    """Note a number under a name, for the results of the runner and its goals.

    Without a runner, nothing happens: the table that is printed has the number.
    """
    path = os.environ.get(RECORDS)
    if path:
        entry = {"name": name, "value": float(value), "unit": unit, **more}
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(entry, default=float) + "\n")


def read_records(path):
    """Return what was recorded, in order."""
    path = Path(path)
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def tables(text):
    """Return the tables of a text in Markdown, as lists of dicts of text."""
    found, block = [], []
    for line in [*text.splitlines(), ""]:
        if line.startswith("|"):
            block.append([cell.strip() for cell in line.strip().strip("|").split("|")])
            continue
        if len(block) > 1 and all(re.fullmatch(r":?-+:?", x) for x in block[1]):
            keys = block[0]
            found.append([dict(zip(keys, row, strict=False)) for row in block[2:]])
        block = []
    return found


def marks(name):
    """Return the two comments between which a page has the output of a benchmark."""
    return f"<!-- benchmark: {name} -->", f"<!-- end of benchmark: {name} -->"


def has_block(page, name):
    """Return whether the text of a page has a place for a benchmark."""
    return all(mark in page for mark in marks(name))


def replaced(page, name, text):
    """Return the text of a page with another output between the marks."""
    start, end = marks(name)
    before, found, rest = page.partition(start)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"The page lacks {start} and {end}, in this order.")
    return f"{before}{start}\n\n{text.strip()}\n\n{end}{after}"


def update(path, name, text):
    """Put an output between the marks of a page."""
    path = Path(path)
    try:
        changed = replaced(path.read_text("utf-8"), name, text)
    except ValueError as error:
        raise SystemExit(f"{path}: {error}") from None
    path.write_text(changed, encoding="utf-8")
