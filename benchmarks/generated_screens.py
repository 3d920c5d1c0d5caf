"""Measure how hard the generated genetic screens are for the baselines.

For each seed, 40 of the 160 perturbations are held out. The cells are log-normalised,
reduced to 50 principal components of the other cells and divided by one number, so
that a component has variance one on average. A baseline predicts the displacement of
each held-out perturbation from its gene embedding; its cells are controls, displaced.

Energy distance is Euclidean and without bias; rank is the share of other held-out
perturbations whose true displacement is farther from the prediction than its own; the
variance ratio is that of controls to perturbed cells.

Run: python benchmarks/generated_screens.py [--seeds 3] [--nonlinearity 0.0]
With --vcc CELLS, time and memory of writing a screen of 18,080 genes are measured
instead.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.linear_model import RidgeCV
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklperturb.baseline import GroupStatisticRegressor, NoChangeRegressor
from sklperturb.compose import PerturbationEffectRegressor
from sklperturb.datasets import make_genetic_screen
from sklperturb.metrics import discrimination_score, energy_distance
from sklperturb.preprocessing import LookupEmbedding

N_HELD_OUT = 40
N_DISPLACED = 300  # controls that stand for a predicted population


def _pearson(predicted, truth):
    """Return the correlation, 0 of a prediction that does not vary."""
    return np.corrcoef(predicted, truth)[0, 1] if np.ptp(predicted) else 0.0


def latent(screen, train):
    """Return the cells in the scaled principal components of the training cells."""
    counts = screen.y.X.toarray()
    values = np.log1p(counts * (1e4 / counts.sum(axis=1, keepdims=True)))
    pca = PCA(50, svd_solver="covariance_eigh").fit(values[train])
    cells = pca.transform(values)
    return cells / np.sqrt(cells[train].var(axis=0).mean())


def measure(seed, **parameters):
    """Return one row for each baseline."""
    screen = make_genetic_screen(random_state=seed, **parameters)
    labels = screen.X["target_gene"].to_numpy()
    rng = np.random.default_rng(seed)
    held_out = rng.choice(screen.effects.index, N_HELD_OUT, replace=False)
    train = ~np.isin(labels, held_out)
    cells = latent(screen, train)
    embedding = LookupEmbedding(screen.gene_embedding, add_indicator=False)
    models = {
        "controls": NoChangeRegressor(),
        "mean shift": GroupStatisticRegressor(),
        "ridge": make_pipeline(
            embedding, StandardScaler(), RidgeCV(np.logspace(-1, 4, 20))
        ),
        "kNN (10)": make_pipeline(embedding, StandardScaler(), KNeighborsRegressor(10)),
    }
    controls = cells[screen.is_control]
    truth = np.array([cells[labels == name].mean(axis=0) for name in held_out])
    truth -= controls.mean(axis=0)
    displaced = controls[rng.permutation(len(controls))[:N_DISPLACED]]
    X_new = pd.DataFrame({"target_gene": held_out, "batch": "batch1", "control": False})
    ratio = np.mean(
        [
            controls.var(axis=0).sum() / cells[labels == name].var(axis=0).sum()
            for name in held_out
        ]
    )
    rows = []
    for name, model in models.items():
        regressor = PerturbationEffectRegressor(
            model, predicts="change", schema=screen.schema
        )
        regressor.fit(screen.X[train], cells[train])
        predicted = regressor.predict(X_new)
        of_each = list(zip(predicted, truth, held_out, strict=True))
        rows.append(
            {
                "seed": seed,
                "model": name,
                "Pearson delta": np.mean([_pearson(p, t) for p, t, _ in of_each]),
                "relative error": np.linalg.norm(predicted - truth, axis=1).sum()
                / np.linalg.norm(truth, axis=1).sum(),
                "energy distance": np.mean(
                    [
                        energy_distance(
                            cells[labels == target],
                            displaced + p,
                            max_cells=None,
                            unbiased=True,
                        )
                        for p, _, target in of_each
                    ]
                ),
                "rank": discrimination_score(truth, predicted, metric="l2").mean(),
                "variance ratio": ratio,
            }
        )
    return rows


def measure_vcc(n_cells):
    """Print the time, memory and size of a screen of 18,080 genes on disk."""
    each = round(n_cells * 0.82 / 150)
    before = resource.getrusage(resource.RUSAGE_SELF)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "screen.h5ad")
        start = time.perf_counter()
        screen = make_genetic_screen(
            150,
            18_080,
            cells_per_perturbation=each,
            n_controls=n_cells - 150 * each,
            path=path,
            random_state=0,
        )
        wall = time.perf_counter() - start
        after = resource.getrusage(resource.RUSAGE_SELF)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        print(
            f"{screen.y.n_obs} cells x {screen.y.n_vars} genes: {cpu:.0f} s of CPU, "
            f"{wall:.0f} s, peak memory {after.ru_maxrss / 1024:.0f} MB, "
            f"file {path.stat().st_size / 1e6:.0f} MB"
        )
        screen.y.file.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--nonlinearity", type=float, default=0.0)
    parser.add_argument("--vcc", type=int, metavar="CELLS")
    arguments = parser.parse_args()
    if arguments.vcc:
        measure_vcc(arguments.vcc)
        return
    rows = []
    for seed in range(arguments.seeds):
        rows += measure(seed, nonlinearity=arguments.nonlinearity)
    table = pd.DataFrame(rows).drop(columns="seed")
    print(table.groupby("model", sort=False).mean().round(3).to_string())


if __name__ == "__main__":
    main()
