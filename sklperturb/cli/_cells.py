"""Commands on files of cells: fit-cells, predict-cells, and their leaderboard."""

import time
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from sklperturb.cli._app import app, log, out, warn
from sklperturb.cli._choices import (
    MOST_CELLS,
    names,
    read_perturbations,
    read_schema,
    refuse_inputs,
)
from sklperturb.cli._options import (
    Batch,
    Cells,
    Checkpoint,
    Context,
    Control,
    Embedding,
    Latent,
    Layer,
    MaxSteps,
    Obsm,
    Overwrite,
    Perturbation,
    Seed,
)
from sklperturb.cli._tables import command_of
from sklperturb.utils._choices import Amplitude, CellScoring, one_of

_N_GENES, _N_COMPONENTS = 2000, 50  # that models are compared on
_TABLES = (".csv", ".parquet")  # that signatures are in
# What the names of latent spaces are to `CellScreenModel`.
_LATENTS = {None: "counts", "pca": "counts", "autoencoder": "autoencoder", "se": None}


@app.command("fit-cells")
def fit_cells(
    cells: Cells,
    output: Annotated[Path, Option(help="File to keep the model in, .skpt.")],
    embedding: Embedding = None,
    latent: Latent = None,
    checkpoint: Checkpoint = None,
    layer: Layer = None,
    obsm: Obsm = None,
    perturbation: Perturbation = None,
    context: Context = None,
    control: Control = None,
    batch: Batch = None,
    n_components: Annotated[
        int,
        Option(
            help="Dimensions of pca and autoencoder; of se, principal components that "
            "counts are decoded through.",
            min=1,
        ),
    ] = 50,
    max_steps: MaxSteps = None,
    seed: Seed = 0,
    overwrite: Overwrite = False,
):
    """Learn to generate perturbed cells from a file of cells.

    Counts are read a block at a time; the model is numbers and text. What it generates
    is counts, unless cells come in an embedding of obsm. Without --embedding, all
    perturbations that were not seen are predicted alike. `sklperturb fit` with a file
    of cells does the same.
    """
    fit_file(
        *(cells, output, embedding, seed, overwrite),
        latent=latent,
        checkpoint=checkpoint,
        layer=layer,
        obsm=obsm,
        n_components=n_components,
        max_steps=max_steps,
        perturbation=perturbation,
        context=context,
        control=control,
        batch=batch,
    )


def fit_file(
    cells,
    output,
    embedding,
    seed,
    overwrite,
    *,
    latent,
    checkpoint,
    layer,
    obsm,
    max_steps,
    n_components=_N_COMPONENTS,
    **roles,
):
    """Fit a model that generates cells to a file of cells, and keep it."""
    from sklperturb.datasets import load_perturbseq
    from sklperturb.files._reading import check_file
    from sklperturb.files._writing import check_output
    from sklperturb.flow import CellScreenModel, FlowMatchingRegressor
    from sklperturb.flow._diagnostics import report
    from sklperturb.persistence import save

    check_output(output, (".skpt",), overwrite)
    for path in embedding or ():
        check_file(path, "embedding")
    refuse_inputs(embedding or (), [output])
    space, obsm = _choose_latent(cells, latent, checkpoint, layer, obsm)
    schema = read_schema(cells, **roles)
    screen = load_perturbseq(
        cells, schema, layer=layer, obsm=obsm, backed=True, drop_unassigned=True
    )
    log.info(screen.DESCR)
    start = time.perf_counter()
    flow = FlowMatchingRegressor(random_state=seed, verbose=True)
    if max_steps is not None:
        flow.set_params(max_steps=max_steps)
    model = CellScreenModel(
        read_embedding(embedding, screen) if embedding else None,
        space=space,
        n_components=n_components,
        obsm=obsm or "X_state",
        flow=flow,
        schema=screen.schema,
    ).fit(screen.X, screen.y)
    save(
        *(model, output),
        X=screen.X,
        y=screen.y,
        schema=screen.schema,
        overwrite=overwrite,
    )
    flow = model.flow_
    out.print(
        f"{len(flow.n_cells_)} conditions, {flow.n_controls_} controls, "
        f"{time.perf_counter() - start:.0f} s; means by {flow.mean_choice_}: {output}"
    )
    for line in report(flow):
        out.print(line)
    command = command_of(
        *("predict-cells", output),
        perturbations="genes.txt",
        dose=None if screen.schema.dose is None else "DOSE",
        output="predicted.h5ad",
    )
    log.info(f"Next: {command}, where genes.txt has a perturbation a line.")


@app.command("predict-cells")
def predict_cells(
    path: Annotated[
        Path,
        Argument(
            metavar="MODEL",
            help="A file that fit-cells, or fit on cells, wrote, .skpt.",
        ),
    ],
    perturbations: Annotated[
        Path,
        Option(
            help="A text file with a gene or a combination A+B a line; or a table "
            "(.csv, .tsv) with a column target_gene, or one called as in the training "
            "file, and, if need be, n_cells."
        ),
    ],
    output: Annotated[Path, Option(help="The .h5ad file to write.")],
    n_cells: Annotated[int, Option(help="Cells of each.", min=1, max=MOST_CELLS)] = 400,
    n_controls: Annotated[
        int, Option(help="Controls to add.", min=0, max=MOST_CELLS)
    ] = 0,
    dose: Annotated[
        str | None,
        Option(
            help="Dose of all of them, as in the training file, such as 10 or '10 uM'; "
            "needed if several were measured."
        ),
    ] = None,
    log1p: Annotated[
        bool, Option(help="Write log(1 + x) at 10,000 a cell, not counts.")
    ] = False,
    amplitude: Annotated[
        Amplitude,
        Option(
            help="Size of the effects of perturbations that were never measured: as "
            "expected of each, with the least error, or as measured ones typically "
            "are, so that as many genes are called."
        ),
    ] = Amplitude.expected,
    seed: Seed = 0,
    overwrite: Overwrite = False,
):
    """Generate cells of perturbations, seen or not, as a file of cells.

    Labels and columns are as in the file that the model was fitted to.
    """
    from sklperturb.files._reading import check_file
    from sklperturb.files._writing import check_output, written_whole
    from sklperturb.files._writing_hdf5 import write_h5ad
    from sklperturb.persistence import load, read_info

    check_output(output, (".h5ad",), overwrite)
    check_file(path, "model")
    check_file(perturbations, "list of perturbations")
    if not generates_cells(kind := read_info(path).model_class):
        raise ValueError(
            f"{path} holds a {kind.rpartition('.')[2]}, which generates no cells; use "
            "`sklperturb predict`."
        )
    model = load(path)
    column = model.flow_.schema_.perturbation
    names, n_cells = read_perturbations(perturbations, column, n_cells)
    start = time.perf_counter()
    found = model.predict(
        names,
        n_cells,
        n_controls=n_controls,
        dose=dose,
        log1p=log1p,
        amplitude=amplitude,
        random_state=seed,
    )
    with written_whole(output) as unfinished:
        write_h5ad(unfinished, found, "gzip")
    widths = [f"{found.n_vars} genes"] if found.n_vars else []
    widths += [f"{z.shape[1]} dimensions in {key}" for key, z in found.obsm.items()]
    out.print(
        f"{found.n_obs} cells of {found.obs[column].nunique()} conditions, "
        f"{', '.join(widths)}, "
        f"{time.perf_counter() - start:.0f} s: {output}"
    )


def _choose_latent(cells, latent, checkpoint, layer, obsm):
    """Return the latent space of cells: a name, a transformer or None, and its key."""
    from sklperturb.cells._files import sole_embedding

    if latent is not None and latent not in _LATENTS:
        if obsm not in (None, latent):
            raise ValueError(
                f"latent={latent!r} and obsm={obsm!r} name two spaces; pass one of "
                "them."
            )
        latent, obsm = None, latent
    elif latent is not None and obsm is not None:
        raise ValueError(
            f"latent={latent!r} is a space of counts, and obsm={obsm!r} one that the "
            "cells are in already; pass one of them."
        )
    if (latent == "se") != (checkpoint is not None):
        raise ValueError(
            "latent='se' and checkpoint= go together: the space is that of State "
            "Embedding, and its weights are needed."
        )
    if layer is not None and obsm is not None:
        raise ValueError("layer= and obsm= both name the cells; pass one of them.")
    if latent is None and layer is None and obsm is None:
        obsm = sole_embedding(cells)
        if obsm is not None:
            log.info(f"{cells.name} has no X; cells are generated in obsm[{obsm!r}].")
    if obsm is not None:
        return None, obsm
    if latent != "se":
        return _LATENTS[latent], None
    from sklperturb.embedding import SEEmbedding

    return SEEmbedding(checkpoint), None


def read_embedding(paths, screen):
    import pandas as pd

    from sklperturb.files._text import text_suffix
    from sklperturb.preprocessing import GeneSetEncoder, LookupEmbedding

    if all(text_suffix(path) == ".gmt" for path in paths):
        fitted = GeneSetEncoder(paths, schema=screen.schema).fit(screen.X)
    elif len(paths) == 1:
        fitted = LookupEmbedding(paths[0], schema=screen.schema).fit(screen.X)
    else:
        raise ValueError("--embedding takes one table, or files of gene sets (.gmt).")
    return pd.DataFrame(fitted.embedding_, index=fitted.genes_)


def generates_cells(model_class):
    """Whether a class, as a model file names it, is for predict-cells."""
    return model_class == "sklperturb.flow.CellScreenModel"


def is_cells(path):
    """Whether a path is a file of cells, and not a folder of signatures."""
    if path.is_file() and path.suffix in _TABLES:
        raise ValueError(
            f"{path.name} is a table, and data= is a folder, or a file of cells. Call "
            f"a table of signatures de_train{path.suffix}, and pass the folder that it "
            "is in."
        )
    return path.is_file() or path.suffix == ".zarr"


def cell_task(
    data,
    models,
    cv,
    n_splits,
    scoring,
    seed,
    *,
    embedding,
    layer,
    obsm,
    max_steps,
    **roles,
):
    """Return the arguments of `compare` for a file of cells."""
    import numpy as np

    from sklperturb.cells._files import sole_embedding
    from sklperturb.cells._table import expression_table
    from sklperturb.comparison._cells import select_cell_models, suggest_cell_cv
    from sklperturb.datasets import load_perturbseq
    from sklperturb.evaluation import CellScorer
    from sklperturb.files._reading import check_file
    from sklperturb.model_selection import UnseenContextKFold
    from sklperturb.preprocessing import LookupEmbedding

    scoring = one_of(scoring or "energy", CellScoring, "score of cells")
    for path in embedding or ():
        check_file(path, "embedding")
    if obsm is None and layer is None and (obsm := sole_embedding(data)):
        log.info(f"{data.name} has no X; models are compared in obsm[{obsm!r}].")
    schema = read_schema(data, **roles)
    screen = load_perturbseq(
        data, schema, layer=layer, obsm=obsm, backed=True, drop_unassigned=True
    )
    log.info(screen.DESCR)
    if not screen.is_control.any():
        raise ValueError(
            f"{data.name} has no control cells, and cells are generated from controls. "
            "Pass control= to name their label. Signatures are compared as a folder in "
            "the layout of OP2."
        )
    if obsm is None:
        y = expression_table(screen.y, screen.is_control, _N_GENES)
        log.info(
            f"Models learn log-normalised expression of the {y.shape[1]} genes that "
            f"vary most among controls, and are scored in {_N_COMPONENTS} principal "
            "components of the measured cells of each fold."
        )
    else:
        y = np.asarray(screen.y.X[:], dtype=np.float32)
    splitter = suggest_cell_cv(screen, cv, n_splits, seed)
    shown = [f"{k}={v!r}" for k, v in vars(splitter).items() if k != "schema"]
    log.info(f"Folds: {type(splitter).__name__}({', '.join(shown)})")
    known = None
    if embedding:
        known = LookupEmbedding(
            _filled(read_embedding(embedding, screen), screen),
            add_indicator=False,
            schema=screen.schema,
        )
    estimators, baselines, left_out = select_cell_models(
        screen,
        y,
        None if models in ("default", "all") else names(models),
        embedding=known,
        max_steps=max_steps or 2000,
        random_state=seed,
    )
    for name, reason in left_out.items():
        log.info(f"Left out {name}: {reason}.")
    if "best" in estimators and isinstance(splitter, UnseenContextKFold):
        estimators["best"].set_params(unseen="context")
    n_components = _N_COMPONENTS if obsm is None else None
    return {
        "estimators": estimators,
        "baselines": baselines,
        "X": screen.X,
        "y": y,
        "cv": splitter,
        "scoring": [CellScorer(scoring, "populations", n_components=n_components)],
        "schema": screen.schema,
    }


def _filled(table, screen):
    """Return vectors with zeros for genes without one, which is said once for all."""
    labels = screen.X.loc[~screen.is_control, screen.schema.perturbation].unique()
    parts = {part for label in labels for part in screen.schema.split(label)}
    missing = sorted(parts.difference(table.index))
    if missing:
        warn(
            f"{len(missing)} of {len(parts)} perturbed genes have no vector in "
            f"--embedding, such as {missing[:3]}. They are given zeros."
        )
    return table.reindex([*table.index, *missing], fill_value=0.0)


def tell_of_fitting(table, data, embedding, layer=None, obsm=None, **roles):
    """Say what to run next, with the roles that were given."""
    from sklperturb.cells import looks_like_counts
    from sklperturb.cells._files import sole_embedding

    obsm = obsm or (sole_embedding(data) if layer is None else None)
    best = table["model"].iloc[0]
    if obsm is None and not looks_like_counts(data, layer=layer):
        out.print(f"Best: {best}.")
        log.info(
            f"{data.name} holds no counts. To generate cells, sklperturb fit-cells "
            "needs counts, in X or in a --layer, or an embedding, as sklperturb embed "
            "writes."
        )
        return
    if not embedding:
        log.info(
            "Without --embedding, all perturbations that were not seen are predicted "
            "alike; pass gene sets or a table of genes to tell them apart."
        )
    options = {"embedding": embedding, "layer": layer, "latent": obsm, **roles}
    command = command_of("fit-cells", data, **options, output="model.skpt")
    out.print(f"Best: {best}. To generate cells of what was not measured:")
    out.print(f"  {command}")
    out.print(
        "  sklperturb predict-cells model.skpt --perturbations genes.txt --output "
        "predicted.h5ad"
    )
