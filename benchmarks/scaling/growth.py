"""How time and memory grow with rows, genes and cells.

Every point is a process of its own with one thread: its processor time, its peak
memory above what the imports take, and the power with which the time has grown since
the point before, 1 being in proportion. What is recorded is the power of the last
tenfold. Data are generated: responses of rank 20 with noise, in 10 contexts, 200 genes
where rows grow and 600 rows where genes do; cells on disk with 200 of 2,000 genes each,
written as they are counted. A point that is expected to take more seconds than
--limit, in proportion to the one before, is left out, and those beyond it. Needs Linux.

Run: python -m benchmarks.scaling.growth [rows] [genes] [cells]
         [--largest N] [--limit 80] [--only ridge,signatures,...] [--folder DIR]

`--largest 10000000` for cells needs 20 GB of disk. In --folder, files of cells are
kept, and taken where they are there.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from math import log
from pathlib import Path

import numpy as np

from benchmarks._output import record

SIZES = {
    "rows": [100, 300, 1_000, 3_000, 10_000, 30_000, 100_000],
    "genes": [1_000, 5_000, 20_000],
    "cells": [10_000, 100_000, 300_000, 1_000_000, 10_000_000],
}
LARGEST = {"rows": 100_000, "genes": 20_000, "cells": 100_000}
MODELS = [
    *(
        "additive",
        "additive_joint",
        "ridge",
        "context_transfer",
        "token_mlp",
        "transformer",
    ),
    *("product_kernel", "response_kernel", "tanimoto_kernel", "gene_kernel"),
    "long_boosting",
]
ON_CELLS = ["signatures", "wilcoxon_de", "evaluate", "embed"]
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
N_CONTEXTS, RANK, PER_CELL, N_GENES = 10, 20, 200, 2_000
FEW_GENES, FEW_ROWS = 200, 600
# Cells whose genes are drawn; of more cells, these repeat, with counts of their own.
DIFFERENT = 20_000
# Seconds below which a time says more of what is started than of what grows.
SHORTEST = 0.1


def make_rows(n_rows, n_genes):
    """Return conditions, each once, and responses."""
    import pandas as pd

    rng = np.random.default_rng(0)
    codes = np.arange(n_rows)
    X = pd.DataFrame(
        {
            "cell_type": np.char.add("c", (codes % N_CONTEXTS).astype(str)),
            "sm_name": np.char.add("d", (codes // N_CONTEXTS).astype(str)),
        }
    )
    X["SMILES"] = [_structure(code) for code in codes // N_CONTEXTS]
    of_drug = rng.normal(size=(n_rows // N_CONTEXTS + 1, RANK))
    of_context = rng.normal(size=(N_CONTEXTS, RANK))
    scores = of_drug[codes // N_CONTEXTS] * (1 + 0.3 * of_context[codes % N_CONTEXTS])
    y = scores.astype(np.float32) @ rng.normal(size=(RANK, n_genes)).astype(np.float32)
    return X, y + rng.normal(scale=3, size=y.shape).astype(np.float32)


def _structure(number):
    """Return a SMILES, another one for each number."""
    chain = np.base_repr(number, 4).translate(str.maketrans("0123", "CNOS"))
    return f"c1ccccc1{chain}C"


def write_cells(path, n_cells):
    """Write counts of 50 perturbations and a control, block by block."""
    import anndata
    import h5py
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
        expressed = np.concatenate(
            [_expressed(rng, weight, 2_000) for _ in range(0, DIFFERENT, 2_000)]
        )
        for start in range(0, n_cells, DIFFERENT):
            size = min(DIFFERENT, n_cells - start)
            place = slice(start * PER_CELL, (start + size) * PER_CELL)
            indices[place] = expressed[:size].ravel()
            data[place] = rng.geometric(0.3, size * PER_CELL)


def _expressed(rng, weight, n_cells):
    """Return the genes of some cells, the heavier ones more often."""

    order = rng.random((n_cells, N_GENES)) ** (1 / weight)
    chosen = order.argpartition(-PER_CELL, axis=1)[:, -PER_CELL:]
    return np.sort(chosen, axis=1).astype(np.int32)


def prepared(what, name, size, folder):
    """Return a function that does what is to be measured."""
    if what != "cells":
        from sklperturb.datasets import PerturbationSchema
        from sklperturb.models import make_model

        X, y = make_rows(*((size, FEW_GENES) if what == "rows" else (FEW_ROWS, size)))
        roles = {"smiles": "SMILES"} if name == "tanimoto_kernel" else {}
        schema = PerturbationSchema(
            perturbation="sm_name", context="cell_type", **roles
        )
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


def measure(what, name, size, folder, limit):
    """Print the processor time and the peak memory of one point, in this process."""
    import resource
    import time
    import warnings

    import psutil

    warnings.simplefilter("ignore")
    run = prepared(what, name, size, Path(folder))
    before = psutil.Process().memory_info().rss
    # Of the processor: on a machine that others use as well, hours may pass.
    soft = int(time.process_time() + 1.5 * limit)
    resource.setrlimit(resource.RLIMIT_CPU, (soft, soft + 5))
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
    command = [sys.executable, __file__, "--limit", str(limit)]
    done = subprocess.run(
        [*command, "--point", *map(str, point)],
        capture_output=True,
        text=True,
        env=os.environ | ONE_THREAD,
        check=False,
    )
    if done.returncode == -signal.SIGXCPU:
        return None, f"more than {1.5 * limit:g} s"
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["killed: no memory"]
        return None, lines[-1]
    return json.loads(done.stdout.splitlines()[-1]), ""


def power(points, tenfold=False):
    """Return how the time of the last point grew since the one before, or a tenth."""
    *earlier, (size, seconds) = points
    earlier = [p for p in earlier if p[1] > SHORTEST]
    if tenfold:
        earlier = [p for p in earlier if p[0] <= size / 9] or earlier[:1]
    if not earlier:
        return None
    before = earlier[-1]
    return log(seconds / before[1]) / log(size / before[0])


def curve(what, name, sizes, limit, folder):
    """Print the points of one line, and record how it ends."""
    points = []
    for size in sizes:
        if points and points[-1][1] * size / points[-1][0] > limit:
            print(f"| {name} | {size:,} | | | more than {limit:g} s: left out |")
            break
        found, why = measured(limit, what, name, size, folder)
        if found is None:
            print(f"| {name} | {size:,} | | | {why} |", flush=True)
            break
        seconds, peak = found
        points.append((size, seconds))
        grown = power(points)
        grown = "" if grown is None else f"{grown:.2f}"
        cost = f"{seconds:.2f} | {peak:,.0f} | {grown}"
        print(f"| {name} | {size:,} | {cost} |", flush=True)
    grown = power(points, tenfold=True) if points else None
    if grown is not None:
        record(f"{what}, {name}: power", grown)
        record(f"{what}, {name}: largest", points[-1][0])
    if points:
        record(f"{what}, {name}: memory", peak / 2**10, "GB")


def main():
    """Print a table for each of rows, genes and cells."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="*", default=[], metavar="rows|genes|cells")
    parser.add_argument("--largest", type=int)
    parser.add_argument("--limit", type=float, default=80.0)
    parser.add_argument("--only", help="models, or steps on cells, with commas")
    parser.add_argument("--folder", type=Path, help="for files of cells")
    parser.add_argument("--point", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.point:
        what, name, size, folder = options.point
        measure(what, name, int(size), folder, options.limit)
        return
    with tempfile.TemporaryDirectory() as folder:
        folder = options.folder or folder
        for what in options.what or SIZES:
            largest = options.largest or LARGEST[what]
            sizes = [size for size in SIZES[what] if size <= largest]
            names = ON_CELLS if what == "cells" else MODELS
            names = options.only.split(",") if options.only else names
            if what == "cells":
                for path, size in ((Path(folder) / f"{n}.h5ad", n) for n in sizes):
                    if not path.exists():
                        write_cells(path, size)
            print(f"\n| what | {what} | CPU s | MB | power |\n|---|---|---|---|---|")
            for name in names:
                curve(what, name, sizes, options.limit, folder)


if __name__ == "__main__":
    main()
