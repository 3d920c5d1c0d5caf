"""How large a model file is, and how long it takes to save and to load, beside others.

    python -m benchmarks.files.model_files --model best --genes 18211

The model is fitted on a generated screen of 6 cell types and 146 compounds, as many as
in OP2, which takes minutes for `best`. Files lie in a temporary folder, most likely in
the cache of the disk. A file of joblib runs what is in it when it is loaded, and has no
checksums; one of skops runs as little as ours, of classes that were agreed to.
"""

import argparse
import os
import tempfile
from pathlib import Path

from benchmarks._output import record, show
from benchmarks._pairs import ratio_rows, take_turns

# Each package in a process of its own, which has the fitted model from joblib.
SIDES = {"sklperturb": None, "joblib": None, "skops": "files"}


def sklperturb(what, fitted, folder):
    """Save or load with `sklperturb.save` and `sklperturb.load`."""
    import sklperturb

    path = Path(folder, "model.skpt")

    def save(model):
        sklperturb.save(model, path, overwrite=True)

    return _timed(what, fitted, path, save, sklperturb.load)


def joblib(what, fitted, folder):
    """Save or load with joblib."""
    import joblib

    path = Path(folder, "model.joblib")
    return _timed(
        what, fitted, path, lambda model: joblib.dump(model, path), joblib.load
    )


def skops(what, fitted, folder):
    """Save or load with skops, all types of the file agreed to beforehand."""
    from skops.io import dump, get_untrusted_types, load

    path = Path(folder, "model.skops")
    known = get_untrusted_types(file=path) if what == "load" else None
    return _timed(
        what,
        fitted,
        path,
        lambda model: dump(model, path),
        lambda path: load(path, trusted=known),
    )


def _timed(what, fitted, path, save, load):
    """Return the function that is timed; it answers with the size of the file."""
    import joblib as store

    model = store.load(fitted) if what == "save" else None

    def run():
        if what == "save":
            save(model)
        else:
            load(path)
        return os.path.getsize(path)

    return run


def fitted_model(name, genes, parts, path):
    """Fit a model and keep it; return it with conditions to predict."""
    import joblib

    from sklperturb.datasets import make_chemical_screen
    from sklperturb.models import make_model

    screen = make_chemical_screen(6, 146, genes, random_state=0)
    model = make_model(name, schema=screen.schema, random_state=0)
    if parts:
        model.set_params(parts=parts)
    joblib.dump(model.fit(screen.X, screen.y), path)
    return model, screen.X_test


def bytes_of(model, name):
    """Return the bytes of the arrays and texts that a model is made of."""
    from sklperturb.persistence._encode import Encoder

    encoder = Encoder()
    encoder.encode(model, name)
    arrays = sum(array.nbytes for array in encoder.arrays.values())
    return arrays + sum(map(len, encoder.texts.values()))


def main():
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="best")
    parser.add_argument("--parts", nargs="+", help="Of best, those to use.")
    parser.add_argument("--genes", type=int, default=18_211)
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()

    import numpy as np

    from sklperturb import load

    rows = []
    with tempfile.TemporaryDirectory() as folder:
        fitted = Path(folder, "fitted")
        model, asked = fitted_model(args.model, args.genes, args.parts, fitted)
        raw = bytes_of(model, args.model)
        for what in ("save", "load"):
            given = [what, str(fitted), folder]
            found = take_turns(__file__, SIDES, given, rounds=args.runs)
            name = f"{args.model}: {what}"
            part = ratio_rows(found, name, model=args.model, what=what)
            for row, runs in zip(part, found.values(), strict=True):
                row["MB of the file"] = f"{runs[0]['answer'] / 1e6:.1f}" if runs else ""
            rows += part
        size = os.path.getsize(Path(folder, "model.skpt"))
        again = load(Path(folder, "model.skpt"))
        if not np.array_equal(again.predict(asked), model.predict(asked)):
            raise SystemExit("the loaded model predicts something else")
    record(f"{args.model}: times the arrays", size / raw, "times")
    show(rows)
    print(f"The .skpt has {size / raw:.3f} times the bytes of the model's arrays.")


if __name__ == "__main__":
    main()
