"""Time the Wilcoxon tests beside pdex and illico, in single-threaded CPU seconds.

    python benchmarks/wilcoxon_speed.py --peer PYTHON [--shape 20000 2000 30]

PYTHON is an interpreter of an environment with pdex (and illico, if it is to be
timed); the same file of generated cells is tested in it. Each is run twice in one
process, and the second run counts, so that compilation does not.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

for library in ("OMP", "OPENBLAS", "MKL", "NUMBA", "RAYON", "POLARS_MAX"):
    os.environ[f"{library}_NUM_THREADS"] = "1"
os.environ["POLARS_MAX_THREADS"] = "1"

PEER = """
import json, sys, time
import anndata as ad
import numpy as np
kind, path, out = sys.argv[1:]
cells = ad.read_h5ad(path)
seconds = []
for _ in range(2):
    start = time.process_time()
    if kind == "pdex":
        from pdex import pdex
        table = pdex(cells, groupby="target_gene", mode="ref",
                     reference="non-targeting", is_log1p=True, threads=1)
    else:
        from illico import asymptotic_wilcoxon
        table = asymptotic_wilcoxon(cells, is_log1p=True, group_keys="target_gene",
                                    reference="non-targeting", n_threads=1)
    seconds.append(time.process_time() - start)
if kind == "pdex":
    p = table.sort(["target", "feature"])["p_value"].to_numpy()
    np.save(out, p)
print(json.dumps(seconds))
"""


def make_cells(n_cells, n_genes, n_perturbations, seed=0):
    """Generate log-normalised counts, 17 % of them controls."""
    import anndata as ad
    import numpy as np
    import pandas as pd
    from scipy import sparse

    rng = np.random.default_rng(seed)
    names = np.array(["non-targeting", *(f"P{i:03}" for i in range(n_perturbations))])
    label = rng.integers(1, n_perturbations + 1, n_cells)
    label[rng.random(n_cells) < 0.17] = 0
    mean = np.exp(rng.normal(-1.1, 1.3, n_genes))
    effect = np.exp(
        rng.normal(0, 0.5, (n_perturbations + 1, n_genes))
        * (rng.random((n_perturbations + 1, n_genes)) < 0.1)
    )
    depth = rng.lognormal(0, 0.3, n_cells)
    blocks = []
    for start in range(0, n_cells, 5000):
        rows = slice(start, start + 5000)
        rate = depth[rows, None] * mean * effect[label[rows]]
        counts = rng.poisson(rng.gamma(2.0, rate / 2.0))
        total = np.maximum(counts.sum(axis=1, keepdims=True), 1)
        blocks.append(
            sparse.csr_array(np.log1p(counts / total * 1e4, dtype=np.float32))
        )
    obs = pd.DataFrame({"target_gene": pd.Categorical(names[label])})
    obs.index = obs.index.astype(str)
    var = pd.DataFrame(index=[f"G{i:05}" for i in range(n_genes)])
    return ad.AnnData(sparse.csr_matrix(sparse.vstack(blocks, format="csr")), obs, var)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", help="Python of an environment with pdex")
    parser.add_argument("--shape", type=int, nargs=3, default=(4000, 500, 10))
    parser.add_argument("--tools", nargs="+", default=["pdex", "illico"])
    options = parser.parse_args()

    import numpy as np

    from sklperturb.evaluation import wilcoxon_de

    cells = make_cells(*options.shape)
    density = cells.X.nnz / np.prod(cells.shape)
    print(f"cells, genes, perturbations {tuple(options.shape)}, density {density:.2f}")
    seconds = []
    for _ in range(2):
        start = time.process_time()
        table = wilcoxon_de(cells, "target_gene", control="non-targeting")
        seconds.append(time.process_time() - start)
    ours = seconds[-1]
    print(f"{'tool':12}{'CPU s':>8}{'ratio':>8}  largest relative difference of p")
    print(f"{'sklperturb':12}{ours:8.2f}{1:8.1f}")
    if options.peer is None:
        print("Pass --peer to time pdex and illico beside.")
        return
    with tempfile.TemporaryDirectory() as folder:
        path, out = Path(folder) / "cells.h5ad", Path(folder) / "p.npy"
        cells.write_h5ad(path)
        for tool in options.tools:
            run = subprocess.run(
                [options.peer, "-c", PEER, tool, str(path), str(out)],
                capture_output=True,
                text=True,
                env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
            )
            if run.returncode:
                print(f"{tool:12} failed: {run.stderr.strip().splitlines()[-1]}")
                continue
            theirs = json.loads(run.stdout.strip().splitlines()[-1])[-1]
            note = ""
            if out.exists():
                p = np.load(out)
                mine = table["p_value"].to_numpy()
                note = f"  {np.max(np.abs(mine - p) / np.maximum(p, 1e-300)):.1e}"
                out.unlink()
            print(f"{tool:12}{theirs:8.2f}{theirs / ours:8.1f}{note}")


if __name__ == "__main__":
    sys.exit(main())
