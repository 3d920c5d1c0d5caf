"""What each part of the `best` model contributes.

The weights are learnt on folds within the training rows, as `BestRegressor` does, once
with all parts and once without each of them; single parts are taken as they are.
Generated screens are scored on all pairs that they withhold. Of measured ones, pairs of
the contexts to predict are held out, and rows pooled over folds. Intervals resample
perturbations.

    python benchmarks/best_ablation.py [FOLDER ...] [--folds 5] [--seeds 4 2 2]

Without a folder, two generated screens. FOLDER is in the OP2 layout.
"""

import argparse
from pathlib import Path

import numpy as np
from sklearn.base import clone

from sklperturb.datasets import load_op2, make_chemical_screen
from sklperturb.ensemble import Stretch
from sklperturb.ensemble._blend import (
    greedy_weights,
    least_squares_weights,
    mrrmse_weights,
)
from sklperturb.ensemble._meta import out_of_fold
from sklperturb.model_selection import suggest_cv
from sklperturb.models._best import seen_parts
from sklperturb.models._trials import trial_folds


def learn(X, y, schema, targets, seeds, tasks):
    """Return (names, [(truth, predictions, inner truth, inner predictions)])."""
    parts = seen_parts(schema, *seeds, [0, 1, 2], None)
    models = [part for _, part in parts]
    found = []
    for X_train, y_train, X_test, y_test in tasks:
        cv = trial_folds(X_train, y_train, schema, targets, 4, 0)
        _, predicted, inner = out_of_fold(models, X_train, y_train, cv)
        outer = [clone(m).fit(X_train, y_train).predict(X_test) for m in models]
        found.append((y_test, np.stack(outer), inner, predicted))
    return [name for name, _ in parts], found


def errors(found, keep, weigh, stretched=True):
    """Return each held-out row's RMSE of the blend of the parts to keep."""
    rows = []
    for truth, outer, inner_truth, inner in found:
        weights = weigh(inner_truth, inner[keep])
        y_pred = np.tensordot(weights, outer[keep], 1)
        if stretched:
            blend = np.tensordot(weights, inner[keep], 1)
            y_pred = Stretch.learn(inner_truth, blend)(y_pred)
        rows.append(np.sqrt(((truth - y_pred) ** 2).mean(axis=1)))
    return np.concatenate(rows)


def one(truth, predictions):
    return np.full(len(predictions), 1 / len(predictions))


def report(title, screen, options):
    """Print the ablation of one screen."""
    X, y, schema = screen.X, np.asarray(screen.y), screen.schema
    cv = suggest_cv(X, screen.X_test, n_splits=options.folds, schema=schema)
    if screen.y_test is not None:
        tasks = [(X, y, screen.X_test, np.asarray(screen.y_test))]
    else:
        tasks = [
            (
                X.iloc[a].reset_index(drop=True),
                y[a],
                X.iloc[b].reset_index(drop=True),
                y[b],
            )
            for a, b in cv.split(X, y)
        ]
    names, found = learn(X, y, schema, cv.contexts, options.seeds, tasks)
    tested = np.concatenate([task[2][schema.perturbation] for task in tasks])
    codes = np.unique(tested, return_inverse=True)[1]
    everything = list(range(len(names)))
    variants = {"all parts": (everything, mrrmse_weights)}
    variants["all parts, greedy"] = (everything, greedy_weights)
    variants["all parts, least squares"] = (everything, least_squares_weights)
    variants["all parts, plain mean"] = (everything, one)
    variants["without the stretch"] = (everything, mrrmse_weights, False)
    for part in everything:
        rest = [other for other in everything if other != part]
        variants[f"without {names[part]}"] = (rest, mrrmse_weights)
    for part in everything:
        variants[f"{names[part]} alone"] = ([part], one, False)
    full = errors(found, *variants["all parts"])
    zeros = np.sqrt(np.concatenate([(f[0] ** 2).mean(axis=1) for f in found])).mean()
    print(f"\n{title}: {len(full)} rows, zeros {zeros:.4f}\n")
    print("| parts | MRRMSE | more than all parts (95 % interval) |\n|---|---|---|")
    rng = np.random.default_rng(0)
    for name, variant in variants.items():
        rows = errors(found, *variant)
        low, high = interval(rows - full, codes, rng)
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
    parser.add_argument("--seeds", type=int, nargs=3, default=[4, 2, 2])
    options = parser.parse_args()
    screens = {path.name: load_op2(path) for path in options.folders}
    for seed in (0, 1) if not screens else ():
        screens[f"generated, seed {seed}"] = make_chemical_screen(
            6, 80, 600, random_state=seed
        )
    for title, screen in screens.items():
        report(title, screen, options)


if __name__ == "__main__":
    main()
