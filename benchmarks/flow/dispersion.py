"""Measure how much generated cells differ along the effect of their perturbation.

Cells of a condition do not respond alike: some escape, some were knocked down by half.
Log-normalised counts are projected on the effect, and their variance is compared with
that of the measured cells: 1 is right. Of each condition, half of the measured cells
gives the direction and the other half the variance.

- measured: conditions of the training cells;
- held out: perturbations (of Kang et al., cell types) that were left out in four folds,
  along the measured effect;
- of the model: the same, along the effect that was predicted.

Each with one strength of all cells, and with strengths as `CellScreenModel` learns
them. Printed are the medians over the half of the conditions with the larger effects,
of ten or fewer over all, with 95 % intervals by bootstrap over them.

Run: python -m benchmarks.flow.dispersion [--shared FOLDER] [--gene-sets SETS.gmt ...]
"""

import argparse
import logging
import warnings
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

from benchmarks.flow.generated_counts import generated, norman
from sklperturb.cells import log_normalise
from sklperturb.datasets import PerturbationSchema, load_perturbseq
from sklperturb.flow import CellScreenModel, FlowMatchingRegressor

N_FOLDS = 4


def kang(path):
    """Return the cells of Kang et al."""
    schema = PerturbationSchema(
        "group_id", context="cluster_id", batch="donor", control_labels=("ctrl",)
    )
    return load_perturbseq(path, schema), None


def logs(counts):
    return log_normalise(sparse.csr_array(counts), 1e4).toarray()


def compare(model, y, rows, controls, conditions):
    """Return ratios of variances of one condition, and the length of its effect."""
    half, other = rows[::2], rows[1::2]
    start = y[controls].mean(axis=0)
    move = y[half].mean(axis=0) - start
    learnt, found = (model.spread_, model.context_spreads_), {}
    X = conditions.iloc[rows].reset_index(drop=True)
    for name, given in (("one", (0.0, {})), ("learnt", learnt)):
        model.spread_, model.context_spreads_ = given
        made = logs(model.sample(X, 2))
        found[name] = (made @ move).var() / (y[other] @ move).var()
        own = made.mean(axis=0) - start
        found[f"{name}, of the model"] = (made @ own).var() / (y[rows] @ own).var()
    model.spread_, model.context_spreads_ = learnt
    return {**found, "length": np.linalg.norm(move)}


def measure(title, screen, embedding, steps):
    X, schema = screen.X, screen.schema
    y = logs(screen.y.X)
    context = np.repeat("", len(X))
    if schema.context in X:
        context = X[schema.context].astype(str).to_numpy()
    label = X[schema.perturbation].astype(str).to_numpy()
    control, rows = np.asarray(screen.is_control), []
    several = len(np.unique(label[~control])) > 1
    held_out = label if several else context
    names = np.unique(held_out[~control])
    folds = np.random.default_rng(0).permutation(len(names)) % min(N_FOLDS, len(names))
    for fold in range(folds.max() + 1):
        out = np.isin(held_out, names[folds == fold]) & ~control
        flow = FlowMatchingRegressor(max_steps=steps, hidden_dim=64, random_state=0)
        model = CellScreenModel(embedding, flow=flow, schema=schema)
        model.fit(X[~out], screen.y[np.flatnonzero(~out)])
        keys = pd.DataFrame({"context": context, "label": label})[~control]
        for (where, _), found in keys.groupby(["context", "label"]):
            at = found.index.to_numpy()
            if len(at) < 30 or (fold and not out[at].any()):
                continue
            row = compare(model, y, at, control & (context == where), X)
            kind = "held out" if out[at].any() else "measured"
            rows.append({"kind": kind, "spread": model.spread_, **row})
    table = pd.DataFrame(rows)
    rng = np.random.default_rng(0)
    print(f"{title}: spread {table['spread'].mean():.2f}")
    for kind, found in table.groupby("kind"):
        least = found["length"].median() if len(found) > 10 else 0.0
        strong = found[found["length"] >= least]
        for name in [c for c in found if c not in ("kind", "spread", "length")]:
            values = strong[name].to_numpy()
            drawn = np.median(rng.choice(values, (1000, len(values))), axis=1)
            low, high = np.percentile(drawn, [2.5, 97.5])
            print(
                f"  {kind:9} {name:22} {np.median(values):.2f} ({low:.2f} to "
                f"{high:.2f}) n={len(values)}",
                flush=True,
            )


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--shared", type=Path, help="With the cells, as h5ad files.")
    parser.add_argument("--gene-sets", nargs="+")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--only", help="The screen to measure.")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.getLogger("sklperturb").setLevel(logging.ERROR)
    screens = {f"generated, {kind}": generated(kind, 0) for kind in ("easy", "hard")}
    if arguments.shared:
        path = arguments.shared / "norman_mcfaline" / "devel.h5ad"
        lines = sorted(set(ad.read_h5ad(path).obs["cell_type"]) - {"k562"})
        sets = arguments.gene_sets
        screens["Norman"] = norman(path, sets)
        screens["McFaline"] = norman(path, sets, lines)
        path = arguments.shared / "kang18_ifnb" / "kang18_ifnb.h5ad"
        screens["Kang"] = kang(path)
    for title, screen in screens.items():
        if arguments.only in (None, title):
            measure(title, *screen, arguments.steps)


if __name__ == "__main__":
    main()
