"""Make the table of public methods and our models, on the same folds.

    python -m benchmarks.public_methods.compare --data TGGATES OP2_SIZE \
        --models product_kernel,ridge --update docs/public_methods.md

Our models are run; the public methods come from ``results.jsonl``, where earlier runs
left them. With --clone they are run too, within the limits below: those in --methods,
by default all that the limits of the data name.
A model's parameters follow its name: ``best:budget=thorough``, ``best:budget=10``.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from benchmarks._output import update
from benchmarks._peers import interpreter
from benchmarks.networks.networks_tggates import interval
from benchmarks.public_methods.methods import RUNNERS
from benchmarks.public_methods.prepare import dealt, write_fold
from benchmarks.public_methods.run import HERE, folds, keep, read_records, run

# Of their default training, what is done here: see README.md.
LIMITS = {
    "tggates": {
        "jn_ap_op2": {"n_replica": 3},
        "transformer_ensemble": {"num_train_epochs": 50},
        "lgc_ensemble": {"epochs": 12, "schemes": ["light"], "folds": [0]},
        "nn_retraining_with_pseudolabels": {"reps": 1},
    },
    "op2_size": {
        "jn_ap_op2": {"n_replica": 1, "submission_names": ["dl40"], "n_iter": 15},
        "transformer_ensemble": {"num_train_epochs": 10},
        "lgc_ensemble": {
            "epochs": 4,
            "schemes": ["light"],
            "models": ["GRU"],
            "folds": [0],
        },
        "nn_retraining_with_pseudolabels": {"reps": 1},
    },
    "op3": {
        "nn_retraining_with_pseudolabels": {},
        "jn_ap_op2": {"n_replica": 1, "submission_names": ["dl40"]},
        "lgc_ensemble": {
            "epochs": 12,
            "schemes": ["light"],
            "models": ["GRU"],
            "folds": [0],
        },
        "pyboost": {},
        "scape": {"n_drugs": 1, "min_n_top_drugs": 1},
    },
}
HEADER = (
    "| method | run | MRRMSE | difference from best public (95 %) | wall, s "
    "| processor, s | peak, GB | in full, processor |",
    "|---|---|---|---|---|---|---|---|",
)


def read_model(text):
    """Return the name of a model and its parameters."""
    name, *options = text.split(":")
    return name, {key: read_value(x) for key, x in (o.split("=", 1) for o in options)}


def read_value(text):
    """Return a number as one, and any other text as it is."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def duration(seconds):
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


class Row:
    """What the folds of one method have in common."""

    def __init__(self, records):
        self.records = sorted(records, key=lambda record: record["fold"])
        self.public = records[0]["public"]
        self.method = records[0]["method"]
        self.errors = np.concatenate([record["errors"] for record in self.records])
        self.compounds = np.concatenate([x["compounds"] for x in self.records])

    def mean(self, name):
        return float(np.mean([record[name] for record in self.records]))

    def text(self, best):
        first = self.records[0]
        share = first["training_share"]
        done = "in full" if share == 1 else f"{100 * share:.2g} % of the training"
        difference = "–" if best is self else ""  # noqa: RUF001
        if not self.public and best is not None:
            paired = self.errors - best.errors
            low, high = interval(paired, self.compounds)
            difference = f"{paired.mean():+.3f} ({low:+.3f} to {high:+.3f})"
        # Processor time, for other work on the machine stretches the wall time.
        used = self.mean("processor_seconds")
        full = used * self.mean("full_seconds") / self.mean("seconds")
        name = self.method if self.public else f"**{self.method}**"
        return (
            f"| {name} | {done} | {self.errors.mean():.3f} | {difference} "
            f"| {self.mean('seconds'):.0f} | {used:.0f} "
            f"| {max(record['peak_gb'] for record in self.records):.1f} "
            f"| {duration(full)} |"
        )


def table(data, records):
    """Return the lines of the table of one data set."""
    names = dict.fromkeys(x["method"] for x in records if x["data"] == data)
    rows = [
        Row([x for x in records if (x["data"], x["method"]) == (data, name)])
        for name in names
    ]
    # Only folds that all of them were run on, so that the rows are the same.
    common = set.intersection(*({x["fold"] for x in row.records} for row in rows))
    if not common:
        raise SystemExit(f"{data}: the methods have no fold in common.")
    rows = [Row([x for x in row.records if x["fold"] in common]) for row in rows]
    rows.sort(key=lambda row: row.errors.mean())
    best = next((row for row in rows if row.public), None)
    threads = sorted({record["threads"] for row in rows for record in row.records})
    counted = f"{len(rows[0].errors)} rows of {', '.join(sorted(common))}"
    title = f"`{data}`: {counted}; threads: {', '.join(map(str, threads))}."
    return [title, "", *HEADER, *(row.text(best) for row in rows)]


def prepared(screen, output):
    """Return the folder of folds of a screen, made unless it is there."""
    name = screen.name.removesuffix("_op2_layout")
    data = output / "public_methods_data" / name
    if not data.exists():
        for number, tables in enumerate(dealt(screen, 2, None)):
            write_fold(data / f"fold_{number}", *tables)
    return data


def python_of(name, args):
    """Return the interpreter of a method, or None if its environment is missing."""
    if name not in RUNNERS:
        return sys.executable
    if name.startswith("nn_"):
        found = args.tensorflow or interpreter("tensorflow")
    else:
        found = args.python or interpreter("public_methods")
    return found and str(found)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, nargs="+", default=[])
    parser.add_argument("--screen", type=Path, help="in OP2's layout: dealt into folds")
    parser.add_argument("--models", default="", help="ours, with commas")
    parser.add_argument("--clone", type=Path)
    parser.add_argument("--methods", nargs="+", choices=RUNNERS)
    parser.add_argument("--fold", type=int, help="only this one")
    parser.add_argument("--full", action="store_true", help="public methods unlimited")
    parser.add_argument("--python", help="for public methods, if not that of --peers")
    parser.add_argument("--tensorflow", help="the same, with TensorFlow")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, default=HERE.parent / "results")
    parser.add_argument("--update", type=Path, help="page that shows the tables")
    args = parser.parse_args()
    if args.screen:
        args.data.append(prepared(args.screen, args.output))
    for data in args.data:
        jobs = [(name, *read_model(name)) for name in args.models.split(",") if name]
        if args.clone:
            limits = LIMITS.get(data.name, {})
            chosen = args.methods or limits or RUNNERS
            options = {} if args.full else limits
            jobs += [(name, name, options.get(name, {})) for name in chosen]
        for label, name, options in jobs:
            python = python_of(name, args)
            if python is None:
                print(f"{name}: no environment to run it in (--peers)", file=sys.stderr)
                continue
            for folder in folds(data.resolve(), args.fold):
                record = run(
                    name,
                    folder,
                    args.output,
                    clone=args.clone,
                    options=options,
                    python=python,
                    threads=args.threads,
                    label=label,
                )
                keep(record)
                print(label, folder, np.mean(record["errors"]), file=sys.stderr)
    records = read_records()
    lines = []
    for data in dict.fromkeys(record["data"] for record in records):
        lines += [*table(data, records), ""]
    print("\n".join(lines))
    if args.update:
        update(args.update, "public_methods", "\n".join(lines))


if __name__ == "__main__":
    main()
