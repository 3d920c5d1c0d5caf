"""Signatures from counts: agreement with limma's definitions, and the time at OP2 size.

With Kang's cells (``--kang FILE``) and inmoose installed, t statistics of the model of
equal weights are compared with those of inmoose's lmFit and eBayes. inmoose has no TMM
and no voom, and its lmFit does not take weights. Then the time for generated samples:
the group-wise fit of the toolkit, and for some genes the least-squares problem with one
column per condition that limma solves for each gene, extrapolated.

    python -m benchmarks.signatures.signature_speed [--genes 2000] \
        [--kang kang18_ifnb.h5ad]
"""

import argparse
import itertools
import time

import anndata as ad
import numpy as np
import pandas as pd

from benchmarks._output import record
from sklperturb.datasets import PerturbationSchema
from sklperturb.signatures import DifferentialSignatures, pseudobulk


def compare_with_inmoose(path):
    """Print the largest difference of t on real cells."""
    import patsy
    from inmoose import limma

    samples = pseudobulk(path, ["cluster_id", "group_id", "donor"])
    schema = PerturbationSchema("group_id", context="cluster_id")
    model = DifferentialSignatures(
        schema, control="ctrl", covariates=["donor"], method="trend"
    )
    start = time.process_time()
    ours = model.fit_transform(samples)
    seconds = time.process_time() - start
    samples = samples[:, ours.var_names]
    depth = samples.X.sum(axis=1) * model.normalization_factors_.to_numpy()
    prior = 2 * depth / depth.mean()
    y = np.log2((samples.X + prior[:, None]) / (depth + 2 * prior)[:, None] * 1e6)
    frame = pd.DataFrame(y.T, samples.var_names, samples.obs_names)
    formula = "0 + C(cluster_id) + C(cluster_id):C(group_id) + C(donor)"
    start = time.process_time()
    design = patsy.dmatrix(formula, samples.obs)
    fit = limma.eBayes(limma.lmFit(frame, design), trend=True)
    theirs_seconds = time.process_time() - start
    kept = ["stim" in name for name in design.design_info.column_names]
    theirs = np.asarray(fit.t)[:, kept].T
    print(f"{ours.n_obs} signatures of {ours.n_vars} genes")
    print(f"largest difference of t: {np.abs(ours.layers['t'] - theirs).max():.1e}")
    print(f"seconds: {seconds:.3f}, of inmoose {theirs_seconds:.3f}\n")


def generate(n_contexts, n_compounds, n_genes):
    """Return pseudobulks of three donors and six plates, as many as OP2 has."""
    rng = np.random.default_rng(0)
    compounds = ["DMSO", *(f"compound {i}" for i in range(n_compounds))]
    rows = []
    for donor, (i, compound) in itertools.product(range(3), enumerate(compounds)):
        plates = range(2) if i == 0 else [i % 2]
        rows += [(compound, str(donor), f"{donor}-{plate}") for plate in plates]
    design = pd.DataFrame(rows, columns=["sm_name", "donor", "plate"])
    obs = pd.concat([design.assign(cell_type=f"type {i}") for i in range(n_contexts)])
    obs.index = np.arange(len(obs)).astype(str)
    level = rng.lognormal(4, 1.2, n_genes) * rng.lognormal(0, 0.3, (len(obs), 1))
    counts = rng.negative_binomial(10, 10 / (10 + level)).astype(np.float64)
    return ad.AnnData(counts, obs=obs)


def seconds_of_dense_problem(samples, n_genes):
    """Return the seconds for `n_genes` weighted problems, one column per condition."""
    conditions = samples.obs["cell_type"] + samples.obs["sm_name"]
    plates = pd.get_dummies(samples.obs["plate"], drop_first=True)
    design = np.hstack([pd.get_dummies(conditions), plates]).astype(np.float64)
    y = np.log2(samples.X[:, :n_genes] + 0.5)
    start = time.process_time()
    for column in y.T:
        root = np.sqrt(column + 2)[:, None]
        np.linalg.qr(design * root)
    return time.process_time() - start


def main():
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kang", help="kang18_ifnb.h5ad")
    parser.add_argument("--contexts", type=int, default=6)
    parser.add_argument("--compounds", type=int, default=146)
    parser.add_argument("--genes", type=int, default=2000)
    options = parser.parse_args()
    if options.kang:
        compare_with_inmoose(options.kang)
    samples = generate(options.contexts, options.compounds, options.genes)
    model = DifferentialSignatures(control="DMSO", covariates=["plate"])
    start = time.process_time()
    signatures = model.fit_transform(samples)
    seconds = time.process_time() - start
    tried = min(5, options.genes)
    dense = seconds_of_dense_problem(samples, tried) * options.genes / tried
    record("times as fast as QR", dense / seconds, "times", cpu=seconds)
    print("| samples | signatures | genes | CPU s | QR per gene, CPU s |")
    print("|---|---|---|---|---|")
    print(
        f"| {samples.n_obs} | {signatures.n_obs} | {signatures.n_vars} | {seconds:.1f} "
        f"| {dense:.0f} (extrapolated from {tried} genes) |"
    )


if __name__ == "__main__":
    main()
