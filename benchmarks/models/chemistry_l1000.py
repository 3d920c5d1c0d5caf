"""Compare chemistry models with the mean on unseen compounds of an L1000 screen.

    python -m benchmarks.models.chemistry_l1000 FOLDER

FOLDER holds signatures in the layout of `load_op2`, with SMILES. Prints two tables in
Markdown: one of all compounds, cut by name, and one in which each structure was kept
once. Takes some minutes.
"""

import argparse

import numpy as np
from sklearn.base import clone
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline

from sklperturb.baseline import (
    GroupStatisticRegressor,
    NearestCompoundRegressor,
    NoChangeRegressor,
)
from sklperturb.datasets import load_op2
from sklperturb.linear_model import TanimotoKernelRidge
from sklperturb.metrics import rowwise_root_mean_squared_error
from sklperturb.model_selection import UnseenPerturbationKFold
from sklperturb.preprocessing import CompoundFingerprint

N_BOOTSTRAP = 2000
MEAN = "`GroupStatisticRegressor()`, the gene mean"
MODELS = {
    "`NoChangeRegressor()`, zeros": NoChangeRegressor(),
    MEAN: GroupStatisticRegressor(),
    '`GroupStatisticRegressor(statistic="median")`': GroupStatisticRegressor(
        statistic="median"
    ),
    "`NearestCompoundRegressor()`": NearestCompoundRegressor(),
    "Morgan ridge (pipeline)": make_pipeline(
        CompoundFingerprint("morgan_bits"), RidgeCV([100, 300, 1000, 3000])
    ),
    '`TanimotoKernelRidge(powers=[1], centre="mean")`': TanimotoKernelRidge(
        powers=[1], centre="mean"
    ),
    "`TanimotoKernelRidge(powers=[1])`": TanimotoKernelRidge(powers=[1]),
    "`TanimotoKernelRidge()`": TanimotoKernelRidge(),
}


def held_out_errors(model, X, y):
    """Return the error of each row when it was held out, and its fold."""
    errors, fold_of = np.empty(len(X)), np.empty(len(X), dtype=int)
    # By name, since the first table is to show what twins in training give away.
    cv = UnseenPerturbationKFold(5, random_state=0, by_structure=False)
    for fold, (train, test) in enumerate(cv.split(X, y)):
        y_pred = clone(model).fit(X.iloc[train], y.iloc[train]).predict(X.iloc[test])
        errors[test] = rowwise_root_mean_squared_error(y.iloc[test], y_pred)
        fold_of[test] = fold
    return errors, fold_of


def print_table(X, y):
    """Print the score of every model, and its difference from the mean."""
    results = {name: held_out_errors(model, X, y) for name, model in MODELS.items()}
    compounds = np.unique(X["sm_name"].to_numpy(dtype=str), return_inverse=True)[1]
    rng = np.random.default_rng(0)
    draws = rng.integers(compounds.max() + 1, size=(N_BOOTSTRAP, compounds.max() + 1))
    print("| model | MRRMSE | sd of folds | less than the mean by (95 % interval) |")
    print("|---|---|---|---|")
    for name, (errors, fold_of) in results.items():
        folds = [errors[fold_of == fold].mean() for fold in range(5)]
        gain = results[MEAN][0] - errors
        # Compounds are drawn, each with all of its rows.
        sums, rows = np.bincount(compounds, gain), np.bincount(compounds)
        resampled = sums[draws].sum(axis=1) / rows[draws].sum(axis=1)
        low, high = np.quantile(resampled, [0.025, 0.975])
        interval = (
            "" if name == MEAN else f"{gain.mean():.3f} ({low:.3f} to {high:.3f})"
        )
        print(
            f"| {name} | {errors.mean():.3f} | {np.std(folds, ddof=1):.3f} "
            f"| {interval} |"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", help="signatures in the layout of load_op2")
    folder = parser.parse_args().folder
    screen = load_op2(folder, clip=10)
    first = ~screen.X.duplicated("SMILES")
    print(f"All {len(screen.X)} rows:\n")
    print_table(screen.X, screen.y)
    print(f"\nEach structure once, {first.sum()} rows:\n")
    print_table(screen.X[first], screen.y[first])


if __name__ == "__main__":
    main()
