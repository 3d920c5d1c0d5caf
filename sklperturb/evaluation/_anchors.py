"""What a score is to be read against: a mean response, and a second measurement."""

from dataclasses import replace

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.utils import check_random_state

from sklperturb.cells._blocks import LazyMatrix, by_row, rows_of
from sklperturb.cells._halves import two_halves
from sklperturb.evaluation._paired import as_targets
from sklperturb.evaluation._sides import Population
from sklperturb.metrics._discrimination import target_mask

# Control cells that the baseline's cells are made of.
_MAX_TEMPLATES = 4000


def mean_response(truth, control, values, random_state):
    """Return cells that show the same response, the mean, to every perturbation.

    The mean is that of the measured perturbations, so that it holds what they have in
    common and nothing that tells them apart; a perturbation's own target gene is left
    out of it. Its cells are measured control cells, drawn with replacement and scaled
    gene by gene, since equal cells would make all genes differ.

    Parameters
    ----------
    truth : CellSummary
    control : str
    values : {"log1p", "counts"}
        What the cells hold.
    random_state : int, RandomState instance or None
    """
    real, bulks = truth.population, np.expm1(truth.pseudobulks)
    others = bulks.drop(index=control)
    weight = 1.0 - target_mask(as_targets(others), others.columns)
    total = weight.sum(axis=0)
    mean = (others.to_numpy() * weight).sum(axis=0) / np.where(total > 0, total, 1.0)
    base = bulks.loc[control].to_numpy()
    ratio = np.divide(mean, base, out=np.zeros_like(mean), where=base > 0)
    rng = check_random_state(random_state)
    controls = real.rows[control]
    if len(controls) > _MAX_TEMPLATES:
        controls = np.sort(rng.choice(controls, _MAX_TEMPLATES, replace=False))
    templates = rows_of(by_row(real.matrix), controls)
    templates = sparse.csr_array(templates).astype(np.float64)
    labels = real.labels[~pd.isna(real.labels) & (real.labels != control)]

    def scaled(cells):
        scale = ratio[cells.indices]
        if values == "counts":
            cells.data = cells.data * scale
        else:
            cells.data = np.log1p(np.expm1(cells.data) * scale)
        return cells

    drawn = rng.choice(len(controls), len(labels))
    return Population(LazyMatrix(templates, drawn, convert=scaled), labels, real.genes)


def no_response(truth, control, random_state):
    """Return the measured control cells as the prediction of every perturbation."""
    real, rng = truth.population, check_random_state(random_state)
    controls = real.rows[control]
    rows, labels = [], []
    for name, own in real.rows.items():
        if name != control:
            n_cells = min(len(own), len(controls))
            rows.append(rng.choice(controls, n_cells, replace=False))
            labels += [name] * n_cells
    cells = LazyMatrix(real.matrix, np.concatenate(rows))
    return Population(cells, np.array(labels, dtype=object), real.genes)


def halves(real, control, random_state):
    """Split the cells of each label into two halves at random."""
    rng = check_random_state(random_state)
    sides = [np.full(len(real.labels), None, dtype=object) for _ in range(2)]
    for name, rows in real.rows.items():
        for side, half in zip(sides, two_halves(rows, rng), strict=True):
            side[half] = name
    first, second = (replace(real, labels=labels) for labels in sides)
    if control not in first.rows or len(first.rows) == 1:
        lacking = "no perturbation" if control in first.rows else "the control"
        raise ValueError(
            "The ceiling scores one half of the measured cells on the other, and "
            f"{lacking} has two cells. Pass anchors=False."
        )
    return first, second
