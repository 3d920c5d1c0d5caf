"""The command on predicted cells: evaluate."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from sklperturb.cli._app import Seed, app, log, out


@app.command()
def evaluate(
    pred: Annotated[Path, typer.Option(help="h5ad file with the predicted cells.")],
    real: Annotated[Path, typer.Option(help="h5ad file with the measured cells.")],
    convention: Annotated[
        str, typer.Option(help="robust, vcc2025, cell_eval or vcc2026.")
    ] = "robust",
    groupby: Annotated[
        str | None, typer.Option(help="Column of obs with the perturbation.")
    ] = None,
    control: Annotated[
        str | None, typer.Option(help="Label of the control cells.")
    ] = None,
    layer: Annotated[str | None, typer.Option(help="Layer to score, not X.")] = None,
    baseline: Annotated[
        Path | None, typer.Option(help="h5ad file to score as the baseline.")
    ] = None,
    anchors: Annotated[
        bool, typer.Option(help="Score a baseline and a ceiling beside.")
    ] = True,
    output: Annotated[Path | None, typer.Option(help="Folder for the tables.")] = None,
    seed: Seed = 0,
):
    """Score predicted cells beside a baseline and a ceiling.

    Without --groupby and --control, the spellings of public data sets are looked for.
    """
    from sklperturb.evaluation import CONVENTIONS, evaluate_cells

    if convention not in CONVENTIONS:
        raise ValueError(
            f"--convention {convention!r} is not one of {', '.join(CONVENTIONS)}."
        )
    if output is not None and output.exists() and not output.is_dir():
        raise NotADirectoryError(f"--output {output} is a file; name a folder.")
    groupby, control = _find_control(real, groupby, control, layer)
    log.print(f"{CONVENTIONS[convention].description}; {groupby}, control {control!r}")
    found = evaluate_cells(
        real,
        pred,
        groupby,
        control=control,
        convention=convention,
        layer=layer,
        anchors=anchors,
        baseline=baseline,
        random_state=seed,
    )
    out.print(_render(found, anchors))
    if output is not None:
        for path in _write(output, found, {"pred": str(pred), "real": str(real)}):
            out.print(str(path))


def _find_control(real, groupby, control, layer):
    """Return the column and label of the controls, looked for where not given."""
    from sklperturb.cells._files import opened_cells
    from sklperturb.conditions import PerturbationSchema, control_rows

    with opened_cells(real, layer) as (obs, _, _):
        if groupby is None:
            groupby = PerturbationSchema.infer(obs).perturbation
        if groupby not in obs:
            raise ValueError(f"--groupby {groupby!r} is no column: {list(obs)}.")
        if control is None:
            rows = control_rows(obs, PerturbationSchema(groupby))
            found = sorted(obs.loc[rows, groupby].astype(str).unique())
            if len(found) != 1:
                raise ValueError(
                    f"{len(found)} labels of {groupby!r} are spelt as a control "
                    f"({', '.join(found) or 'none'}). Pass --control."
                )
            control = found[0]
    return groupby, control


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
