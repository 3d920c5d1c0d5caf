"""Cross-validate models on several screens at once, to choose defaults by.

    python -m benchmarks.models.portfolio FOLDER [FOLDER ...] --models ridge,additive

A folder holds a screen in OP2's layout. The folds hold out what its id map asks for
(`suggest_cv`), and nothing is looked at on the rows to predict; each seed deals other
folds, from --first-seed on. An id map that asks for perturbations measured elsewhere
and for ones that never were is two tasks, each with folds of its own, of which --only
runs one. Printed are, for each task and model, the MRRMSE with its difference from the
additive model on the same rows and their interval, its ratio to zeros, the row-wise
Spearman correlation, seconds of a fit and memory; with several seeds, the mean
difference and its interval over the seeds, which tells of the deals alone; and last,
over all tasks, the geometric mean of the ratio to the additive model, and the worst
one.

Finished folds are kept in --cache, and a run that was stopped goes on from there.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from sklperturb.comparison import compare
from sklperturb.datasets import load_op2, make_chemical_screen
from sklperturb.model_selection import suggest_cv
from sklperturb.models import make_model

REFERENCE = "additive_joint"
# A part of an id map with a smaller share of its rows is no task of its own.
LEAST_SHARE = 0.1
# Heavy tails of combined z-scores; every other screen is read as it is.
CLIP = {"l1000_consensus_op2_layout": 10.0}
HEADER = (
    "| model | MRRMSE | from additive (95 %) | rel. zeros | Spearman | fit s | MB |\n"
    "|---|---:|---:|---:|---:|---:|---:|"
)


def main():
    """Print a table of every screen, and one over all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--models", default="ridge,product_kernel,response_kernel")
    parser.add_argument("--generated", type=int, default=0, help="screens to generate")
    parser.add_argument("--seeds", type=int, default=1, help="deals of the folds")
    parser.add_argument("--first-seed", type=int, default=0, help="of the first deal")
    parser.add_argument("--only", choices=["seen", "unseen"], help="task of mixed maps")
    parser.add_argument("--n-splits", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--cache", type=Path)
    options = parser.parse_args()
    names = options.models.split(",")
    ratios = {}
    for name, screen, asked in tasks(options):
        differences = {}
        for seed in range(options.first_seed, options.first_seed + options.seeds):
            print(f"{name}, seed {seed} ...", file=sys.stderr, flush=True)
            table = run(screen, asked, names, seed, options)
            print(f"\n**{name}**, seed {seed}, {len(screen.X)} rows\n")
            print_screen(table)
            errors = table["mean"]
            ratios[name, seed] = errors / errors[REFERENCE]
            differences[seed] = table["difference"]
        if options.seeds > 1:
            print_seeds(name, pd.DataFrame(differences))
    print_all(pd.DataFrame(ratios))


def screens(options):
    """Yield (name, screen) of the folders, and of generated ones."""
    for folder in options.folders:
        yield folder.name, load_op2(folder, clip=CLIP.get(folder.name))
    for seed in range(options.generated):
        yield f"generated {seed}", make_chemical_screen(6, 60, 500, random_state=seed)


def tasks(options):
    """Yield (name, screen, rows to predict) of what each screen's id map asks."""
    for name, screen in screens(options):
        column = screen.schema.perturbation
        seen = screen.X_test[column].isin(screen.X[column])
        if LEAST_SHARE <= seen.mean() <= 1 - LEAST_SHARE:
            for kind, asked in (("seen", seen), ("unseen", ~seen)):
                if options.only in (None, kind):
                    yield f"{name}, {kind}", screen, screen.X_test[asked]
        else:
            yield name, screen, screen.X_test


def run(screen, asked, names, seed, options):
    """Return one row for each model, with the correlation beside the error."""
    cv = suggest_cv(
        screen.X,
        asked,
        n_splits=options.n_splits,
        schema=screen.schema,
        random_state=seed,
    )
    common = {"schema": screen.schema, "random_state": seed}
    summary = compare(
        # Estimators and not names: differences are from the best baseline, and the
        # reference is to be the only one.
        {n: make_model(n, **common) for n in names if n != REFERENCE},
        screen.X,
        screen.y,
        cv=cv,
        scoring=["mrrmse", "spearman"],
        baselines={REFERENCE: make_model(REFERENCE, schema=screen.schema)},
        schema=screen.schema,
        n_jobs=options.jobs,
        error_score=np.nan,
        random_state=seed,
        cache=options.cache,
    ).summary
    by_metric = {
        name: part.set_index("model") for name, part in summary.groupby("metric")
    }
    table = by_metric["mrrmse"]
    return table.assign(spearman=by_metric["spearman"]["mean"]).sort_values("mean")


def print_screen(table):
    """Print the models of one screen, best first."""
    print(HEADER)
    for name, row in table.iterrows():
        difference = (
            ""
            if name == REFERENCE
            else "{:+.4f} ({:+.4f} to {:+.4f})".format(
                *row[["difference", "difference_low", "difference_high"]]
            )
        )
        print(
            f"| {name} | {row['mean']:.4f} | {difference} "
            f"| {row['relative_to_zeros']:.3f} | {row['spearman']:.3f} "
            f"| {row['fit_seconds']:.1f} | {row['peak_memory_mb']:.0f} |",
            flush=True,
        )


def print_seeds(name, differences):
    """Print the differences from the additive model, with intervals over seeds."""
    n_seeds = differences.shape[1]
    mean = differences.mean(axis=1, skipna=False).sort_values()
    half = stats.t.ppf(0.975, n_seeds - 1) * differences.std(axis=1) / np.sqrt(n_seeds)
    print(f"\n**{name}**, {n_seeds} seeds\n")
    print("| model | from additive (95 % over seeds) |\n|---|---:|")
    for model in mean.index.drop(REFERENCE):
        low, high = mean[model] - half[model], mean[model] + half[model]
        print(f"| {model} | {mean[model]:+.4f} ({low:+.4f} to {high:+.4f}) |")


def print_all(ratios):
    """Print how the models do over the tasks, each task weighing the same."""
    of_tasks = np.log(ratios).T.groupby(level=0, sort=False).mean().T
    over_all = of_tasks.mean(axis=1).sort_values()
    of_tasks = np.exp(of_tasks.loc[over_all.index])
    print("\n**All tasks**: MRRMSE relative to the additive model\n")
    print(f"| model | geometric mean | worst task | {' | '.join(of_tasks)} |")
    print("|---|" + "---:|" * (2 + of_tasks.shape[1]))
    for name, row in of_tasks.iterrows():
        shown = [np.exp(over_all[name]), row.max(), *row]
        print(f"| {name} | {' | '.join(f'{value:.3f}' for value in shown)} |")


if __name__ == "__main__":
    main()
