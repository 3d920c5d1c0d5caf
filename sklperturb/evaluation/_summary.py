"""What the scores of cells are computed from: pseudobulks, noise, tested genes."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from sklperturb.cells import sum_by_group
from sklperturb.cells._blocks import iter_rows, to_dense
from sklperturb.cells._sums import add_up
from sklperturb.evaluation._sides import Population
from sklperturb.evaluation._wilcoxon import compare_groups
from sklperturb.utils._progress import ProgressBar

# A pseudobulk of counts is scaled to this many before the logarithm.
_BULK_TOTAL = 5e4


@dataclass(frozen=True)
class CellSummary:
    """Pseudobulks, their noise, the table of tested genes, and the cells."""

    pseudobulks: pd.DataFrame
    noise: pd.Series | None
    de: pd.DataFrame | None
    population: Population


def summarise(population, control, convention, reference=None):
    """Compute what a convention's scores are made of.

    Parameters
    ----------
    population : Population
    control : str
    convention : Convention
    reference : Population, default=None
        Whose control cells the perturbations are tested against; None is the
        population itself.
    """
    names = list(population.rows)
    codes = population.codes(names)
    needs = "counts" if convention.values == "counts" else "finite"
    sums = sum_by_group(population.checked(needs), codes, len(names))
    noise = None
    if convention.values == "counts":
        totals = sums.sum(axis=1, keepdims=True)
        bulks = np.log1p(_BULK_TOTAL * sums / np.where(totals > 0, totals, 1.0))
        variance = jackknife_variance(population.matrix, codes, sums)
        noise = pd.Series(variance, index=names)
    else:
        bulks = sums / np.bincount(codes[codes >= 0])[:, None]
    bulks = pd.DataFrame(bulks, index=names, columns=population.genes.astype(str))
    de = None
    if convention.de is not None:
        de = compare_groups(population, reference, control=control, **convention.de)
    return CellSummary(bulks, noise, de, population)


def jackknife_variance(matrix, codes, sums, *, chunk_size=512):
    """Return the variance of each group's pseudobulk, summed over the genes.

    Every cell is left out once, which allows for the depth of the cells and for the
    logarithm. Groups of one cell have a variance of 0.

    Parameters
    ----------
    matrix : (n_cells, n_genes) counts
    codes : ndarray of shape (n_cells,)
        -1 for cells that are left out.
    sums : ndarray of shape (n_groups, n_genes)
    chunk_size : int, default=512
        Cells to make dense at once.
    """
    n_groups = len(sums)
    sizes = np.bincount(codes[codes >= 0], minlength=n_groups)
    totals = sums.sum(axis=1)
    scale = _BULK_TOTAL / np.where(totals > 0, totals, 1.0)
    bulks = np.log1p(sums * scale[:, None])
    first, squares = np.zeros_like(sums), np.zeros(n_groups)
    n_blocks = -(-matrix.shape[0] // chunk_size)
    with ProgressBar(n_blocks if n_blocks > 8 else 0, "Jackknife") as progress:
        for rows, block in iter_rows(matrix, chunk_size):
            kept = np.flatnonzero(codes[rows] >= 0)
            group = codes[rows][kept]
            cells = to_dense(block[kept]).astype(np.float64, copy=False)
            rest = totals[group] - cells.sum(axis=1)
            factor = _BULK_TOTAL / np.where(rest > 0, rest, 1.0)
            left_out = sums[group]
            left_out -= cells
            left_out *= factor[:, None]
            left_out += 1.0  # log1p to 15 decimal places, in half its time
            np.log(left_out, out=left_out)
            left_out[rest <= 0] = 0.0
            left_out -= bulks[group]
            present, added = add_up(left_out, group)
            first[present] += added
            squares += np.bincount(
                group, np.einsum("ij,ij->i", left_out, left_out), n_groups
            )
            progress.advance()
    n = np.maximum(sizes, 1)
    around = squares - (first**2).sum(axis=1) / n
    variance = np.maximum((n - 1) / n * around, 0.0)
    return np.where((sizes > 1) & (totals > 0), variance, 0.0)
