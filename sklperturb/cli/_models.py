"""Commands on one model: models, fit, predict, info, submit."""

import time
from pathlib import Path
from typing import Annotated

from rich.table import Table
from typer import Argument, Option
from typer import Context as ContextOfCommand

from sklperturb.cli._app import app, log, out
from sklperturb.cli._cells import fit_file, generates_cells, is_cells
from sklperturb.cli._choices import (
    check_budget,
    check_taken,
    connected,
    fitting,
    load_screen,
    load_sources,
    on_cluster,
    read_conditions,
    refuse_inputs,
    set_tuned,
    tell_of_asked,
    with_intervals,
)
from sklperturb.cli._options import (
    Batch,
    Checkpoint,
    Clip,
    Context,
    Control,
    Dask,
    Data,
    DataOrCells,
    Embedding,
    IntervalOf,
    Intervals,
    Jobs,
    Latent,
    MaxSteps,
    NonFinite,
    Obsm,
    Overwrite,
    Perturbation,
    ResponseLayer,
    Seed,
    Source,
)
from sklperturb.cli._tables import (
    check_names,
    command_of,
    read_files,
    write_predictions,
)
from sklperturb.utils._choices import OnNonfinite

_PREDICTIONS = (".csv", ".parquet", ".h5ad")

Name = Annotated[str, Option(help="A name that `sklperturb models` lists.")]
Params = Annotated[
    Path | None,
    Option(exists=True, dir_okay=False, help="The best.json that tune has written."),
]
Budget = Annotated[
    str | None,
    Option(
        metavar="[fast|thorough|SECONDS]",
        help="How long the model best is trained. By default fast.",
    ),
]
Kept = Annotated[Path, Argument(metavar="MODEL", help="A file that fit wrote, .skpt.")]


@app.command()
def models():
    """List the registered models: what they are made of, and what they need.

    Those with "yes" under "default" are run by leaderboard without being asked. A need
    in brackets is an extra that is not installed. A narrow terminal shows less of each.
    """
    from rich.console import Console

    from sklperturb.models import list_models

    narrow = out.is_terminal and Console().width < out.width
    columns = ("model", "kind", "default", "estimator", "needs", "what it is")
    if narrow:
        columns = ("model", "default", "what it is")
    table = Table(*columns, box=None, pad_edge=False)
    for entry in list_models():
        needs = entry.needs if entry.available else f"({entry.needs})"
        default = "yes" if entry.default else ""
        row = entry.name, entry.kind, default, entry.made_of, needs, entry.summary
        if narrow:
            needs = f"; needs {needs}" if needs else ""
            row = entry.name, default, f"{entry.summary}{needs}"
        table.add_row(*row)
    out.print(table, width=Console().width if narrow else None)


@app.command()
def fit(
    ctx: ContextOfCommand,
    data: DataOrCells,
    output: Annotated[
        Path, Option(dir_okay=False, help="File to keep the model in, .skpt.")
    ],
    model: Annotated[
        str | None, Option(help="A name that `sklperturb models` lists.")
    ] = None,
    params: Params = None,
    embedding: Embedding = None,
    source: Source = None,
    layer: ResponseLayer = None,
    obsm: Obsm = None,
    latent: Latent = None,
    checkpoint: Checkpoint = None,
    perturbation: Perturbation = None,
    context: Context = None,
    control: Control = None,
    batch: Batch = None,
    max_steps: MaxSteps = None,
    clip: Clip = None,
    on_nonfinite: NonFinite = OnNonfinite.error,
    seed: Seed = 0,
    budget: Budget = None,
    intervals: Intervals = False,
    jobs: Jobs = -1,
    dask: Dask = None,
    overwrite: Overwrite = False,
):
    """Fit a model to a screen and keep it in a file for predict, or predict-cells.

    The file holds numbers and text and no program: it is safe to open, whoever wrote
    it. What it holds and what it does not is told by info. Of a file of cells, what is
    fitted generates cells, and --model need not be given: see fit-cells, which has more
    options.
    """
    from sklperturb.files._writing import check_output
    from sklperturb.persistence import save

    of_cells = {
        "obsm": obsm,
        "latent": latent,
        "checkpoint": checkpoint,
        "control": control,
        "batch": batch,
        "max_steps": max_steps,
    }
    if is_cells(data):
        if model not in (None, "flow"):
            raise ValueError(
                f"The model {model!r} is for signatures, and --data are cells; leave "
                "model= out, or `sklperturb signatures` makes signatures of cells."
            )
        others = params, source, clip, budget, intervals or None, dask
        changed = on_nonfinite != OnNonfinite.error or jobs != -1
        if changed or any(o is not None for o in others):
            raise ValueError(
                "params=, source=, clip=, on_nonfinite=, budget=, intervals=, jobs= "
                "and dask= are for signatures; leave them out."
            )
        of_cells |= {"perturbation": perturbation, "context": context, "layer": layer}
        fit_file(*(data, output, embedding, seed, overwrite), **of_cells)
        return
    if given := [name for name, value in of_cells.items() if value is not None]:
        raise ValueError(
            f"{given[0]}= is for cells, and --data is a folder of signatures; leave it "
            "out."
        )
    if model is None:
        raise ValueError(
            "Pass model= to name what is fitted; `sklperturb models` lists the names."
        )
    check_output(output, (".skpt",), overwrite)
    cluster = on_cluster(ctx.with_resource(connected(dask)))
    start = time.perf_counter()
    screen, estimator = _fitted(
        *(data, model, params, budget),
        (layer, clip, on_nonfinite, perturbation, context),
        *((embedding, source), (seed, jobs, cluster)),
        intervals=intervals,
    )
    save(
        estimator,
        output,
        X=screen.X,
        y=screen.y,
        schema=screen.schema,
        overwrite=overwrite,
    )
    n_rows, n_genes = screen.y.shape
    seconds, size = time.perf_counter() - start, output.stat().st_size / 1e6
    out.print(
        f"{model}, {n_rows} rows, {n_genes} genes, {seconds:.1f} s, {size:.1f} MB: "
        f"{output}"
    )
    columns = screen.schema.columns("context", "perturbation")
    columns = " and ".join(getattr(estimator, "_used_columns", lambda: columns)())
    files = {"conditions": "FILE.csv", "output": "predictions.csv"}
    command = command_of("predict", output, **files)
    log.info(f"Next: {command}, where FILE.csv has the columns {columns}.")


@app.command()
def predict(
    path: Kept,
    conditions: Annotated[
        Path,
        Option(
            exists=True,
            dir_okay=False,
            help="What to predict, .csv, .tsv or .parquet: a row for each condition, "
            "with columns called as in the data that the model was fitted to, such as "
            "cell_type, sm_name and, of new compounds, SMILES. `sklperturb info` "
            "names them.",
        ),
    ],
    output: Annotated[
        Path,
        Option(
            dir_okay=False,
            help="File to write: the conditions, and a column for each gene. .csv, "
            ".parquet, or .h5ad with the genes in var.",
        ),
    ],
    interval: IntervalOf = None,
    overwrite: Overwrite = False,
):
    """Predict the responses to any conditions with a model that fit has kept."""
    import numpy as np
    import pandas as pd

    from sklperturb.files._reading import FileError, check_file
    from sklperturb.files._writing import check_output
    from sklperturb.persistence import load, read_info

    ends = ("_lower", "_upper") if interval is not None else ()
    files = [output.with_stem(f"{output.stem}{end}") for end in ("", *ends)]
    for file in files:
        check_output(file, _PREDICTIONS, overwrite)
    check_file(path, "model")
    refuse_inputs([path, conditions], files)
    start = time.perf_counter()
    known = read_info(path)
    if generates_cells(known.model_class):
        raise ValueError(
            f"{path} holds a model that generates cells; use `sklperturb "
            "predict-cells`."
        )
    model = load(path)
    if not hasattr(model, "predict"):
        raise ValueError(
            f"{path} holds a {type(model).__name__}, which does not predict."
        )
    if ends and not hasattr(model, "predict_interval"):
        raise ValueError(
            f"{path} holds a {type(model).__name__}, which has no intervals; run "
            "`sklperturb fit` with --intervals."
        )
    X = read_conditions(conditions, known, path)
    check_names(conditions, X, output)
    _tell_of_new(X, model, known)
    tables = [model.predict(X), *(model.predict_interval(X, interval) if ends else ())]
    y_pred, *_ = tables = [np.asarray(t).reshape(len(X), -1) for t in tables]
    genes = known.genes or [f"gene_{i}" for i in range(y_pred.shape[1])]
    if len(genes) != y_pred.shape[1]:
        raise FileError(
            f"{path} names {len(genes)} genes, and its model predicts "
            f"{y_pred.shape[1]}. Save it again with the y that it was fitted to."
        )
    if taken := sorted(set(genes) & set(X)):
        raise ValueError(
            f"{conditions} has the columns {taken[:5]}, which are genes that the model "
            "predicts; remove them."
        )
    for file, table in zip(files, tables, strict=True):
        write_predictions(file, X, pd.DataFrame(table, X.index, genes))
    n_rows, n_genes = y_pred.shape
    seconds = time.perf_counter() - start
    out.print(f"{n_rows} rows, {n_genes} genes, {seconds:.1f} s: {output}")


@app.command()
def info(path: Kept):
    """Report what a kept model is and was fitted to. Only its manifest is read."""
    from sklperturb.files._reading import check_file
    from sklperturb.persistence import read_info

    check_file(path, "model")
    known = read_info(path)
    roles = {column: role for role, column in (known.schema or {}).items()}
    columns = [
        f"{name} ({roles[name]})" if name in roles else str(name)
        for name in known.columns or ()
    ]
    rows = {
        "model": known.model_class,
        "parameters": ", ".join(f"{k}={v}" for k, v in known.parameters.items()),
        "conditions": known.n_samples,
        "columns": ", ".join(columns),
        "to predict": ", ".join(map(str, known.columns_read or ())),
        "contexts": known.contexts and _listed(known.contexts),
        "genes": known.genes and f"{len(known.genes)}, such as {known.genes[0]}",
        "data": known.fingerprint and f"SHA-256 {known.fingerprint}",
        "written by": f"sklperturb {known.written_by}",
        "with": ", ".join(f"{k} {v}" for k, v in known.libraries.items()),
        "needs trust": ", ".join(known.foreign),
    }
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, value in rows.items():
        if value:
            table.add_row(name, str(value))
    for score in known.scores:
        table.add_row("score", ", ".join(f"{k} {v}" for k, v in score.items()))
    out.print(table)


@app.command()
def submit(
    ctx: ContextOfCommand,
    data: Data,
    model: Name,
    output: Annotated[
        Path,
        Option(
            dir_okay=False,
            help="File to write: .csv or .h5ad, of a VCPI folder .csv or .parquet.",
        ),
    ],
    params: Params = None,
    embedding: Embedding = None,
    source: Source = None,
    perturbation: Perturbation = None,
    context: Context = None,
    layer: ResponseLayer = None,
    clip: Clip = None,
    on_nonfinite: NonFinite = OnNonfinite.error,
    seed: Seed = 0,
    budget: Budget = None,
    jobs: Jobs = -1,
    dask: Dask = None,
    overwrite: Overwrite = False,
):
    """Fit a model on everything and write its predictions for the id map."""
    from sklperturb.datasets import write_submission, write_vcpi_submission
    from sklperturb.datasets._vcpi import is_vcpi
    from sklperturb.datasets._write import SUFFIXES, VCPI_SUFFIXES
    from sklperturb.files._writing import check_output
    from sklperturb.metrics import mrrmse

    long = is_vcpi(data)
    check_output(output, VCPI_SUFFIXES if long else SUFFIXES, overwrite)
    refuse_inputs(read_files(data, params, embedding, source), [output])
    cluster = on_cluster(ctx.with_resource(connected(dask)))
    start = time.perf_counter()
    screen, estimator = _fitted(
        *(data, model, params, budget),
        (layer, clip, on_nonfinite, perturbation, context),
        *((embedding, source), (seed, jobs, cluster)),
        asked=True,
    )
    y_pred = estimator.predict(screen.X_test)
    write = write_vcpi_submission if long else write_submission
    uns = {"method_id": model} if output.suffix == ".h5ad" else {}
    write(output, y_pred, screen.id_map, screen.target_names, **uns)
    n_rows, n_genes = y_pred.shape
    seconds = time.perf_counter() - start
    out.print(f"{n_rows} rows, {n_genes} genes, {seconds:.1f} s: {output}")
    if screen.y_test is not None:
        out.print(f"MRRMSE on the known answers: {mrrmse(screen.y_test, y_pred):.4f}")


def _fitted(
    data, model, params, budget, reading, known, how, *, asked=False, intervals=0
):
    """Return the screen of a folder and a registered model that is fitted to it.

    With `asked`, a screen without rows to predict is refused before anything is fitted.
    """
    from sklearn.utils.validation import has_fit_parameter

    from sklperturb.models import make_model

    seed, jobs, cluster = how
    estimator = make_model(model)  # tells at once what is not installed
    if params is not None:
        log.info(f"Parameters: {set_tuned(estimator, model, params)}")
    budget = check_budget(budget, model)
    screen = load_screen(data, *reading)
    if asked and len(screen.X_test) == 0:
        raise ValueError(
            f"{data} has no id_map.csv, so that nothing is to be predicted. Add one, "
            "or use `sklperturb fit` and `sklperturb predict`."
        )
    fitting([model], screen.schema)
    sources = load_sources(*known)
    check_taken(sources, [model])
    tell_of_asked(screen)
    estimator = make_model(
        model, schema=screen.schema, random_state=seed, sources=sources
    )
    if budget is not None:
        estimator.set_params(budget=budget)
    if "n_jobs" in estimator.get_params(deep=False):
        estimator.set_params(n_jobs=jobs)
    if params is not None:
        set_tuned(estimator, model, params)
    unlabeled = {}
    if len(screen.X_test) and has_fit_parameter(estimator, "X_unlabeled"):
        unlabeled["X_unlabeled"] = screen.X_test
    if intervals:
        estimator = with_intervals(estimator, screen, seed, jobs)
    n_rows, n_genes = screen.y.shape
    log.info(f"Fitting {model} to {n_rows} rows of {n_genes} genes.")
    with cluster:
        return screen, estimator.fit(screen.X, screen.y, **unlabeled)


def _tell_of_new(X, model, known):
    """Say which of the conditions hold what the model has not seen."""
    schema = getattr(model, "schema_", None)
    for role in ("perturbation", "context"):
        column, seen = getattr(schema, role, None), getattr(model, f"{role}s_", None)
        if column not in X or seen is None:
            continue
        new = X.loc[~X[column].isin(list(map(str, seen))), column]
        if len(new):
            log.info(
                f"{len(new)} of {len(X)} rows have a {role} that was not measured: "
                f"{_some(new.unique())}. Measured were {_some(seen)}."
            )
            roles, read = known.schema or {}, known.columns_read
            told = list(filter(None, map(roles.get, ("smiles", "mechanism"))))
            unread = told and read is not None and not set(told) & set(read)
            if role == "perturbation" and unread:
                log.info(
                    f"The model does not read {' or '.join(told)}: new compounds are "
                    "all predicted alike. tanimoto_kernel tells them apart by "
                    "structure and mechanism, and best where that helps."
                )


def _listed(names):
    return f"{len(names)}: {', '.join(names[:20])}" + ", ..." * (len(names) > 20)


def _some(names):
    return ", ".join(map(str, names[:5])) + ", ..." * (len(names) > 5)
