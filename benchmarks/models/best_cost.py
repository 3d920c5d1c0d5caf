"""Seconds, memory and error of `best` and of single models, as commands of a user.

`sklperturb submit` is run for each, reading and writing included, with two processes,
on a generated screen at OP2 size or, with --data, on the training rows of a measured
one, of which a fold like the rows to predict is held out. Seconds are wall time and
processor time, memory that of all processes together. "rel." is the MRRMSE relative to
zeros.

    python -m benchmarks.models.best_cost [--models best,ridge] [--data FOLDER]

`best:thorough` is `best` with that budget.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks._output import record, show
from benchmarks._pairs import watched


def generated(folder, genes):
    """Write a generated screen; return the responses to predict, by row."""
    from sklperturb.datasets import make_chemical_screen, write_screen

    screen = make_chemical_screen(n_genes=genes, random_state=0)
    write_screen(folder, screen)
    return screen.id_map, screen.y_test


def held_out(source, folder):
    """Write a screen without one fold of its rows; return the responses of these."""
    from sklperturb.datasets import load_op2, write_screen
    from sklperturb.model_selection import suggest_cv

    screen = load_op2(source)
    cv = suggest_cv(screen.X, screen.X_test, schema=screen.schema, n_splits=5)
    train, test = next(iter(cv.split(screen.X, screen.y)))
    X_test, y_test = screen.X.iloc[test], screen.y.iloc[test]
    columns = [screen.schema.context, screen.schema.perturbation]
    id_map = X_test[columns].reset_index(drop=True)
    id_map.insert(0, "id", np.arange(len(id_map)))
    screen.update(
        X=screen.X.iloc[train].reset_index(drop=True),
        y=screen.y.iloc[train].reset_index(drop=True),
        X_test=X_test.reset_index(drop=True),
        y_test=None,
        id_map=id_map,
    )
    write_screen(folder, screen)
    return id_map, y_test


def main():
    """Print a table."""
    from sklperturb.metrics import mrrmse

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default="best,response_kernel,product_kernel,ridge")
    parser.add_argument("--data", type=Path, help="a screen in the layout of OP2")
    parser.add_argument("--genes", type=int, default=18_211)
    parser.add_argument("--jobs", default="2")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "screen")
        if options.data:
            label = options.data.name
            _, truth = held_out(options.data, data)
        else:
            label = "generated"
            _, truth = generated(data, options.genes)
        zeros = mrrmse(truth, 0 * truth)
        for model in options.models.split(","):
            name, _, budget = model.partition(":")
            out = Path(folder, f"{name}.csv")
            command = [sys.executable, "-m", "sklperturb", "-q", "submit"]
            command += ["--data", str(data), "--model", name, "--jobs", options.jobs]
            command += ["--budget", budget] if budget else []
            seconds, cpu, peak = watched([*command, "--output", str(out)])
            table = pd.read_csv(out, index_col=0)
            error = mrrmse(truth, table[list(truth.columns)].to_numpy())
            record(f"{label}/{model}", seconds, "s", cpu=cpu, mrrmse=error)
            record(f"{label}/{model}/memory", peak, "GB")
            rows.append(
                {
                    "model": model,
                    "wall s": seconds,
                    "CPU s": cpu,
                    "peak GB": peak,
                    "MRRMSE": f"{error:.4f}",
                    "rel.": f"{error / zeros:.3f}",
                }
            )
    show(rows, f"{label}, {truth.shape[0]} rows held out, {truth.shape[1]} genes:")


if __name__ == "__main__":
    main()
