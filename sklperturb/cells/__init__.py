"""Read the expression of cells wherever it is kept, a block at a time."""

from sklperturb.cells._cells import Cells, open_cells
from sklperturb.cells._counts import log_normalise, looks_like_counts
from sklperturb.cells._perturbed import perturb_counts
from sklperturb.cells._sums import mean_by_group, sum_by_group

__all__ = [
    "Cells",
    "log_normalise",
    "looks_like_counts",
    "mean_by_group",
    "open_cells",
    "perturb_counts",
    "sum_by_group",
]
