"""Time the Wilcoxon tests beside pdex, illico and scanpy, in CPU seconds of one thread.

All test the same file of generated cells, each in a process of its own, in turn; the
first round does not count, so that compilation does not.

    python -m benchmarks.signatures.wilcoxon_speed [--shape 20000 2000 30] [--runs 3]
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

from benchmarks._output import record, show
from benchmarks._pairs import ratio_rows, take_turns

LABEL, CONTROL = "target_gene", "non-targeting"
PEERS = {"pdex": "expression", "illico": "expression", "scanpy": "expression"}


def _read(path):
    import anndata

    return anndata.read_h5ad(path)


def _kept(path, name, p):
    """Keep p-values for comparison; perturbations after controls, genes in order."""
    np.save(Path(path).with_name(f"{name}.npy"), p)


def sklperturb(path):
    """Test with `wilcoxon_de`."""
    from sklperturb.evaluation import wilcoxon_de

    cells = _read(path)

    def run():
        table = wilcoxon_de(cells, LABEL, control=CONTROL)
        _kept(path, "sklperturb", table["p_value"].to_numpy())

    return run


def pdex(path):
    """Test with pdex."""
    from pdex import pdex

    cells = _read(path)
    options = {"mode": "ref", "reference": CONTROL, "is_log1p": True, "threads": 1}

    def run():
        table = pdex(cells, groupby=LABEL, **options)
        p = table.sort(["target", "feature"])["p_value"].to_numpy()
        _kept(path, "pdex", p)

    return run


def illico(path):
    """Test with illico."""
    from illico import asymptotic_wilcoxon

    cells = _read(path)
    options = {"is_log1p": True, "reference": CONTROL, "n_threads": 1}
    return lambda: asymptotic_wilcoxon(cells, group_keys=LABEL, **options)


def scanpy(path):
    """Test with scanpy, ties corrected as the others do."""
    import scanpy

    cells = _read(path)
    options = {"method": "wilcoxon", "tie_correct": True, "reference": CONTROL}
    return lambda: scanpy.tl.rank_genes_groups(cells, LABEL, **options)


def make_cells(n_cells, n_genes, n_perturbations, seed=0):
    """Generate log-normalised counts, 17 % of them controls."""
    import anndata as ad
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
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", type=int, nargs=3, default=(4000, 500, 10))
    parser.add_argument("--tools", nargs="+", default=list(PEERS))
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    shape = " x ".join(f"{n:,}" for n in options.shape)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "cells.h5ad")
        cells = make_cells(*options.shape)
        density = cells.X.nnz / np.prod(cells.shape)
        cells.write_h5ad(path)
        del cells
        sides = {"sklperturb": None} | {name: PEERS[name] for name in options.tools}
        found = take_turns(__file__, sides, [str(path)], rounds=options.runs)
        show(
            ratio_rows(found, shape),
            f"{shape} (cells, genes, perturbations), {density:.0%} of values not zero:",
        )
        theirs = Path(folder, "pdex.npy")
        if theirs.exists():
            ours, theirs = np.load(path.with_name("sklperturb.npy")), np.load(theirs)
            gap = np.max(np.abs(ours - theirs) / np.maximum(theirs, 1e-300))
            record(f"{shape}: p-values against pdex", gap)
            print(f"Largest relative difference of p-values from pdex: {gap:.1e}.")


if __name__ == "__main__":
    main()
