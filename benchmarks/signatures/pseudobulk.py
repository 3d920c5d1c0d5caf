"""Pseudobulks in one pass over sparse values, beside a loop and a dense frame.

Generated counts, single-threaded. The dense way is that of evaluators which turn the
matrix into a data frame and group its rows. Memory is the peak of what is allocated
above the loaded data; "file" streams an h5ad file from disk, and loads nothing.

    python -m benchmarks.signatures.pseudobulk [--cells 40000] [--genes 2000] \
        [--groups 31 1000]
"""

import argparse
import tempfile
import time
import tracemalloc
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

from benchmarks._output import record, show
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


def measure(cells, path, runs):
    """Return {way: (CPU seconds of all rounds, memory in MB, sums)}, in turn."""
    seconds = {way: [] for way in WAYS}
    found = {}
    for _ in range(runs):
        for way, function in WAYS.items():
            start = time.process_time()
            sums = function(cells, path)
            seconds[way].append(time.process_time() - start)
            found[way] = sums
    for way, function in WAYS.items():
        tracemalloc.start()
        function(cells, path)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        found[way] = seconds[way], peak / 1e6, found[way]
    return found


def main():
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=40_000)
    parser.add_argument("--genes", type=int, default=2_000)
    parser.add_argument("--groups", type=int, nargs="+", default=[31, 1000])
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for n_groups in options.groups:
            path = Path(folder) / f"{n_groups}.h5ad"
            generate(path, options.cells, options.genes, n_groups)
            cells = ad.read_h5ad(path)
            exact = pseudobulk(cells, "group").X
            found = measure(cells, path, options.runs)
            ours = found["sklperturb"][0]
            for way, (seconds, peak, sums) in found.items():
                ratio = np.median([b / a for a, b in zip(ours, seconds, strict=True)])
                record(f"{n_groups} groups, {way} over ours", ratio, "times", mb=peak)
                rows.append(
                    {
                        "groups": n_groups,
                        "way": way,
                        "CPU s": np.median(seconds),
                        "times ours": ratio,
                        "MB above the data": f"{peak:.0f}",
                        "error": f"{np.abs(sums - exact).max():g}",
                    }
                )
    show(rows)


if __name__ == "__main__":
    main()
