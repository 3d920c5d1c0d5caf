"""Commands that search for parameters: tune."""

import json
import logging
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from rich.live import Live
from rich.table import Table
from typer import Option

from sklperturb.cli._app import Screen, app, log, out
from sklperturb.cli._choices import (
    Cv,
    check_taken,
    connected,
    fitting,
    load_screen,
    load_sources,
    make_scoring,
    make_splitter,
    on_cluster,
)
from sklperturb.cli._ending import keeping
from sklperturb.cli._options import (
    Clip,
    Context,
    Dask,
    Data,
    Embedding,
    Jobs,
    Metric,
    NonFinite,
    NSplits,
    Perturbation,
    Plots,
    ResponseLayer,
    Seed,
    Source,
    Splitter,
    number,
)
from sklperturb.cli._tables import (
    check_tables,
    remove_plots,
    write,
    write_json,
    write_plot,
)
from sklperturb.utils._choices import Names, OnNonfinite, PlotFormat, Pruner, Scoring

_TABLES = ("best.json", "trials.csv")
_PLOTS = ("history", "curves", "importance", "slices")
# Rows of the table of trials: the best ones and the latest ones.
_SHOWN = 5
_Pruning = Names("_Pruning", [*Pruner, "none"], module=__name__)


@app.command()
def tune(
    ctx: typer.Context,
    data: Data,
    model: Annotated[str, Option(help="A name that `sklperturb models` lists.")],
    output: Annotated[
        Path | None,
        Option(file_okay=False, help="Folder for best.json, trials.csv and the plots."),
    ] = None,
    plots: Plots = PlotFormat.png,
    n_trials: Annotated[
        int, Option(help="Trials in all, those in the storage included.", min=1)
    ] = 50,
    storage: Annotated[
        str | None,
        Option(
            help="Journal file or URL of a database; processes that name the same one "
            "share the trials. Default: study.log in --output."
        ),
    ] = None,
    study_name: Annotated[
        str | None,
        Option(
            help="Name of the study in the storage. By default one that changes with "
            "the data, the folds, the scoring and the model."
        ),
    ] = None,
    timeout: Annotated[
        float | None,
        Option(help="Seconds after which no trial is begun.", min=0, callback=number),
    ] = None,
    cv: Splitter = Cv.auto,
    n_splits: NSplits = 5,
    scoring: Metric = Scoring.mrrmse,
    pruner: Annotated[
        _Pruning,
        Option(
            help="What ends bad trials early: hyperband by epochs, wilcoxon by folds; "
            "auto takes the first for networks and the second for the others."
        ),
    ] = _Pruning.auto,
    embedding: Embedding = None,
    source: Source = None,
    perturbation: Perturbation = None,
    context: Context = None,
    dask: Dask = None,
    layer: ResponseLayer = None,
    clip: Clip = None,
    on_nonfinite: NonFinite = OnNonfinite.error,
    jobs: Jobs = 1,
    seed: Seed = 0,
):
    """Search for the best parameters of a model.

    The same command goes on where it was stopped. Started several times, or on several
    machines that share the storage, the processes share the trials.
    """
    from sklperturb.models import make_model
    from sklperturb.tuning import PerturbationSearchCV
    from sklperturb.tuning._study import open_storage

    make_model(model)  # tells at once what is not installed
    if output is None and storage is None:
        raise ValueError("Nothing would be kept: pass --output, --storage or both.")
    check_tables(output, _TABLES, plots=_PLOTS, suffix=plots)
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
    storage = output / "study.log" if storage is None else storage
    open_storage(storage)
    client = ctx.with_resource(connected(dask))
    reading = layer, clip, on_nonfinite, perturbation, context
    screen = load_screen(data, *reading)
    fitting([model], screen.schema)
    sources = load_sources(embedding, source)
    check_taken(sources, [model])
    splitter = make_splitter(cv, screen, n_splits, seed)
    metric = make_scoring(scoring, screen)
    sign = 1 if metric.greater_is_better else -1
    progress = _Trials(n_trials, scoring, sign)
    search = PerturbationSearchCV(
        make_model(model, schema=screen.schema, random_state=seed, sources=sources),
        cv=splitter,
        scoring=metric.scorer,
        n_trials=n_trials,
        timeout=timeout,
        storage=storage,
        study_name=study_name,
        pruner=None if pruner == "none" else pruner,
        n_jobs=jobs,
        callbacks=[progress],
        refit=False,
        verbose=0,
        random_state=seed,
    )
    kept = "finished trials and folds are in the storage, from where the same command "
    with on_cluster(client), progress, keeping(f"{kept}goes on"):
        search.fit(screen.X, screen.y)
    out.print(progress.table(search.study_))
    best = {
        "model": model,
        "params": search.best_params_,
        "scoring": scoring,
        "score": progress.sign * search.best_score_,
        "trials": len(search.cv_results_["params"]),
    }
    out.print(json.dumps(best, indent=2))
    if output is not None:
        _write(output, best, search, plots)


class _Trials:
    """A table of the best and the latest trials, kept up to date on a terminal."""

    def __init__(self, n_trials, scoring, sign):
        self.n_trials, self.scoring, self.sign = n_trials, scoring, sign
        self._live = Live(
            console=Screen(stderr=True), refresh_per_second=2, transient=True
        )

    def __enter__(self):
        if sys.stderr.isatty() and log.isEnabledFor(logging.INFO):
            self._live.start()
        return self

    def __exit__(self, *error):
        self._live.stop()

    def __call__(self, study, trial):
        if self._live.is_started:
            self._live.update(self.table(study))

    def table(self, study):
        from sklperturb.tuning._trial_store import DISCARDED

        finished = [
            trial
            for trial in study.get_trials(deepcopy=False)
            if trial.state.is_finished() and DISCARDED not in trial.user_attrs
        ]
        complete = [t for t in finished if t.state.name == "COMPLETE"]
        best = sorted(complete, key=lambda t: -t.value)[:_SHOWN]
        latest = [t for t in finished[-_SHOWN:] if t not in best]
        title = f"{len(finished)} of {self.n_trials} trials"
        table = Table(box=None, pad_edge=False, title=title, title_justify="left")
        table.add_column("trial", justify="right")
        table.add_column(self.scoring, justify="right")
        table.add_column("state")
        table.add_column("parameters")
        for trial in best + latest:
            params = ", ".join(f"{k}={_short(v)}" for k, v in trial.params.items())
            value = "-" if trial.value is None else f"{self.sign * trial.value:.4f}"
            table.add_row(str(trial.number), value, trial.state.name.lower(), params)
        return table


def _short(value):
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _write(folder, best, search, plots):
    import pandas as pd

    remove_plots(folder, _PLOTS)
    best_file, trials_file = (folder / name for name in _TABLES)
    write_json(best_file, best)
    table = pd.DataFrame(search.cv_results_).drop(columns="params")
    write(trials_file, table.to_csv, index=False)
    if find_spec("matplotlib") is not None:
        _write_plots(folder, search, plots)


def _write_plots(folder, search, plots):
    """Write pictures of the trials; leave out those that there are too few for."""
    from sklperturb.inspection import TuningDisplay
    from sklperturb.tuning._trial_table import tabulate_search

    display = TuningDisplay(**vars(tabulate_search(search)))
    for kind in _PLOTS:
        try:
            display.plot(kind=kind)
        except ValueError as error:
            log.info(f"No plot of the {kind}: {error}")
            continue
        write_plot(folder / f"{kind}.{plots}", display.figure_)
