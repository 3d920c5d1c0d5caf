"""How long target encoding takes at OP2 size: all genes at once, or one by one.

Encodes 614 conditions by the statistics of 18,211 genes. `TargetStatisticsEncoder` and
scikit-learn's `TargetEncoder` cross-fit in 5 folds; that of category_encoders does not,
and so does a sixth of the work. The latter two take one target: they are timed on some
genes, and scaled up. Processor seconds on one thread, medians of rounds in turn.

    python -m benchmarks.encoding.encoder_speed [--runs 5]
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks._output import record, show
from benchmarks._pairs import median, ratio_rows, take_turns

GENES, SOME = 18_211, 50


def _read(path):
    with np.load(path, allow_pickle=False) as stored:
        return stored["X"], stored["y"]


def sklperturb(path, statistics=("mean",), n_components=None):
    """Encode by all genes at once."""
    import pandas as pd

    from sklperturb.preprocessing import TargetStatisticsEncoder

    X, y = _read(path)
    X = pd.DataFrame(X, columns=["cell_type", "sm_name"])
    encoder = TargetStatisticsEncoder(statistics=statistics, n_components=n_components)
    return lambda: encoder.fit_transform(X, y)


def scikit_learn(path):
    """Encode by some genes, one after the other."""
    from sklearn.model_selection import KFold
    from sklearn.preprocessing import TargetEncoder

    X, y = _read(path)
    folds = KFold(5, shuffle=True, random_state=0)
    encoder = TargetEncoder(target_type="continuous", cv=folds)
    return lambda: [encoder.fit_transform(X, column) for column in _some(y)]


def category_encoders(path):
    """Encode by some genes, one after the other, without folds."""
    import category_encoders
    import pandas as pd

    X, y = _read(path)
    X = pd.DataFrame(X, columns=["cell_type", "sm_name"])
    encoder = category_encoders.TargetEncoder(cols=list(X))
    return lambda: [encoder.fit_transform(X, column) for column in _some(y)]


def _some(y):
    return y[:, :: y.shape[1] // SOME][:, :SOME].T


def main():
    """Print two tables."""
    from sklperturb.datasets import make_chemical_screen

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--genes", type=int, default=GENES)
    options = parser.parse_args()
    start = time.process_time()
    screen = make_chemical_screen(n_genes=options.genes, random_state=0)
    record("make_chemical_screen", time.process_time() - start, "CPU s")
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "screen.npz"))
        X = screen.X[["cell_type", "sm_name"]].to_numpy().astype(str)
        np.savez(path, X=X, y=screen.y.to_numpy())
        sides = {
            "sklperturb": None,
            "scikit_learn": None,
            "category_encoders": "encoding",
        }
        scale = dict.fromkeys(list(sides)[1:], options.genes / SOME)
        found = take_turns(__file__, sides, [path], rounds=options.runs, scale=scale)
        show(ratio_rows(found, "mean"), f"Means of {options.genes} genes:")
        rows = []
        for name, arguments in {
            "mean, std; 32 components each": (["mean", "std"], 32),
            "mean, std; all genes": (["mean", "std"], None),
            "mean, median, std, two quantiles; 32 components each": (
                ["mean", "median", "std", 0.25, 0.75],
                32,
            ),
        }.items():
            sides = {"sklperturb": None}
            found = take_turns(
                __file__, sides, [path, *arguments], rounds=options.runs
            )["sklperturb"]
            record(name, median(found), "CPU s", wall=median(found, "seconds"))
            rows.append(
                {
                    "TargetStatisticsEncoder": name,
                    "CPU s": median(found),
                    "wall s": median(found, "seconds"),
                }
            )
    show(rows)


if __name__ == "__main__":
    main()
