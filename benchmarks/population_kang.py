"""Leave a donor or a cell type out of Kang et al.: does its own population help?

Interferon-treated cells of one cell type of one donor are held out, or those of a cell
type in both donors; the controls stay. Energy distance, Euclidean and without bias, in
20 principal components of the training cells, as mean over what was held out with its
standard error.

Run: python benchmarks/population_kang.py kang18_ifnb.h5ad [--steps 1000]
"""

import argparse
import warnings

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA

from sklperturb.datasets import PerturbationSchema, load_perturbseq
from sklperturb.flow import FlowMatchingRegressor
from sklperturb.metrics import energy_distance

MODELS = {
    "flow": {},
    "flow, deep sets": {"population_encoder": "deep_sets"},
    "flow, kNN graph": {"population_encoder": "knn_graph"},
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("cells")
    parser.add_argument("--steps", type=int, default=1000)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    schema = PerturbationSchema(
        "group_id", context="cluster_id", batch="donor", control_labels=("ctrl",)
    )
    screen = load_perturbseq(arguments.cells, schema)
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
    for (task, _), test in folds.items():
        pca = PCA(20, random_state=0).fit(y[~test])
        cells = pca.transform(y)
        new = X[test]
        controls = screen.is_control & X["cluster_id"].isin(new["cluster_id"])
        found = {"controls": cells[controls.to_numpy()]}
        for model, parameters in MODELS.items():
            flow = FlowMatchingRegressor(
                schema=schema, max_steps=arguments.steps, random_state=0, **parameters
            ).fit(X[~test], cells[~test])
            found[model] = flow.sample(new, 3).reshape(-1, 20)
            if model == "flow":
                start = flow.sample(new.assign(**{schema.control: True}), 3)
                change = flow.predict(new)[:, None] - start.mean(axis=1, keepdims=True)
                found["shift"] = (start + change.mean(axis=0)).reshape(-1, 20)
        for model, population in found.items():
            distance = energy_distance(cells[test], population, unbiased=True)
            rows.append({"task": task, "model": model, "energy": distance})
    frame = pd.DataFrame(rows).groupby(["task", "model"], sort=False)["energy"]
    print(frame.agg(["mean", "sem", "size"]).round(3).to_string())


if __name__ == "__main__":
    main()
