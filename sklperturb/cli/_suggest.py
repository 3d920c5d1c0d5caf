"""The command that plans experiments: suggest."""

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

from rich.table import Table
from typer import BadParameter, Option

from sklperturb.cli._app import app, log, out
from sklperturb.cli._choices import (
    check_taken,
    fitting,
    load_screen,
    load_sources,
    refuse_inputs,
)
from sklperturb.cli._options import (
    Clip,
    Context,
    Data,
    Embedding,
    NonFinite,
    Overwrite,
    Perturbation,
    ResponseLayer,
    Seed,
    Source,
)
from sklperturb.cli._tables import read_files, write
from sklperturb.utils._choices import (
    DesignCriterion,
    DesignStrategy,
    DesignUnit,
    OnNonfinite,
)

_SUFFIXES = (".csv", ".parquet")
# Strategies that ask a model.
_TOLD = ("expected_error", "disagreement")
# Rows that are shown.
_SHOWN = 10


def _limit(value: str):
    """Return the column and the number of COLUMN=K."""
    found = re.fullmatch(r"(.+)=(\d+)", value)
    if not found:
        raise BadParameter(f"{value!r} is not COLUMN=K, such as plate=96.")
    return found[1], int(found[2])


@app.command()
def suggest(
    data: Data,
    n: Annotated[
        int, Option("--n", help="Experiments to choose: rows, or perturbations.", min=1)
    ],
    output: Annotated[
        Path,
        Option(dir_okay=False, help="File to write the plan to, .csv or .parquet."),
    ],
    candidates: Annotated[
        Path | None,
        Option(
            exists=True,
            dir_okay=False,
            help="What can be measured, .csv, .tsv or .parquet: a row for each "
            "condition, with columns called as in the screen, such as cell_type, "
            "sm_name and SMILES; prices and plates may be there, too. By default the "
            "id map.",
        ),
    ] = None,
    targets: Annotated[
        Path | None,
        Option(
            exists=True,
            dir_okay=False,
            help="What shall be predicted, in the same form. By default the id map, or "
            "the candidates where there is none.",
        ),
    ] = None,
    model: Annotated[
        str | None, Option(help="A name that `sklperturb models` lists.")
    ] = None,
    strategy: Annotated[
        DesignStrategy,
        Option(
            help="How to choose: expected_error, by what the model says that one "
            "condition tells of others; disagreement of refits, of any model; "
            "distance, k_centre, clusters, one_context_first and random need none."
        ),
    ] = DesignStrategy.expected_error,
    criterion: Annotated[
        DesignCriterion,
        Option(
            help="What is reduced: the mean error of all targets; of those that are "
            "not measured yet; or the mean squared error."
        ),
    ] = DesignCriterion.error,
    unit: Annotated[
        DesignUnit,
        Option(help="Whether one row is chosen at a time, or all of a perturbation."),
    ] = DesignUnit.pair,
    top: Annotated[
        bool,
        Option(
            "--top",
            help="Take those that are best on their own, in place of each counting on "
            "those before it; with expected_error and disagreement.",
        ),
    ] = False,
    cost_column: Annotated[
        str | None,
        Option(
            help="Column of the candidates with the cost of each. By default all cost "
            "the same."
        ),
    ] = None,
    max_per: Annotated[
        list[str] | None,
        Option(
            metavar="COLUMN=K",
            help="At most K rows of each level of a column, such as plate=96. May be "
            "given several times.",
        ),
    ] = None,
    cluster_column: Annotated[
        str | None,
        Option(
            help="Column of the candidates for --strategy clusters, such as the "
            "mechanism. By default clusters are found."
        ),
    ] = None,
    skip_measured: Annotated[
        bool,
        Option(
            "--skip-measured",
            help="Leave out candidates that are measured already, in place of an "
            "error.",
        ),
    ] = False,
    embedding: Embedding = None,
    source: Source = None,
    perturbation: Perturbation = None,
    context: Context = None,
    layer: ResponseLayer = None,
    clip: Clip = None,
    on_nonfinite: NonFinite = OnNonfinite.error,
    seed: Seed = 0,
    overwrite: Overwrite = False,
):
    """Choose what to measure next, so that the rest can be predicted best.

    The plan is a table of the chosen candidates in their order, with what each takes
    off the expected error, what remains, and a reason. The model is one of kind kernel:
    by default gene_kernel with --embedding or --source, tanimoto_kernel for compounds
    that were never measured or whose targets these tell of, and else response_kernel.
    """
    from sklperturb.files._writing import check_output
    from sklperturb.model_selection import suggest_experiments
    from sklperturb.models import make_model

    check_output(output, _SUFFIXES, overwrite)
    refuse_inputs(read_files(data, candidates, targets, embedding, source), [output])
    limits = dict(map(_limit, max_per or ()))
    if top and strategy not in _TOLD:
        raise ValueError(
            f"--top is for --strategy {' and '.join(_TOLD)}, and {strategy!r} is "
            "given; leave it out, or choose one of these."
        )
    if model is not None:
        make_model(model)  # tells at once what is not installed
    screen = load_screen(data, layer, clip, on_nonfinite, perturbation, context)
    asked, can = (_conditions(path, screen) for path in (targets, candidates))
    if can is None:
        if not len(screen.X_test):
            raise ValueError(
                f"{data} has no id_map.csv; pass candidates= to name what can be "
                "measured."
            )
        told = screen.id_map.drop(columns=["id", *screen.X_test], errors="ignore")
        can = screen.X_test.assign(**told.set_axis(screen.X_test.index))
    if asked is None and len(screen.X_test):
        asked = screen.X_test
    sources = load_sources(embedding, source)
    model = model or _default(screen, can if asked is None else asked, sources)
    fitting([model], screen.schema)
    check_taken(sources, [model])
    if strategy in _TOLD:
        log.info(f"Asking {model} what conditions tell of each other.")
    plan = suggest_experiments(
        make_model(model, schema=screen.schema, random_state=seed, sources=sources),
        screen.X,
        screen.y,
        can,
        n,
        targets=asked,
        costs=cost_column,
        batch="top" if top else "greedy",
        strategy=strategy,
        criterion=criterion,
        unit=unit,
        max_per=limits or None,
        clusters=cluster_column,
        skip_measured=skip_measured,
        schema=screen.schema,
        random_state=seed,
    )
    columns = screen.schema.columns("perturbation", "context")
    out.print(_render(plan, columns, cost_column is not None))
    _tell(plan)
    save = plan.to_csv if output.suffix == ".csv" else plan.to_parquet
    plan.attrs = {}  # not all of it is text
    write(output, save, index=False)


def _conditions(path, screen):
    """Return the conditions in a file, None without one."""
    from sklperturb.datasets._clean import check_units, clean_conditions
    from sklperturb.files._tables import read_parquet, read_table

    if path is None:
        return None
    labels = screen.schema.columns("context", "perturbation", "smiles")
    if path.suffix == ".parquet":
        table = read_parquet(path)
    else:
        table = read_table(path, labels)
    needed = screen.schema.columns("context", "perturbation")
    if absent := [name for name in needed if name not in table]:
        raise ValueError(
            f"{path} lacks the columns {absent}; it has {list(table.columns)}. Each "
            "row names a condition in the words of the screen."
        )
    given = list(table.columns)
    table = clean_conditions(table, screen.schema, path.name)
    check_units({"the screen": screen.X, path.name: table}, screen.schema.dose)
    return table[given]


def _default(screen, asked, sources):
    """Return the name of the model that suits what is asked."""
    schema = screen.schema
    with_rdkit = find_spec("rdkit") is not None
    # Of compounds, sources tell of the target genes.
    of_targets = with_rdkit and schema.names_compounds and schema.mechanism is not None
    if sources:
        return "tanimoto_kernel" if of_targets else "gene_kernel"
    new = ~asked[schema.perturbation].isin(screen.X[schema.perturbation])
    told = with_rdkit and schema.columns("smiles", "mechanism")
    return "tanimoto_kernel" if told and new.mean() > 0.5 else "response_kernel"


def _render(plan, columns, costs):
    """Return the first rows of a plan as a table."""
    table = Table(box=None, pad_edge=False)
    told = plan["gain"].notna().any()
    table.add_column("", justify="right")
    for name in columns:
        table.add_column(name)
    for name in ("gain", "expected error") if told else ():
        table.add_column(name, justify="right", no_wrap=True)
    if costs:
        table.add_column("cost", justify="right", no_wrap=True)
    table.add_column("reason")
    for number, (_, row) in enumerate(plan.head(_SHOWN).iterrows(), 1):
        numbers = ["gain", "expected_error"] if told else []
        table.add_row(
            str(number),
            *(str(row[name]) for name in columns),
            *(f"{row[name]:.4f}" for name in numbers),
            *([f"{row['cost']:g}"] if costs else []),
            row["reason"],
        )
    if len(plan) > _SHOWN:
        table.add_row("...", *[""] * (len(table.columns) - 1))
    return table


def _tell(plan):
    """Say what is expected to remain, and how right such numbers were."""
    about, last = plan.attrs, plan.iloc[-1]
    if not plan["gain"].notna().any():
        log.info("What remains is not told: the strategy asks no model.")
        return
    rest = last["expected_error_unmeasured"]
    of_rest = "" if rest != rest else f", {rest:.4f} of those not measured by then"
    out.print(
        f"Expected error of the targets: {about['expected_error']:.4f} now, "
        f"{last['expected_error']:.4f} after these{of_rest}."
    )
    found = about["calibration"]
    if not found["n_rows"]:
        why = f": {found['why']}" if "why" in found else ""
        log.info(f"These numbers are not calibrated{why}.")
        return
    log.info(
        f"Calibrated: what the model expects is multiplied by {found['ratio']:.2f} "
        f"({found['low']:.2f}, {found['high']:.2f}), which errors of "
        f"{found['n_rows']} held-out rows have shown."
    )
