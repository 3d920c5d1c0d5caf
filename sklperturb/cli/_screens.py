"""Commands on screens of signatures: models, simulate, leaderboard, submit."""

import time
from pathlib import Path
from typing import Annotated

from rich.table import Table
from typer import Option

from sklperturb.cli._app import app, log, out
from sklperturb.cli._cells import cell_task, is_cells, tell_of_fitting
from sklperturb.cli._choices import (
    Cv,
    check_taken,
    fitting,
    load_screen,
    load_sources,
    make_scoring,
    make_splitter,
    named,
    refuse_inputs,
    set_tuned,
    tell_of_asked,
)
from sklperturb.cli._ending import keeping
from sklperturb.cli._options import (
    Batch,
    Clip,
    Context,
    Control,
    Data,
    DataOrCells,
    Embedding,
    Jobs,
    MetricOrCells,
    NonFinite,
    NSplits,
    Obsm,
    Overwrite,
    Perturbation,
    ResponseLayer,
    Seed,
    Source,
    Splitter,
)
from sklperturb.cli._tables import (
    check_leaderboard,
    explain_gaps,
    render_leaderboard,
    write_leaderboard,
)
from sklperturb.utils._choices import OnNonfinite, Scoring

_INPUTS = ("de_train.h5ad", "de_test.h5ad", "id_map.csv", "sample_submission.csv")


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
def simulate(
    output: Annotated[
        Path, Option(file_okay=False, help="Folder to write the screen to.")
    ],
    n_contexts: Annotated[int, Option(help="Number of cell types.", min=3)] = 6,
    n_compounds: Annotated[int, Option(help="Number of compounds.", min=2)] = 146,
    n_genes: Annotated[int, Option(help="Number of genes.", min=1)] = 18211,
    seed: Seed = 0,
    overwrite: Overwrite = False,
):
    """Generate a compound screen shaped like OP2 and write it in its layout."""
    from sklperturb.datasets import make_chemical_screen, write_screen
    from sklperturb.datasets._write import check_screen_folder

    check_screen_folder(output, overwrite)
    screen = make_chemical_screen(n_contexts, n_compounds, n_genes, random_state=seed)
    write_screen(output, screen, overwrite=overwrite)
    out.print(
        f"{len(screen.X)} signatures to learn from and {len(screen.X_test)} to "
        f"predict, {len(screen.target_names)} genes: {output}"
    )


@app.command()
def leaderboard(
    data: DataOrCells,
    models: Annotated[
        str,
        Option(
            help="Comma-separated names; 'default', those that `sklperturb models` "
            "marks with yes; or 'all'. Of both sets, what the installed packages and "
            "the screen's columns allow. Baselines run besides. Of cells: additive, "
            "bilinear, flow, and with --embedding ridge, kernel, knn, "
            "bilinear_embedding."
        ),
    ] = "default",
    cv: Splitter = Cv.auto,
    n_splits: NSplits = 5,
    scoring: MetricOrCells = None,
    output: Annotated[
        Path | None,
        Option(
            file_okay=False,
            help="Folder for the tables and the plot; older ones are replaced.",
        ),
    ] = None,
    embedding: Embedding = None,
    source: Source = None,
    obsm: Obsm = None,
    perturbation: Perturbation = None,
    context: Context = None,
    control: Control = None,
    batch: Batch = None,
    max_steps: Annotated[
        int | None, Option(help="Steps of the training of flow.", min=1)
    ] = None,
    layer: ResponseLayer = None,
    clip: Clip = None,
    on_nonfinite: NonFinite = OnNonfinite.error,
    jobs: Jobs = 1,
    seed: Seed = 0,
):
    """Compare models and baselines on the same folds and rank them.

    With --output, finished folds are kept there, and a run that was stopped goes on
    where it was. With --embedding or --source the model gene_kernel is among the
    default ones.
    """
    from sklperturb.comparison import compare
    from sklperturb.comparison import leaderboard as rank

    of_cells = {
        "obsm": obsm,
        "perturbation": perturbation,
        "context": context,
        "control": control,
        "batch": batch,
        "max_steps": max_steps,
    }
    check_leaderboard(output)
    if is_cells(data):
        if clip is not None or on_nonfinite != OnNonfinite.error or source:
            raise ValueError(
                "clip=, on_nonfinite= and source= are for signatures; leave them out."
            )
        task = cell_task(
            *(data, models, cv, n_splits, scoring, seed),
            layer=layer,
            embedding=embedding,
            **of_cells,
        )
    else:
        if given := [name for name, value in of_cells.items() if value]:
            raise ValueError(
                f"{given[0]}= is for cells, and --data is a folder of signatures; "
                "leave it out."
            )
        models = named(models)
        screen = load_screen(data, layer, clip, on_nonfinite)
        default = models == "default"
        models = fitting(models, screen.schema)
        sources = load_sources(embedding, source)
        if sources and default:
            models.append("gene_kernel")
        check_taken(sources, models)
        splitter = make_splitter(cv, screen, n_splits, seed)
        tell_of_asked(screen, splitter)
        task = {
            "estimators": models,
            "X": screen.X,
            "y": screen.y,
            "cv": splitter,
            "scoring": [make_scoring(scoring or Scoring.mrrmse, screen)],
            "schema": screen.schema,
            "sources": sources,
        }
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
    kept = "nothing is kept without --output"
    if output is not None:
        kept = f"finished folds are in {output}; the same command goes on from there"
    with keeping(kept):
        comparison = compare(
            **task,
            n_jobs=jobs,
            error_score=float("nan"),
            random_state=seed,
            cache=None if output is None else output / "folds",
        )
        table = rank(comparison)
        out.print(render_leaderboard(table))
        explain_gaps(table)
        if output is not None:
            write_leaderboard(output, table, comparison.folds)
    if is_cells(data):
        tell_of_fitting(table, data, embedding, layer, obsm)


@app.command()
def submit(
    data: Data,
    model: Annotated[str, Option(help="A name that `sklperturb models` lists.")],
    output: Annotated[
        Path,
        Option(
            dir_okay=False,
            help="File to write: .csv or .h5ad, of a VCPI folder .csv or .parquet.",
        ),
    ],
    params: Annotated[
        Path | None,
        Option(
            exists=True, dir_okay=False, help="The best.json that tune has written."
        ),
    ] = None,
    embedding: Embedding = None,
    source: Source = None,
    layer: ResponseLayer = None,
    clip: Clip = None,
    on_nonfinite: NonFinite = OnNonfinite.error,
    seed: Seed = 0,
    budget: Annotated[
        str | None,
        Option(
            metavar="[fast|thorough|SECONDS]",
            help="How long the model best is trained. By default fast.",
        ),
    ] = None,
    jobs: Jobs = -1,
    overwrite: Overwrite = False,
):
    """Fit a model on everything and write its predictions for the id map."""
    from sklearn.utils.validation import has_fit_parameter

    from sklperturb.datasets import write_submission, write_vcpi_submission
    from sklperturb.datasets._vcpi import VCPI_FILES, is_vcpi
    from sklperturb.datasets._write import SUFFIXES, VCPI_SUFFIXES
    from sklperturb.files._writing import check_output
    from sklperturb.metrics import mrrmse
    from sklperturb.models import make_model

    long = is_vcpi(data)
    check_output(output, VCPI_SUFFIXES if long else SUFFIXES, overwrite)
    refuse_inputs([data / name for name in (*_INPUTS, *VCPI_FILES)], [output])
    estimator = make_model(model)  # tells at once what is not installed
    if params is not None:
        log.info(f"Parameters: {set_tuned(estimator, model, params)}")
    if budget is not None and model != "best":
        raise ValueError(f"--budget is for the model 'best'; {model!r} has none.")
    if budget is not None:
        from sklperturb.models._parts import check_budget

        # Before anything is read, so that a wrong one costs nothing.
        budget = float(budget) if _is_number(budget) else budget
        check_budget(budget)
    screen = load_screen(data, layer, clip, on_nonfinite)
    fitting([model], screen.schema)
    sources = load_sources(embedding, source)
    check_taken(sources, [model])
    tell_of_asked(screen)
    start = time.perf_counter()
    estimator = make_model(
        model, schema=screen.schema, random_state=seed, sources=sources
    )
    if budget is not None:
        estimator.set_params(budget=budget)
    if "n_jobs" in estimator.get_params(deep=False):
        estimator.set_params(n_jobs=jobs)
    if params is not None:
        set_tuned(estimator, model, params)
    known = {}
    if has_fit_parameter(estimator, "X_unlabeled"):
        known["X_unlabeled"] = screen.X_test
    n_rows, n_genes = screen.y.shape
    log.info(f"Fitting {model} to {n_rows} rows of {n_genes} genes.")
    y_pred = estimator.fit(screen.X, screen.y, **known).predict(screen.X_test)
    write = write_vcpi_submission if long else write_submission
    uns = {"method_id": model} if output.suffix == ".h5ad" else {}
    write(output, y_pred, screen.id_map, screen.target_names, **uns)
    n_rows, n_genes = y_pred.shape
    seconds = time.perf_counter() - start
    out.print(f"{n_rows} rows, {n_genes} genes, {seconds:.1f} s: {output}")
    if screen.y_test is not None:
        out.print(f"MRRMSE on the known answers: {mrrmse(screen.y_test, y_pred):.4f}")


def _is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True
