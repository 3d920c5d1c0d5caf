"""Compare what gene sets and another cell line tell of genes never perturbed.

The screen is a folder in the layout of OP2 with several contexts. Questions:

- `alone`: each context for itself, 5 folds over its perturbations; what is known are
  gene sets, the other contexts as another screen, or both.
- `few`: as `alone`, with 10, 30 and 100 perturbations to learn from, and from both.
- `together`: all contexts at once, the held-out perturbations measured in none.
- `pairs`: perturbations held out in the context with the fewest, and measured in
  the others.

Printed are the MRRMSE, how far it is below that of the context's mean in percent,
and the 95 % interval of this over perturbations.

Run: python -m benchmarks.models.gene_knowledge FOLDER --gene-sets SETS.gmt ...
         [--ask alone]
"""

import argparse
import time

import numpy as np

from sklperturb.baseline import GroupStatisticRegressor
from sklperturb.datasets import load_op2
from sklperturb.linear_model import GeneKnowledgeRidge, TargetEncodedRidge
from sklperturb.metrics import rowwise_root_mean_squared_error
from sklperturb.model_selection import UnseenPairKFold, UnseenPerturbationKFold
from sklperturb.preprocessing import read_gene_source
from sklperturb.preprocessing._gene_sources import profile_source


def score(title, model, X, y, folds, schema):
    """Print the error of a model beside that of the mean of the context."""
    rows = []
    start = time.perf_counter()
    for train, test in folds:
        X_train, y_train = X.iloc[train], y.iloc[train]
        mean = GroupStatisticRegressor(by="context", schema=schema)
        for fitted in (model.fit(X_train, y_train), mean.fit(X_train, y_train)):
            y_pred = fitted.predict(X.iloc[test])
            rows.append(rowwise_root_mean_squared_error(y.iloc[test], y_pred))
    error, typical = np.concatenate(rows[::2]), np.concatenate(rows[1::2])
    context = np.concatenate([X[schema.context].iloc[test] for _, test in folds])
    seconds = (time.perf_counter() - start) / len(folds)
    for name in np.unique(context):
        inside = context == name
        gain = 100 * (1 - error[inside] / typical[inside].mean())
        less = 100 * (1 - error[inside].mean() / typical[inside].mean())
        spread = (error - typical)[inside].std(ddof=1) / np.sqrt(inside.sum())
        half = 196 * spread / typical[inside].mean()
        print(
            f"{title:32} {name:6} n={len(gain):4} mean {typical[inside].mean():.4f} "
            f"model {error[inside].mean():.4f} below {less:.2f} % "
            f"({less - half:.2f} to {less + half:.2f}) {seconds:.0f} s",
            flush=True,
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder")
    parser.add_argument("--gene-sets", nargs="+", default=[])
    parser.add_argument("--ask", choices=["alone", "few", "together", "pairs"])
    parser.add_argument("--context")
    arguments = parser.parse_args()
    screen = load_op2(arguments.folder)
    X, y, schema = screen.X, screen.y, screen.schema
    sets = [read_gene_source(path) for path in arguments.gene_sets]
    context = X[schema.context].to_numpy()
    labels = X[schema.perturbation].to_numpy()
    new = UnseenPerturbationKFold(5, schema=schema, random_state=0)

    def model(sources):
        return GeneKnowledgeRidge(sources, schema=schema)

    if arguments.ask in (None, "alone", "few"):
        for name in [arguments.context] if arguments.context else np.unique(context):
            here = context == name
            others = [
                profile_source(other, labels[rows], y[rows], schema)
                for other, rows in ((c, context == c) for c in np.unique(context))
                if other != name
            ]
            folds = list(new.split(X[here]))
            given = X[here], y[here], folds, schema
            if arguments.ask in (None, "few"):
                shuffle = np.random.RandomState(1).permutation
                for n in (10, 30, 100):
                    few = [(shuffle(train)[:n], test) for train, test in folds]
                    rows = *given[:2], few, schema
                    score(f"{n} genes, gene sets", model(sets), *rows)
                    score(f"{n} genes, both", model([*sets, *others]), *rows)
            if arguments.ask == "few":
                continue
            score("alone, gene sets", model(sets), *given)
            score("alone, other contexts", model(others), *given)
            score("alone, both", model([*sets, *others]), *given)
    if arguments.ask in (None, "together"):
        score("together, gene sets", model(sets), X, y, list(new.split(X)), schema)
    if arguments.ask in (None, "pairs"):
        names, sizes = np.unique(context, return_counts=True)
        few = [names[sizes.argmin()]]
        cv = UnseenPairKFold(5, contexts=few, schema=schema, random_state=0)
        given = X, y, list(cv.split(X)), schema
        score("pairs, ridge", TargetEncodedRidge(schema=schema), *given)
        score("pairs, gene sets", model(sets), *given)


if __name__ == "__main__":
    main()
