"""Play the known tricks on the metrics: what each gains, by which convention.

    python -m benchmarks.metrics.metric_tricks

Every trick changes a prediction without knowing more of the truth. The table gives
the score before and after, by the convention under which the trick is known and by
the default of sklperturb: means over generated data sets, and the standard error of the
gain.
"""

import argparse
import sys

import numpy as np
import pandas as pd
from scipy import sparse

from benchmarks._output import show
from benchmarks.metrics import evaluator_agreement

# Where each trick is known to pay, and the defaults that it is tried on.
TRICKS = [
    ("effects times 8", "vcc2025", "pds"),
    ("effects times 8", "robust", "discrimination"),
    ("effects times 8", "robust", "weighted_r2"),
    ("own controls moved", "cell_eval", "pearson_delta"),
    ("own controls moved", "robust", "pearson_delta"),
    ("other targets spiked", "cell_eval", "discrimination_score_cosine"),
    ("other targets spiked", "robust", "discrimination"),
    ("first names tied", "vcc2025", "pds"),
    ("first names tied", "robust", "discrimination"),
    ("pseudobulk replicated", "cell_eval", "de_sig_genes_recall"),
    ("pseudobulk replicated", "vcc2025", "des"),
    ("pseudobulk replicated", "robust", "de_agreement"),
    ("pseudobulk replicated", "robust", "de_direction"),
]


def scaled(real, pred):
    """Blow up the predicted effects."""
    changed = pred.copy()
    labels = changed.obs["target_gene"].to_numpy()
    values = changed.X.toarray()
    control = values[labels == "ctrl"].mean(axis=0)
    others = labels != "ctrl"
    for name in np.unique(labels[others]):
        own = labels == name
        effect = values[own].mean(axis=0) - control
        values[own] = np.maximum(values[own] + 7 * effect, 0)
    changed.X = sparse.csr_matrix(values.astype(np.float32))
    return changed


def moved_controls(real, pred):
    """Move the prediction's own control cells against the mean measured effect."""
    changed = pred.copy()
    labels = changed.obs["target_gene"].to_numpy()
    values = changed.X.toarray()
    truth = real.X.toarray()
    effect = truth[labels != "ctrl"].mean(axis=0) - truth[labels == "ctrl"].mean(axis=0)
    values[labels == "ctrl"] = np.maximum(values[labels == "ctrl"] - 5 * effect, 0)
    changed.X = sparse.csr_matrix(values.astype(np.float32))
    return changed


def no_information(real):
    """Predict control cells for every perturbation."""
    labels = real.obs["target_gene"].to_numpy()
    values = real.X.toarray()
    rng = np.random.default_rng(1)
    source = rng.choice(np.flatnonzero(labels == "ctrl"), len(labels))
    source[labels == "ctrl"] = np.flatnonzero(labels == "ctrl")
    changed = real.copy()
    changed.X = sparse.csr_matrix(values[source])
    return changed


def spiked_targets(real):
    """Raise the target genes of all other perturbations, and know nothing else."""
    changed = no_information(real)
    labels = changed.obs["target_gene"].to_numpy()
    values = changed.X.toarray()
    names = [n for n in np.unique(labels) if n != "ctrl"]
    columns = changed.var_names.get_indexer(names)
    for name, own in zip(names, columns, strict=True):
        values[np.ix_(labels == name, np.setdiff1d(columns, own))] += 5
    changed.X = sparse.csr_matrix(values)
    return changed


def knocked_down(real):
    """Express all target genes, but for each in the cells of its perturbation."""
    real = real.copy()
    labels = real.obs["target_gene"].to_numpy()
    values = real.X.toarray()
    names = [n for n in np.unique(labels) if n != "ctrl"]
    columns = real.var_names.get_indexer(names)
    values[:, columns] += 3
    for name, own in zip(names, columns, strict=True):
        values[labels == name, own] = 0
    real.X = sparse.csr_matrix(values)
    return real


def replicated(real, pred):
    """Repeat the pseudobulk of each perturbation in place of its cells."""
    changed = pred.copy()
    labels = changed.obs["target_gene"].to_numpy()
    values = changed.X.toarray()
    for name in np.unique(labels[labels != "ctrl"]):
        values[labels == name] = values[labels == name].mean(axis=0)
    changed.X = sparse.csr_matrix(values)
    return changed


def control_mean(real):
    """Predict the mean of the control cells for every perturbation."""
    changed = real.copy()
    labels = changed.obs["target_gene"].to_numpy()
    values = changed.X.toarray()
    values[labels != "ctrl"] = values[labels == "ctrl"].mean(axis=0)
    changed.X = sparse.csr_matrix(values)
    return changed


def early_names(real, pred):
    """Predict no change, exactly, for the perturbations first in the alphabet."""
    changed = pred.copy()
    labels = changed.obs["target_gene"].to_numpy()
    values = changed.X.toarray()
    for name in np.unique(labels[labels != "ctrl"])[:3]:
        values[labels == name] = values[labels == "ctrl"].mean(axis=0)
    changed.X = sparse.csr_matrix(values)
    return changed


def predictions(seed):
    """Return {trick: (truth, prediction, the same with the trick played)}."""
    real, pred = [
        evaluator_agreement.log_normalised(c)
        for c in evaluator_agreement.generated(seed=seed)
    ]
    knocked, nothing = knocked_down(real), no_information(real)
    weak = nothing.copy()
    weak.X = sparse.csr_matrix(0.85 * nothing.X.toarray() + 0.15 * pred.X.toarray())
    return {
        "effects times 8": (real, weak, scaled(real, weak)),
        "own controls moved": (real, nothing, moved_controls(real, nothing)),
        "other targets spiked": (
            knocked,
            no_information(knocked),
            spiked_targets(knocked),
        ),
        "first names tied": (real, nothing, early_names(real, nothing)),
        "pseudobulk replicated": (real, weak, replicated(real, weak)),
    }


def main():
    """Print a table: means over the data sets, and the gain's standard error."""
    from sklperturb.evaluation import evaluate_cells

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    options = parser.parse_args()
    found = []
    for seed in range(1, options.seeds + 1):
        played = predictions(seed)
        for trick, convention, metric in TRICKS:
            truth, *sides = played[trick]
            scores = [
                evaluate_cells(
                    truth,
                    side,
                    "target_gene",
                    control="ctrl",
                    convention=convention,
                    anchors=False,
                ).scores.loc[metric, "score"]
                for side in sides
            ]
            found.append((trick, convention, metric, *scores))
    columns = ["trick", "convention", "metric", "before", "after"]
    table = pd.DataFrame(found, columns=columns)
    table["gain"] = table["after"] - table["before"]
    groups = table.groupby(columns[:3], sort=False)
    shown = groups[["before", "after", "gain"]].mean()
    shown["error"] = groups["gain"].sem()
    show(shown.round(3))


if __name__ == "__main__":
    sys.exit(main())
