"""The page itself: a template, styles and a program, in one file."""

import base64
import hashlib
import json
from importlib.resources import files

from sklperturb.comparison._summary import UNCHANGED
from sklperturb.report._plan import curve
from sklperturb.utils._optional import import_extra

_ASSETS = files("sklperturb.report")
_MINUS = "\N{MINUS SIGN}"
_ROUNDING = 1e-12


def templates():
    """Return the library that fills the page in."""
    return import_extra("A report", "report", "jinja2")


def render(run, title):
    """Return a run as HTML that asks nothing of a network.

    Parameters
    ----------
    run : dict
        As `check_run` returns it.
    title : str

    Returns
    -------
    html : str
    """
    jinja2 = templates()
    environment = jinja2.Environment(
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"number": _number, "signed": _signed, "between": _between}
    style, program = (_read(f"report.{end}") for end in ("css", "js"))
    template = environment.from_string(_read("report.html"))
    metrics = list(dict.fromkeys(row["metric"] for row in run["leaderboard"]))
    return template.render(
        run=run,
        title=title,
        tables={
            m: [r for r in run["leaderboard"] if r["metric"] == m] for m in metrics
        },
        confidence=f"{100 * run['confidence']:g} %",
        headlines=[_headline(run, metric) for metric in metrics],
        of_cells=any(row["model"] == UNCHANGED for row in run["leaderboard"]),
        costs=_costs(run["leaderboard"]),
        plan=run.get("plan"),
        plan_curve=curve(run["plan"]) if run.get("plan") else None,
        style=style,
        program=program,
        style_hash=_hash(style),
        program_hash=_hash(program),
        data=_embedded(_drawn(run)),
    )


def _read(name):
    return _ASSETS.joinpath(name).read_text(encoding="utf-8")


def _hash(text):
    """Return what a policy names a script or style by that may run."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def _drawn(run):
    """Return what the program draws."""
    names = ("leaderboard", "explorer", "calibration", "coverage", "confidence")
    return {name: run[name] for name in names}


def _embedded(content):
    """Return JSON that does not end the element of a page that it stands in."""
    text = json.dumps(
        content, ensure_ascii=False, allow_nan=False, separators=(",", ":")
    )
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _number(value, digits=3, sign=""):
    """Return a number as text, a dash where there is none.

    It has fixed digits, but for scores that would be all zeros or longer than a cell;
    what rounding leaves of 0 is 0.
    """
    if value is None:
        return "-"
    zeros = digits > 2 and _ROUNDING < abs(value) < 0.5 * 10**-digits
    odd = zeros or abs(value) >= 1e7
    return format(value, f"{sign}.{'1e' if odd else f'{digits}f'}").replace("-", _MINUS)


def _signed(value, digits=3):
    return _number(value, digits, "+")


def _between(low, high, digits=3, signed=False):
    """Return an interval in brackets, nothing where there is none."""
    if low is None or high is None:
        return ""
    form = _signed if signed else _number
    return f"({form(low, digits)} to {form(high, digits)})"


def _costs(rows):
    """Return one row for each model, the quickest first."""
    found = {row["model"]: row for row in rows}
    return sorted(found.values(), key=lambda row: row["fit_seconds"] or 0)


def _headline(run, metric):
    """Return what the leaderboard of one metric comes to, in a sentence or two."""
    rows = [r for r in run["leaderboard"] if r["metric"] == metric]
    scored = [r for r in rows if r["mean"] is not None]
    if not scored:
        return f"{metric}: no model has a score, since all failed in a fold."
    best = scored[0]
    better = "higher" if best["greater_is_better"] else "lower"
    said = f"{best['model']} is first of {len(rows)} by {metric} ({better} is better)"
    said += f": {_number(best['mean'])}"
    interval = _between(best["ci_low"], best["ci_high"])
    said += f" {interval}." if interval else ", without an interval."
    if best["best_baseline"] is None:
        return said + " No baseline was run."
    if best["model"] == best["best_baseline"]:
        return said + " It is a baseline: no model is better."
    low, high = best["difference_low"], best["difference_high"]
    said += f" That is {_signed(best['difference'])}"
    if low is None or high is None:
        return f"{said} from the best baseline, {best['best_baseline']}."
    said += f" {_between(low, high, signed=True)} from the best baseline, "
    said += best["best_baseline"]
    shown = low > 0 if best["greater_is_better"] else high < 0
    return said + ("." if shown else ", an interval that includes no difference.")
