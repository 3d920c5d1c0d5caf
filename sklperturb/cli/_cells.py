"""Commands on files of cells: fit-cells and predict-cells."""

import time
from pathlib import Path
from typing import Annotated

import typer

from sklperturb.cli._app import Seed, app, log, out

Overwrite = Annotated[bool, typer.Option(help="Replace the file.")]
Perturbation = Annotated[
    str | None,
    typer.Option(
        help="Column of obs that names the perturbation of each cell. By default a "
        "column with a name in public use, such as target_gene."
    ),
]
Context = Annotated[
    str | None,
    typer.Option(
        help="Column of obs that names the cell type or cell line. By default a column "
        "with a name in public use, such as cell_type."
    ),
]
Control = Annotated[
    str | None,
    typer.Option(
        help="Label of the control cells in the column of the perturbation. By default "
        "a column of control flags, or a spelling in public use, such as non-targeting."
    ),
]
Batch = Annotated[
    str | None,
    typer.Option(
        help="Column of obs that names the technical batch. By default a column with a "
        "name in public use, such as batch."
    ),
]
Layer = Annotated[
    str | None, typer.Option(help="Layer of the file with raw counts. By default X.")
]


@app.command("fit-cells")
def fit_cells(
    path: Annotated[Path, typer.Argument(help="Cells: an .h5ad file or .zarr folder.")],
    output: Annotated[Path, typer.Option(help="File of the model, .npz.")],
    embedding: Annotated[
        list[Path],
        typer.Option(
            help="What is known of genes: gene sets (.gmt, may be repeated), or a "
            "table (.parquet, .npz, .safetensors)."
        ),
    ],
    layer: Layer = None,
    obsm: Annotated[
        str | None,
        typer.Option(
            help="Embedding of the cells in obsm, such as X_state, to generate in "
            "place of counts. By default that of a file with one and no X."
        ),
    ] = None,
    perturbation: Perturbation = None,
    context: Context = None,
    control: Control = None,
    batch: Batch = None,
    n_components: Annotated[
        int, typer.Option(help="Dimensions of the latent space of counts.", min=1)
    ] = 50,
    max_steps: Annotated[
        int, typer.Option(help="Steps of the training.", min=1)
    ] = 2000,
    seed: Seed = 0,
    overwrite: Overwrite = False,
):
    """Learn to generate perturbed cells from a file of cells.

    Counts are read a block at a time; the model is numbers and text.
    """
    _check_output(output, ".npz", overwrite)
    from sklperturb.flow import CellScreenModel, FlowMatchingRegressor

    screen, obsm = _load(path, layer, obsm, perturbation, context, control, batch)
    log.print(screen.DESCR)
    start = time.perf_counter()
    model = CellScreenModel(
        _read_embedding(embedding, screen),
        space="counts" if obsm is None else None,
        n_components=n_components,
        obsm=obsm or "X_state",
        flow=FlowMatchingRegressor(
            max_steps=max_steps, random_state=seed, verbose=True
        ),
        schema=screen.schema,
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
            "(.csv) with a column target_gene, or one called as in the training file, "
            "and, if need be, n_cells."
        ),
    ],
    output: Annotated[Path, typer.Option(help="The .h5ad file to write.")],
    n_cells: Annotated[int, typer.Option(help="Cells of each.", min=1)] = 400,
    n_controls: Annotated[int, typer.Option(help="Controls to add.", min=0)] = 0,
    log1p: Annotated[
        bool, typer.Option(help="Write log(1 + x) at 10,000 a cell, not counts.")
    ] = False,
    seed: Seed = 0,
    overwrite: Overwrite = False,
):
    """Generate cells of perturbations, seen or not, as a file of cells.

    Labels and columns are as in the file that the model was fitted to.
    """
    _check_output(output, ".h5ad", overwrite)
    from sklperturb.flow import CellScreenModel
    from sklperturb.utils._atomic import written_whole

    model = CellScreenModel.load(path)
    column = model.flow_.schema_.perturbation
    names, n_cells = _read_perturbations(perturbations, column, n_cells)
    start = time.perf_counter()
    found = model.predict(
        names, n_cells, n_controls=n_controls, log1p=log1p, random_state=seed
    )
    with written_whole(output) as unfinished:
        found.write_h5ad(unfinished, compression="gzip")
    width = f"{found.n_vars} genes"
    if model.space_ is None:
        width = f"{found.obsm[model.obsm].shape[1]} dimensions in {model.obsm}"
    out.print(
        f"{found.n_obs} cells of {found.obs[column].nunique()} conditions, {width}, "
        f"{time.perf_counter() - start:.0f} s: {output}"
    )


def _load(path, layer, obsm, *columns):
    """Return the screen of a file, and the key of its latent space or None."""
    from sklperturb.datasets import load_perturbseq

    if layer is not None and obsm is not None:
        raise ValueError("--layer and --obsm both name the cells; pass one of them.")
    cells, found = _open(path, layer, obsm)
    if found != obsm:
        log.print(f"{path.name} has no X; obsm[{found!r}] is generated", markup=False)
    data = path if layer is None and found is None else cells
    schema = _find_schema(cells.obs, *columns)
    return load_perturbseq(data, schema, backed=True, drop_unassigned=True), found


def _open(path, layer, obsm):
    """Return an AnnData whose matrix stays in the file, and the key of obsm or None."""
    from anndata import AnnData
    from anndata.io import read_elem

    from sklperturb.cells._files import close_store, open_store, stored_matrix

    store = open_store(path)
    obs = read_elem(store["obs"])
    known = {
        "layer": list(store.get("layers", ())),
        "obsm": list(store.get("obsm", ())),
    }
    if layer is None and obsm is None and "X" not in store:
        if len(known["obsm"]) != 1:
            raise ValueError(
                f"{path} has no X. Pass --layer, of {known['layer']}, or --obsm, of "
                f"{known['obsm']}."
            )
        obsm = known["obsm"][0]
    for option, value in (("layer", layer), ("obsm", obsm)):
        if value is not None and value not in known[option]:
            raise ValueError(
                f"{path} has no --{option} {value!r}; it has {known[option]}."
            )
    if layer is not None:
        matrix = stored_matrix(store["layers"][layer])
        return AnnData(matrix, obs=obs, var=read_elem(store["var"])), None
    points = {} if obsm is None else {obsm: read_elem(store["obsm"][obsm])}
    close_store(store)
    return AnnData(obs=obs, obsm=points), obsm


def _find_schema(obs, perturbation, context, control, batch):
    """Return the roles of the columns, those that are given first; None leaves all."""
    import pandas as pd

    from sklperturb.conditions import PerturbationSchema
    from sklperturb.conditions._schema import KNOWN_SPELLINGS

    given = {"perturbation": perturbation, "context": context, "batch": batch}
    given = {role: column for role, column in given.items() if column is not None}
    if not given and control is None:
        return None
    for role, column in given.items():
        if column not in obs:
            raise ValueError(f"--{role} {column!r} is no column of obs: {list(obs)}.")
    roles = {
        role: next((name for name in names if name in obs), None)
        for role, names in KNOWN_SPELLINGS.items()
    } | given
    # Some files write "1+1" for two guides, and "none": no doses.
    if roles["dose"] is not None:
        amounts = pd.to_numeric(obs[roles["dose"]].astype(str), errors="coerce")
        roles["dose"] = None if amounts.isna().any() else roles["dose"]
    if roles["perturbation"] is None:
        raise ValueError(
            f"No column of obs has a usual name of a perturbation: {list(obs)}. Pass "
            "--perturbation."
        )
    if control is None:
        return PerturbationSchema(**roles)
    labels = obs[roles["perturbation"]].astype(str).unique()
    if control not in labels:
        raise ValueError(
            f"--control {control!r} is no label of {roles['perturbation']!r}, which "
            f"has {sorted(labels)[:10]}."
        )
    return PerturbationSchema(**roles | {"control": None}, control_labels=control)


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


def _read_perturbations(path, column, n_cells):
    """Return what is asked for, and the number of cells of each."""
    import pandas as pd

    if path.suffix != ".csv":
        lines = path.read_text(encoding="utf-8-sig").splitlines()
        names = [line.strip() for line in lines if line.strip()]
        numbers = [n_cells] * len(names)
    else:
        table = pd.read_csv(
            path, dtype=str, keep_default_na=False, encoding="utf-8-sig"
        )
        found = [name for name in (column, "target_gene") if name in table]
        if not found:
            raise ValueError(
                f"{path} has the columns {list(table)}, and needs {column!r} or "
                "'target_gene'."
            )
        names = table[found[0]].str.strip().tolist()
        numbers = [n_cells] * len(names)
        if "n_cells" in table:
            numbers = pd.to_numeric(table["n_cells"], errors="coerce").to_numpy()
        wrong = [
            i
            for i, (name, number) in enumerate(zip(names, numbers, strict=True))
            if not (name and number >= 1 and number % 1 == 0)
        ]
        if wrong:
            raise ValueError(
                f"{path}: line {wrong[0] + 2} names no perturbation, or its number of "
                "cells is not a whole number of 1 or more."
            )
        numbers = [int(number) for number in numbers]
    if not names:
        raise ValueError(f"{path} names no perturbation.")
    return names, numbers


def _check_output(path, suffix, overwrite):
    if path.exists() and not overwrite:
        raise FileExistsError(
            f"{path} exists. Pass --overwrite to replace it, or another --output."
        )
    if path.suffix != suffix:
        raise ValueError(f"--output {path} must end in {suffix}.")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"The folder {path.parent} does not exist.")
