"""Leave a donor or a cell type out of Kang et al.: does its own population help?

Interferon-treated cells of one cell type of one donor are held out, or those of a cell
type in both donors; the controls stay. Energy distance, Euclidean and without bias, in
20 principal components of the training cells, as mean over what was held out with its
standard error.

Before that, generated counts: how far controls that went through a model come back from
themselves, in each cell type; how many genes differ at p < 0.05 between two halves of
controls of which one was generated; and how many of the genes that differ under
interferon differ in generated cells as well.

Differences to controls that are displaced by the mean change of the training
populations have 95 % intervals by Student's t over what was held out.

Run: python -m benchmarks.flow.population_kang kang18_ifnb.h5ad [--models flow]
"""

import argparse
import warnings

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import stats
from sklearn.decomposition import PCA

from benchmarks._output import show
from sklperturb.cells import log_normalise, perturb_counts
from sklperturb.datasets import PerturbationSchema, load_perturbseq
from sklperturb.evaluation import wilcoxon_de
from sklperturb.flow import CellScreenModel, FlowMatchingRegressor
from sklperturb.metrics import energy_distance

MODELS = {
    "flow": {},
    "flow, deep sets": {"population_encoder": "deep_sets"},
    "flow, kNN graph": {"population_encoder": "knn_graph"},
}


def bulk(counts):
    return np.log1p(1e4 * counts.sum(axis=0) / counts.sum())


def differing(cells, controls):
    """Return p-values of all genes, and which are called at 5 % false discoveries."""
    labels = np.repeat(["cells", "ctrl"], [len(cells), len(controls)])
    obs = pd.DataFrame({"group": labels}, index=np.arange(len(labels)).astype(str))
    cells = AnnData(log_normalise(np.vstack([cells, controls])), obs)
    table = wilcoxon_de(cells, "group", control="ctrl")
    return table["p_value"].to_numpy(), (table["p_adj"] < 0.05).to_numpy()


def print_counts(screen, steps):
    """Print how generated counts compare with measured ones, by cell type."""
    rng = np.random.default_rng(0)
    half = rng.random(len(screen.X)) < 0.5
    control = np.asarray(screen.is_control)
    flow = FlowMatchingRegressor(max_steps=steps, random_state=0)
    model = CellScreenModel(flow=flow, schema=screen.schema)
    train = half | ~control
    model.fit(screen.X[train], screen.y[train])
    made = model.predict(["ctrl"], int((half & control).sum()))
    treated = model.predict(["stim"], 2000)
    rows = {}
    for kind in screen.X["cluster_id"].unique():
        own = (screen.X["cluster_id"] == kind).to_numpy()
        first, second, truth = (
            screen.y.X[np.flatnonzero(own & part)].toarray()
            for part in (half & control, ~half & control, ~control)
        )
        again, cells = (
            found.X[np.flatnonzero(found.obs["cluster_id"] == kind)].toarray()
            for found in (made, treated)
        )
        shown = second.mean(axis=0) > 0.05
        shares = [(c.sum(axis=0) + 0.5) / c.sum() for c in (truth, first)]
        drawn = rng.integers(len(first), size=len(truth))
        change = np.log(shares[0] / shares[1])
        exact = perturb_counts(first, change, drawn, random_state=0)
        called = differing(truth, second)[1]
        row = {
            "bulk": np.abs(bulk(again) - bulk(first)).max(),
            "zeros": abs((again == 0).mean() - (first == 0).mean()),
            "p < 0.05": (differing(again, second)[0] < 0.05)[shown].mean(),
            "genes called": called.sum(),
        }
        for name, found in (("true effect", exact), ("model", cells[: len(truth)])):
            also = differing(found, second)[1]
            row[f"{name}: recall"] = (called & also).sum() / called.sum()
            row[f"{name}: precision"] = (called & also).sum() / max(also.sum(), 1)
        rows[kind] = row
    show(pd.DataFrame(rows).T.round(3))


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("cells")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=MODELS)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    schema = PerturbationSchema(
        "group_id", context="cluster_id", batch="donor", control_labels=("ctrl",)
    )
    screen = load_perturbseq(arguments.cells, schema)
    print_counts(screen, arguments.steps)
    X, schema = screen.X, screen.schema
    y = screen.y.to_df().to_numpy()
    y = np.log1p(y / y.sum(axis=1, keepdims=True) * 1e4)
    treated = ~screen.is_control
    folds = {}
    for kind, donor in X[["cluster_id", "donor"]].drop_duplicates().to_numpy():
        test = treated & (X["cluster_id"] == kind) & (X["donor"] == donor)
        folds["donor", f"{kind}, {donor}"] = test.to_numpy()
    for kind in X["cluster_id"].unique():
        test = treated & (X["cluster_id"] == kind)
        folds["cell type", kind] = test.to_numpy()
    rows = []
    for (task, fold), test in folds.items():
        pca = PCA(20, random_state=0).fit(y[~test])
        cells = pca.transform(y)
        new = X[test]
        controls = screen.is_control & X["cluster_id"].isin(new["cluster_id"])
        start = cells[controls.to_numpy()]
        places = X.loc[~test].groupby(["cluster_id", "donor"]).indices.values()
        known = treated[~test], cells[~test]
        changes = [
            known[1][rows][known[0][rows]].mean(axis=0)
            - known[1][rows][~known[0][rows]].mean(axis=0)
            for rows in places
            if known[0][rows].any() and not known[0][rows].all()
        ]
        shift = np.mean(changes, axis=0)
        found = {"controls": start, "mean shift": start + shift}
        for model in arguments.models:
            flow = FlowMatchingRegressor(
                schema=schema,
                max_steps=arguments.steps,
                random_state=0,
                **MODELS[model],
            ).fit(X[~test], cells[~test])
            found[model] = flow.sample(new, 3).reshape(-1, 20)
            if model == "flow":
                start = flow.sample(new.assign(**{schema.control: True}), 3)
                change = flow.predict(new)[:, None] - start.mean(axis=1, keepdims=True)
                change = change.mean(axis=0)
                found["flow, controls displaced"] = (start + change).reshape(-1, 20)
        for model, population in found.items():
            distance = energy_distance(cells[test], population, unbiased=True)
            rows.append(
                {"task": task, "model": model, "energy": distance, "fold": fold}
            )
    frame = pd.DataFrame(rows)
    grouped = frame.groupby(["task", "model"], sort=False)["energy"]
    show(grouped.agg(["mean", "sem", "size"]).round(3))
    for task, part in frame.groupby("task", sort=False):
        table = part.pivot(index="fold", columns="model", values="energy")
        for model in table:
            less = table[model] - table["mean shift"]
            half = stats.t.ppf(0.975, len(less) - 1) * less.sem()
            print(
                f"{task}: {model} less mean shift {less.mean():.3f} "
                f"({less.mean() - half:.3f} to {less.mean() + half:.3f})"
            )


if __name__ == "__main__":
    main()
