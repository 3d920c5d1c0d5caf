"""What each part of the `best` model contributes.

Pairs of the contexts to predict are held out; in each fold the weights are learnt on
folds within its training rows, as `BestRegressor` does, once with all parts and once
without each of them. Rows are pooled over folds; intervals resample perturbations.

    python benchmarks/best_ablation.py [FOLDER ...] [--folds 5] [--seeds 4 2]

Without a folder, two generated screens. FOLDER is in the OP2 layout.
"""

import argparse
from pathlib import Path

import numpy as np
from sklearn.base import clone

from sklperturb.datasets import load_op2, make_chemical_screen
from sklperturb.ensemble._best import pair_folds, seen_parts
from sklperturb.ensemble._blend import greedy_weights, least_squares_weights
from sklperturb.model_selection import suggest_cv


def fit_and_predict(parts, X, y, train, test):
    """Return each part's predictions of the test rows."""
    X_train, X_test = (X.iloc[r].reset_index(drop=True) for r in (train, test))
    return np.stack(
        [clone(part).fit(X_train, y[train]).predict(X_test) for _, part in parts]
    )


def learn(X, y, schema, targets, seeds, folds):
    """Return (names, [(truth, predictions, inner truth, inner predictions)])."""
    parts = seen_parts(schema, *seeds, [0, 1], None)
    found = []
    for train, test in folds:
        X_train = X.iloc[train].reset_index(drop=True)
        cv = pair_folds(X_train, schema, targets, 3, 0)
        inner = [(train[a], train[b]) for a, b in cv.split(X_train)]
        rows = np.concatenate([b for _, b in inner])
        held_out = [fit_and_predict(parts, X, y, a, b) for a, b in inner]
        outer = fit_and_predict(parts, X, y, train, test)
        found.append((y[test], outer, y[rows], np.concatenate(held_out, axis=1)))
    return [name for name, _ in parts], found


def errors(found, keep, weigh):
    """Return each held-out row's RMSE of the blend of the parts to keep."""
    rows = []
    for truth, outer, inner_truth, inner in found:
        weights = weigh(inner_truth, inner[keep])
        y_pred = np.tensordot(weights, outer[keep], 1)
        rows.append(np.sqrt(((truth - y_pred) ** 2).mean(axis=1)))
    return np.concatenate(rows)


def one(truth, predictions):
    return np.full(len(predictions), 1 / len(predictions))


def report(title, X, y, X_test, schema, options):
    """Print the ablation of one screen."""
    cv = suggest_cv(X, X_test, n_splits=options.folds, schema=schema)
    folds = list(cv.split(X, y))
    names, found = learn(X, y, schema, cv.contexts, options.seeds, folds)
    held_out = np.concatenate([test for _, test in folds])
    clusters = np.unique(X[schema.perturbation].to_numpy()[held_out], return_inverse=1)
    everything = list(range(len(names)))
    variants = {"all parts, greedy": (everything, greedy_weights)}
    variants["all parts, least squares"] = (everything, least_squares_weights)
    variants["all parts, plain mean"] = (everything, one)
    for part in everything:
        rest = [other for other in everything if other != part]
        variants[f"without {names[part]}"] = (rest, greedy_weights)
    for part in everything:
        variants[f"{names[part]} alone"] = ([part], one)
    full = errors(found, *variants["all parts, greedy"])
    zeros = np.sqrt(np.concatenate([(f[0] ** 2).mean(axis=1) for f in found])).mean()
    print(f"\n{title}: {len(full)} rows, zeros {zeros:.4f}\n")
    print("| parts | MRRMSE | more than all parts (95 % interval) |\n|---|---|---|")
    rng = np.random.default_rng(0)
    for name, variant in variants.items():
        rows = errors(found, *variant)
        low, high = interval(rows - full, clusters[1], rng)
        print(
            f"| {name} | {rows.mean():.4f} | {(rows - full).mean():+.4f} "
            f"({low:+.3f}, {high:+.3f}) |",
            flush=True,
        )


def interval(differences, codes, rng):
    sums, counts = np.bincount(codes, differences), np.bincount(codes)
    drawn = rng.integers(len(counts), size=(2000, len(counts)))
    return np.quantile(
        sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1), [0.025, 0.975]
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seeds", type=int, nargs=2, default=[4, 2])
    options = parser.parse_args()
    screens = {path.name: load_op2(path) for path in options.folders}
    for seed in (0, 1) if not screens else ():
        screens[f"generated, seed {seed}"] = make_chemical_screen(
            6, 80, 600, random_state=seed
        )
    for title, screen in screens.items():
        y = np.asarray(screen.y)
        report(title, screen.X, y, screen.X_test, screen.schema, options)


if __name__ == "__main__":
    main()
