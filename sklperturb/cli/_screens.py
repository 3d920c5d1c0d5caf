"""Commands on screens of signatures: models, simulate, leaderboard, submit."""

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from sklperturb.cli._app import Clip, Data, Layer, Seed, app, log, out
from sklperturb.cli._choices import CV_NAMES, describe, make_splitter, named
from sklperturb.cli._tables import render, write_tables
from sklperturb.cli._tuned import set_tuned


@app.command()
def models():
    """List the registered models: what they are made of, and what they need.

    Those with "yes" under "default" are run by leaderboard without being asked. A need
    in brackets is an extra that is not installed.
    """
    from sklperturb.models import list_models

    columns = ("model", "kind", "default", "estimator", "needs", "what it is")
    table = Table(*columns, box=None, pad_edge=False)
    for entry in list_models():
        needs = entry.needs if entry.available else f"({entry.needs})"
        default = "yes" if entry.default else ""
        table.add_row(
            entry.name, entry.kind, default, entry.made_of, needs, entry.summary
        )
    out.print(table)


@app.command()
def simulate(
    output: Annotated[Path, typer.Option(help="Folder to write the screen to.")],
    contexts: Annotated[int, typer.Option(help="Cell types.")] = 6,
    compounds: Annotated[int, typer.Option(help="Compounds.")] = 146,
    genes: Annotated[int, typer.Option(help="Genes.")] = 18211,
    seed: Seed = 0,
    overwrite: Annotated[bool, typer.Option(help="Replace a screen there.")] = False,
):
    """Generate a compound screen shaped like OP2 and write it in its layout."""
    from sklperturb.datasets import make_chemical_screen, write_screen

    screen = make_chemical_screen(contexts, compounds, genes, random_state=seed)
    write_screen(output, screen, overwrite=overwrite)
    out.print(
        f"{len(screen.X)} signatures to learn from and {len(screen.X_test)} to "
        f"predict, {len(screen.target_names)} genes: {output}"
    )


@app.command()
def leaderboard(
    data: Data,
    models: Annotated[
        str,
        typer.Option(
            help="Comma-separated names; 'default', those that `sklperturb models` "
            "marks with yes; or 'all'. Of both sets, what the installed packages and "
            "the screen's columns allow. Baselines run besides."
        ),
    ] = "default",
    cv: Annotated[str, typer.Option(help=f"One of {', '.join(CV_NAMES)}.")] = "auto",
    folds: Annotated[int, typer.Option(help="Folds of the splitter.", min=2)] = 5,
    metric: Annotated[
        str, typer.Option(help="mrrmse, mrmae, pearson, spearman or cosine.")
    ] = "mrrmse",
    output: Annotated[
        Path | None, typer.Option(help="Folder for the tables and the plot.")
    ] = None,
    layer: Layer = None,
    clip: Clip = None,
    jobs: Annotated[int, typer.Option(help="Processes; -1 is one a core.")] = 1,
    seed: Seed = 0,
):
    """Compare models and baselines on the same folds and rank them.

    With --output, finished folds are kept there, and a run that was stopped goes on
    where it was.
    """
    from sklperturb.comparison import compare
    from sklperturb.comparison import leaderboard as rank
    from sklperturb.datasets import load_op2
    from sklperturb.metrics import get_metric

    get_metric(metric)
    names = named(models)
    screen = load_op2(data, layer=layer, clip=clip)
    splitter = make_splitter(cv, screen, folds, seed)
    log.print(screen.DESCR)
    log.print(f"Folds: {describe(splitter)}")
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
    comparison = compare(
        names,
        screen.X,
        screen.y,
        cv=splitter,
        scoring=metric,
        schema=screen.schema,
        n_jobs=jobs,
        error_score=float("nan"),
        random_state=seed,
        cache=None if output is None else output / "folds",
    )
    table = rank(comparison)
    out.print(render(table))
    if output is not None:
        write_tables(output, table, comparison)


@app.command()
def submit(
    data: Data,
    model: Annotated[str, typer.Option(help="A registered model.")],
    output: Annotated[Path, typer.Option(help="A .csv or .h5ad file.")],
    params: Annotated[
        Path | None, typer.Option(help="The best.json that tune has written.")
    ] = None,
    layer: Layer = None,
    clip: Clip = None,
    seed: Seed = 0,
    budget: Annotated[
        str | None, typer.Option(help="Of a model that has one: fast or thorough.")
    ] = None,
    jobs: Annotated[
        int,
        typer.Option(help="Processes, if the model uses any; -1 is one a core."),
    ] = -1,
    overwrite: Annotated[bool, typer.Option(help="Replace the file.")] = False,
):
    """Fit a model on everything and write its predictions for the id map."""
    from sklearn.utils.validation import has_fit_parameter

    from sklperturb.datasets import load_op2, write_submission
    from sklperturb.metrics import mrrmse
    from sklperturb.models import get_entry, make_model

    get_entry(model)
    _check_submission_path(output, overwrite)
    _check_budget(model, budget)
    screen = load_op2(data, layer=layer, clip=clip)
    log.print(screen.DESCR)
    start = time.perf_counter()
    estimator = make_model(model, schema=screen.schema, random_state=seed)
    if budget is not None:
        estimator.set_params(budget=budget)
    if "n_jobs" in estimator.get_params(deep=False):
        estimator.set_params(n_jobs=jobs)
    if params is not None:
        set_tuned(estimator, model, params)
    known = {}
    if has_fit_parameter(estimator, "X_unlabeled"):
        known["X_unlabeled"] = screen.X_test
    y_pred = estimator.fit(screen.X, screen.y, **known).predict(screen.X_test)
    uns = {"method_id": model} if output.suffix == ".h5ad" else {}
    write_submission(output, y_pred, screen.id_map, screen.target_names, **uns)
    n_rows, n_genes = y_pred.shape
    seconds = time.perf_counter() - start
    out.print(f"{n_rows} rows, {n_genes} genes, {seconds:.1f} s: {output}")
    if screen.y_test is not None:
        out.print(f"MRRMSE on the known answers: {mrrmse(screen.y_test, y_pred):.4f}")


def _check_budget(model, budget):
    from sklperturb.models._best import check_budget

    if budget is None:
        return
    if model != "best":
        raise ValueError(f"--budget is for the model 'best'; {model!r} has none.")
    check_budget(budget)


def _check_submission_path(path, overwrite):
    if path.exists() and not overwrite:
        raise FileExistsError(
            f"{path} exists. Pass --overwrite to replace it, or another --output."
        )
    if path.suffix not in (".csv", ".h5ad"):
        raise ValueError(f"--output {path} must end in .csv or .h5ad.")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"The folder {path.parent} does not exist.")
