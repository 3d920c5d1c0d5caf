"""The command on predicted cells: evaluate."""

from pathlib import Path
from typing import Annotated

from typer import Context, Option

from sklperturb.cli._app import app, log, out
from sklperturb.cli._choices import connected, on_cluster
from sklperturb.cli._options import (
    Control,
    Dask,
    Jobs,
    Layer,
    Obsm,
    Perturbation,
    Seed,
)
from sklperturb.cli._tables import check_tables, make_table, write, write_json
from sklperturb.utils._choices import Convention

_TABLES = ("scores.csv", "per_perturbation.csv", "evaluation.json")


@app.command()
def evaluate(
    ctx: Context,
    pred: Annotated[
        Path, Option(exists=True, help="Predicted cells: .h5ad file or .zarr folder.")
    ],
    real: Annotated[
        Path, Option(exists=True, help="Measured cells: .h5ad file or .zarr folder.")
    ],
    convention: Annotated[
        Convention | None,
        Option(
            help="Whose definitions of the scores to follow. By default populations "
            "for an embedding and robust for expression."
        ),
    ] = None,
    perturbation: Perturbation = None,
    control: Control = None,
    layer: Layer = None,
    obsm: Obsm = None,
    baseline: Annotated[
        Path | None,
        Option(
            exists=True,
            help="Cells to score as the baseline. By default a mean response is made.",
        ),
    ] = None,
    anchors: Annotated[
        bool, Option(help="Score a baseline and a ceiling too; takes twice the time.")
    ] = True,
    output: Annotated[
        Path | None,
        Option(file_okay=False, help="Folder for the tables; older ones are replaced."),
    ] = None,
    jobs: Jobs = 1,
    dask: Dask = None,
    seed: Seed = 0,
):
    """Score predicted cells beside a baseline and a ceiling."""
    from sklperturb.evaluation import CONVENTIONS, evaluate_cells

    check_tables(output, _TABLES)
    client = ctx.with_resource(connected(dask))
    perturbation, control = _find_control(real, perturbation, control)
    log.info(f"Perturbations are in {perturbation!r}, controls are {control!r}.")
    with on_cluster(client):
        found = evaluate_cells(
            real,
            pred,
            perturbation,
            control=control,
            convention=convention,
            layer=layer,
            obsm=obsm,
            anchors=anchors,
            baseline=baseline,
            random_state=seed,
            n_jobs=jobs,
        )
    log.info(f"{found.convention}: {CONVENTIONS[found.convention].description}")
    out.print(_render(found, anchors))
    out.print(_comparable(found))
    if output is not None:
        _write(output, found, pred=str(pred), real=str(real))


def _find_control(real, perturbation, control):
    """Return the column and label of the controls, looked for where not given."""
    from sklperturb.cells._files import read_obs
    from sklperturb.conditions import control_rows
    from sklperturb.conditions._doubts import doubtful_controls, warn
    from sklperturb.datasets._layouts import find_layout, settle_schema

    obs = read_obs(real)
    layout = find_layout(obs)
    schema = settle_schema(obs, layout, perturbation=perturbation, control=control)
    if control is None:
        is_control = control_rows(obs, schema)
        for message in doubtful_controls(obs[schema.perturbation], is_control, schema):
            warn(f"{real.name}: {message}")
        labels = obs.loc[is_control, schema.perturbation]
        found = sorted(labels.dropna().astype(str).unique())
        if len(found) != 1:
            raise ValueError(
                f"{len(found)} labels of {schema.perturbation!r} are those of controls "
                f"({', '.join(found) or 'none'}). Pass control= to name it."
            )
        control = found[0]
    return schema.perturbation, control


def _render(found, anchors):
    names = ["score", *(["baseline", "ceiling", "scaled"] if anchors else [])]
    table = make_table(["metric"], names)
    table.add_column("best")
    for metric, row in found.scores.iterrows():
        best = "high" if row["greater_is_better"] else "low"
        values = ("-" if row[n] != row[n] else f"{row[n]:.4f}" for n in names)
        table.add_row(metric, *values, best)
    if anchors:
        table.add_row("overall", "", "", "", f"{found.overall:.4f}", "high")
    return table


def _comparable(found):
    """Return a line that says which scores depend on target genes in the files."""
    left_out = found.scores.index[found.scores["without_targets"]]
    if not len(left_out):
        return "Target genes are left out of no score."
    return (
        f"Target genes are left out of {', '.join(left_out)}: compare them, what is "
        "scaled and overall with files that have the same targets among their genes."
    )


def _write(folder, found, **inputs):
    from sklperturb._version import __version__

    folder.mkdir(parents=True, exist_ok=True)
    scores_file, per_perturbation_file, json_file = (folder / n for n in _TABLES)
    write(scores_file, found.scores.to_csv)
    write(per_perturbation_file, found.per_perturbation.to_csv)
    # JSON has no NaN.
    scores = found.scores.astype(object).where(found.scores.notna(), None)
    content = {
        "convention": found.convention,
        "sklperturb": __version__,
        **inputs,
        "overall": None if found.overall != found.overall else found.overall,
        "scores": scores.to_dict("index"),
    }
    write_json(json_file, content)
