"""Score counts that were generated for perturbations never seen, and what has no model.

Perturbations are left out in four folds; all that were left out are scored together,
by the six scores of the Virtual Cell Challenge 2026 between their anchors: 0 is the
mean response of the measured cells, 1 half of these cells scored on the other. The
interval is a bootstrap over perturbations, with the anchors as they are. With --draws,
cells are drawn several times, and scores are means over the draws: which controls are
drawn moves the score of a small screen by 0.02.

- controls: control cells as they are;
- mean shift: the mean effect of the training perturbations in the latent space;
- model, expected: `CellScreenModel` with its defaults;
- model, typical: the same, with effects as large as measured ones;
- model, one strength: as expected, and all cells respond alike.

How much cells differ along the effect is measured by dispersion.py.

Run: python -m benchmarks.flow.generated_counts [--seeds 3] [--cells CELLS.h5ad
     --gene-sets SETS.gmt ...] [--steps 300] [--draws 1]
"""

import argparse
import logging
import warnings

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

from benchmarks._output import show
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


def norman(path, gene_sets, lines=("k562",)):
    """Return cells of lines, by default those of Norman et al.; counts are made."""
    cells = ad.read_h5ad(path)
    cells = cells[cells.obs["cell_type"].isin(lines)]
    counts = sparse.csr_array(cells.X, dtype=np.float64)
    depth = np.repeat(cells.obs["ncounts"].to_numpy(np.float64), np.diff(counts.indptr))
    counts.data = np.rint(np.expm1(counts.data) * depth / 1e4)
    kept = np.flatnonzero(counts.sum(axis=1) > 20)
    obs = pd.DataFrame({"target_gene": cells.obs["condition"].astype(str).to_numpy()})
    if len(lines) > 1:
        obs["cell_type"] = cells.obs["cell_type"].astype(str).to_numpy()
    cells = ad.AnnData(counts[kept].astype(np.float32), var=cells.var[[]])
    cells.obs = obs.iloc[kept].set_axis(cells.obs_names)
    screen = load_perturbseq(cells)
    encoder = GeneSetEncoder(gene_sets, schema=screen.schema).fit(screen.X)
    return screen, pd.DataFrame(encoder.embedding_, index=encoder.genes_)


def predict(screen, embedding, steps, draws):
    """Return the left-out cells of each model and draw, and the amplitudes."""
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
                choices["model, one strength"] = "expected"
                amplitudes.append(model.amplitude_)
            for name, amplitude in choices.items():
                if name.endswith("one strength"):
                    model.spread_, model.context_spreads_ = 0.0, {}
                for i in range(draws):
                    given = {"amplitude": amplitude, "random_state": i}
                    found = model.predict(asked, sizes, **given)
                    own = [spelled[label] for label in found.obs[column].astype(str)]
                    parts.setdefault((name, i), []).append((np.array(own), found.X))
        for i in range(draws):
            found = model.predict(["control"], sum(sizes), random_state=i)
            own = np.repeat(asked, sizes), found.X
            parts.setdefault(("controls", i), []).append(own)
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


def score(screen, embedding, steps, draws):
    """Print one row for each model."""
    column, names = screen.schema.perturbation, screen.y.var[[]]
    real = ad.AnnData(screen.y.X, var=names)
    real.obs[column] = screen.X[column].astype(str).to_numpy()
    control = real.obs.loc[screen.is_control, column].iloc[0]
    parts, amplitudes = predict(screen, embedding, steps, draws)
    rows = {}
    kinds = ("expected", "typical", "one strength")
    for name in ("controls", "mean shift", *(f"model, {kind}" for kind in kinds)):
        several = []
        for i in range(draws):
            labels, counts = zip(*parts[name, i], strict=True)
            pred = ad.AnnData(sparse.vstack(counts, format="csr"), var=names)
            pred.obs[column] = np.concatenate(labels)
            options = {"control": control, "convention": RULE.name}
            several.append(evaluate_cells(real, pred, column, **options))
        rng = np.random.default_rng(0)
        n, drawn = len(several[0].per_perturbation), []
        for _ in range(200):
            some = rng.integers(n, size=n)
            drawn.append(np.mean([overall(found, some) for found in several]))
        low, high = np.nanpercentile(drawn, [2.5, 97.5])
        total = np.mean([found.overall for found in several])
        rows[name] = {"overall": total, "low": low, "high": high}
        rows[name] |= sum(found.scores["score"] for found in several).div(draws)
    print(f"amplitudes {np.round(amplitudes, 2)}\n")
    show(pd.DataFrame(rows).T.round(3))


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--cells")
    parser.add_argument("--gene-sets", nargs="+")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--draws", type=int, default=1)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.getLogger("sklperturb").setLevel(logging.ERROR)
    if arguments.cells:
        print("Norman et al., K562")
        screen = norman(arguments.cells, arguments.gene_sets)
        score(*screen, arguments.steps, arguments.draws)
    for kind in KINDS:
        for seed in range(arguments.seeds):
            print(f"generated, {kind}, seed {seed}")
            score(*generated(kind, seed), arguments.steps, arguments.draws)


if __name__ == "__main__":
    main()
