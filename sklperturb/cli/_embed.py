"""The command that embeds cells."""

import contextlib
import time
from pathlib import Path
from typing import Annotated

import typer

from sklperturb.cli._app import app, log, out


@app.command()
def embed(
    cells: Annotated[Path, typer.Argument(help="An .h5ad file or .zarr folder.")],
    checkpoint: Annotated[
        Path, typer.Option(help="Weights of State Embedding: a folder or a file.")
    ],
    output: Annotated[Path, typer.Option(help="An .h5ad file or .zarr folder.")],
    layer: Annotated[
        str | None, typer.Option(help="Layer with the expression; default is X.")
    ] = None,
    genes: Annotated[
        str, typer.Option(help="Column of var with gene symbols, or 'auto'.")
    ] = "auto",
    gene_map: Annotated[
        Path | None,
        typer.Option(help="Table of two columns: other names, gene symbols."),
    ] = None,
    ignore_case: Annotated[bool, typer.Option(help="Match genes in any case.")] = False,
    min_mapped: Annotated[
        float, typer.Option(help="Least share of counts on known genes.", min=0, max=1)
    ] = 0.1,
    count_scale: Annotated[str, typer.Option(help="auto, raw or log1p.")] = "auto",
    dataset_token: Annotated[
        bool, typer.Option(help="Add the embedding of the data set.")
    ] = True,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, float32 or bfloat16.")] = "auto",
    batch_size: Annotated[
        int | None, typer.Option(help="Cells the model reads at once.", min=1)
    ] = None,
    chunk_size: Annotated[
        int, typer.Option(help="Cells that are read and written at once.", min=1)
    ] = 1024,
    shard: Annotated[
        str | None, typer.Option(help="Do one part of n, such as 1/4.")
    ] = None,
    dask: Annotated[
        str | None, typer.Option(help="Address of a Dask scheduler to compute on.")
    ] = None,
    resume: Annotated[
        bool, typer.Option(help="Go on with what an earlier run left.")
    ] = True,
    seed: Annotated[int, typer.Option(help="Seed that settles ties.")] = 0,
    overwrite: Annotated[bool, typer.Option(help="Replace the output.")] = False,
):
    """Embed cells with Arc's State Embedding model.

    A run that was stopped goes on where it was. The weights have a non-commercial
    licence and are not part of this program.
    """
    from sklperturb.embedding import SECheckpoint, SEEmbedding, embed_file

    part = _read_shard(shard)
    if part and dask:
        raise ValueError("--shard and --dask both divide the work; pass one of them.")
    model = SEEmbedding(
        SECheckpoint(checkpoint),
        gene_names=genes,
        layer=layer,
        batch_size=batch_size,
        device=device,
        precision=precision,
        random_state=seed,
        include_dataset_token=dataset_token,
        gene_map=gene_map,
        ignore_case=ignore_case,
        min_mapped=min_mapped,
        count_scale=count_scale,
    )
    start = time.perf_counter()
    with _connected(dask) as client:
        n_cells, finished = embed_file(
            cells,
            output,
            model,
            shard=part,
            resume=resume,
            overwrite=overwrite,
            chunk_size=chunk_size,
            client=client,
        )
    seconds = time.perf_counter() - start
    log.print(f"{n_cells} cells in {seconds:.1f} s, {n_cells / seconds:.1f} a second")
    if finished:
        out.print(f'obsm["X_state"]: {output}', markup=False)
    else:
        out.print("This part is done; the output is made when all are.")


def _read_shard(shard):
    if shard is None:
        return None
    part, _, parts = shard.partition("/")
    if not (part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)):
        raise ValueError(f"--shard {shard} must be i/n with i from 1 to n, as in 1/4.")
    return int(part), int(parts)


@contextlib.contextmanager
def _connected(address):
    """Yield a client of a Dask cluster, None without an address."""
    if address is None:
        yield None
        return
    try:
        from distributed import Client
    except ImportError as error:
        raise ImportError(
            '--dask needs distributed; install it with: pip install "sklperturb[scale]"'
        ) from error
    with Client(address) as client:
        yield client
