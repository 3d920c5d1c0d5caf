"""The command on predicted cells: evaluate."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from sklperturb.cli._app import app, log, out
from sklperturb.cli._options import Control, Layer, Obsm, Perturbation, Seed
from sklperturb.utils._choices import Convention


@app.command()
def evaluate(
    pred: Annotated[
        Path,
        typer.Option(exists=True, help="Predicted cells: .h5ad file or .zarr folder."),
    ],
    real: Annotated[
        Path,
        typer.Option(exists=True, help="Measured cells: .h5ad file or .zarr folder."),
    ],
    convention: Annotated[
        Convention | None,
        typer.Option(
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
        typer.Option(
            exists=True,
            help="Cells to score as the baseline. By default a mean response is made.",
        ),
    ] = None,
    anchors: Annotated[
        bool,
        typer.Option(help="Score a baseline and a ceiling too; takes twice the time."),
    ] = True,
    output: Annotated[
        Path | None, typer.Option(file_okay=False, help="Folder for the tables.")
    ] = None,
    seed: Seed = 0,
):
    """Score predicted cells beside a baseline and a ceiling."""
    from sklperturb.evaluation import CONVENTIONS, evaluate_cells
    from sklperturb.utils._atomic import check_output_folder

    if output is not None:
        check_output_folder(output)
    perturbation, control = _find_control(real, perturbation, control)
    log.info(f"Perturbations are in {perturbation!r}, controls are {control!r}.")
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
    )
    log.info(f"{found.convention}: {CONVENTIONS[found.convention].description}")
    out.print(_render(found, anchors))
    if output is not None:
        for path in _write(output, found, {"pred": str(pred), "real": str(real)}):
            out.print(str(path))


def _find_control(real, perturbation, control):
    """Return the column and label of the controls, looked for where not given."""
    from sklperturb.cells._files import read_obs
    from sklperturb.cli._schema import read_schema
    from sklperturb.conditions import control_rows

    schema = read_schema(real, perturbation, control=control)
    if control is None:
        obs = read_obs(real)
        labels = obs.loc[control_rows(obs, schema), schema.perturbation]
        found = sorted(labels.dropna().astype(str).unique())
        if len(found) != 1:
            raise ValueError(
                f"{len(found)} labels of {schema.perturbation!r} are those of controls "
                f"({', '.join(found) or 'none'}). Pass control= to name it."
            )
        control = found[0]
    return schema.perturbation, control


def _render(found, anchors):
    table = Table(box=None, pad_edge=False)
    table.add_column("metric", no_wrap=True)
    names = ["score", *(["baseline", "ceiling", "scaled"] if anchors else [])]
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("best")
    for metric, row in found.scores.iterrows():
        best = "high" if row["greater_is_better"] else "low"
        values = ("-" if row[n] != row[n] else f"{row[n]:.4f}" for n in names)
        table.add_row(metric, *values, best)
    if anchors:
        table.add_row("overall", "", "", "", f"{found.overall:.4f}", "high")
    return table


def _write(folder, found, inputs):
    from sklperturb._version import __version__
    from sklperturb.utils._atomic import written_whole

    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in ("scores.csv", "per_perturbation.csv")]
    for path, table in zip(paths, (found.scores, found.per_perturbation), strict=True):
        with written_whole(path) as unfinished:
            table.to_csv(unfinished)
    paths.append(folder / "evaluation.json")
    content = {
        "convention": found.convention,
        "sklperturb": __version__,
        **inputs,
        "overall": _plain(found.overall),
        "scores": {
            metric: {name: _plain(value) for name, value in row.items()}
            for metric, row in found.scores.iterrows()
        },
    }
    with written_whole(paths[-1]) as unfinished:
        unfinished.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return paths


def _plain(value):
    """Return what JSON can hold; it has no NaN."""
    if isinstance(value, bool):
        return value
    return None if value != value else float(value)
