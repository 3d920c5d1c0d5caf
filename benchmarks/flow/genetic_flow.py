"""Compare the flow with baselines on the cells of Norman et al. and McFaline-Figueroa.

The same two questions and the same folds as genetic_baselines.py: genes that were
never perturbed, and pairs of genes that were perturbed alone. Energy distance is
Euclidean, without bias, in 50 principal components of the training cells; Pearson
delta is the correlation over genes of predicted and measured change. Means over
conditions, with 95 % intervals by bootstrap over conditions, and the difference of the
flow to each baseline. "flow, displaced" has the flow's mean and the controls' shape.

With --deals N, small screens instead: N times, 25 of the genes' conditions are drawn
and held out in five folds over the genes, and nothing else is known of them.

Run: python -m benchmarks.flow.genetic_flow CELLS.h5ad [--gene-sets SETS.gmt ...]
"""

import argparse
import time
import warnings

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA

from benchmarks._output import show
from benchmarks.models.genetic_baselines import pairs_seen_alone, unseen_genes
from sklperturb.datasets import load_perturbseq
from sklperturb.flow import FlowMatchingRegressor
from sklperturb.metrics import energy_distance
from sklperturb.models import make_genetic_baselines
from sklperturb.preprocessing import GeneSetEncoder, LookupEmbedding

BASELINES = ("controls", "mean_shift", "context_shift", "additive")


def score(screen, embedding, train, test, steps, seed=0):
    """Return one row for each model and held-out condition."""
    X, schema = screen.X, screen.schema
    y = screen.y.to_df().to_numpy()
    columns = schema.columns("context", "perturbation")
    groups = X[test].groupby(columns, sort=True, observed=True).indices
    at = np.flatnonzero(test)
    first = at[[rows[0] for rows in groups.values()]]
    X_new = X.iloc[first]
    pca = PCA(50, random_state=0).fit(y[train])
    controls = {
        context: y[train & screen.is_control & (X[schema.context] == context)]
        for context in X_new[schema.context].unique()
    }
    of_row = [controls[context] for context in X_new[schema.context]]
    models = make_genetic_baselines(schema=schema)
    found = {}
    for name in BASELINES:
        model = models[name].set_params(predicts="change")
        change = model.fit(X[train], y[train]).predict(X_new)
        cells = [c + d for c, d in zip(of_row, change, strict=True)]
        found[name] = change, cells
    model = FlowMatchingRegressor(
        embedding, max_steps=steps, schema=schema, random_state=seed
    )
    start = time.process_time()
    model.fit(X[train], y[train])
    seconds = time.process_time() - start
    # No control twice: pairs at distance zero would count as spread that is missing.
    n_cells = min(len(cells) for cells in of_row)
    unchanged = X_new.assign(**{schema.control: True})
    change = model.predict(X_new) - model.predict(unchanged)
    found["flow"] = change, model.sample(X_new, n_cells)
    cells = [c + d for c, d in zip(of_row, change, strict=True)]
    found["flow, displaced"] = change, cells
    print(
        f"{model.mean_choice_}, shape {model.shape_weight_}, {seconds:.0f} s,",
        {name: round(value, 3) for name, value in model.mean_cv_errors_.items()},
    )
    rows = []
    for name, (change, cells) in found.items():
        for i, (condition, members) in enumerate(groups.items()):
            measured = y[at[members]]
            truth = measured.mean(axis=0) - of_row[i].mean(axis=0)
            flat = np.ptp(change[i]) < 1e-6
            rows.append(
                {
                    "model": name,
                    "condition": "/".join(map(str, np.atleast_1d(condition))),
                    "energy": energy_distance(
                        pca.transform(measured), pca.transform(cells[i]), unbiased=True
                    ),
                    "pearson": 0.0 if flat else np.corrcoef(change[i], truth)[0, 1],
                }
            )
    return rows


def known(gene_sets, X):
    """Return all gene sets of the screen's genes, without loss, as a source."""
    encoder = GeneSetEncoder(gene_sets, n_components=None).fit(X)
    genes = {gene for name in X.iloc[:, 0].unique() for gene in name.split("+")}
    rows = np.isin(encoder.genes_, list(genes))
    vectors = encoder.embedding_[rows].toarray()
    table = pd.DataFrame(vectors[:, vectors.any(axis=0)], encoder.genes_[rows])
    return LookupEmbedding(table)


def deal(screen, pair, seed):
    """Yield train and test masks of five folds over the genes of 25 conditions."""
    X, schema = screen.X, screen.schema
    rng = np.random.default_rng(seed)
    names = X[schema.context] + "/" + X[schema.perturbation]
    candidates = sorted(names[~pair & ~screen.is_control].unique())
    chosen = rng.choice(candidates, 25, replace=False)
    dealt = names.isin(chosen).to_numpy()
    genes = rng.permutation(sorted(X[schema.perturbation][dealt].unique()))
    for fold in range(5):
        test = dealt & X[schema.perturbation].isin(genes[fold::5]).to_numpy()
        yield (screen.is_control | dealt) & ~test, test


def report(title, rows):
    frame = pd.DataFrame(rows)
    print(f"\n{title}, {frame['condition'].nunique()} conditions\n")
    rng = np.random.default_rng(0)
    lines = {}
    for value in ("energy", "pearson"):
        table = frame.pivot_table(index="condition", columns="model", values=value)
        draws = rng.integers(0, len(table), (2000, len(table)))
        for name in dict.fromkeys(frame["model"]):
            line = lines.setdefault(name, {})
            line[value] = interval(table[name].to_numpy(), draws)
            difference = (table["flow"] - table[name]).to_numpy()
            line[f"flow less, {value}"] = interval(difference, draws)
    show(pd.DataFrame(lines).T)


def interval(values, draws):
    low, high = np.quantile(values[draws].mean(axis=1), [0.025, 0.975])
    return f"{values.mean():.3f} [{low:.3f}, {high:.3f}]"


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("cells")
    parser.add_argument("--gene-sets", nargs="+")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--deals", type=int)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", UserWarning)
    screen = load_perturbseq(arguments.cells)
    schema = screen.schema
    embedding = None
    if arguments.gene_sets:
        names = screen.X[[schema.perturbation]]
        embedding = [known(sets, names) for sets in arguments.gene_sets]
    if arguments.deals:
        pair = screen.X[schema.perturbation].str.contains("+", regex=False).to_numpy()
        for seed in range(arguments.deals):
            rows = []
            for train, test in deal(screen, pair, seed):
                rows += score(screen, embedding, train, test, arguments.steps)
            report(f"Deal {seed}", rows)
        return
    train, test = pairs_seen_alone(screen)
    rows = score(screen, embedding, train, test, arguments.steps)
    report("Pairs of genes seen alone", rows)
    rows = []
    for train, test in unseen_genes(screen):
        rows += score(screen, embedding, train, test, arguments.steps)
    report("Genes never perturbed", rows)


if __name__ == "__main__":
    main()
