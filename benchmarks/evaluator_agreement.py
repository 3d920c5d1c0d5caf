"""Compare the scores of each convention with the evaluator that defines it.

    python benchmarks/evaluator_agreement.py --peer PYTHON [--data FOLDER]

PYTHON is an interpreter of an environment with cell-eval 0.8.2 and cell-eval2 0.20.
It scores the same files in a process of its own. The table gives, for every metric,
the largest difference over all perturbations. FOLDER is where the measured cells of
Norman and McFaline lie (devel.h5ad); without it, generated cells are scored only.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

PEER = """
import sys
import anndata as ad
import polars as pl
convention, real, pred, out = sys.argv[1:]
if convention == "cell_eval":
    from cell_eval import MetricsEvaluator
    run = MetricsEvaluator(adata_pred=pred, adata_real=real, control_pert="ctrl",
                           pert_col="target_gene", num_threads=1, outdir=out + ".d")
    table, _ = run.compute(
        skip_metrics=["pearson_edistance", "clustering_agreement"], write_csv=False)
    table.write_csv(out)
else:
    import dataclasses
    from cell_eval2 import EvalConfig, compute_metrics
    preset = {"vcc2025": "v1", "vcc2026": "vcc2026"}[convention]
    config = dataclasses.replace(
        EvalConfig.from_preset(preset), control="ctrl", pert_col="target_gene",
        num_threads=1, gather_threads=1,
        metrics={"vcc2025": "vcc", "vcc2026": "vcc2026"}[convention])
    table = compute_metrics(ad.read_h5ad(pred), ad.read_h5ad(real), config=config)
    table.write_csv(out)
"""

# Our name of a metric, where the evaluator has another.
THEIRS = {
    "vcc2025": {"des": "overlap_at_N", "pds": "discrimination_score_l1", "mae": "mae"},
    "cell_eval": {},
    "vcc2026": {
        "pds_cosine": "pds_cosine",
        "mse_numerator": "expr_mse_unbiased_capped",
        "mse_denominator": "expr_distance_unbiased",
        "direction_fidelity_yield": "de_wilcoxon_direction_fidelity_yield_raw",
        "direction_reach": "de_wilcoxon_direction_reach_raw",
        "sig_jaccard": "de_wilcoxon_sig_jaccard",
        "lfc_nmae": "de_wilcoxon_lfc_nmae",
    },
}


def generated(seed=0, n_cells=60, n_genes=80, n_perturbations=6):
    """Generate counts with silent genes, ties, and two perturbations without effect."""
    rng = np.random.default_rng(seed)
    genes = [f"G{i:02}" for i in range(n_genes)]
    names = ["ctrl", *genes[:n_perturbations]]
    mean = rng.gamma(0.6, 3.0, n_genes)
    mean[10:14] = 0
    effect = np.exp(rng.normal(0, 0.9, (len(names), n_genes)))
    effect *= rng.random(effect.shape) < 0.3
    effect = np.where(effect == 0, 1.0, effect)
    effect[[0, 2, 5]] = 1.0
    effect[1, 20] = 0.0
    sizes = [3 * n_cells, *(n_cells - 5 * i for i in range(n_perturbations))]

    def sides(noise):
        changed = effect ** rng.normal(1, noise, effect.shape)
        blocks = [
            rng.poisson(rng.gamma(4, m * e / 4, (n, n_genes)))
            for n, e, m in zip(sizes, changed, [mean] * len(names), strict=True)
        ]
        return np.vstack(blocks).astype(np.float32)

    labels = np.repeat(names, sizes)
    return [_cells(sides(noise), labels, genes) for noise in (0.0, 0.6)]


def measured(path, context):
    """Split the cells of one context in two; the second half is the prediction."""
    cells = ad.read_h5ad(path)
    cells = cells[cells.obs["cell_type"].astype(str) == context].copy()
    labels = cells.obs["condition"].astype(str).replace("control", "ctrl").to_numpy()
    counts = pd.Series(labels).value_counts()
    kept = [name for name in counts.index if counts[name] >= 20][:16]
    # Every other perturbation is named after a gene, so that targets are left out.
    names = {n: n for n in kept} | dict(zip(kept[1::2], cells.var_names, strict=False))
    names["ctrl"] = "ctrl"
    rng = np.random.default_rng(0)
    rows = [rng.permutation(np.flatnonzero(labels == name)) for name in kept]
    sides = []
    for part in range(2):
        chosen = np.concatenate([r[part::2] for r in rows])
        matrix = sparse.csr_matrix(cells.X[chosen]).astype(np.float32)
        named = [names[label] for label in labels[chosen]]
        sides.append(_cells(matrix, named, list(cells.var_names)))
    return sides


def _cells(matrix, labels, genes):
    obs = pd.DataFrame({"target_gene": labels})
    obs.index = obs.index.astype(str)
    return ad.AnnData(sparse.csr_matrix(matrix), obs, pd.DataFrame(index=genes))


def log_normalised(cells):
    cells = cells.copy()
    total = np.asarray(cells.X.sum(axis=1)).ravel()
    scaled = cells.X.multiply((100 / np.maximum(total, 1))[:, None])
    cells.X = sparse.csr_matrix(np.log1p(scaled)).astype(np.float32)
    return cells


def as_counts(cells):
    """Give back whole numbers: the smallest value of a cell is taken as one count."""
    cells = cells.copy()
    linear = sparse.csr_matrix(cells.X)
    linear.data = np.expm1(linear.data.astype(np.float64))
    smallest = np.ones(linear.shape[0])
    for row in range(linear.shape[0]):
        own = linear.data[linear.indptr[row] : linear.indptr[row + 1]]
        smallest[row] = own.min(initial=np.inf) if len(own) else 1.0
    linear.data /= np.repeat(smallest, np.diff(linear.indptr))
    linear.data = np.rint(linear.data).astype(np.float32)
    cells.X = linear
    return cells


def scored_by_peer(peer, convention, real, pred, folder):
    out = Path(folder) / "scores.csv"
    paths = [Path(folder) / f"{side}.h5ad" for side in ("real", "pred")]
    for path, cells in zip(paths, (real, pred), strict=True):
        cells.write_h5ad(path)
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    run = subprocess.run(
        [peer, "-c", PEER, convention, *map(str, paths), str(out)],
        capture_output=True,
        text=True,
        env=environment,
        cwd=folder,
    )
    if run.returncode:
        raise RuntimeError(run.stderr[-3000:])
    table = pd.read_csv(out)
    if "metric" in table:
        keys = [c for c in table.columns if c not in ("metric", "value")]
        table = table.pivot_table(
            index=keys[0], columns="metric", values="value", dropna=False
        )
    else:
        table = table.set_index("perturbation")
    table.index = table.index.astype(str)
    return table


def differences(convention, mine, theirs):
    """Return {metric: largest difference}; inf where one side alone is defined."""
    found = {}
    for name in mine.columns:
        other = THEIRS[convention].get(name, name)
        if other not in theirs:
            candidates = [c for c in theirs if c.endswith(other)]
            if not candidates:
                # A score that is defined for no perturbation has no column there.
                found[name] = 0.0 if mine[name].isna().all() else np.inf
                continue
            other = candidates[0]
        x = mine[name].to_numpy(dtype=float)
        y = theirs[other].reindex(mine.index).to_numpy(dtype=float)
        gap = np.abs(x - y)
        gap[np.isnan(x) & np.isnan(y)] = 0.0
        gap[np.isnan(x) != np.isnan(y)] = np.inf
        found[name] = gap.max()
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", required=True)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--show", action="store_true", help="print all scores")
    options = parser.parse_args()

    from sklperturb.metrics import evaluate_cells

    sets = {"generated": generated()}
    if options.data is not None:
        path = options.data / "devel.h5ad"
        sets |= {"Norman": measured(path, "k562"), "McFaline": measured(path, "A172")}
    worst = 0.0
    for label, (real, pred) in sets.items():
        is_log = label != "generated"
        for convention in ("vcc2025", "cell_eval", "vcc2026"):
            prepare = (
                (as_counts if is_log else lambda c: c)
                if (convention == "vcc2026")
                else (lambda c: c)
                if is_log
                else log_normalised
            )
            sides = prepare(real), prepare(pred)
            mine = evaluate_cells(
                *sides,
                "target_gene",
                control="ctrl",
                convention=convention,
                anchors=False,
            ).per_perturbation
            with tempfile.TemporaryDirectory() as folder:
                theirs = scored_by_peer(options.peer, convention, *sides, folder)
            if options.show:
                print(mine.round(6).to_string(), theirs.round(6).to_string(), sep="\n")
            for name, gap in differences(convention, mine, theirs).items():
                print(f"{label:18}{convention:11}{name:28}{gap:.1e}")
                worst = max(worst, gap)
    print(f"largest difference {worst:.1e}")


if __name__ == "__main__":
    sys.exit(main())
