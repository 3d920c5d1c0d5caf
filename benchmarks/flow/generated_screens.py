"""Measure how well baselines and flows predict the generated genetic screens.

For each seed, 40 of the 160 perturbations are held out. The cells are log-normalised,
reduced to 50 principal components of the other cells and divided by one number, so
that a component has variance one on average. A baseline predicts the displacement of
each held-out perturbation from its gene embedding; its cells are controls, displaced.
A flow generates cells of every batch, from the controls of that batch.

Energy distance is Euclidean and without bias; rank is the share of other held-out
perturbations whose true displacement is farther from the prediction than its own; the
variance ratio is that of predicted to measured cells.

Run: python -m benchmarks.flow.generated_screens [--seeds 3] [--nonlinearity 0.0]
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

from benchmarks._output import show
from sklperturb.baseline import GroupStatisticRegressor, NoChangeRegressor
from sklperturb.compose import PerturbationEffectRegressor
from sklperturb.datasets import make_genetic_screen
from sklperturb.flow import FlowMatchingRegressor
from sklperturb.metrics import discrimination_score, energy_distance, variance_ratio
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


def measure(seed, flows=True, **parameters):
    """Return one row for each model."""
    screen = make_genetic_screen(random_state=seed, **parameters)
    labels = screen.X["target_gene"].to_numpy()
    rng = np.random.default_rng(seed)
    held_out = rng.choice(screen.effects.index, N_HELD_OUT, replace=False)
    train = ~np.isin(labels, held_out)
    cells = latent(screen, train)
    embedding = LookupEmbedding(screen.gene_embedding, add_indicator=False)
    controls = cells[screen.is_control]
    truth = np.array([cells[labels == name].mean(axis=0) for name in held_out])
    truth -= controls.mean(axis=0)
    displaced = controls[rng.permutation(len(controls))[:N_DISPLACED]]
    rows = []

    def score(name, predicted, populations, seconds):
        """Add a row: mean displacements and cells of the held-out perturbations."""
        predicted = np.asarray(predicted)
        measured = [cells[labels == target] for target in held_out]
        pairs = list(zip(measured, populations, strict=True))
        rows.append(
            {
                "seed": seed,
                "model": name,
                "Pearson delta": np.mean(list(map(_pearson, predicted, truth))),
                "relative error": np.linalg.norm(predicted - truth, axis=1).sum()
                / np.linalg.norm(truth, axis=1).sum(),
                "energy distance": np.mean(
                    [energy_distance(t, p, unbiased=True) for t, p in pairs]
                ),
                "rank": discrimination_score(truth, predicted, metric="l2").mean(),
                "variance ratio": np.mean([variance_ratio(t, p) for t, p in pairs]),
                "seconds": seconds,
            }
        )

    baselines = {
        "controls": NoChangeRegressor(),
        "mean shift": GroupStatisticRegressor(),
        "ridge": make_pipeline(
            embedding, StandardScaler(), RidgeCV(np.logspace(-1, 4, 20))
        ),
        "kNN (10)": make_pipeline(embedding, StandardScaler(), KNeighborsRegressor(10)),
    }
    X_new = pd.DataFrame({"target_gene": held_out, "batch": "batch1", "control": False})
    for name, model in baselines.items():
        regressor = PerturbationEffectRegressor(
            model, predicts="change", schema=screen.schema
        )
        start = time.perf_counter()
        regressor.fit(screen.X[train], cells[train])
        seconds = time.perf_counter() - start
        predicted = regressor.predict(X_new)
        score(name, predicted, [displaced + p for p in predicted], seconds)
    if not flows:
        return rows
    batches = sorted(set(screen.X["batch"]))
    X_new = X_new.loc[X_new.index.repeat(len(batches))]
    X_new["batch"] = np.tile(batches, N_HELD_OUT)
    # Alone, the network needs more steps to know where a population is.
    for name, parameters in {
        "pure flow": {"mean_estimator": "none", "max_steps": 2000},
        "flow": {},
    }.items():
        model = FlowMatchingRegressor(embedding, random_state=seed, **parameters)
        start = time.perf_counter()
        model.fit(screen.X[train], cells[train])
        seconds = time.perf_counter() - start
        change = model.predict(X_new) - model.predict(X_new.assign(control=True))
        predicted = change.reshape(N_HELD_OUT, len(batches), -1).mean(axis=1)
        generated = model.sample(X_new, N_DISPLACED // len(batches))
        generated = generated.reshape(N_HELD_OUT, -1, cells.shape[1])
        score(name, predicted, generated, seconds)
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
    parser.add_argument("--no-flows", action="store_true", help="baselines only")
    parser.add_argument("--vcc", type=int, metavar="CELLS")
    arguments = parser.parse_args()
    if arguments.vcc:
        measure_vcc(arguments.vcc)
        return
    rows = []
    for seed in range(arguments.seeds):
        rows += measure(
            seed, not arguments.no_flows, nonlinearity=arguments.nonlinearity
        )
    table = pd.DataFrame(rows).drop(columns="seed")
    grouped = table.groupby("model", sort=False)
    show(grouped.mean().round(3))
    if arguments.seeds > 1:
        print("\nstandard deviation over seeds\n")
        show(grouped.std().round(3))


if __name__ == "__main__":
    main()
