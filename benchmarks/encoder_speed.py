"""How long target encoding takes at OP2 size: all genes at once, or one by one.

Encodes 614 conditions by the statistics of 18,211 genes, cross-fitted in 5 folds, by
`TargetStatisticsEncoder`; then times scikit-learn's `TargetEncoder`, which takes one
target, on some genes and scales up. Medians of several runs.

    python benchmarks/encoder_speed.py [--runs 5]
"""

import argparse
import time

import numpy as np
from sklearn.model_selection import KFold
from sklearn.preprocessing import TargetEncoder

from sklperturb.datasets import make_chemical_screen
from sklperturb.preprocessing import TargetStatisticsEncoder

SETTINGS = {
    "mean, std; 32 components each": {},
    "mean, std; all genes": {"n_components": None},
    "mean, median, std, two quantiles; 32 components each": {
        "statistics": ("mean", "median", "std", 0.25, 0.75)
    },
}


def median_seconds(function, runs):
    """Return the median time of `runs` calls."""
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return np.median(seconds)


def main():
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    screen = make_chemical_screen(random_state=0)
    y = screen.y.to_numpy()
    print("| encoder | seconds |\n|---|---|")
    for name, parameters in SETTINGS.items():
        encoder = TargetStatisticsEncoder(**parameters)
        seconds = median_seconds(lambda e=encoder: e.fit_transform(screen.X, y), runs)
        print(f"| TargetStatisticsEncoder, {name} | {seconds:.2f} |")
    X = screen.X[["cell_type", "sm_name"]].to_numpy()
    some = range(0, y.shape[1], y.shape[1] // 50)
    encoder = TargetEncoder(
        target_type="continuous", cv=KFold(5, shuffle=True, random_state=0)
    )
    seconds = median_seconds(
        lambda: [encoder.fit_transform(X, y[:, gene]) for gene in some], runs
    )
    scaled = seconds * y.shape[1] / len(some)
    print(f"| one TargetEncoder a gene, mean only | {scaled:.0f} (from {len(some)}) |")


if __name__ == "__main__":
    main()
