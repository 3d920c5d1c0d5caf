"""The command that embeds cells."""

import time
from pathlib import Path
from typing import Annotated

import typer
from typer import Option

from sklperturb.cli._app import app, log, out
from sklperturb.cli._choices import connected, refuse_inputs
from sklperturb.cli._ending import keeping
from sklperturb.cli._options import Cells, Dask, Layer, Overwrite, Seed, number
from sklperturb.utils._choices import CountScale, Precision

_KEPT = "finished chunks are kept, and the same command goes on from there"


@app.command()
def embed(
    ctx: typer.Context,
    path: Cells,
    checkpoint: Annotated[
        Path, Option(exists=True, help="Weights of State Embedding: a folder or file.")
    ],
    output: Annotated[Path, Option(help="The .h5ad file or .zarr folder to write.")],
    layer: Layer = None,
    gene_names: Annotated[
        str, Option(help="Column of var with the gene symbols; auto finds it.")
    ] = "auto",
    gene_map: Annotated[
        Path | None,
        Option(
            exists=True,
            dir_okay=False,
            help="Table of two columns: names in the file, gene symbols.",
        ),
    ] = None,
    ignore_case: Annotated[
        bool, Option("--ignore-case", help="Match names of genes in any case.")
    ] = False,
    min_mapped: Annotated[
        float,
        Option(
            help="Least share of the counts that must be on known genes.",
            min=0,
            max=1,
            callback=number,
        ),
    ] = 0.1,
    count_scale: Annotated[
        CountScale,
        Option(help="Whether values are raw counts or log1p; auto finds out."),
    ] = CountScale.auto,
    include_dataset_token: Annotated[
        bool, Option(help="Add the embedding of the data set to each cell's.")
    ] = True,
    device: Annotated[
        str, Option(help="cpu, cuda, cuda:1, ...; auto takes a GPU if any.")
    ] = "auto",
    precision: Annotated[
        Precision, Option(help="Of the computation; auto is bfloat16 on a GPU.")
    ] = Precision.auto,
    batch_size: Annotated[
        int | None,
        Option(help="Cells the model reads at once; fitted to memory.", min=1),
    ] = None,
    chunk_size: Annotated[
        int, Option(help="Cells that are read and written at once.", min=1)
    ] = 1024,
    shard: Annotated[
        str | None, Option(help="Do the i-th of n parts, as in 1/4.")
    ] = None,
    dask: Dask = None,
    resume: Annotated[bool, Option(help="Go on with what an earlier run left.")] = True,
    seed: Seed = 0,
    overwrite: Overwrite = False,
):
    """Embed cells with Arc's State Embedding model.

    A run that was stopped goes on where it was. The weights have a non-commercial
    licence and are not part of this program.
    """
    from sklperturb.files._writing import check_output

    part = _read_shard(shard)
    if part and dask:
        raise ValueError("--shard and --dask both divide the work; pass one of them.")
    check_output(output, (".h5ad", ".zarr"), overwrite)
    refuse_inputs([path], [output])
    client = ctx.with_resource(connected(dask))
    from sklperturb.embedding import SECheckpoint, SEEmbedding, embed_file

    model = SEEmbedding(
        SECheckpoint(checkpoint),
        gene_names=gene_names,
        layer=layer,
        batch_size=batch_size,
        device=device,
        precision=precision,
        random_state=seed,
        include_dataset_token=include_dataset_token,
        gene_map=gene_map,
        ignore_case=ignore_case,
        min_mapped=min_mapped,
        count_scale=count_scale,
    )
    start = time.perf_counter()
    with keeping(_KEPT):
        n_cells, finished = embed_file(
            path,
            output,
            model,
            shard=part,
            resume=resume,
            overwrite=overwrite,
            chunk_size=chunk_size,
            client=client,
        )
    seconds = time.perf_counter() - start
    log.info(f"{n_cells} cells in {seconds:.1f} s, {n_cells / seconds:.1f} a second")
    if finished:
        out.print(f'obsm["X_state"]: {output}')
    else:
        out.print("This part is done; the output is made when all are.")


def _read_shard(shard):
    if shard is None:
        return None
    part, _, parts = shard.partition("/")
    if not (part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)):
        raise ValueError(f"--shard {shard} must be i/n with i from 1 to n, as in 1/4.")
    return int(part), int(parts)
