"""Measure what conformal intervals cover of rows that were held out.

    python -m benchmarks.trust.conformal_coverage FOLDER ... > table.md

Each FOLDER is a screen in the layout of OP2; without any, screens are generated. Only
training rows are used. Outer folds hold out pairs of a perturbation and a context, or
perturbations; the intervals learn from folds of the same kind inside of what is left.
A naive interval has one width for all entries: that which covers as many of the
held-out entries, a choice that it could not make without them. The score is that of
Winkler, the width and twenty times what an entry is outside by.

The second table has the coverage of the quarter of the rows that respond most strongly,
and of 90 % of the genes, that of the naive interval in brackets. The third one breaks
exchangeability: intervals that were calibrated on pairs are asked for perturbations
that were not measured. The fourth one has the errors of rows by
their distance from training, as parts of the responses' own size, and the correlation
of both over perturbations. With --few, there is one table, of generated screens of
which so many perturbations can be held out in the contexts that are asked.
"""

import argparse
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks._output import record
from sklperturb.baseline import AdditiveRegressor
from sklperturb.datasets import load_op2, make_chemical_screen
from sklperturb.inspection import ConformalRegressor, ExchangeabilityWarning
from sklperturb.model_selection import (
    UnseenPairKFold,
    UnseenPerturbationKFold,
    suggest_cv,
)
from sklperturb.models import make_model
from sklperturb.utils._intervals import mean_interval

QUESTIONS = {"pairs": UnseenPairKFold, "perturbations": UnseenPerturbationKFold}
MODELS = {
    "pairs": ("ridge", "response_kernel"),
    "perturbations": ("ridge", "tanimoto_kernel"),
}
CONFIDENCE = 0.9
HEAD = (
    "coverage at 90 % | by context | naive, by context | median width to naive | "
    "score to naive | folds warned of |"
)


def screens(folders, seeds):
    """Yield a name, and lists of conditions, responses and schemas."""
    for folder in folders:
        screen = load_op2(folder)
        yield Path(folder).name.partition("_")[0], [screen]
    if not folders:
        made = [make_chemical_screen(4, 60, 200, random_state=s) for s in range(seeds)]
        yield f"generated, {seeds} seeds", made


def splitter(question, schema, options, seed):
    """Return five folds of a kind."""
    contexts = {"contexts": options.contexts} if question == "pairs" else {}
    return QUESTIONS[question](5, schema=schema, random_state=seed, **contexts)


def held_out(screen, model, asked, calibrated, options):
    """Return what is known of the held-out rows, and how many folds were warned of."""
    X, y, schema = screen.X, screen.y.to_numpy(dtype=float), screen.schema
    folds = splitter(asked, schema, options, 0).split(X)
    found, genes, warned, done = [], [], 0, 0
    for train, test in folds:
        conformal = ConformalRegressor(
            make_model(model, schema=schema, random_state=0),
            confidence=CONFIDENCE,
            cv=splitter(calibrated, schema, options, 1),
            by_context=options.by_context,
            schema=schema,
        )
        conformal.fit(X.iloc[train], y[train])
        rows = X.iloc[test]
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            lower, upper = conformal.predict_interval(rows)
        warned += any(issubclass(w.category, ExchangeabilityWarning) for w in caught)
        done += 1
        error = np.abs(y[test] - (lower + upper) / 2)
        width = upper - lower
        outside = np.maximum(error - width / 2, 0)
        constant = np.quantile(error, np.mean(outside == 0))
        naive = 2 * constant + 20 * np.maximum(error - constant, 0)
        inside = outside == 0, error <= constant
        genes.append(np.stack(inside))
        found.append(
            pd.DataFrame(
                {
                    "unit": rows[schema.perturbation].astype(str).to_numpy(),
                    "context": rows[schema.context].astype(str).to_numpy(),
                    "covered": inside[0].mean(axis=1),
                    "naive covered": inside[1].mean(axis=1),
                    "width": width.mean(axis=1) / (2 * constant),
                    "score": (width + 20 * outside).mean(axis=1),
                    "naive": naive.mean(axis=1),
                    "rmse": np.sqrt(np.mean(error**2, axis=1)),
                    "size": np.sqrt(np.mean(y[test] ** 2, axis=1)),
                    "distance": conformal.distance(rows),
                    "abstain": conformal.abstain(rows),
                }
            )
        )
    genes = np.concatenate(genes, axis=1).mean(axis=1)
    return pd.concat(found), warned, done, genes


def line(rows):
    """Return coverage, its range over contexts, widths and score as text."""
    mean, low, high = mean_interval(rows["covered"], rows["unit"])
    contexts = rows.groupby("context")[["covered", "naive covered"]].mean()
    spans = [f"{contexts[c].min():.1%} to {contexts[c].max():.1%}" for c in contexts]
    score = rows["score"].mean() / rows["naive"].mean()
    return (
        f"{mean:.1%} ({low:.1%} to {high:.1%}) | {spans[0]} | {spans[1]} | "
        f"{rows['width'].median():.2f} | {score:.2f}"
    )


def main():
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="*")
    parser.add_argument("--models", nargs="+", help="by default two a question")
    parser.add_argument("--questions", nargs="+", default=list(QUESTIONS))
    parser.add_argument("--seeds", type=int, default=5, help="of generated screens")
    parser.add_argument("--contexts", nargs="+", help="of pairs that are held out")
    parser.add_argument("--by-context", action="store_true")
    parser.add_argument("--broken", action="store_true", help="the second table too")
    parser.add_argument("--few", nargs="+", type=int, help="perturbations held out")
    options = parser.parse_args()
    if options.few:
        print_few(options.few)
        return
    warnings.filterwarnings("ignore", "rdkit cannot read")
    print(f"| screen | held out | model | {HEAD}")
    print("|---|---|---|---|---|---|---|---|---|")
    broken, far, within = [], [], []
    for name, several in screens(options.folders, options.seeds):
        for asked in options.questions:
            for model in options.models or MODELS[asked]:
                if model == "tanimoto_kernel" and several[0].schema.smiles is None:
                    continue  # it is about structures
                given = model, asked
                rows, warned, done, genes = together(several, *given, asked, options)
                within.append(f"| {name} | {asked} | {model} | {spread(rows, genes)} |")
                record(f"{name}, {asked}, {model}", 100 * rows["covered"].mean(), "%")
                ending = f"{line(rows)} | {warned} of {done} |"
                print(f"| {name} | {asked} | {model} | {ending}", flush=True)
                if asked == "perturbations" and several[0].schema.smiles is not None:
                    far.append((f"{name} | {model}", rows))
        if options.broken:
            rows, warned, done, _ = together(
                several, "ridge", "perturbations", "pairs", options
            )
            broken.append(f"| {name} | {line(rows)} | {warned} of {done} |")
    print("\n| screen | held out | model | strongest quarter of rows | genes |")
    print("|---|---|---|---|---|", *within, sep="\n")
    if broken:
        print(f"\n| screen | {HEAD}")
        print("|---|---|---|---|---|---|---|", *broken, sep="\n")
    if far:
        print("\n| screen | model | error by quarters of distance | Spearman | far |")
        print("|---|---|---|---|---|")
    for title, rows in far:
        quarter = pd.qcut(rows["distance"].rank(method="first"), 4, labels=False)
        sums = rows.groupby(quarter)[["rmse", "size"]].sum()
        rows = rows.assign(error=rows["rmse"] / rows["size"])
        units = rows.groupby("unit")[["distance", "error"]].mean()
        rho = units["distance"].corr(units["error"], method="spearman")
        text = ", ".join(f"{e:.3f}" for e in sums["rmse"] / sums["size"])
        print(f"| {title} | {text} | {rho:.2f} | {rows['abstain'].mean():.1%} |")


def spread(rows, genes):
    """Return coverage of strong rows and of genes as text, naive in brackets."""
    strong = rows[rows["size"] >= rows["size"].quantile(0.75)]
    ours, naive = strong[["covered", "naive covered"]].mean()
    ends = np.quantile(genes, [0.05, 0.95], axis=1).T
    ours_genes, naive_genes = (f"{low:.1%} to {high:.1%}" for low, high in ends)
    return f"{ours:.1%} ({naive:.1%}) | {ours_genes} ({naive_genes})"


def print_few(numbers, n_screens=16):
    """Print what is covered where few perturbations can be held out."""
    print("| held out | coverage at 90 % | median width to 40 held out |")
    print("|---|---|---|")
    found = {number: [] for number in {*numbers, 40}}
    warnings.simplefilter("ignore", ExchangeabilityWarning)
    for number, kept in found.items():
        for seed in range(n_screens):
            screen = make_chemical_screen(
                4, number + 30, 30, n_shared=number, random_state=seed
            )
            cv = suggest_cv(screen.X, screen.X_test, schema=screen.schema)
            model = ConformalRegressor(AdditiveRegressor("joint"), cv=cv)
            model.fit(screen.X, screen.y)
            lower, upper = model.predict_interval(screen.X_test)
            y = screen.y_test.to_numpy()
            inside = (lower <= y) & (y <= upper)
            kept.append((inside.mean(), np.median(upper - lower)))
    usual = np.mean([width for _, width in found[40]])
    for number in numbers:
        covered, widths = np.transpose(found[number])
        mean, low, high = mean_interval(covered, np.arange(n_screens))
        share = f"{mean:.1%} ({low:.1%} to {high:.1%})"
        print(f"| {number} | {share} | {widths.mean() / usual:.2f} |")


def together(several, model, asked, calibrated, options):
    """Return the rows of several screens, and how often was warned."""
    found = [held_out(s, model, asked, calibrated, options) for s in several]
    rows = [f.assign(unit=f["unit"] + f" {n}") for n, (f, *_) in enumerate(found)]
    warned, done = (sum(f[n] for f in found) for n in (1, 2))
    return pd.concat(rows), warned, done, np.concatenate([f[3] for f in found], axis=1)


if __name__ == "__main__":
    main()
