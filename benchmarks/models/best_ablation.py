"""What each part of the `best` model contributes, and what its bands and stretch do.

Weights are learnt on folds within the training rows, as `BestRegressor` does, with all
parts and without each of them; single parts are taken as they are. Generated screens
are scored on all pairs that they withhold. Of measured ones, pairs of the contexts to
predict are held out, and rows pooled over folds. Intervals resample perturbations.

    python -m benchmarks.models.best_ablation [FOLDER ...] [--folds 5] [--budget fast]

Without a folder, two generated screens. FOLDER is in the OP2 layout.
"""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sklperturb.datasets import load_op2, make_chemical_screen
from sklperturb.ensemble._stretch import Stretch
from sklperturb.ensemble._weights import RowMoments, Spectrum, mrrmse_weights
from sklperturb.model_selection import UnseenPairKFold, suggest_cv
from sklperturb.models._learning import EDGES, Clock, held_out_predictions, moments_of
from sklperturb.models._parts import check_budget, seen_parts
from sklperturb.models._trials import trial_folds
from sklperturb.utils._bootstrap import ClusterBootstrap


@dataclass
class Task:
    """Held-out rows within the training rows, and those to be scored."""

    inner: RowMoments
    outer: RowMoments
    perturbations: np.ndarray


def learn(screen, targets, budget, rows):
    """Return the names of the parts and a task for each (training, scored) rows."""
    tasks, plan, schema = [], check_budget(budget), screen.schema
    for X, y, X_test, y_test in rows:
        rotation = Spectrum(y, [len(y)]).components
        rotated = y @ rotation.T
        parts = seen_parts(schema, plan, rotation, [0, 1, 2])
        cv = trial_folds(X, y, schema, targets, plan.n_splits, 0)
        folds = cv if isinstance(cv, list) else list(cv.split(X))
        found = held_out_predictions(parts, plan, Clock(None), X, rotated, folds)
        kinds = np.zeros(sum(len(test) for _, test in folds))
        held_out = moments_of(found, rotated, None, None, folds, kinds, y.shape[1])
        predicted = np.stack(
            [
                part.build(plan.n_final).fit(X, rotated).predict(X_test)
                for part in parts.values()
            ]
        )
        outer = Spectrum(rotated, EDGES).moments(
            y_test @ rotation.T, predicted, n_genes=y.shape[1]
        )
        # What of the truth is outside of the training rows is no prediction's to know.
        outer = replace(outer, energy=np.square(y_test).sum(axis=1))
        names = X_test[schema.perturbation].to_numpy()
        tasks.append(Task(held_out.moments, outer, names))
    return list(parts), tasks


def kept(moments, n_parts, chosen, bands):
    """Return the moments of some parts, with or without their bands."""
    n_rows, size = moments.moment.shape
    shape = n_parts, size // n_parts
    gram = moments.gram.reshape(n_rows, *shape, *shape)[:, chosen][:, :, :, chosen]
    moment = moments.moment.reshape(n_rows, *shape)[:, chosen]
    if not bands:
        gram, moment = gram.sum(axis=(2, 4), keepdims=True), moment.sum(axis=2)
    size = moment.reshape(n_rows, -1).shape[1]
    return replace(
        moments,
        gram=gram.reshape(n_rows, size, size),
        moment=moment.reshape(n_rows, size),
    )


def errors(tasks, n_parts, chosen, *, bands=True, stretched=True, learnt=True):
    """Return each scored row's root mean squared error."""
    rows = []
    for task in tasks:
        inner, outer = (
            kept(m, n_parts, chosen, bands) for m in (task.inner, task.outer)
        )
        size = outer.moment.shape[1]
        weights = mrrmse_weights(inner) if learnt else np.full(size, 1 / len(chosen))
        stretch = None
        if stretched:
            stretch = Stretch.suited(
                inner.energy, *inner.blended(weights), inner.n_genes
            )
        rows.append(outer.errors(weights, stretch))
    return np.concatenate(rows)


def report(title, screen, options):
    """Print the ablation of one screen."""
    X, y, schema = screen.X, np.asarray(screen.y), screen.schema
    cv = suggest_cv(X, screen.X_test, n_splits=options.folds, schema=schema)
    if not isinstance(cv, UnseenPairKFold):
        print(f"\n{title}: left out, since it asks for no pairs.")
        return
    if screen.y_test is not None:
        rows = [(X, y, screen.X_test, np.asarray(screen.y_test))]
    else:
        rows = [(X.iloc[a], y[a], X.iloc[b], y[b]) for a, b in cv.split(X, y)]
    names, tasks = learn(screen, cv.contexts or [], options.budget, rows)
    n, everything = len(names), list(range(len(names)))
    variants = {
        "all parts": (everything, {}),
        "one weight for all bands": (everything, {"bands": False}),
        "without the stretch": (everything, {"stretched": False}),
        "plain mean of the parts": (everything, {"learnt": False, "bands": False}),
    }
    for part in everything:
        rest = [other for other in everything if other != part]
        variants[f"without {names[part]}"] = (rest, {})
    for part in everything:
        variants[f"{names[part]} alone, in bands"] = ([part], {})
        alone = {"learnt": False, "bands": False, "stretched": False}
        variants[f"{names[part]} alone, as it is"] = ([part], alone)
    full = errors(tasks, n, everything)
    zeros = np.concatenate([np.sqrt(t.outer.energy / t.outer.n_genes) for t in tasks])
    units = np.concatenate([task.perturbations for task in tasks])
    bootstrap = ClusterBootstrap(units, 2000, 0.95, np.random.RandomState(0))
    print(f"\n**{title}**: {len(full)} rows, zeros {zeros.mean():.4f}\n")
    print("| parts | MRRMSE | more than all parts (95 %) |\n|---|---:|---:|")
    for name, (chosen, settings) in variants.items():
        row = errors(tasks, n, chosen, **settings)
        low, high = bootstrap.interval(row - full)
        print(
            f"| {name} | {row.mean():.4f} | {(row - full).mean():+.4f} "
            f"({low:+.4f} to {high:+.4f}) |",
            flush=True,
        )


def main():
    """Print a table of each screen."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--budget", default="fast")
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
