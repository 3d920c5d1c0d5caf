"""How time and memory grow with rows, genes and cells.

Every point is a process of its own with one thread: its processor time, its peak
memory above what the imports take, and the power with which the time has grown since
the point before, 1 being in proportion. Data are generated: responses of rank 20 with
noise, in 10 contexts; cells on disk with 200 of 2,000 genes each, written as they are
counted. A point that takes longer than --limit is left out, and those beyond it. Needs
Linux.

Run: python -m benchmarks.scaling.growth [rows] [genes] [cells]
         [--largest N] [--limit 120]
         [--models ridge,response_kernel,...]

`--largest 10000000` for cells needs 20 GB of disk.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from math import log
from pathlib import Path

ROWS = [100, 300, 1_000, 3_000, 10_000, 30_000, 100_000]
GENES = [1_000, 2_000, 5_000, 10_000, 20_000]
CELLS = [10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000, 10_000_000]
LARGEST = {"rows": 10_000, "genes": 20_000, "cells": 100_000}
MODELS = (
    "additive,additive_joint,ridge,product_kernel,response_kernel,long_boosting,"
    "token_mlp,transformer"
)
ON_CELLS = ["signatures", "wilcoxon_de", "evaluate", "embed"]
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
N_CONTEXTS, RANK, PER_CELL, N_GENES = 10, 20, 200, 2_000


def make_rows(n_rows, n_genes):
    """Return conditions, each once, and responses."""
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(0)
    codes = np.arange(n_rows)
    X = pd.DataFrame(
        {
            "cell_type": np.char.add("c", (codes % N_CONTEXTS).astype(str)),
            "sm_name": np.char.add("d", (codes // N_CONTEXTS).astype(str)),
        }
    )
    of_drug = rng.normal(size=(n_rows // N_CONTEXTS + 1, RANK))
    of_context = rng.normal(size=(N_CONTEXTS, RANK))
    scores = of_drug[codes // N_CONTEXTS] * (1 + 0.3 * of_context[codes % N_CONTEXTS])
    y = scores.astype(np.float32) @ rng.normal(size=(RANK, n_genes)).astype(np.float32)
    return X, y + rng.normal(scale=3, size=y.shape).astype(np.float32)


def write_cells(path, n_cells):
    """Write counts of 50 perturbations and a control, block by block."""
    import anndata
    import h5py
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(0)
    labels = np.array(["non-targeting", *(f"GENE{i + 1}" for i in range(50))])
    obs = pd.DataFrame(
        {
            "target_gene": pd.Categorical(labels[rng.integers(51, size=n_cells)]),
            "batch": pd.Categorical(rng.integers(4, size=n_cells).astype(str)),
        },
        index=np.arange(n_cells).astype(str),
    )
    var = pd.DataFrame(index=[f"GENE{i + 1}" for i in range(N_GENES)])
    anndata.AnnData(obs=obs, var=var).write_h5ad(path)
    weight = rng.gamma(0.5, size=N_GENES) + 1e-3
    with h5py.File(path, "r+") as file:
        file.pop("X", None)
        group = file.create_group("X")
        shape = {"shape": (n_cells, N_GENES), "encoding-version": "0.1.0"}
        group.attrs.update(shape | {"encoding-type": "csr_matrix"})
        total = n_cells * PER_CELL
        data = group.create_dataset("data", (total,), "float32", chunks=(2**18,))
        indices = group.create_dataset("indices", (total,), "int32", chunks=(2**18,))
        group["indptr"] = np.arange(n_cells + 1, dtype=np.int64) * PER_CELL
        for start in range(0, n_cells, 2_000):
            size = min(2_000, n_cells - start)
            order = rng.random((size, N_GENES)) ** (1 / weight)
            chosen = order.argpartition(-PER_CELL, axis=1)[:, -PER_CELL:]
            place = slice(start * PER_CELL, (start + size) * PER_CELL)
            indices[place] = np.sort(chosen, axis=1).ravel()
            data[place] = rng.geometric(0.3, size * PER_CELL)


def prepared(what, name, size, folder):
    """Return a function that does what is to be measured."""
    if what != "cells":
        from sklperturb.datasets import PerturbationSchema
        from sklperturb.models import make_model

        X, y = make_rows(*((size, 1_000) if what == "rows" else (600, size)))
        schema = PerturbationSchema(perturbation="sm_name", context="cell_type")
        model = make_model(name, schema=schema, random_state=0)
        return lambda: model.fit(X, y).predict(X[: len(X) // 10])
    path = folder / f"{size}.h5ad"
    control = {"control": "non-targeting"}
    if name == "signatures":
        from sklperturb.signatures import DifferentialSignatures, Pseudobulk

        by = ["target_gene", "batch"]
        model = DifferentialSignatures(**control)
        return lambda: model.fit(Pseudobulk(by).fit_transform(path))
    if name == "embed":
        from sklperturb.embedding import SECheckpoint, SEConfig, SEEmbedding, embed_file

        config = SEConfig(length=64, width=16, hidden_dim=16, n_layers=1)
        genes = [f"GENE{i + 1}" for i in range(N_GENES)]
        checkpoint = SECheckpoint.create(
            folder / f"{os.getpid()}.ckpt", config=config, genes=genes, random_state=0
        )
        output = folder / f"{os.getpid()}.zarr"
        return lambda: embed_file(path, output, SEEmbedding(checkpoint, device="cpu"))
    from sklperturb.evaluation import evaluate_cells, wilcoxon_de

    if name == "wilcoxon_de":
        return lambda: wilcoxon_de(path, "target_gene", values="counts", **control)
    return lambda: evaluate_cells(path, path, "target_gene", **control)


def measure(what, name, size, folder):
    """Print the processor time and the peak memory of one point, in this process."""
    import time
    import warnings

    import psutil

    warnings.simplefilter("ignore")
    run = prepared(what, name, size, Path(folder))
    before = psutil.Process().memory_info().rss
    # Of this process only: what getrusage tells may be that of the one that started it.
    Path("/proc/self/clear_refs").write_text("5")
    start = time.process_time()
    run()
    seconds = time.process_time() - start
    status = Path("/proc/self/status").read_text()
    peak = int(status.partition("VmHWM:")[2].split()[0]) * 2**10
    print(json.dumps([seconds, (peak - before) / 2**20]))


def measured(limit, *point):
    """Return time and memory of a point in its own process, and why there are none."""
    command = [sys.executable, __file__, "--point", *map(str, point)]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=limit,
            env=os.environ | ONE_THREAD,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None, f"more than {limit:g} s"
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["killed: no memory"]
        return None, lines[-1][:80]
    return json.loads(done.stdout.splitlines()[-1]), ""


def main():
    """Print a table for each of rows, genes and cells."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="*", default=[], metavar="rows|genes|cells")
    parser.add_argument("--largest", type=int)
    parser.add_argument("--limit", type=float, default=120.0)
    parser.add_argument("--models", default=MODELS)
    parser.add_argument("--point", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.point:
        what, name, size, folder = options.point
        measure(what, name, int(size), folder)
        return
    sizes = {"rows": ROWS, "genes": GENES, "cells": CELLS}
    with tempfile.TemporaryDirectory() as folder:
        for what in options.what or sizes:
            largest = options.largest or LARGEST[what]
            points = [size for size in sizes[what] if size <= largest]
            names = ON_CELLS if what == "cells" else options.models.split(",")
            if what == "cells":
                for size in points:
                    write_cells(Path(folder) / f"{size}.h5ad", size)
            print(f"\n| {what} | | CPU s | MB | power |\n|---|---|---|---|---|")
            for name in names:
                before = None
                for size in points:
                    found, why = measured(options.limit, what, name, size, folder)
                    if found is None:
                        print(f"| {name} | {size:,} | - | - | {why} |", flush=True)
                        break
                    seconds, peak = found
                    power = ""
                    if before is not None and before[1] > 0.2:
                        ratio = log(size / before[0])
                        power = f"{log(seconds / before[1]) / ratio:.2f}"
                    cost = f"{seconds:.2f} | {peak:,.0f} | {power}"
                    print(f"| {name} | {size:,} | {cost} |", flush=True)
                    before = size, seconds


if __name__ == "__main__":
    main()
