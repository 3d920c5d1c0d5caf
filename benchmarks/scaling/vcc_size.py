"""Measure commands on cells at the size of the Virtual Cell Challenge.

150 perturbations and their controls, 18,080 genes, are generated to disk, as for
`evaluate_vcc`, which measures scores. `sklperturb signatures` adds the cells up and
compares, and `sklperturb fit` trains a flow in the latent space of the counts, told
apart by an embedding of the genes, for a few steps: memory does not grow with these,
and `flow_whole` has the seconds of a whole training. Each is a process of its own,
whose peak memory is given, that of the libraries included.

Run: python -m benchmarks.scaling.vcc_size [--cells 183000] [--depth 20000]
         [--max-steps 500] [--only fit] [--file FILE] [--folder DIR]

`--file` takes cells that are there already, with an embedding of genes in varm.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from benchmarks._output import record, show
from benchmarks._pairs import THREADS, watched
from benchmarks.metrics.evaluate_vcc import write


def write_embedding(cells, path):
    """Write the embedding that a file of cells holds; return the number of these."""
    import h5py
    import pandas as pd

    with h5py.File(cells) as file:
        genes = file["var"][file["var"].attrs["_index"]].asstr()[:]
        values = file["varm/embedding"][:]
        n_cells = len(file["X/indptr"]) - 1
    pd.DataFrame(values, genes).to_csv(path)
    return n_cells


def main():
    """Print a table with a row for each command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cells", type=int, default=183_000)
    parser.add_argument("--depth", type=float, default=20_000)
    parser.add_argument("--max-steps", type=int, default=500, help="of the flow")
    parser.add_argument("--only", choices=["signatures", "fit"])
    parser.add_argument("--file", type=Path)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    environment = os.environ | {f"{name}_NUM_THREADS": "1" for name in THREADS}
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        folder, cells = Path(folder), options.file
        if cells is None:
            cells = folder / "cells.h5ad"
            write(cells, options.cells, options.depth)
        n_cells = write_embedding(cells, folder / "genes.csv")
        fit = ["fit", "--data", cells, "--embedding", folder / "genes.csv"]
        fit += ["--max-steps", str(options.max_steps)]
        runs = {
            "signatures": ["signatures", cells, "--output", folder / "signatures"],
            "fit": [*fit, "--output", folder / "flow.skpt"],
        }
        rows = []
        for name in [options.only] if options.only else runs:
            command = [sys.executable, "-m", "sklperturb", "-q", *runs[name]]
            seconds, cpu, peak = watched(command, env=environment)
            record(f"{name}, memory", peak, "GB")
            record(f"{name}, CPU", cpu, "s", wall=seconds)
            row = {"command": f"`sklperturb {name}`", "cells": n_cells}
            rows.append(row | {"CPU s": cpu, "peak GB": peak})
        show(rows)


if __name__ == "__main__":
    main()
