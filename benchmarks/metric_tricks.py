"""Play the known tricks on the metrics: what each gains, by which convention.

    python benchmarks/metric_tricks.py

Every trick changes a prediction without knowing more of the truth. The table gives
the score before and after, by the convention under which the trick is known and by
the default of sklperturb.
"""
# make bench runs this

import importlib.util
import sys
from pathlib import Path

import numpy as np
from scipy import sparse


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


def main():
    from sklperturb.metrics import evaluate_cells

    path = Path(__file__).parent / "evaluator_agreement.py"
    spec = importlib.util.spec_from_file_location("evaluator_agreement", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    real, pred = [module.log_normalised(c) for c in module.generated(seed=1)]
    knocked = knocked_down(real)

    def score(truth, prediction, convention, metric):
        found = evaluate_cells(
            truth,
            prediction,
            "target_gene",
            control="ctrl",
            convention=convention,
            anchors=False,
        )
        return found.scores.loc[metric, "score"]

    weak = no_information(real)
    weak.X = sparse.csr_matrix(0.85 * weak.X.toarray() + 0.15 * pred.X.toarray())
    rows = [
        ("effects times 8", real, weak, scaled(real, weak), "vcc2025", "pds"),
        ("effects times 8", real, weak, scaled(real, weak), "robust", "discrimination"),
        ("effects times 8", real, weak, scaled(real, weak), "robust", "weighted_r2"),
    ]
    nothing, spiked = no_information(knocked), spiked_targets(knocked)
    copies, early = replicated(real, pred), early_names(real, no_information(real))
    plain = no_information(real)
    moved = moved_controls(real, plain)
    rows += [
        ("own controls moved", real, plain, moved, "cell_eval", "pearson_delta"),
        ("own controls moved", real, plain, moved, "robust", "pearson_delta"),
        (
            "other targets spiked",
            knocked,
            nothing,
            spiked,
            "cell_eval",
            "discrimination_score_cosine",
        ),
        ("other targets spiked", knocked, nothing, spiked, "robust", "discrimination"),
        ("first names tied", real, plain, early, "vcc2025", "pds"),
        ("first names tied", real, plain, early, "robust", "discrimination"),
        (
            "pseudobulk replicated",
            real,
            pred,
            copies,
            "cell_eval",
            "de_sig_genes_recall",
        ),
        ("pseudobulk replicated", real, pred, copies, "robust", "de_jaccard"),
    ]
    print(f"{'trick':24}{'convention':12}{'metric':30}{'before':>8}{'after':>8}")
    for trick, truth, before, after, convention, metric in rows:
        scores = [score(truth, p, convention, metric) for p in (before, after)]
        print(f"{trick:24}{convention:12}{metric:30}{scores[0]:8.3f}{scores[1]:8.3f}")


if __name__ == "__main__":
    sys.exit(main())
