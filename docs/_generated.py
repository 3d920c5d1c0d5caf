"""Pages and tables that are written from the package while the site is built.

What is listed here is what exists: a command, an option, a metric or a model that is
added needs no change. Each function returns Markdown; ``conf.py`` puts it in the place
of a comment such as ``<!-- generated: metrics -->``, and tests read the text.
"""

import inspect
import re
from importlib import import_module

import typer

from sklperturb.baseline import AdditiveRegressor
from sklperturb.cli import app
from sklperturb.evaluation import CONVENTIONS
from sklperturb.metrics import POPULATION_METRICS, ROWWISE_METRICS, WeightedMSEScorer
from sklperturb.models import KINDS, list_models
from sklperturb.testing import perturbation_checks
from sklperturb.utils._choices import SCORER_NAMES

_BEST = {True: "higher", False: "lower"}


def table(header, rows):
    """Return a Markdown table; a bar inside a cell does not end the cell."""
    lines = [header, ["---"] * len(header), *rows]
    cells = ([str(cell).replace("|", "\\|") for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def link(module, name):
    """Return a link to what the reference says of a public name."""
    kind = "class" if inspect.isclass(getattr(import_module(module), name)) else "func"
    return f"{{py:{kind}}}`~{module}.{name}`"


def models():
    """Return one table of registered models for each kind."""
    parts = []
    for kind in KINDS:
        rows = []
        for entry in list_models(kind):
            made_of = entry.made_of
            if entry.composition is None:
                module, _, name = entry.path.partition(":")
                made_of = link(module, name)
            default = "yes" if entry.default else ""
            row = [f"`{entry.name}`", entry.summary, default, entry.needs, made_of]
            rows.append(row)
        header = ["model", "what it is", "default", "needs", "estimator"]
        parts.append(f"#### {kind}\n\n{table(header, rows)}")
    return "\n\n".join(parts)


def metrics():
    """Return the table of scores of rows, which ``--scoring`` and ``compare`` take."""
    scorers = {of: name for name, of in SCORER_NAMES.items()}
    rows = [
        [
            f"`{name}`",
            metric.description,
            _BEST[metric.greater_is_better],
            f"`{scorers[name]}`",
        ]
        for name, metric in ROWWISE_METRICS.items()
    ]
    weighted = link("sklperturb.metrics", WeightedMSEScorer.__name__)
    name = WeightedMSEScorer.name
    rows.append([f"`{name}`", "mean weighted squared error", "lower", weighted])
    return table(["name", "what it is", "better", "as a scorer"], rows)


def cell_metrics():
    """Return the tables of what predicted cells are scored by."""
    conventions = [
        [f"`{name}`", convention.description, convention.values]
        for name, convention in CONVENTIONS.items()
    ]
    populations = [
        [f"`{name}`", link("sklperturb.metrics", function.__name__)]
        for name, function in POPULATION_METRICS.items()
    ]
    return "\n\n".join(
        [
            table(["convention", "what it is", "cells hold"], conventions),
            "Distances between the cells of one condition, measured and predicted:",
            table(["name", "function"], populations),
        ]
    )


def checks():
    """Return what is asked of an estimator, check by check."""
    rows = [
        [f"`{name}`", _first_line(check.func.__doc__)]
        for name, check in perturbation_checks(AdditiveRegressor())
    ]
    return table(["check", "what it asks"], rows)


def commands():
    """Return the list of commands, each with a link to its section."""
    rows = [
        [f"[{name}](#sklperturb-{name})", _first_line(command.help)]
        for name, command in _commands().items()
    ]
    return table(["command", "what it does"], rows)


def reference():
    """Return what the command line takes: each command with its options."""
    program = _program()
    parts = [f"## Before the command\n\n{_options(program, _context(program, ''))}"]
    for name, command in _commands().items():
        context = _context(command, name)
        usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
        heading = f"## sklperturb {name}"
        parts += [
            heading,
            _named(inspect.cleandoc(command.help or "")),
            f"```text\n{usage}\n```",
        ]
        parts.append(_options(command, context))
    return "\n\n".join(parts)


def _commands():
    return _program().commands


def _program():
    return typer.main.get_command(app)


def _context(command, name):
    """Return what click writes help with; wide, so that no line is broken."""
    wide = {"terminal_width": 100_000, "max_content_width": 100_000}
    return typer.Context(command, info_name=f"sklperturb {name}".strip(), **wide)


def _first_line(text):
    return " ".join((text or "").strip().partition("\n\n")[0].split())


def _options(command, context):
    """Return the table of what a command takes: what `--help` says, in columns."""
    rows = []
    for param in command.params:
        record = param.get_help_record(context)
        if record is None:  # hidden
            continue
        name, text = record
        text, _, extra = text.partition("  [")
        names, _, takes = name.partition(" ")
        while takes.startswith("-") or names.endswith(","):
            more, _, takes = takes.partition(" ")
            names = f"{names} {more}"
        extra = extra.removesuffix("]").split("; ")
        default = next((x for x in extra if x.startswith("default: ")), "")
        bounds = "; ".join(x for x in extra if re.match(r"[-\d.]*<?=?x[<>]?=?", x))
        rows.append(
            [
                ", ".join(f"`{each}`" for each in names.split(", ")),
                _named(text.strip()),
                " ".join(filter(None, (_choices(takes), _code(bounds)))),
                "required" if "required" in extra else _code(default[9:]),
            ]
        )
    return table(["option", "what it does", "takes", "default"], rows)


def _choices(takes):
    """Return what an option takes; of choices each on its own, so that lines break."""
    if "|" in takes:
        return ", ".join(f"`{each}`" for each in takes.strip("<>[]").split("|"))
    takes = takes.replace(" range>", ">").replace("list[Path]", "path")
    return _code(takes)


def _named(text):
    """Return a text with options as code; two hyphens would become a dash."""
    return re.sub(r"(?<![\w`-])--[a-z][\w-]*", r"`\g<0>`", text)


def _code(text):
    return f"`{text}`" if text else ""


PARTS = {
    part.__name__: part
    for part in (models, metrics, cell_metrics, checks, commands, reference)
}
MARK = re.compile(r"^<!-- generated: (\w+) -->$", re.MULTILINE)


def fill_in(text):
    """Return a page with what its comments stand for."""
    return MARK.sub(lambda mark: PARTS[mark.group(1)](), text)
