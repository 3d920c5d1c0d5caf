"""Pseudobulks in one pass over sparse values, beside a loop and a dense frame.

Generated counts, single-threaded. The dense way is that of evaluators which turn the
matrix into a data frame and group its rows. Memory is the peak of what is allocated
above the loaded data; "file" streams an h5ad file from disk, and loads nothing.

    python benchmarks/pseudobulk.py [--cells 40000] [--genes 2000] [--groups 31 1000]
"""

# make bench runs this

import argparse
import tempfile
import time
import tracemalloc
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

from sklperturb.signatures import pseudobulk


def by_product(cells, path):
    """Sum with the toolkit, in memory."""
    return pseudobulk(cells, "group").X


def from_file(cells, path):
    """Sum with the toolkit, streaming."""
    return pseudobulk(path, "group").X


def by_loop(cells, path):
    """Sum one group after the other."""
    groups = cells.obs["group"].to_numpy()
    rows = [cells.X[groups == g].sum(axis=0) for g in np.unique(groups)]
    return np.asarray(np.vstack(rows))


def by_frame(cells, path):
    """Sum a dense data frame grouped by label."""
    dense = pd.DataFrame(cells.X.toarray())
    return dense.groupby(cells.obs["group"].to_numpy()).sum().to_numpy()


WAYS = {
    "sklperturb": by_product,
    "sklperturb, file": from_file,
    "loop over groups": by_loop,
    "dense frame": by_frame,
}


def generate(path, n_cells, n_genes, n_groups):
    """Write counts with a density of about a third."""
    rng = np.random.default_rng(0)
    shape = (n_cells, n_genes)
    counts = sparse.random_array(shape, density=0.35, format="csr", rng=rng)
    counts.data = np.ceil(counts.data * 9).astype(np.float32)
    labels = [f"{g:06d}" for g in rng.integers(0, n_groups, n_cells)]
    obs = pd.DataFrame({"group": labels}, index=np.arange(n_cells).astype(str))
    ad.AnnData(sparse.csr_matrix(counts), obs=obs).write_h5ad(path)


def measure(way, cells, path, runs):
    """Return the best CPU seconds, the memory in MB and the sums."""
    seconds = []
    for _ in range(runs):
        start = time.process_time()
        sums = WAYS[way](cells, path)
        seconds.append(time.process_time() - start)
    tracemalloc.start()
    WAYS[way](cells, path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return min(seconds), peak / 1e6, sums


def main():
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=40_000)
    parser.add_argument("--genes", type=int, default=2_000)
    parser.add_argument("--groups", type=int, nargs="+", default=[31, 1000])
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    print("| groups | way | CPU s | MB above the data | error |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for n_groups in options.groups:
            path = Path(folder) / f"{n_groups}.h5ad"
            generate(path, options.cells, options.genes, n_groups)
            cells = ad.read_h5ad(path)
            exact = pseudobulk(cells, "group").X
            for way in WAYS:
                seconds, peak, sums = measure(way, cells, path, options.runs)
                error = np.abs(sums - exact).max()
                print(
                    f"| {n_groups} | {way} | {seconds:.2f} | {peak:.0f} | {error:g} |"
                )


if __name__ == "__main__":
    main()
