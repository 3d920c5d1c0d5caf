"""Memory while cells stream from a file through a small model.

Writes generated sparse cells to an .h5ad file, embeds it with `embed_file` and a small
random model, and reports the peak memory of the process above what it had before.

    python -m benchmarks.embedding.se_streaming [--cells 20000] [--genes 18000]

The claim is on ``--cells 200000``, which takes about 0.8 GB of disk.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import psutil

from benchmarks._output import record
from sklperturb.embedding import SECheckpoint, SEConfig, SEEmbedding, embed_file


def write_cells(path, n_cells, n_genes, per_cell, rng):
    """Write cells block by block, new counts on the same genes."""
    names = [f"GENE{i + 1}" for i in range(n_genes)]
    obs = pd.DataFrame(index=[f"cell{i}" for i in range(n_cells)])
    var = pd.DataFrame(index=names)
    anndata.AnnData(obs=obs, var=var).write_h5ad(path)
    block = 200
    with h5py.File(path, "r+") as file:
        group = file.create_group("X") if "X" not in file else file["X"]
        group.attrs["encoding-type"] = "csr_matrix"
        group.attrs["encoding-version"] = "0.1.0"
        group.attrs["shape"] = (n_cells, n_genes)
        total = n_cells * per_cell
        data = group.create_dataset("data", (total,), "float32", chunks=(2**18,))
        indices = group.create_dataset("indices", (total,), "int32", chunks=(2**18,))
        group["indptr"] = np.arange(n_cells + 1, dtype=np.int64) * per_cell
        shuffled = rng.random((block, n_genes)).argpartition(per_cell, axis=1)
        genes = np.sort(shuffled[:, :per_cell])
        for start in range(0, n_cells, block):
            size = min(block, n_cells - start)
            rows = slice(start * per_cell, (start + size) * per_cell)
            indices[rows] = genes[:size].ravel()
            data[rows] = rng.geometric(0.1, size * per_cell)


def main():
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=20_000)
    parser.add_argument("--genes", type=int, default=18_000)
    parser.add_argument("--per-cell", type=int, default=500)
    options = parser.parse_args()
    config = SEConfig(length=64, width=16, hidden_dim=16, n_layers=1)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        rng = np.random.default_rng(0)
        path = folder / "cells.h5ad"
        write_cells(path, options.cells, options.genes, options.per_cell, rng)
        checkpoint = SECheckpoint.create(
            folder / "small.ckpt", config=config, genes=options.genes, random_state=0
        )
        before = psutil.Process().memory_info().rss / 2**20
        start = time.perf_counter()
        embed_file(path, folder / "out.zarr", SEEmbedding(checkpoint))
        # Kilobytes, the most since the process began, which was little before.
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
        seconds = time.perf_counter() - start
        size = sum(f.stat().st_size for f in path.parent.glob("*.h5ad")) / 2**20
    record(f"memory, {options.cells} cells", (peak - before) / 1024, "GB")
    print(
        "| cells | genes | file MB | more memory MB | cells/s |\n|---|---|---|---|---|"
    )
    print(
        f"| {options.cells} | {options.genes} | {size:.0f} | "
        f"{peak - before:.0f} | {options.cells / seconds:.0f} |"
    )


if __name__ == "__main__":
    main()
