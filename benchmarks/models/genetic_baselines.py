"""Compare the simple baselines on the cells of Norman et al. and McFaline-Figueroa.

Two questions: a gene that was never perturbed, alone or in a pair (5 folds over the
genes perturbed alone, pairs with a held-out gene left out of training); and pairs of
which both genes were perturbed alone. Pearson delta is the correlation over genes of
the predicted with the measured change, from controls, and from the mean of the
training perturbations; means over perturbations, with the standard error.

Run: python -m benchmarks.models.genetic_baselines CELLS.h5ad [--gene-sets SETS.gmt ...]
"""

import argparse

import numpy as np
import pandas as pd

from benchmarks._output import show
from sklperturb.datasets import load_perturbseq
from sklperturb.model_selection import UnseenPerturbationKFold
from sklperturb.models import make_genetic_baselines
from sklperturb.preprocessing import GeneSetEncoder


def score(models, screen, train, test):
    """Return one row for each model and held-out condition."""
    schema = screen.schema
    columns = schema.columns("context", "perturbation")
    groups = screen.X[test].groupby(columns, sort=True).indices
    first = np.flatnonzero(test)[[rows[0] for rows in groups.values()]]
    X_new = screen.X.iloc[first]
    cells = screen.y[test].X
    rows = []
    for name, model in models.items():
        fitted = model.set_params(predicts="change")
        fitted.fit(screen.X[train], screen.y[train])
        change = fitted.predict(X_new)
        controls = fitted.set_params(predicts="expression").predict(X_new) - change
        mean_shift = fitted.effects_.mean(axis=0)
        if not fitted.subtract_control:
            mean_shift = mean_shift - controls.mean(axis=0)
        for i, (condition, at) in enumerate(groups.items()):
            truth = np.asarray(cells[at].mean(axis=0)).ravel() - controls[i]
            beyond = change[i] - mean_shift
            rows.append(
                {
                    "model": name,
                    "condition": condition,
                    "from controls": pearson(change[i], truth),
                    "from the mean": pearson(beyond, truth - mean_shift),
                }
            )
    return rows


def pearson(predicted, truth):
    """Return the correlation, 0 of a prediction that does not vary."""
    if np.ptp(predicted) < 1e-9:
        return 0.0
    return np.corrcoef(predicted, truth)[0, 1]


def report(title, rows):
    frame = pd.DataFrame(rows).drop(columns="condition")
    grouped = frame.groupby("model", sort=False)
    table = grouped.mean().round(3).astype(str) + " +- "
    table += grouped.sem().round(3).astype(str)
    show(table, f"{title}, {len(rows) // frame['model'].nunique()} conditions:")


def _parts(screen):
    """Return the labels, the genes of each, and whether it is of several."""
    labels = screen.X[screen.schema.perturbation]
    parts = labels.str.split("+")
    return labels, parts, (parts.str.len() > 1).to_numpy()


def unseen_genes(screen):
    """Yield (train, test) in which the genes of `test` are in no row of `train`."""
    labels, parts, pair = _parts(screen)
    alone = np.flatnonzero(~pair)
    cv = UnseenPerturbationKFold(
        5, keep_controls=True, schema=screen.schema, random_state=0
    )
    for _, at in cv.split(screen.X.iloc[alone]):
        test = np.zeros(len(labels), dtype=bool)
        test[alone[at]] = True
        held_out = set(labels[test])
        train = ~parts.map(
            lambda genes, out=held_out: bool(out & set(genes))
        ).to_numpy()
        yield train, test


def pairs_seen_alone(screen):
    """Return (train, test): single genes, and the pairs of these."""
    labels, parts, pair = _parts(screen)
    singles = set(labels[~pair])
    return ~pair, pair & parts.map(lambda genes: set(genes) <= singles).to_numpy()


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("cells")
    parser.add_argument("--gene-sets", nargs="+")
    arguments = parser.parse_args()
    screen = load_perturbseq(arguments.cells)
    schema = screen.schema
    embedding = None
    if arguments.gene_sets:
        embedding = GeneSetEncoder(arguments.gene_sets, n_components=16)
    models = make_genetic_baselines(embedding, schema=schema)
    rows = []
    for train, test in unseen_genes(screen):
        rows += score(models, screen, train, test)
    report("Genes never perturbed", rows)
    rows = score(models, screen, *pairs_seen_alone(screen))
    report("Pairs of genes seen alone", rows)


if __name__ == "__main__":
    main()
