"""What the orthonormal target basis saves: a network on coordinates, or on genes.

Trains the same transformer for some full-batch epochs at OP2 size, once on the 613
coordinates of `TargetReducer` and once on 18,211 genes, in turn. Squared errors are the
same in both; the seconds are not.

    python -m benchmarks.networks.target_basis [--epochs 20] [--runs 3]
"""

import argparse
import time

import numpy as np
from sklearn.preprocessing import StandardScaler

from benchmarks._output import record
from sklperturb.datasets import make_chemical_screen
from sklperturb.neural_network import TransformerRegressor
from sklperturb.preprocessing import make_condition_encoder


def seconds_per_epoch(X, y, target_components, epochs):
    """Return the time of an epoch, without what happens once."""

    def fit(max_epochs):
        start = time.perf_counter()
        TransformerRegressor(
            loss="mse",
            target_components=target_components,
            batch_size=len(X),
            max_epochs=max_epochs,
            validation_fraction=0.0,
            patience=None,
            random_state=0,
        ).fit(X, y)
        return time.perf_counter() - start

    return (fit(epochs + 1) - fit(1)) / epochs


def main():
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    screen = make_chemical_screen(random_state=0)
    y = screen.y.to_numpy()
    X = make_condition_encoder(statistics=["mean"]).fit_transform(screen.X, y)
    X = StandardScaler().fit_transform(X)
    pairs = [
        [seconds_per_epoch(X, y, basis, options.epochs) for basis in ("full", None)]
        for _ in range(options.runs)
    ]
    basis, genes = np.median(pairs, axis=0)
    ratio = np.median([slow / fast for fast, slow in pairs])
    record("times as fast", ratio, "times")
    print("| targets | milliseconds an epoch |\n|---|---|")
    print(f"| coordinates in the basis | {1000 * basis:.0f} |")
    print(f"| genes | {1000 * genes:.0f} |")
    print(f"\nMedian ratio of {options.runs} pairs: {ratio:.1f}")


if __name__ == "__main__":
    main()
