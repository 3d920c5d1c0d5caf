"""Compare the scores of each convention with the evaluator that defines it.

    python -m benchmarks.metrics.evaluator_agreement --peer PYTHON [--data FOLDER]

PYTHON is an interpreter of an environment with cell-eval 0.8.2 and cell-eval2 0.20.
It scores the same files in a process of its own. The table gives, for every metric,
the largest difference over all perturbations, and for "overall" the difference of the
overall scores against the same baseline (and, for vcc2026, the same ceiling). FOLDER
is where the measured cells of Norman and McFaline lie (devel.h5ad); without it,
generated cells are scored only.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

from benchmarks._output import record
from benchmarks._peers import interpreter
from sklperturb.evaluation import evaluate_cells
from sklperturb.metrics import clustering_agreement, energy_distance_correlation

PEER = """
import dataclasses
import json
import sys
import anndata as ad
import polars as pl
convention, real, pred, base, out, anchors = sys.argv[1:]
anchors = json.loads(anchors)

def scored(side, path):
    if convention == "cell_eval":
        from cell_eval import MetricsEvaluator
        run = MetricsEvaluator(adata_pred=side, adata_real=real, control_pert="ctrl",
                               pert_col="target_gene", num_threads=1,
                               outdir=path + ".d")
        table, means = run.compute(write_csv=False)
    else:
        from cell_eval2 import EvalConfig, aggregate_metrics_wide, compute_metrics
        preset = {"vcc2025": "v1", "vcc2026": "vcc2026"}[convention]
        config = dataclasses.replace(
            EvalConfig.from_preset(preset), control="ctrl", pert_col="target_gene",
            num_threads=1, gather_threads=1,
            metrics={"vcc2025": "vcc", "vcc2026": "vcc2026"}[convention])
        table = compute_metrics(ad.read_h5ad(side), ad.read_h5ad(real), config=config)
        try:
            means = aggregate_metrics_wide(table)
        except ValueError:  # no effect that could be measured in these cells
            means = None
    table.write_csv(path)
    return means

user, base = scored(pred, out), scored(base, out + ".base")
if user is None:
    overall = None
elif convention == "vcc2026":
    from cell_eval2.catalog import CATALOG
    from cell_eval2.scoring import score_one
    ends = [side.filter(pl.col("statistic") == "mean").to_dicts()[0]
            for side in (user, base)]
    scores = [
        score_one(ends[0][name], ends[1][name],
                  dataclasses.replace(CATALOG[name].scoring, anchor=anchor))
        for name, anchor in anchors.items()]
    overall = sum(scores) / len(scores)
else:
    if convention == "cell_eval":
        from cell_eval import score_agg_metrics
        # Ours averages the scores of evaluate_cells, which these are not among.
        apart = ["pearson_edistance", "clustering_agreement"]
        user, base = user.drop(apart), base.drop(apart)
    else:
        from cell_eval2.compat import score_agg_metrics
    overall = score_agg_metrics(user, base).filter(
        pl.col("metric") == "avg_score")["from_baseline"][0]
with open(out + ".overall", "w") as file:
    json.dump(overall, file)
"""

# Names of the scores of 2026 that are averaged, ours and theirs.
AVERAGED = {
    "pds_cosine": "pds_cosine",
    "expr_mse_norm": "expr_mse_unbiased_capped_norm",
    "direction_fidelity_yield": "de_wilcoxon_direction_fidelity_yield_raw",
    "direction_reach": "de_wilcoxon_direction_reach_raw",
    "sig_jaccard": "de_wilcoxon_sig_jaccard",
    "lfc_nmae": "de_wilcoxon_lfc_nmae",
}
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
        power = rng.normal(1, noise, effect.shape)
        changed = np.where(effect == 0, 0.0, np.maximum(effect, 1e-12) ** power)
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


def without_effect(cells):
    """Give control cells to every perturbation, by chance."""
    labels = cells.obs["target_gene"].to_numpy()
    source = np.random.default_rng(3).choice(
        np.flatnonzero(labels == "ctrl"), len(cells)
    )
    return _cells(cells.X[source], labels, list(cells.var_names))


def scored_by_peer(peer, convention, sides, anchors, folder):
    """Return (scores of each perturbation, overall score)."""
    out = Path(folder) / "scores.csv"
    paths = [Path(folder) / f"{side}.h5ad" for side in ("real", "pred", "base")]
    for path, cells in zip(paths, sides, strict=True):
        cells.write_h5ad(path)
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    arguments = [convention, *map(str, paths), str(out), json.dumps(anchors)]
    run = subprocess.run(
        [peer, "-c", PEER, *arguments],
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
    return table, json.loads(Path(f"{out}.overall").read_text())


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


def compare(convention, real, pred, is_log, options):
    """Return {metric: largest difference} of one convention."""
    sides = real, pred, without_effect(real)
    if convention == "vcc2026":
        sides = [as_counts(side) if is_log else side for side in sides]
    elif not is_log:
        sides = [log_normalised(side) for side in sides]
    found = evaluate_cells(
        *sides[:2],
        "target_gene",
        control="ctrl",
        convention=convention,
        baseline=sides[2],
    )
    mine = found.per_perturbation
    anchors = {}
    if convention == "vcc2026":
        # Half of the cells may have too few called genes for an error of fold changes.
        ceiling = found.scores["ceiling"].dropna()
        anchors = {AVERAGED[our]: value for our, value in ceiling.items()}
    else:
        labels = [side.obs["target_gene"].to_numpy() for side in sides[:2]]
    with tempfile.TemporaryDirectory() as folder:
        theirs, overall = scored_by_peer(
            options.peer, convention, sides, anchors, folder
        )
    if convention == "cell_eval":
        mine = mine.assign(
            pearson_edistance=energy_distance_correlation(
                *sides[:2], *labels, control="ctrl", max_cells=None
            ),
            clustering_agreement=clustering_agreement(
                *(means(side) for side in sides[:2]), control="ctrl"
            ),
        )
    if options.show:
        print(mine.round(6).to_string(), theirs.round(6).to_string(), sep="\n")
        print(f"overall {found.overall} {overall}")
    gaps = differences(convention, mine, theirs)
    if overall is None:
        return gaps
    return gaps | {"overall": abs(found.overall - overall)}


def means(cells):
    """Return the mean of the cells of each perturbation."""
    values = pd.DataFrame(cells.X.toarray().astype(float), columns=cells.var_names)
    return values.groupby(cells.obs["target_gene"].to_numpy()).mean()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--peer", help="Python with both; by default --peers of the runner"
    )
    parser.add_argument("--data", type=Path)
    parser.add_argument("--show", action="store_true", help="print all scores")
    options = parser.parse_args()
    options.peer = str(options.peer or interpreter("evaluators") or "")
    if not options.peer:
        parser.error("Pass --peer, or run python -m benchmarks --peers.")

    sets = {"generated": generated()}
    if options.data is not None:
        path = options.data / "devel.h5ad"
        sets |= {"Norman": measured(path, "k562"), "McFaline": measured(path, "A172")}
    worst = 0.0
    for label, (real, pred) in sets.items():
        for convention in ("vcc2025", "cell_eval", "vcc2026"):
            found = compare(convention, real, pred, label != "generated", options)
            for name, gap in found.items():
                print(f"{label:18}{convention:11}{name:28}{gap:.1e}", flush=True)
                worst = max(worst, gap)
    record("largest difference", worst)
    print(f"largest difference {worst:.1e}")


if __name__ == "__main__":
    sys.exit(main())
