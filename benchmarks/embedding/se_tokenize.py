"""How many cells a second become sentences, on one core.

Generates cells as sparse as those of the Virtual Cell Challenge (about 8,000 of 18,000
genes expressed, 50,000 counts) and tokenises them for sentences of 2,048, in one
thread, some of the genes being unmapped. Reads the thread's CPU time, so that other
programs matter less, and gives the best and the median of several runs.

    python -m benchmarks.embedding.se_tokenize [--cells 512] [--runs 20]
"""

import argparse
import os
import time

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
from scipy import sparse

from benchmarks._output import record
from sklperturb.embedding._tokens import Tokenizer


def make_cells(n_cells, n_genes, n_counts, rng):
    """Generate overdispersed counts, gene means log-normal."""
    means = rng.lognormal(-1.6, 1.9, n_genes)
    means *= n_counts / means.sum()
    blocks = []
    for start in range(0, n_cells, 256):
        size = min(256, n_cells - start)
        rates = rng.gamma(3, 1 / 3, (size, n_genes)) * means
        rates *= rng.lognormal(0, 0.3, (size, 1))
        blocks.append(sparse.csr_matrix(rng.poisson(rates).astype(np.float32)))
    return sparse.vstack(blocks, "csr")


def main():
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=512)
    parser.add_argument("--genes", type=int, default=18000)
    parser.add_argument("--runs", type=int, default=20)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    mapped = np.arange(options.genes)
    partly = np.where(rng.random(options.genes) < 0.95, mapped, -1)
    print("| cells | genes a cell | mapped | cells/s, best | cells/s, median |")
    print("|---|---|---|---|---|")
    for name, n_counts in (("VCC-like", 50_000), ("shallow", 3_000)):
        X = make_cells(options.cells, options.genes, n_counts, rng)
        for share, token_of in (("95 %", partly), ("all", mapped)):
            tokenizer = Tokenizer(
                token_of,
                2048,
                3,
                count_scale="auto",
                target_sum=None,
                cls_count="reference",
                seed=0,
            )
            seconds = []
            for _ in range(options.runs):
                start = time.thread_time()
                tokenizer(X)
                seconds.append(time.thread_time() - start)
            best, median = min(seconds), np.median(seconds)
            record(f"{name}, {share} mapped", options.cells / median, "cells/s")
            print(
                f"| {name} | {X.nnz / options.cells:.0f} | {share} | "
                f"{options.cells / best:.0f} | {options.cells / median:.0f} |"
            )


if __name__ == "__main__":
    main()
