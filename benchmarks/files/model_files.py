"""How large a model file is, and how long it takes to save and to load, beside joblib.

    python -m benchmarks.files.model_files --model best --genes 18211

The model is fitted on a generated screen of 6 cell types and 146 compounds, as many as
in OP2, which takes minutes for `best`. Seconds are of the processor; a disk adds some.
A file of joblib runs what is in it when it is loaded, and one of ours does not.
"""

import argparse
import tempfile
import time
from pathlib import Path

import joblib
import numpy as np

import sklperturb
from benchmarks._output import record, show
from sklperturb.datasets import make_chemical_screen
from sklperturb.models import make_model
from sklperturb.persistence._encode import Encoder


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="best")
    parser.add_argument("--parts", nargs="+", help="Of best, those to use.")
    parser.add_argument("--genes", type=int, default=18_211)
    args = parser.parse_args()

    screen = make_chemical_screen(6, 146, args.genes, random_state=0)
    model = make_model(args.model, schema=screen.schema, random_state=0)
    if args.parts:
        model.set_params(parts=args.parts)
    model.fit(screen.X, screen.y)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.skpt")
        saving = seconds(lambda: sklperturb.save(model, path, overwrite=True))
        loading = seconds(lambda: sklperturb.load(path))
        size, again = path.stat().st_size, sklperturb.load(path)
        other = Path(folder, "model.joblib")
        theirs = [seconds(lambda: joblib.dump(model, other))]
        theirs.append(seconds(lambda: joblib.load(other)))
        their_size = other.stat().st_size
    encoder = Encoder()
    encoder.encode(model, args.model)
    raw = sum(array.nbytes for array in encoder.arrays.values())
    raw += sum(map(len, encoder.texts.values()))
    same = np.array_equal(again.predict(screen.X_test), model.predict(screen.X_test))
    for what, value, unit in (
        ("times the arrays", size / raw, "times"),
        ("save", saving, "CPU s"),
        ("load", loading, "CPU s"),
    ):
        record(f"{args.model}: {what}", value, unit)
    show(
        [
            {
                "model": args.model,
                "file": ".skpt",
                "MB": size / 1e6,
                "times the arrays": f"{size / raw:.3f}",
                "CPU s to save": saving,
                "CPU s to load": loading,
                "same": "yes" if same else "no",
            },
            {
                "model": args.model,
                "file": "joblib",
                "MB": their_size / 1e6,
                "times the arrays": f"{their_size / raw:.3f}",
                "CPU s to save": theirs[0],
                "CPU s to load": theirs[1],
                "same": "yes",
            },
        ]
    )


def seconds(function):
    """Return the least processor time of three calls."""
    times = []
    for _ in range(3):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return min(times)


if __name__ == "__main__":
    main()
