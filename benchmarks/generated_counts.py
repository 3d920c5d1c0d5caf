"""Score counts that were generated for perturbations never seen, and what has no model.

Perturbations are left out in four folds; all that were left out are scored together,
by the six scores of the Virtual Cell Challenge 2026 between their anchors: 0 is the
mean response of the measured cells, 1 half of these cells scored on the other. The
interval is a bootstrap over perturbations, with the anchors as they are.

- controls: control cells as they are;
- mean shift: the mean effect of the training perturbations in the latent space;
- model, expected: `CellScreenModel` with its defaults;
- model, typical: the same, with effects as large as measured ones.

Run: python benchmarks/generated_counts.py [--seeds 3] [--cells CELLS.h5ad
     --gene-sets SETS.gmt ...] [--steps 300]
"""

import argparse
import logging
import warnings

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

from sklperturb.datasets import load_perturbseq, make_genetic_screen
from sklperturb.evaluation import CONVENTIONS, evaluate_cells
from sklperturb.flow import CellScreenModel, FlowMatchingRegressor
from sklperturb.preprocessing import GeneSetEncoder

N_FOLDS, RULE = 4, CONVENTIONS["vcc2026"]
KINDS = {
    "easy": {},
    "hard": {"predictability": 0.25, "shared_effect": 0.15, "effect_strength": 0.9},
}


def generated(kind, seed):
    """Return a screen of 60 knock-downs, and what is known of its genes."""
    sizes = {"cells_per_perturbation": 80, "n_controls": 600, "n_batches": 2}
    screen = make_genetic_screen(
        60, 1000, depth=4000, random_state=seed, **sizes, **KINDS[kind]
    )
    return screen, screen.gene_embedding


def norman(path, gene_sets):
    """Return the K562 cells of Norman et al. with counts that were worked out."""
    cells = ad.read_h5ad(path)
    cells = cells[cells.obs["cell_type"] == "k562"]
    counts = sparse.csr_array(cells.X, dtype=np.float64)
    depth = np.repeat(cells.obs["ncounts"].to_numpy(np.float64), np.diff(counts.indptr))
    counts.data = np.rint(np.expm1(counts.data) * depth / 1e4)
    kept = np.flatnonzero(counts.sum(axis=1) > 20)
    obs = pd.DataFrame({"target_gene": cells.obs["condition"].astype(str).to_numpy()})
    cells = ad.AnnData(counts[kept].astype(np.float32), var=cells.var[[]])
    cells.obs = obs.iloc[kept].set_axis(cells.obs_names)
    screen = load_perturbseq(cells)
    encoder = GeneSetEncoder(gene_sets, schema=screen.schema).fit(screen.X)
    return screen, pd.DataFrame(encoder.embedding_, index=encoder.genes_)


def predict(screen, embedding, steps):
    """Return the left-out cells of each model, and the amplitudes that were found."""
    column = screen.schema.perturbation
    labels = screen.X[column].astype(str).to_numpy()
    names = np.unique(labels[~screen.is_control])
    folds = np.random.default_rng(0).permutation(len(names)) % N_FOLDS
    parts, amplitudes = {}, []
    for fold in range(N_FOLDS):
        asked = names[folds == fold]
        train = ~np.isin(labels, asked)
        sizes = [int((labels == name).sum()) for name in asked]
        spelled = {"+".join(sorted(name.split("+"))): name for name in asked}
        for mean, n_steps in (("shift", 1), ("auto", steps)):
            flow = FlowMatchingRegressor(
                max_steps=n_steps, mean_estimator=mean, hidden_dim=64, random_state=0
            )
            model = CellScreenModel(embedding, flow=flow)
            model.fit(screen.X[train], screen.y[train])
            choices = {"mean shift": "expected"}
            if mean == "auto":
                choices = {f"model, {a}": a for a in ("expected", "typical")}
                amplitudes.append(model.amplitude_)
            for name, amplitude in choices.items():
                found = model.predict(asked, sizes, amplitude=amplitude)
                own = [spelled[label] for label in found.obs[column].astype(str)]
                parts.setdefault(name, []).append((np.array(own), found.X))
        found = model.predict(["control"], sum(sizes))
        parts.setdefault("controls", []).append((np.repeat(asked, sizes), found.X))
    return parts, amplitudes


def overall(found, rows):
    """Return the overall score of some perturbations, with the anchors as they are."""
    table = found.per_perturbation.iloc[rows]
    scores = table.drop(columns=list(RULE.unscored)).mean()
    total = table["mse_denominator"].sum()
    scores["expr_mse_norm"] = table["mse_numerator"].sum() / total if total else np.nan
    anchors = found.scores
    gain = scores.reindex(anchors.index) - anchors["baseline"]
    scaled = (gain / (anchors["ceiling"] - anchors["baseline"]))[
        anchors["scaled"].notna()
    ]
    limits = {"expr_mse_norm": (0, 1), "lfc_nmae": (-6, np.inf)}
    for name, (low, high) in limits.items():
        if name in scaled:
            scaled[name] = np.clip(scaled[name], low, high)
    return scaled.mean()


def score(screen, embedding, steps):
    """Print one row for each model."""
    column, names = screen.schema.perturbation, screen.y.var[[]]
    real = ad.AnnData(screen.y.X, var=names)
    real.obs[column] = screen.X[column].astype(str).to_numpy()
    control = real.obs.loc[screen.is_control, column].iloc[0]
    parts, amplitudes = predict(screen, embedding, steps)
    rows = {}
    for name in ("controls", "mean shift", "model, expected", "model, typical"):
        labels, counts = zip(*parts[name], strict=True)
        pred = ad.AnnData(sparse.vstack(counts, format="csr"), var=names)
        pred.obs[column] = np.concatenate(labels)
        found = evaluate_cells(
            real, pred, column, control=control, convention=RULE.name
        )
        rng = np.random.default_rng(0)
        n = len(found.per_perturbation)
        drawn = [overall(found, rng.integers(n, size=n)) for _ in range(200)]
        low, high = np.nanpercentile(drawn, [2.5, 97.5])
        rows[name] = {"overall": found.overall, "low": low, "high": high}
        rows[name] |= found.scores["score"].to_dict()
    print(f"amplitudes {np.round(amplitudes, 2)}")
    print(pd.DataFrame(rows).T.round(3).to_string(), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--cells")
    parser.add_argument("--gene-sets", nargs="+")
    parser.add_argument("--steps", type=int, default=300)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.getLogger("sklperturb").setLevel(logging.ERROR)
    if arguments.cells:
        print("Norman et al., K562")
        score(*norman(arguments.cells, arguments.gene_sets), arguments.steps)
    for kind in KINDS:
        for seed in range(arguments.seeds):
            print(f"generated, {kind}, seed {seed}")
            score(*generated(kind, seed), arguments.steps)


if __name__ == "__main__":
    main()
