"""Fit and score one public method, or one of our models, on prepared data.

    python -m benchmarks.public_methods.run --clone CLONE --data FOLDER \
        --method NAME [--options JSON]

FOLDER was written by ``prepare.py``; one of its folds at a time is run, each in a
process of its own. Measured are wall time and processor time of the whole process
(imports and reading included) and the peak of its resident memory, with that of its
own children; a page that several of them share counts once. The predictions go to
``--output``/DATA/FOLD/NAME.h5ad, a record to ``results.jsonl`` beside this file.
"""

import argparse
import json
import os
import sys
from pathlib import Path

import anndata as ad
import numpy as np

from benchmarks._pairs import watched
from benchmarks.public_methods.methods import LAYER, RUNNERS
from sklperturb.datasets import load_op2
from sklperturb.metrics import rowwise_root_mean_squared_error

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results.jsonl"
KEY = ("data", "fold", "method")


def run(name, folder, output, *, clone, options, python, threads, label):
    """Run one method on one fold; return its record."""
    path = output / folder.parent.name / folder.name / f"{label}.h5ad"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    command = [python, str(HERE / "methods.py"), name, "--data", str(folder)]
    command += ["--output", str(path), "--options", json.dumps(options)]
    if name in RUNNERS:
        command += ["--clone", str(clone)]
    limits = ("OMP", "OPENBLAS", "MKL", "TF_INTRAOP", "TF_INTEROP")
    environment = os.environ | {f"{x}_NUM_THREADS": str(threads) for x in limits}
    seconds, processor, peak = watched(command, env=environment)
    report = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    training = report["training_seconds"]
    screen = load_op2(folder, layer=LAYER)
    y_pred = np.asarray(ad.read_h5ad(path).layers["prediction"], dtype=np.float64)
    errors = rowwise_root_mean_squared_error(screen.y_test, y_pred)
    return {
        "data": folder.parent.name,
        "fold": folder.name,
        "method": label,
        "public": name in RUNNERS,
        "options": options,
        "training_share": report["training_share"],
        "seconds": round(seconds, 1),
        # As if what was left out took as long as what was done.
        "full_seconds": round(
            seconds - training + training / report["training_share"], 1
        ),
        "processor_seconds": round(processor, 1),
        "peak_gb": round(peak, 2),
        "threads": threads,
        "compounds": screen.X_test[screen.schema.perturbation].tolist(),
        "errors": [round(float(error), 5) for error in errors],
    }


def read_records():
    if not RESULTS.exists():
        return []
    lines = RESULTS.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def keep(record):
    """Put a record in the place of an earlier one of the same run."""
    records = {tuple(old[name] for name in KEY): old for old in read_records()}
    records[tuple(record[name] for name in KEY)] = record
    lines = [json.dumps(records[key]) for key in sorted(records)]
    unfinished = RESULTS.with_suffix(".part")
    unfinished.write_text("\n".join(lines) + "\n", encoding="utf-8")
    unfinished.replace(RESULTS)


def folds(data, only=None):
    """Return the folders of the folds, or of one of them."""
    name = "fold_*" if only is None else f"fold_{only}"
    found = sorted(data.glob(name))
    if not found:
        raise SystemExit(f"{data} has no folder {name}; write it with prepare.py.")
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clone", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--method", required=True)
    parser.add_argument("--options", type=json.loads, default={})
    parser.add_argument("--label", help="name in the table, the method by default")
    parser.add_argument("--fold", type=int, help="only this one")
    parser.add_argument("--python", default=sys.executable, help="to run it with")
    parser.add_argument("--threads", type=int, default=1)
    default = HERE.parent / "results" / "public_methods"
    parser.add_argument("--output", type=Path, default=default)
    args = parser.parse_args()
    if args.method in RUNNERS and args.clone is None:
        parser.error(f"{args.method} is run from a clone; pass --clone.")
    for folder in folds(args.data.resolve(), args.fold):
        record = run(
            args.method,
            folder,
            args.output,
            clone=args.clone,
            options=args.options,
            python=args.python,
            threads=args.threads,
            label=args.label or args.method,
        )
        keep(record)
        shown = {key: record[key] for key in record if key != "compounds"}
        print({**shown, "errors": round(float(np.mean(record["errors"])), 4)})


if __name__ == "__main__":
    main()
