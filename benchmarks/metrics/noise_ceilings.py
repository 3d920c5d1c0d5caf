"""Noise ceilings: of generated screens whose truth is known, and of real ones.

    python -m benchmarks.metrics.noise_ceilings
    python -m benchmarks.metrics.noise_ceilings --nelisa nelisa_profiles.parquet
    python -m benchmarks.metrics.noise_ceilings --cells devel.h5ad \
        --counts kang18_ifnb.h5ad

Without a file, the ceiling is compared with the score that the true means have on
generated rows, by metric, number of replicates and kind of noise. With --nelisa, models
of A549 cells' secreted proteins (Dagher et al. 2023, real replicate wells) are set
beside the ceiling. --cells takes log-normalised cells, whose mean effects are halved,
and --counts raw counts, whose signatures are.
"""

import argparse
import logging
from dataclasses import replace

import anndata as ad
import numpy as np
import pandas as pd

from benchmarks._output import show
from sklperturb.comparison import compare, leaderboard
from sklperturb.conditions import PerturbationSchema
from sklperturb.inspection import noise_ceiling
from sklperturb.metrics import ROWWISE_METRICS
from sklperturb.model_selection import UnseenPerturbationKFold
from sklperturb.signatures import DifferentialSignatures, signature_halves

NOISE = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "Laplace": lambda rng, shape: rng.laplace(size=shape),
    "Student, 3 df": lambda rng, shape: rng.standard_t(3, size=shape),
    "wells differ": lambda rng, shape: (
        rng.normal(size=shape) * rng.lognormal(0, 0.5, (shape[0], 1))
    ),
    "10 factors": lambda rng, shape: (
        0.5 * rng.normal(size=shape)
        + 0.5 * rng.normal(size=(shape[0], 10)) @ rng.normal(size=(10, shape[1]))
    ),
}


def generated(n_draws, n_perturbations=100, n_genes=300):
    """Print how far ceilings are from the score of the truth, in per cent."""
    rows = {}
    for kind, noise in NOISE.items():
        for k in (2, 3, 4, 6):
            errors = {name: [] for name in ROWWISE_METRICS}
            for seed in range(n_draws):
                rng = np.random.RandomState(seed)
                truth = rng.normal(size=(n_perturbations, n_genes))
                truth *= rng.lognormal(-0.3, 0.6, (n_perturbations, 1))
                truth = np.repeat(truth, k, axis=0)
                y = truth + noise(rng, truth.shape) * rng.lognormal(0, 0.4, n_genes)
                of = np.repeat(np.arange(n_perturbations), k)
                X = pd.DataFrame({"sm_name": [f"p{i}" for i in of]})
                for name, metric in ROWWISE_METRICS.items():
                    found = noise_ceiling(X, y, scoring=name, n_resamples=1)
                    score = metric.row_function(y, truth).mean()
                    errors[name].append(100 * (found.value / score - 1))
            rows[kind, k] = {
                name: f"{np.mean(part):+.1f} +- {np.std(part) / n_draws**0.5:.1f}"
                for name, part in errors.items()
            }
    table = pd.DataFrame(rows).T
    table.index = [f"{kind}, {k}" for kind, k in table.index]
    show(table.rename_axis("noise, replicates"))


def nelisa(path, n_splits=5):
    """Print ceilings of secreted proteins, and models beside them."""
    data = pd.read_parquet(path)
    proteins = [name for name in data if name.endswith("[NSU]")]
    plate, is_dmso = data["Metadata_Plate"], data["Metadata_pert_iname"] == "DMSO"
    means = data.loc[is_dmso, proteins].groupby(plate[is_dmso]).mean()
    y = data[proteins] - means.loc[plate].to_numpy()
    y = (y / y[is_dmso].std())[~is_dmso].reset_index(drop=True)
    columns = {"Metadata_pert_iname": "sm_name", "Metadata_smiles": "SMILES"}
    X = data.loc[~is_dmso, list(columns)].rename(columns=columns).reset_index(drop=True)
    print(f"{len(X)} wells, {X['sm_name'].nunique()} compounds, {y.shape[1]} proteins")
    for name in ROWWISE_METRICS:
        print(noise_ceiling(X, y, scoring=name))
    quartiles = noise_ceiling(X, y).reliability.quantile([0.25, 0.5, 0.75])
    print("reliability of proteins, quartiles:", quartiles.round(3).tolist())
    folds = {
        "compounds held out": UnseenPerturbationKFold(n_splits, random_state=0),
        "wells held out, a leak": np.random.RandomState(0).permutation(len(X)),
    }
    wells = folds["wells held out, a leak"]
    parts = np.array_split(wells, n_splits)
    folds["wells held out, a leak"] = [(np.setdiff1d(wells, p), p) for p in parts]
    columns = ["metric", "model", "mean", "ceiling", "share_of_ceiling"]
    columns += ["share_low", "share_high"]
    for title, cv in folds.items():
        print(title)
        found = compare(
            *(["tanimoto_kernel", "perturbation_mean"], X, y),
            cv=cv,
            scoring=["mrrmse", "pearson", "spearman"],
            baselines=["no_change", "gene_mean", "nearest_compound"],
        )
        show(leaderboard(found)[columns])


def halved(values, codes, n_levels, rng):
    """Return the means of two halves of each level's rows."""
    means = np.empty((2, n_levels, values.shape[1]))
    for level in range(n_levels):
        rows = rng.permutation(np.flatnonzero(codes == level))
        for side in range(2):
            means[side, level] = values[rows[side::2]].mean(axis=0)
    return means


def cells(path, min_cells=20):
    """Print ceilings of mean effects, from halves of cells and of controls."""
    data = ad.read_h5ad(path)
    keys = data.obs[["cell_type", "condition"]].astype(str)
    keys["n"] = keys.groupby(["cell_type", "condition"])["condition"].transform("size")
    kept = (keys["n"] >= min_cells).to_numpy()
    grouped = keys[kept].groupby(["cell_type", "condition"])
    table = grouped.size().index.to_frame(index=False)
    values = data.X[kept]
    values = values.toarray() if hasattr(values, "toarray") else np.asarray(values)
    rng = np.random.RandomState(0)
    means = halved(values, grouped.ngroup().to_numpy(), len(table), rng)
    controls = table.index[table["condition"] == "control"]
    own = pd.Series(controls, table.loc[controls, "cell_type"])
    effects = means - means[:, own[table["cell_type"]].to_numpy()]
    treated = (table["condition"] != "control").to_numpy()
    X, halves = table[treated].reset_index(drop=True), effects[:, treated]
    print(f"{len(X)} conditions, {values.shape[1]} genes, {kept.sum()} cells")
    _print_halves(X, halves.mean(axis=0), list(halves))


def counts(path):
    """Print ceilings of signed -log10 p, from halves of the cells of each sample."""
    schema = PerturbationSchema("group_id", "cluster_id", replicate="donor")
    schema = replace(schema, control_labels="ctrl")
    model = DifferentialSignatures(schema, min_count=2)
    found = signature_halves(path, ["cluster_id", "group_id", "donor"], model=model)
    print(f"{len(found.X)} signatures of {found.y.shape[1]} genes")
    _print_halves(found.X, found.y, found.halves, schema)


def _print_halves(X, y, halves, schema=None):
    y = np.asarray(y)
    for name, metric in ROWWISE_METRICS.items():
        found = noise_ceiling(X, y, scoring=name, schema=schema, halves=halves)
        zeros = metric.row_function(y, np.zeros_like(y)).mean()
        print(found, f"zeros: {zeros:.4f}")


def main():
    """Print what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for option in ("--nelisa", "--cells", "--counts"):
        parser.add_argument(option)
    parser.add_argument("--draws", type=int, default=4)
    given = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    if given.nelisa:
        nelisa(given.nelisa)
    if given.cells:
        cells(given.cells)
    if given.counts:
        counts(given.counts)
    if not (given.nelisa or given.cells or given.counts):
        generated(given.draws)


if __name__ == "__main__":
    main()
