"""Score models on OP2's answers, by leaderboard half, beside the published numbers.

See README.md beside this file.

    python -m benchmarks.op2.evaluate FOLDER [--models best,ridge] [--output DIR]
    python -m benchmarks.op2.evaluate --generated kaggle
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks._output import show
from sklperturb.datasets import load_op2, make_chemical_screen, write_screen
from sklperturb.metrics import rowwise_root_mean_squared_error
from sklperturb.models import make_model

MODELS = "no_change,gene_mean,context_mean,denoised_quantile,ridge,product_kernel,best"
CONDITION = ["cell_type", "sm_name"]
PUBLISHED = pd.read_csv(Path(__file__).with_name("published.csv"))
# Compounds and the share of them in the two target contexts, of either size.
SIZES = {"kaggle": (6, 146, 17), "reprocessed": (4, 140, 64)}


def halves(screen, path):
    """Return each row's half of the leaderboard, "unknown" where nothing says."""
    tables = [screen.id_map, screen.X_test]
    if path:
        tables.insert(0, pd.read_csv(path))
    for table in tables:
        column = next((c for c in ("lb_split", "split") if c in table), None)
        if column is not None:
            known = table.drop_duplicates(CONDITION).set_index(CONDITION)[column]
            rows = pd.MultiIndex.from_frame(screen.X_test[CONDITION])
            found = known.reindex(rows).astype("string").str.removesuffix("_test")
            return found.fillna("unknown").to_numpy()
    return np.full(len(screen.X_test), "unknown")


def interval(errors, compounds, rng, n_resamples=1000):
    """Return a 95 % interval of the mean, resampling compounds."""
    codes, names = pd.factorize(compounds)
    sums = np.bincount(codes, errors)
    counts = np.bincount(codes)
    drawn = rng.integers(len(names), size=(n_resamples, len(names)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    return np.quantile(means, [0.025, 0.975])


def row_errors(name, screen, budget, kept):
    """Return (the rows' RMSE, seconds) of a model, from `kept` if it is there."""
    if kept is not None and kept.exists():
        stored = json.loads(kept.read_text())
        return np.array(stored["errors"]), stored["seconds"]
    start = time.perf_counter()
    model = make_model(name, schema=screen.schema, random_state=0)
    known = {}
    if name == "best":
        model.set_params(budget=budget)
        known["X_unlabeled"] = screen.X_test
    y_pred = model.fit(screen.X, screen.y, **known).predict(screen.X_test)
    seconds = time.perf_counter() - start
    errors = rowwise_root_mean_squared_error(screen.y_test, y_pred)
    if kept is not None:
        unfinished = kept.with_suffix(".part")
        unfinished.write_text(json.dumps({"errors": list(errors), "seconds": seconds}))
        unfinished.replace(kept)
    return errors, seconds


def evaluate(screen, names, half_of_row, budget, folder):
    """Return one row for each model and half."""
    rng = np.random.default_rng(0)
    compounds = screen.X_test["sm_name"].to_numpy()
    rows = []
    for name in names:
        kept = None if folder is None else folder / f"{name}-{budget}.json"
        errors, seconds = row_errors(name, screen, budget, kept)
        for half in ["all", *sorted(set(half_of_row) - {"unknown"})]:
            inside = (
                np.full(len(errors), True) if half == "all" else half_of_row == half
            )
            low, high = interval(errors[inside], compounds[inside], rng)
            rows.append(
                {
                    "half": half,
                    "method": name,
                    "mrrmse": errors[inside].mean(),
                    "low": low,
                    "high": high,
                    "rows": int(inside.sum()),
                    "seconds": seconds,
                }
            )
        print(f"{name}: {errors.mean():.4f}, {seconds:.0f} s", flush=True)
    return pd.DataFrame(rows)


def generated(size, folder):
    """Write a generated screen of either size, with halves dealt at random."""
    n_contexts, n_compounds, n_shared = SIZES[size]
    screen = make_chemical_screen(
        n_contexts, n_compounds, n_shared=n_shared, random_state=0
    )
    write_screen(folder, screen)
    table = screen.id_map[CONDITION].drop_duplicates()
    compounds = np.random.default_rng(0).permutation(table["sm_name"].unique())
    public = table["sm_name"].isin(compounds[: len(compounds) * 2 // 5])
    path = Path(folder, "halves.csv")
    halves = np.where(public, "public", "private")
    table.assign(lb_split=halves).to_csv(path, index=False)
    return path


def main():
    """Print the table of each half, published numbers among ours."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--generated", choices=sorted(SIZES))
    parser.add_argument("--models", default=MODELS)
    parser.add_argument("--budget", default="fast", choices=["fast", "thorough"])
    parser.add_argument("--halves", type=Path)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    if (options.folder is None) == (options.generated is None):
        parser.error("give a FOLDER with the data, or --generated SIZE")
    if options.output is not None:
        options.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        if options.generated:
            options.folder = Path(scratch, "screen")
            options.halves = generated(options.generated, options.folder)
        screen = load_op2(options.folder)
        half_of_row = halves(screen, options.halves)
    if screen.y_test is None:
        parser.error(f"{options.folder} has no answers: de_test.parquet or .h5ad")
    print(screen.DESCR)
    names = options.models.split(",")
    table = evaluate(screen, names, half_of_row, options.budget, options.output)
    if not options.generated:
        size = "kaggle" if len(screen.X) == 614 else "reprocessed"
        known = PUBLISHED[PUBLISHED["data"] == size].drop(columns="data")
        if size == "reprocessed":
            table.loc[table["half"] == "all", "half"] = "private"
            table = table.drop_duplicates(["half", "method"])
        table = pd.concat([table, known])
    table = table.sort_values(["half", "mrrmse"])
    show(table.round(4).fillna(""))
    if options.output is not None:
        table.to_csv(options.output / "op2.csv", index=False)


if __name__ == "__main__":
    main()
