"""What a score is to be read against: a mean response, and a second measurement."""

import numpy as np
from scipy import sparse
from sklearn.utils import check_random_state

from sklperturb.cells._blocks import LazyMatrix, Subset, by_row, rows_of
from sklperturb.evaluation._summary import Population

# Control cells that the baseline's cells are made of.
_MAX_TEMPLATES = 4000


class ScaledControls(LazyMatrix):
    """Cells made of control cells, each gene scaled, row by row when asked for.

    Parameters
    ----------
    templates : csr_array of shape (n_templates, n_genes)
    source : ndarray of shape (n_cells,)
        The template of each cell.
    ratio : ndarray of shape (n_genes,)
    values : {"log1p", "counts"}
    """

    def __init__(self, templates, source, ratio, values):
        self._templates = templates
        self._source = source
        self._ratio = ratio
        self._values = values
        self.shape = (len(source), templates.shape[1])
        self.dtype = templates.dtype
        self.nnz = int(np.diff(templates.indptr)[source].sum())

    def __getitem__(self, rows):
        cells = self._templates[self._source[rows]]
        if self._values == "counts":
            cells.data = cells.data * self._ratio[cells.indices]
        else:
            cells.data = np.log1p(np.expm1(cells.data) * self._ratio[cells.indices])
        return cells


def mean_response(real, control, summary, convention, random_state):
    """Return cells that show the same response, the mean, to every perturbation.

    The mean is that of the measured perturbations, so that it holds what they have in
    common and nothing that tells them apart; a perturbation's own target gene is left
    out of it. Its cells are measured control cells, drawn with replacement and scaled
    gene by gene, since equal cells would make all genes differ.
    """
    bulks = np.expm1(summary.pseudobulks)
    others = bulks.drop(index=control)
    own = others.columns.get_indexer(others.index)
    weight = np.ones(others.shape)
    weight[np.flatnonzero(own >= 0), own[own >= 0]] = 0.0
    total = weight.sum(axis=0)
    mean = (others.to_numpy() * weight).sum(axis=0) / np.where(total > 0, total, 1.0)
    base = bulks.loc[control].to_numpy()
    ratio = np.divide(mean, base, out=np.zeros_like(mean), where=base > 0)
    rng = check_random_state(random_state)
    templates = _control_cells(real, control, rng)
    labels = real.labels[[label not in (None, control) for label in real.labels]]
    source = rng.choice(templates.shape[0], len(labels))
    cells = ScaledControls(templates, source, ratio, convention.values)
    return Population(cells, labels, real.genes)


def no_response(real, control, random_state):
    """Return the measured control cells as the prediction of every perturbation."""
    rng = check_random_state(random_state)
    controls = np.flatnonzero(real.labels == control)
    rows, labels = [], []
    for name in real.names():
        if name != control:
            n_cells = min(int((real.labels == name).sum()), len(controls))
            rows.append(rng.choice(controls, n_cells, replace=False))
            labels += [name] * n_cells
    cells = Subset(real.matrix, np.concatenate(rows), slice(None))
    return Population(cells, np.array(labels, dtype=object), real.genes)


def halves(real, control, random_state):
    """Split the cells of each label into two halves at random."""
    rng = check_random_state(random_state)
    sides = [], []
    for name in real.names():
        rows = rng.permutation(np.flatnonzero(real.labels == name))
        half = len(rows) // 2
        if half:
            sides[0].append(rows[:half])
            sides[1].append(rows[half : 2 * half])
    nothing = np.empty(0, dtype=int)
    first, second = (real.only(np.concatenate([nothing, *side])) for side in sides)
    halved = set(first.names())
    if control not in halved or halved == {control}:
        raise ValueError(
            "The ceiling scores one half of the measured cells on the other, and "
            f"{'no perturbation' if control in halved else 'the control'} has two "
            "cells. Pass anchors=False, or on the command line --no-anchors."
        )
    return first, second


def _control_cells(real, control, rng):
    """Return control cells in memory, at most as many as templates are needed."""
    rows = np.flatnonzero(real.labels == control)
    if len(rows) > _MAX_TEMPLATES:
        rows = np.sort(rng.choice(rows, _MAX_TEMPLATES, replace=False))
    cells = rows_of(by_row(real.matrix), rows)
    return sparse.csr_array(cells).astype(np.float64)
