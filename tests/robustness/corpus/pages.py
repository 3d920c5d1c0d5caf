"""What `leaderboard` and `audit` leave for a report, and predictions of folds."""

import shutil

from tests.robustness.cases import accepted, cases, refused, survived, warned
from tests.robustness.corpus.documents import JSON
from tests.robustness.damage import arrays, changed, content, cut, document, link, pipe

MARKUP = "</script><script>alert(1)</script><img src=x onerror=alert(1)>{{ 7 * 7 }}"


def at(*places, value):
    """Replace what is at a place of a nested document by `value`, or by its result."""

    def change(found):
        inner = found
        for place in places[:-1]:
            inner = inner[place]
        given = value(inner[places[-1]]) if callable(value) else value
        inner[places[-1]] = given
        return found

    return document(change)


def without(*places):
    """Remove what is at a place."""

    def change(found):
        inner = found
        for place in places[:-1]:
            inner = inner[place]
        del inner[places[-1]]
        return found

    return document(change)


def named(value, text):
    """Put a text into all names of a nested document that are free to choose."""
    if isinstance(value, dict):
        fixed = ("format", "severity")
        return {k: v if k in fixed else named(v, text) for k, v in value.items()}
    if isinstance(value, list):
        return [named(item, text) for item in value]
    return f"{value}{text}" if isinstance(value, str) else value


_SCORE = "leaderboard", 0, "mean"
_run = [
    ("no folds", without("folds"), refused("folds")),
    ("more than belongs", at("more", value=1), refused("more")),
    ("another format", at("format", value="sklperturb model"), refused("format")),
    ("a later version", at("version", value=2), refused("version")),
    ("a version that is text", at("version", value="1"), refused("version")),
    ("markup as a score", at(*_SCORE, value=MARKUP), refused("mean")),
    ("a list as a score", at(*_SCORE, value=[1.0]), refused("mean")),
    ("true as a score", at(*_SCORE, value=True), refused("mean")),
    ("NaN as a score", at(*_SCORE, value=float("nan")), refused("mean")),
    ("an infinite score", at(*_SCORE, value=float("inf")), refused("mean")),
    ("a score of 400 digits", at(*_SCORE, value=10**400), refused("mean")),
    ("a score of 1e308", at(*_SCORE, value=1e308), accepted(same=False)),
    ("a score of 1e-308", at(*_SCORE, value=1e-308), accepted(same=False)),
    ("no score", at(*_SCORE, value=None), accepted(same=False)),
    ("a rank of 0", at("leaderboard", 0, "rank", value=0), refused("rank")),
    ("half a rank", at("leaderboard", 0, "rank", value=1.5), refused("rank")),
    ("a row without a model", without("leaderboard", 0, "model"), refused("model")),
    ("no rows", at("leaderboard", value=[]), accepted(same=False)),
    ("rows that are a dictionary", at("leaderboard", value={}), refused("leaderboard")),
    ("a confidence of 95", at("confidence", value=95), refused("confidence")),
    ("provenance that is a list", at("provenance", value=["x"]), refused("provenance")),
    ("a list in the provenance", at("provenance", "seed", value=[1]), refused("seed")),
    ("an explorer that is text", at("explorer", value=MARKUP), refused("explorer")),
    ("no explorer", at("explorer", value=None), accepted(same=False)),
    ("no models to explore", at("explorer", "models", value=[]), refused("models")),
    ("a model twice", at("explorer", "models", value=lambda m: [m[0]] * len(m)), refused("models")),
    ("one row less", at("explorer", "strength", value=lambda s: s[1:]), refused("rows")),
    ("a gene that is not there", at("explorer", "top", 0, 0, value=10**6), refused("genes")),
    ("a gene before the first", at("explorer", "top", 0, 0, value=-1), refused("top")),
    ("a perturbation that is not there", at("explorer", "perturbation", 0, value=999), refused("perturbations")),
    ("contexts that are gone", at("explorer", "contexts", value=None), refused("contexts")),
    ("half a letter", at("explorer", "genes", 0, value="\ud800"), refused("genes")),
    ("a null character", at("explorer", "genes", 0, value="\0"), refused("genes")),
    ("markup in all names", document(lambda d: named(d, MARKUP)), accepted(same=False)),
    ("orders for the terminal", document(lambda d: named(d, "\x1b[31m\u202e")), accepted(same=False)),
    ("a name of a million letters", at("explorer", "genes", 0, value="A" * 10**6), accepted(same=False)),
    ("a million notes", at("notes", value=["note"] * 10**6), survived()),
    ("40 MB of numbers", at("explorer", "strength", value=[0.123456] * 4_000_000), refused("rows")),
    ("a link to nothing", link("nowhere"), refused()),
    ("a link to itself", link("run.json"), refused()),
]  # fmt: skip

_audit = [
    ("no findings", without("findings"), refused("findings")),
    ("findings that are text", at("findings", value=MARKUP), refused("findings")),
    ("a finding that is text", at("findings", value=[MARKUP]), refused("findings")),
    ("checks that are a list", at("checks", value=["rows"]), refused("checks")),
    ("markup as a score", at("score", value=MARKUP), refused("score")),
    ("NaN as a score", at("score", value=float("nan")), accepted(same=False)),
    ("minus one fold", at("n_folds", value=-1), refused("n_folds")),
    ("markup in all names", document(lambda d: named(d, MARKUP)), accepted(same=False)),
    ("orders for the terminal", document(lambda d: named(d, "\x1b[31m\u202e")), accepted(same=False)),
    ("what a leaderboard left", lambda path: shutil.copy(path.parent / "run" / "run.json", path), refused()),
]  # fmt: skip


def _first(damage):
    """Damage the predictions of one of the finished folds."""
    return lambda path: damage(sorted(path.glob("*.npz"))[0])


_predictions = [
    ("empty", content("")),
    ("half", cut(0.5)),
    ("text", content("hello")),
    ("other names", arrays(lambda a: {"y": a["y_pred"]})),
    ("one row less", arrays(lambda a: {"y_pred": a["y_pred"][1:]})),
    ("one gene more", arrays(lambda a: {"y_pred": a["y_pred"][:, [0, *range(a["y_pred"].shape[1])]]})),
    ("NaN", arrays(lambda a: {"y_pred": a["y_pred"] * float("nan")})),
    ("numbers of another type", arrays(lambda a: {"y_pred": a["y_pred"].astype("f8")})),
    ("objects", arrays(lambda a: {"y_pred": a["y_pred"].astype(object)})),
    ("a byte that is changed", changed(lambda d: d[:-150] + bytes([d[-150] ^ 1]) + d[-149:])),
]  # fmt: skip

CASES = [
    *cases("json: run", "run/run.json", "report", JSON + _run),
    *cases("json: audit", "audit.json", "report --audit", JSON + _audit),
    *cases("npz: folds", "../out/kept", "compare predictions", [
        (name, _first(damage), warned(".npz")) for name, damage in _predictions
    ], named=""),
    *cases("npz: folds", "../out/kept", "compare predictions", [
        ("a pipe", _first(pipe), survived()),
        ("a link to nothing", _first(link("nowhere")), survived()),
    ]),
]  # fmt: skip
