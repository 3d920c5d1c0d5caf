"""The command line: compare models on a screen, and write a submission."""

import contextlib
import sys
import time
import warnings
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from sklperturb._version import __version__

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Predict how cells respond to a perturbation.",
)
# A table with its columns cut off says nothing: on a narrow screen, lines wrap instead.
out = Console(highlight=False, soft_wrap=True, width=max(Console().width, 130))
log = Console(stderr=True, highlight=False, soft_wrap=True)

CV_NAMES = (
    "auto",
    "unseen-pair",
    "unseen-perturbation",
    "unseen-context",
    "leave-one-context-out",
    "unseen-scaffold",
)

Data = Annotated[Path, typer.Option(help="Folder with a screen in the OP2 layout.")]
Layer = Annotated[
    str | None, typer.Option(help="Layer of de_train.h5ad to learn; see the docs.")
]
Clip = Annotated[
    float | None, typer.Option(help="Clip responses to +- this value.", min=0)
]
Seed = Annotated[int, typer.Option(help="Seed of folds and models.")]


def _version(value: bool):
    if value:
        out.print(f"sklperturb {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True)
    ] = False,
):
    """Predict how cells respond to a perturbation."""


@app.command()
def models():
    """List the registered models."""
    from sklperturb.registry import list_models

    table = Table("model", "kind", "what it is", box=None, pad_edge=False)
    for entry in list_models():
        missing = "" if entry.available else f" (needs sklperturb[{entry.extra}])"
        table.add_row(entry.name, entry.kind, entry.summary + missing)
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
        typer.Option(help="Comma-separated names, 'default', or 'all'."),
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
    from sklperturb.datasets import load_op2
    from sklperturb.metrics import get_metric
    from sklperturb.model_selection import compare
    from sklperturb.model_selection import leaderboard as rank

    get_metric(metric)
    names = _named(models)
    screen = load_op2(data, layer=layer, clip=clip)
    if names is None:
        names = _usable(models, screen.schema)
    splitter = _splitter(cv, screen, folds, seed)
    log.print(screen.DESCR)
    log.print(f"Folds: {_describe(splitter)}")
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
    out.print(_render(table))
    if output is not None:
        _write_tables(output, table, comparison)


@app.command()
def submit(
    data: Data,
    model: Annotated[str, typer.Option(help="A registered model.")],
    output: Annotated[Path, typer.Option(help="A .csv or .h5ad file.")],
    layer: Layer = None,
    clip: Clip = None,
    seed: Seed = 0,
    overwrite: Annotated[bool, typer.Option(help="Replace the file.")] = False,
):
    """Fit a model on everything and write its predictions for the id map."""
    from sklperturb.datasets import load_op2, write_submission
    from sklperturb.metrics import mrrmse
    from sklperturb.registry import get_entry, make_model

    get_entry(model)
    _check_submission_path(output, overwrite)
    screen = load_op2(data, layer=layer, clip=clip)
    log.print(screen.DESCR)
    start = time.perf_counter()
    estimator = make_model(model, schema=screen.schema, random_state=seed)
    y_pred = estimator.fit(screen.X, screen.y).predict(screen.X_test)
    uns = {"method_id": model} if output.suffix == ".h5ad" else {}
    write_submission(output, y_pred, screen.id_map, screen.target_names, **uns)
    n_rows, n_genes = y_pred.shape
    seconds = time.perf_counter() - start
    out.print(f"{n_rows} rows, {n_genes} genes, {seconds:.1f} s: {output}")
    if screen.y_test is not None:
        out.print(f"MRRMSE on the known answers: {mrrmse(screen.y_test, y_pred):.4f}")


def _named(models):
    """Return the models asked for by name, None for 'default' and 'all'."""
    from sklperturb.registry import get_entry

    if models in ("default", "all"):
        return None
    names = [name.strip() for name in models.split(",") if name.strip()]
    for name in names:
        get_entry(name)
    return names


def _usable(models, schema):
    """Return the registered models that the installation and the data allow."""
    from sklperturb.registry import list_models

    names = []
    for entry in list_models():
        if not entry.available:
            log.print(
                f"Left out {entry.name}: it needs {entry.requires} "
                f'(pip install "sklperturb[{entry.extra}]").',
                markup=False,
            )
        elif entry.fits(schema) and (entry.default or models == "all"):
            names.append(entry.name)
    return names


def _splitter(name, screen, n_splits, seed):
    from sklperturb import model_selection

    common = {"schema": screen.schema, "random_state": seed}
    if name == "auto":
        return model_selection.suggest_cv(
            screen.X, screen.X_test, n_splits=n_splits, **common
        )
    if name == "leave-one-context-out":
        return model_selection.LeaveOneContextOut(schema=screen.schema)
    classes = {
        "unseen-pair": model_selection.UnseenPairKFold,
        "unseen-perturbation": model_selection.UnseenPerturbationKFold,
        "unseen-context": model_selection.UnseenContextKFold,
        "unseen-scaffold": model_selection.UnseenScaffoldKFold,
    }
    if name not in classes:
        raise ValueError(f"--cv {name!r} is not one of {', '.join(CV_NAMES)}.")
    return classes[name](n_splits, **common)


def _describe(splitter):
    """Return a splitter's name and parameters without the schema."""
    params = vars(splitter).items()
    shown = (f"{name}={value!r}" for name, value in params if name != "schema")
    return f"{type(splitter).__name__}({', '.join(shown)})"


def _render(table):
    rendered = Table(box=None, pad_edge=False)
    for column in ("rank", "model", "kind"):
        rendered.add_column(column, no_wrap=True)
    for column in (
        f"{table['metric'].iloc[0]} (95 % interval)",
        "std",
        "from best baseline (95 %)",
        "rel. zeros",
        "fit s",
        "peak MB",
    ):
        rendered.add_column(column, justify="right", no_wrap=True)
    for row in table.itertuples():
        rendered.add_row(
            str(row.rank),
            row.model,
            row.kind,
            f"{row.mean:.4f} ({row.ci_low:.3f}, {row.ci_high:.3f})",
            f"{row.std:.3f}",
            _difference(row),
            f"{row.relative_to_zeros:.3f}",
            f"{row.fit_seconds:.1f}",
            f"{row.peak_memory_mb:.0f}",
        )
    return rendered


def _difference(row):
    if row.difference != row.difference:  # no baseline, or a failed model
        return "-"
    if row.difference_low != row.difference_low:
        return f"{row.difference:+.4f}"
    return (
        f"{row.difference:+.4f} ({row.difference_low:+.3f}, {row.difference_high:+.3f})"
    )


def _write_tables(folder, table, comparison):
    from sklperturb.utils._atomic import written_whole

    with written_whole(folder / "leaderboard.csv") as path:
        table.to_csv(path, index=False)
    with written_whole(folder / "leaderboard.parquet") as path:
        table.to_parquet(path, index=False)
    with written_whole(folder / "comparison.parquet") as path:
        comparison.to_parquet(path, index=False)
    names = ["leaderboard.csv", "leaderboard.parquet", "comparison.parquet"]
    try:
        names.append(_write_plot(folder / "leaderboard.png", table))
    except ImportError as error:
        log.print(f"No plot: {error}", markup=False)
    for name in names:
        out.print(f"{folder / name}")


def _write_plot(path, table):
    from sklperturb.inspection import LeaderboardDisplay
    from sklperturb.utils._atomic import written_whole

    with contextlib.suppress(ImportError):
        import matplotlib

        matplotlib.use("Agg")
    figure = LeaderboardDisplay(table).plot().figure_
    with written_whole(path) as unfinished:
        figure.savefig(unfinished, dpi=150)
    return path.name


def _check_submission_path(path, overwrite):
    if path.exists() and not overwrite:
        raise FileExistsError(
            f"{path} exists. Pass --overwrite to replace it, or another --output."
        )
    if path.suffix not in (".csv", ".h5ad"):
        raise ValueError(f"--output {path} must end in .csv or .h5ad.")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"The folder {path.parent} does not exist.")


def main():
    """Run the command line; errors of the user's input are one line, exit code 2."""
    warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"
    try:
        app()
    except (ValueError, OSError, ImportError) as error:
        log.print(f"error: {error}", markup=False)
        sys.exit(2)
    except KeyboardInterrupt:
        log.print("stopped; the same command goes on where it was", markup=False)
        sys.exit(130)
