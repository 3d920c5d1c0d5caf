"""Commands on files of cells: fit-cells and predict-cells."""

import time
from pathlib import Path
from typing import Annotated

import typer

from sklperturb.cli._app import app, log, out
from sklperturb.cli._options import Overwrite, Seed


@app.command("fit-cells")
def fit_cells(
    path: Annotated[Path, typer.Argument(help="Raw counts: an .h5ad file or .zarr.")],
    output: Annotated[Path, typer.Option(help="File of the model, .npz.")],
    embedding: Annotated[
        list[Path],
        typer.Option(
            help="What is known of genes: gene sets (.gmt, may be repeated), or a "
            "table (.parquet, .npz, .safetensors)."
        ),
    ],
    components: Annotated[int, typer.Option(help="Latent dimensions.", min=1)] = 50,
    steps: Annotated[int, typer.Option(help="Steps of the training.", min=1)] = 2000,
    seed: Seed = 0,
    overwrite: Overwrite = False,
):
    """Learn to generate perturbed cells from a file of raw counts.

    The file is read a block at a time; the model is numbers and text.
    """
    from sklperturb.datasets import load_perturbseq
    from sklperturb.flow import CellScreenModel
    from sklperturb.utils._atomic import check_output

    check_output(output, (".npz",), overwrite)
    screen = load_perturbseq(path, backed=True, drop_unassigned=True)
    log.info(screen.DESCR)
    start = time.perf_counter()
    table = _read_embedding(embedding, screen)
    model = CellScreenModel(
        table,
        n_components=components,
        schema=screen.schema,
        max_steps=steps,
        random_state=seed,
        verbose=True,
    ).fit(screen.X, screen.y)
    model.save(output)
    flow = model.flow_
    out.print(
        f"{len(flow.n_cells_)} conditions, {flow.n_controls_} controls, "
        f"{time.perf_counter() - start:.0f} s; means by {flow.mean_choice_}: {output}"
    )
    if flow.guards_:
        out.print(
            "energy distance of held-out perturbations: "
            f"{flow.guards_['energy']:.3f} generated, "
            f"{flow.guards_['energy_controls']:.3f} controls"
        )


@app.command("predict-cells")
def predict_cells(
    path: Annotated[Path, typer.Argument(help="A model that fit-cells wrote.")],
    perturbations: Annotated[
        Path,
        typer.Option(
            help="A text file with a gene or a combination A+B a line; or a table "
            "(.csv) with a column target_gene and, if need be, n_cells."
        ),
    ],
    output: Annotated[Path, typer.Option(help="The .h5ad file to write.")],
    cells: Annotated[int, typer.Option(help="Cells of each.", min=1)] = 400,
    controls: Annotated[int, typer.Option(help="Controls to add.", min=0)] = 0,
    log1p: Annotated[
        bool, typer.Option(help="Write log(1 + x) at 10,000 a cell, not counts.")
    ] = False,
    seed: Seed = 0,
    overwrite: Overwrite = False,
):
    """Generate cells of perturbations, seen or not, as a file of cells."""
    from sklperturb.flow import CellScreenModel
    from sklperturb.utils._atomic import check_output, written_whole

    check_output(output, (".h5ad",), overwrite)
    numbers = _read_perturbations(perturbations, cells)
    model = CellScreenModel.load(path)
    start = time.perf_counter()
    found = model.predict(
        list(numbers),
        numbers,
        n_controls=controls,
        counts=not log1p,
        random_state=seed,
    )
    with written_whole(output) as unfinished:
        found.write_h5ad(unfinished, compression="gzip")
    out.print(
        f"{found.n_obs} cells of {len(numbers)} perturbations, {found.n_vars} genes, "
        f"{time.perf_counter() - start:.0f} s: {output}"
    )


def _read_embedding(paths, screen):
    import pandas as pd

    from sklperturb.preprocessing import GeneSetEncoder, LookupEmbedding

    if all(path.suffix == ".gmt" for path in paths):
        fitted = GeneSetEncoder(paths, schema=screen.schema).fit(screen.X)
    elif len(paths) == 1:
        fitted = LookupEmbedding(paths[0], schema=screen.schema).fit(screen.X)
    else:
        raise ValueError("--embedding takes one table, or files of gene sets (.gmt).")
    return pd.DataFrame(fitted.embedding_, index=fitted.genes_)


def _read_perturbations(path, n_cells):
    """Return {perturbation: number of cells}."""
    import pandas as pd

    if path.suffix == ".csv":
        table = pd.read_csv(path)
        if "target_gene" not in table:
            raise ValueError(
                f"{path} has the columns {list(table)}, and needs 'target_gene'."
            )
        counts = table.get("n_cells", pd.Series(n_cells, table.index))
        numbers = dict(zip(table["target_gene"].astype(str), counts, strict=True))
        numbers = {name: int(number) for name, number in numbers.items()}
    else:
        lines = path.read_text(encoding="utf-8").splitlines()
        numbers = {line.strip(): n_cells for line in lines if line.strip()}
    if not numbers or min(numbers.values()) < 1:
        raise ValueError(f"{path} asks for no perturbation, or for no cells of one.")
    return numbers
