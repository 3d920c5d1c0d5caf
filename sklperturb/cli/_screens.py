"""Commands on screens: fetch, simulate, leaderboard, audit, report."""

from pathlib import Path
from typing import Annotated

from typer import Argument, BadParameter, Exit, Option
from typer import Context as ContextOfCommand

from sklperturb.cli._app import app, log, out
from sklperturb.cli._cells import cell_task, is_cells, tell_of_fitting
from sklperturb.cli._choices import (
    Cv,
    check_taken,
    connected,
    fitting,
    load_screen,
    load_sources,
    make_scoring,
    make_splitter,
    named,
    on_cluster,
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
    Dask,
    Data,
    DataOrCells,
    Embedding,
    Jobs,
    MaxSteps,
    Metric,
    MetricOrCells,
    NonFinite,
    NSplits,
    Obsm,
    Overwrite,
    Perturbation,
    PlanFile,
    Plots,
    ResponseLayer,
    Seed,
    Source,
    Splitter,
)
from sklperturb.cli._tables import (
    REPORT,
    audit_first,
    check_leaderboard,
    explain_gaps,
    make_table,
    print_leaks,
    print_whole,
    read_files,
    render_leaderboard,
    tell_of_next,
    write,
    write_json,
    write_leaderboard,
    write_report,
)
from sklperturb.utils._choices import OnNonfinite, PlotFormat, Scoring, did_you_mean

LEAKS_FOUND = 3  # the exit code of audit; 1 and 2 are those of errors


@app.command()
def fetch(
    name: Annotated[
        str | None,
        Argument(metavar="NAME", help="Screen to fetch; without one, list them."),
    ] = None,
    data_home: Annotated[
        Path | None,
        Option(
            file_okay=False,
            help="Folder that screens are kept in. By default that of the environment "
            "variable SKLPERTURB_DATA, or else sklperturb_data in your home.",
        ),
    ] = None,
):
    """Download a public screen, or list those that can be.

    What is there already is checked and not downloaded again. Mind the licence, and
    cite what is named.
    """
    from sklperturb.downloads._kept import fetch_screen
    from sklperturb.downloads._screens import SCREENS

    if name is None:
        table = make_table(["name", "content"], ["MB"])
        for screen in SCREENS.values():
            table.add_row(screen.name, screen.title, f"{screen.size / 1e6:,.0f}")
        out.print(table)
        return
    if name not in SCREENS:
        raise BadParameter(
            f"{name!r} is none of {', '.join(SCREENS)}. "
            f"{did_you_mean(name, SCREENS)}".rstrip()
        )
    for path in fetch_screen(name, data_home):
        out.print(str(path))
    screen = SCREENS[name]
    out.print(f"licence: {screen.license}")
    out.print(f"cite: {screen.citation}")


@app.command()
def simulate(
    output: Annotated[
        Path, Option(file_okay=False, help="Folder to write the screen to.")
    ],
    n_contexts: Annotated[int, Option(help="Number of cell types.", min=3)] = 6,
    n_compounds: Annotated[int, Option(help="Number of compounds.", min=2)] = 146,
    n_genes: Annotated[int, Option(help="Number of genes.", min=1)] = 18211,
    mechanism_share: Annotated[
        float,
        Option(
            help="Share of a compound's effect that its mechanism of action tells; "
            "with more than 0 there is a column moa.",
            min=0,
            max=1,
        ),
    ] = 0.0,
    seed: Seed = 0,
    overwrite: Overwrite = False,
):
    """Generate a compound screen shaped like OP2 and write it in its layout."""
    from sklperturb.datasets import make_chemical_screen, write_screen
    from sklperturb.datasets._write import check_screen_folder

    check_screen_folder(output, overwrite)
    screen = make_chemical_screen(
        n_contexts,
        n_compounds,
        n_genes,
        mechanism_share=mechanism_share,
        random_state=seed,
    )
    write_screen(output, screen, overwrite=overwrite)
    out.print(
        f"{len(screen.X)} signatures to learn from and {len(screen.X_test)} to "
        f"predict, {len(screen.target_names)} genes: {output}"
    )


@app.command()
def leaderboard(
    ctx: ContextOfCommand,
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
    plots: Plots = PlotFormat.png,
    embedding: Embedding = None,
    source: Source = None,
    obsm: Obsm = None,
    perturbation: Perturbation = None,
    context: Context = None,
    control: Control = None,
    batch: Batch = None,
    max_steps: MaxSteps = None,
    layer: ResponseLayer = None,
    clip: Clip = None,
    on_nonfinite: NonFinite = OnNonfinite.error,
    report: Annotated[
        bool,
        Option(
            "--report",
            help="Write report.html to --output as well: one page with all results. "
            "Of signatures, predictions are kept with the folds; folds that were kept "
            "without are fitted again.",
        ),
    ] = False,
    with_audit: Annotated[
        bool,
        Option(
            "--with-audit",
            help="Look for leaks as audit does, with the model that comes first, and "
            "show them on the report. That takes some three times as long as its "
            "folds.",
        ),
    ] = False,
    jobs: Jobs = 1,
    dask: Dask = None,
    seed: Seed = 0,
):
    """Compare models and baselines on the same folds and rank them.

    With --output, finished folds are kept there, and a run that was stopped goes on
    where it was. With --embedding or --source the model gene_kernel is among the
    default ones.
    """
    from sklperturb.comparison import compare
    from sklperturb.comparison import leaderboard as rank

    roles = {"perturbation": perturbation, "context": context}
    of_cells = {
        "obsm": obsm,
        "control": control,
        "batch": batch,
        "max_steps": max_steps,
    }
    check_leaderboard(output, plots, report)
    if with_audit and not report:
        raise ValueError(
            "with_audit=True is shown on the report; pass report=True as well."
        )
    client = ctx.with_resource(connected(dask))
    if is_cells(data):
        others = source, with_audit
        if clip is not None or on_nonfinite != OnNonfinite.error or any(others):
            raise ValueError(
                "clip=, on_nonfinite=, source= and with_audit= are for signatures; "
                "leave them out."
            )
        task = cell_task(
            *(data, models, cv, n_splits, scoring, seed),
            layer=layer,
            embedding=embedding,
            **roles,
            **of_cells,
        )
    else:
        if given := [name for name, value in of_cells.items() if value]:
            raise ValueError(
                f"{given[0]}= is for cells, and --data is a folder of signatures; "
                "leave it out."
            )
        models = named(models)
        screen = load_screen(data, layer, clip, on_nonfinite, **roles)
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
        with on_cluster(client):
            comparison = compare(
                **task,
                n_jobs=jobs,
                error_score=float("nan"),
                random_state=seed,
                cache=None if output is None else output / "folds",
                return_predictions=report and not is_cells(data),
            )
        table = rank(comparison)
        print_whole(render_leaderboard(table))
        explain_gaps(table)
        if output is not None:
            write_leaderboard(output, table, comparison, plots)
            folds = " ".join(str(task["cv"]).split())  # a line
            about = {"command": ctx.find_root().command.given, "folds": folds}
            about |= {"seed": seed}
            leaks = audit_first(table, task, seed) if with_audit else None
            write_report(output, comparison, task, about, report, leaks)
    if is_cells(data):
        roles |= {"control": control, "batch": batch}
        tell_of_fitting(table, data, embedding, layer, obsm, **roles)
    else:
        tell_of_next(
            *(table, data),
            **roles,
            layer=layer,
            clip=clip,
            on_nonfinite=None if on_nonfinite == OnNonfinite.error else on_nonfinite,
            embedding=embedding,
            source=source,
        )


@app.command()
def audit(
    data: Data,
    model: Annotated[str, Option(help="A name that `sklperturb models` lists.")],
    cv: Splitter = Cv.auto,
    n_splits: NSplits = 5,
    scoring: Metric = Scoring.mrrmse,
    output: Annotated[
        Path | None,
        Option(
            dir_okay=False,
            help="File for the findings: .json, with what was checked, or .csv.",
        ),
    ] = None,
    params: Annotated[
        Path | None,
        Option(
            exists=True, dir_okay=False, help="The best.json that tune has written."
        ),
    ] = None,
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
    """Look for ways in which a cross-validated score knows the held-out responses.

    Folds, data and the model are searched, and of each leak it is measured how much
    better it makes the score. The exit code is 0 if there is none, and 3 if there are.
    """
    from sklperturb.files._writing import check_output
    from sklperturb.inspection import audit as find_leaks
    from sklperturb.models import make_model

    if output is not None:
        check_output(output, (".json", ".csv"), overwrite)
        refuse_inputs(read_files(data, params, embedding, source), [output])
    estimator = make_model(model)  # tells at once what is not installed
    if params is not None:
        log.info(f"Parameters: {set_tuned(estimator, model, params)}")
    reading = layer, clip, on_nonfinite, perturbation, context
    screen = load_screen(data, *reading)
    fitting([model], screen.schema)
    sources = load_sources(embedding, source)
    check_taken(sources, [model])
    estimator = make_model(
        model, schema=screen.schema, random_state=seed, sources=sources
    )
    if params is not None:
        set_tuned(estimator, model, params)
    found = find_leaks(
        estimator,
        screen.X,
        screen.y,
        make_splitter(cv, screen, n_splits, seed),
        scoring=make_scoring(scoring, screen),
        schema=screen.schema,
        random_state=seed,
    )
    print_leaks(found)
    if output is not None:
        if output.suffix == ".json":
            write_json(output, found.to_dict())
        else:
            write(output, found.table().to_csv, index=False)
    if not found.ok:
        raise Exit(LEAKS_FOUND)


@app.command()
def report(
    folder: Annotated[
        Path,
        Argument(
            metavar="RUN_DIR",
            exists=True,
            file_okay=False,
            help="The folder that `leaderboard --output` has written.",
        ),
    ],
    output: Annotated[
        Path | None,
        Option(
            dir_okay=False,
            help="File to write, .html. By default report.html in RUN_DIR, an older "
            "one of which is replaced.",
        ),
    ] = None,
    audit: Annotated[
        Path | None,
        Option(
            exists=True,
            dir_okay=False,
            help="Findings to show, the .json that `audit --output` has written.",
        ),
    ] = None,
    plan: PlanFile = None,
    title: Annotated[
        str | None, Option(help="Title of the page. By default Comparison of models.")
    ] = None,
    overwrite: Overwrite = False,
):
    """Write what a leaderboard has found as one HTML page that needs no network.

    Single conditions and calibration are on it where the leaderboard was run with
    --report, which keeps what they are made of.
    """
    from sklperturb.files._writing import check_output
    from sklperturb.report._page import templates
    from sklperturb.report._plan import kept_plan, read_plan
    from sklperturb.report._run import RUN, read_audit, read_run
    from sklperturb.report._write import TITLE, write_page

    templates()
    path = check_output(
        folder / REPORT if output is None else output,
        (".html",),
        overwrite or output is None,
    )
    if not (folder / RUN).exists():
        raise FileNotFoundError(
            f"{folder} has no {RUN}, which `sklperturb leaderboard --output {folder}` "
            "writes; run it, or name another folder."
        )
    run = read_run(folder)
    if audit is not None:
        refuse_inputs([audit], [path])
        run["audit"] = read_audit(audit)
    if plan := plan or kept_plan(folder):
        refuse_inputs([plan], [path])
        run["plan"] = read_plan(plan)
    write_page(path, run, TITLE if title is None else title)
    out.print(str(path))
