"""Plans of experiments, for a report, and the conditions that they are made from."""

import numpy as np
import pandas as pd

from tests.robustness.cases import accepted, cases, refused, survived
from tests.robustness.corpus.pages import MARKUP
from tests.robustness.damage import (
    SPECIAL,
    compressed,
    content,
    cut,
    edited,
    encoded,
    flipped,
    folder,
    removed,
)

_SPECIAL = [(name, damage, refused()) for name, damage in SPECIAL]
# Of an option, the reader of the command line says what is no file.
_GIVEN = [
    ("a pipe", SPECIAL[0][1], refused()),
    ("an endless device", SPECIAL[1][1], refused()),
    ("a link to nothing", SPECIAL[2][1], refused("exist")),
    ("missing", removed, refused("exist")),
    ("a folder", folder, refused("directory")),
]


def _frame(function):
    """Change a table, as text or parquet, by ``function(frame)``."""

    def damage(path):
        if path.suffix == ".parquet":
            function(pd.read_parquet(path)).to_parquet(path)
        else:
            function(pd.read_csv(path, dtype=str)).to_csv(path, index=False)

    return damage


def _set(column, value, row=0):
    """Replace one value of a column; beside text, numbers are text."""

    def change(frame):
        values = frame[column].astype(str if isinstance(value, str) else object)
        values.iloc[row] = value
        return frame.assign(**{column: values.tolist()})

    return _frame(change)


def _without(column):
    return _frame(lambda frame: frame.drop(columns=column))


def _longer(n_rows):
    return _frame(
        lambda frame: frame.iloc[[i % len(frame) for i in range(n_rows)]].reset_index(
            drop=True
        )
    )


def _wider(n_columns):
    return _frame(
        lambda frame: pd.concat(
            [
                frame,
                pd.DataFrame({f"c{i}": ["1"] * len(frame) for i in range(n_columns)}),
            ],
            axis=1,
        )
    )


def _measured(path):
    """Add a condition of the screen to the candidates."""
    row = pd.read_parquet(path.parent / "op2" / "de_train.parquet").iloc[0]
    known = {name: row[name] for name in ("cell_type", "sm_name")}
    _frame(lambda f: pd.concat([f, f.iloc[:1].assign(**known)]))(path)


_TEXT = [
    ("empty", content(""), refused("empty")),
    ("blank lines only", content("\n\n"), refused("empty")),
    ("a header only", edited(lambda t: t.partition("\n")[0] + "\n"), refused("rows")),
    ("byte order mark", encoded("utf-8-sig"), accepted()),
    ("line ends of Windows", edited(lambda t: t.replace("\n", "\r\n")), accepted()),
    ("UTF-16", encoded("utf-16"), accepted()),
    ("compressed", compressed, accepted()),
    ("not UTF-8", encoded("latin-1", lambda t: t.replace("cell", "c\xe9ll", 1)), refused()),
    ("binary", content(bytes(range(256)) * 8), refused()),
    ("a page in its place", content(f"<html>{MARKUP}</html>\n"), refused()),
    ("semicolons", edited(lambda t: t.replace(",", ";")), refused("semicolons")),
    ("a quote that never ends", edited(lambda t: t + '"'), refused()),
    ("half a row", edited(lambda t: t.rstrip().rpartition(",")[0] + "\n"), refused()),
    ("a field too many", edited(lambda t: t.rstrip() + ",1\n"), refused("fields")),
    ("a column twice", edited(
        lambda t: "".join(f"{x},{x.split(',')[0]}\n" for x in t.splitlines())
    ), refused("more than once")),
]  # fmt: skip

_PARQUET = [
    ("empty", content(""), refused("empty")),
    ("text", content("cell_type,sm_name\na,b\n"), refused("parquet")),
    ("half", cut(0.5), refused("parquet")),
    ("bits that are flipped", flipped(0.1, 0.3, 0.5), refused("parquet")),
    ("lists in a column", _frame(lambda f: f.assign(x=[[1]] * len(f))), refused("lists")),
    ("an index with names", _frame(lambda f: f.set_index(["cell_type", "sm_name"])), accepted(same=False)),
    ("categories", _frame(lambda f: f.astype({"cell_type": "category"})), accepted()),
]  # fmt: skip

_NO_ROWS = [("no rows", _frame(lambda f: f.iloc[:0]), refused("no"))]

# What a plan says; a page shows it.
_plan = [
    *((f"no {name}", _without(name), refused(name)) for name in ("gain", "expected_error", "cost", "reason")),
    ("no conditions", _frame(lambda f: f[["gain", "expected_error", "cost", "reason"]]), accepted(same=False)),
    ("what asks for one in its place", _frame(lambda f: f[["cell_type", "sm_name"]]), refused("no plan")),
    ("text for an error", _set("expected_error", MARKUP), refused("expected_error")),
    ("an infinite error", _set("expected_error", float("inf")), refused("expected_error")),
    ("an error of 1e308", _set("expected_error", 1e308), refused("expected_error")),
    ("an error below 0", _set("expected_error", -0.5), refused("expected_error")),
    ("a cost below 0", _set("cost", -1.0, 2), refused("cost")),
    ("a gain below 0", _set("gain", -1e9), accepted(same=False)),
    ("no error in one row", _set("expected_error", None, 1), accepted(same=False)),
    ("no errors", _frame(lambda f: f.assign(gain=None, expected_error=None)), accepted(same=False)),
    ("a gain that is missing", _set("gain", None), accepted(same=False)),
    ("dates for costs", _frame(lambda f: f.assign(cost=pd.Timestamp("2024-01-01"))), refused("cost")),
    ("true for costs", _frame(lambda f: f.assign(cost=True)), refused("cost")),
    ("no reasons", _frame(lambda f: f.assign(reason=None)), accepted(same=False)),
    ("a missing condition", _set("cell_type", None), accepted(same=False)),
    ("markup in a name", _set("sm_name", MARKUP), accepted(same=False)),
    ("markup in a reason", _set("reason", MARKUP), accepted(same=False)),
    ("markup in a header", _frame(lambda f: f.rename(columns={"sm_name": MARKUP})), accepted(same=False)),
    ("orders for the terminal", _set("sm_name", "\x1b[31m\u202e"), accepted(same=False)),
    ("a name of a million letters", _set("sm_name", "A" * 10**6), survived()),
    ("50,000 experiments", _longer(50_000), accepted(same=False)),
    ("1,000 columns more", _wider(1000), accepted(same=False)),
]  # fmt: skip

_whole = [
    ("whole numbers that may be missing", _frame(
        lambda f: f.assign(cost=pd.array([1, None, 3, 4], "Int64"))
    ), accepted(same=False)),
    ("fractions that may be missing", _frame(
        lambda f: f.astype({"expected_error": "Float64"})
    ), accepted()),
]  # fmt: skip

_asked = [
    ("no column of compounds", _without("sm_name"), refused("sm_name")),
    ("another case in the header", _frame(lambda f: f.rename(columns={"cell_type": "Cell_Type"})), refused("cell_type")),
    ("a missing compound", _set("sm_name", None), refused("sm_name")),
    ("a missing context", _set("cell_type", None, 3), refused("cell_type")),
    ("orders for the terminal", _set("sm_name", "\x1b[31m\u202e"), accepted(same=False)),
    ("markup in a name", _set("sm_name", MARKUP), accepted(same=False)),
    ("a name of a million letters", _set("sm_name", "A" * 10**6), survived()),
    ("a context that was never measured", _set("cell_type", MARKUP), survived()),
    ("1,000 columns more", _wider(1000), accepted(same=False)),
]  # fmt: skip


def _renamed(frame, n_times):
    """Return the rows so many times, each time under names of their own."""
    numbers = np.repeat(np.arange(n_times), len(frame)).astype(str)
    rows = frame.iloc[np.tile(np.arange(len(frame)), n_times)]
    return rows.assign(sm_name=rows["sm_name"] + numbers)


_candidates = [
    ("a candidate twice", _frame(lambda f: pd.concat([f, f.iloc[:1]])), refused("twice")),
    ("what a plan adds", _frame(lambda f: f.assign(reason="x", gain=1)), accepted(same=False)),
    ("no prices", _without("price"), refused("price")),
    ("no plates", _without("plate"), refused("plate")),
    ("a missing price", _set("price", None), refused("costs")),
    ("a price of 0", _set("price", 0.0), refused("costs")),
    ("an infinite price", _set("price", float("inf")), refused("costs")),
    ("fewer than are asked for", _frame(lambda f: f.iloc[:2]), refused("--n 3")),
    ("one plate", _frame(lambda f: f.assign(plate="001")), refused("--max-per")),
    ("a missing plate", _set("plate", None), accepted(same=False)),
    ("what is measured", _measured, refused("measured already")),
    ("too many to compare", _frame(lambda f: _renamed(f, 20_000)), survived()),
]  # fmt: skip

CASES = [
    *cases("csv: plan", "run/suggestions.csv", "report, a plan kept", [
        *_TEXT, *_plan, *_SPECIAL, ("a folder", folder, refused()),
    ]),
    *cases("parquet: plan", "plan.parquet", "report --plan", [
        *_PARQUET, *_NO_ROWS, *_plan, *_whole, *_GIVEN,
    ]),
    *cases("csv: candidates", "can.csv", "suggest csv", [
        *_TEXT, *_asked, *_GIVEN,
    ]),
    *cases("csv: candidates", "can.csv", "suggest csv", _candidates, named="candidate"),
    *cases("csv: targets", "want.csv", "suggest csv", [*_TEXT, *_asked, *_GIVEN]),
    *cases("parquet: candidates", "can.parquet", "suggest parquet", [
        *_PARQUET, *_asked,
    ]),
    *cases(
        *("parquet: candidates", "can.parquet", "suggest parquet"),
        *([*_candidates, *_NO_ROWS], "candidate"),
    ),
    *cases("parquet: targets", "want.parquet", "suggest parquet", [*_PARQUET, *_asked]),
    *cases("parquet: targets", "want.parquet", "suggest parquet", _NO_ROWS, "targets"),
]  # fmt: skip
