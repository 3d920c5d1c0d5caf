"""Fit predictions to a weighted error on several screens, for the table of the docs.

    python -m benchmarks.models.weighted_error FOLDER [FOLDER ...]

A folder holds a screen in OP2's layout; the folds hold out what its id map asks for.
Weights are made of the responses, in the way of the VCPI contest but without
replicates: what a gene differs from its mean, in its standard deviations. The model is
the ridge on target statistics, or for compounds that were never measured the kernel of
structures with one choice of its penalty; each is stretched with either kind of centre,
by what it learns out of fold from the training rows.
"""

import argparse
from pathlib import Path

import numpy as np

from sklperturb.baseline import GroupStatisticRegressor
from sklperturb.datasets import load_op2
from sklperturb.ensemble import WeightedErrorRegressor
from sklperturb.linear_model import TanimotoKernelRidge, TargetEncodedRidge
from sklperturb.metrics import differential_weights, wmse
from sklperturb.model_selection import suggest_cv

# Heavy tails of combined z-scores; every other screen is read as it is.
CLIP = {"l1000_consensus_op2_layout": 10.0}


def main():
    """Print one row for each model, one column for each screen."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--n-splits", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    columns = {folder.name: errors(folder, options) for folder in options.folders}
    print(f"| wMSE | {' | '.join(columns)} |\n|---|{'---:|' * len(columns)}")
    for name in next(iter(columns.values())):
        values = (f"{column[name]:.3f}" for column in columns.values())
        print(f"| {name} | {' | '.join(values)} |")


def errors(folder, options):
    """Return {model: weighted error of all held-out rows} of one screen."""
    screen = load_op2(folder, clip=CLIP.get(folder.name))
    X, y, schema = screen.X, np.asarray(screen.y), screen.schema
    spread = y.std(axis=0)
    weights = differential_weights(
        (y - y.mean(axis=0)) / np.where(spread > 0, spread, 1)
    )
    weights /= weights.sum(axis=1, keepdims=True)
    asked = screen.X_test
    seen = asked[schema.perturbation].isin(X[schema.perturbation])
    if seen.any():
        asked, model = asked[seen], TargetEncodedRidge(schema=schema)
    else:
        model = TanimotoKernelRidge(
            [1.0], powers=(2,), context_shares=(1.0,), schema=schema
        )
    models = {"mean of each gene": GroupStatisticRegressor(schema=schema)}
    models["model"] = model
    for centre in ("weighted", "mean"):
        models[f'stretched, `centre="{centre}"`'] = WeightedErrorRegressor(
            model, centre=centre, cv=3, random_state=options.seed
        )
    cv = suggest_cv(
        X, asked, n_splits=options.n_splits, schema=schema, random_state=options.seed
    )
    predicted = {name: [] for name in models}
    held_out = []
    for train, test in cv.split(X):
        held_out.append(test)
        for name, estimator in models.items():
            estimator.fit(X.iloc[train], y[train])
            predicted[name].append(estimator.predict(X.iloc[test]))
    rows = np.concatenate(held_out)
    return {
        name: wmse(y[rows], np.concatenate(parts), weights=weights[rows])
        for name, parts in predicted.items()
    }


if __name__ == "__main__":
    main()
