"""Time the scores of generated cells beside cell-eval and cell-eval2.

Each convention is scored by `evaluate_cells` and by the package that defines it, on the
same files and from the same objects in memory, in turn, in processor seconds of one
thread. No anchors: a prediction is scored, and no baseline or ceiling.

    python -m benchmarks.metrics.evaluator_speed [--shape 4000 1000 20] [--runs 3]
"""

import argparse
import tempfile
from pathlib import Path

from benchmarks._output import show
from benchmarks._pairs import ratio_rows, take_turns

LABEL, CONTROL = "target_gene", "non-targeting"
CONVENTIONS = {
    "cell_eval": ("log1p", "cell_eval"),
    "vcc2025": ("log1p", "cell_eval2"),
    "vcc2026": ("counts", "cell_eval2"),
}


def _read(folder, values):
    import anndata

    return [
        anndata.read_h5ad(Path(folder, f"{side}_{values}.h5ad"))
        for side in ("real", "pred")
    ]


def sklperturb(folder, convention):
    """Score with `evaluate_cells`."""
    from sklperturb.evaluation import evaluate_cells

    real, pred = _read(folder, CONVENTIONS[convention][0])
    options = {"control": CONTROL, "convention": convention, "anchors": False}
    return lambda: evaluate_cells(real, pred, LABEL, **options)


def cell_eval(folder, convention):
    """Score with cell-eval."""
    from cell_eval import MetricsEvaluator

    real, pred = _read(folder, CONVENTIONS[convention][0])
    options = {"control_pert": CONTROL, "pert_col": LABEL, "num_threads": 1}

    def run():
        evaluator = MetricsEvaluator(
            adata_pred=pred.copy(),
            adata_real=real.copy(),
            outdir=str(Path(folder, "out")),
            **options,
        )
        evaluator.compute(write_csv=False)

    return run


def cell_eval2(folder, convention):
    """Score with cell-eval2."""
    import dataclasses

    from cell_eval2 import EvalConfig, compute_metrics

    real, pred = _read(folder, CONVENTIONS[convention][0])
    preset, metrics = {"vcc2025": ("v1", "vcc"), "vcc2026": ("vcc2026",) * 2}[
        convention
    ]
    config = dataclasses.replace(
        EvalConfig.from_preset(preset),
        control=CONTROL,
        pert_col=LABEL,
        num_threads=1,
        gather_threads=1,
        metrics=metrics,
    )
    return lambda: compute_metrics(pred.copy(), real.copy(), config=config)


def write(folder, shape):
    """Write measured and predicted cells, as counts and log-normalised.

    The prediction has the cells of the measurement, with two thirds of their counts.
    """
    import numpy as np

    from benchmarks.metrics.evaluator_agreement import log_normalised
    from sklperturb.datasets import make_genetic_screen

    n_cells, n_genes, n_perturbations = shape
    each = round(n_cells * 0.8 / n_perturbations)
    real = make_genetic_screen(
        n_perturbations,
        n_genes,
        cells_per_perturbation=each,
        n_controls=n_cells - n_perturbations * each,
        random_state=0,
    ).y.copy()
    names = real.obs[LABEL].astype(str).replace("control", CONTROL)
    real.obs[LABEL] = names.to_numpy()
    pred = real.copy()
    rng = np.random.default_rng(0)
    pred.X.data = rng.binomial(pred.X.data.astype(int), 2 / 3).astype(np.float32)
    pred.X.eliminate_zeros()
    for side, cells in (("real", real), ("pred", pred)):
        cells.write_h5ad(Path(folder, f"{side}_counts.h5ad"))
        log_normalised(cells).write_h5ad(Path(folder, f"{side}_log1p.h5ad"))


def main():
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", type=int, nargs=3, default=(4000, 1000, 20))
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        write(folder, options.shape)
        for convention, (_, peer) in CONVENTIONS.items():
            found = take_turns(
                __file__,
                {"sklperturb": None, peer: "evaluators"},
                [folder, convention],
                rounds=options.runs,
            )
            rows += ratio_rows(found, convention, convention=f"`{convention}`")
    show(rows, " x ".join(f"{n:,}" for n in options.shape) + " (cells, genes, labels):")


if __name__ == "__main__":
    main()
