"""Measure time and memory of scoring cells at the size of the Virtual Cell Challenge.

150 perturbations and their controls, 18,080 genes, are generated to disk. The file is
scored as a prediction of itself, baseline and ceiling included, by a process of its
own, whose peak memory is given.

Run: python -m benchmarks.metrics.evaluate_vcc [--cells 183000] [--depth 20000]
         [--convention vcc2026] [--folder DIR]
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from benchmarks._output import record
from benchmarks._pairs import watched
from sklperturb.datasets import make_genetic_screen

SCORE = """
import sys
from benchmarks._output import show
from sklperturb.evaluation import evaluate_cells
real, pred, convention, control = sys.argv[1:]
found = evaluate_cells(
    real, pred, "target_gene", control=control, convention=convention
)
show(found.scores.round(3))
"""


def write(path, n_cells, depth):
    """Write the cells; return the label of the controls."""
    each = round(n_cells * 0.8 / 150)
    screen = make_genetic_screen(
        150,
        18_080,
        cells_per_perturbation=each,
        n_controls=n_cells - 150 * each,
        depth=depth,
        path=path,
        random_state=0,
    )
    stored = screen.y.X[:1000].nnz / 1000
    label = screen.X.loc[screen.is_control, "target_gene"].iloc[0]
    screen.y.file.close()
    print(f"{path.stat().st_size / 1e9:.1f} GB, {stored:.0f} genes a cell")
    return label


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cells", type=int, default=183_000)
    parser.add_argument("--depth", type=float, default=20_000)
    parser.add_argument("--convention", default="vcc2026")
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder, "cells.h5ad")
        start = time.perf_counter()
        control = write(path, options.cells, options.depth)
        print(f"written in {time.perf_counter() - start:.0f} s", flush=True)
        command = [sys.executable, "-c", SCORE, path, path, options.convention, control]
        seconds, cpu, peak = watched(command)
        record("memory", peak, "GB")
        record("seconds", seconds, "s", cpu=cpu)
        print(f"scored in {seconds:.0f} s, {cpu:.0f} s of CPU, peak {peak:.2f} GB")


if __name__ == "__main__":
    main()
