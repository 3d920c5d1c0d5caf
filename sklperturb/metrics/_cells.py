"""Read populations of cells for the metrics that compare them."""

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.utils import check_array, check_random_state, resample

from sklperturb.cells import Cells, open_cells
from sklperturb.cells._blocks import to_dense
from sklperturb.cells._files import is_annotated


def cells_of(y):
    """Return the `Cells` of an AnnData, frame, sparse matrix or array; 1-d is a column.

    An AnnData may be backed by a file: rows are read when asked for.
    """
    if not (is_annotated(y) or sparse.issparse(y) or isinstance(y, Cells)):
        y = np.asarray(y)
        y = y if y.dtype.kind in "biuf" else y.astype(np.float64)
        y = y[:, None] if y.ndim == 1 else y
    return open_cells(y)


def rows_by_condition(conditions, n_cells, name):
    """Return {condition: its rows}, sorted by condition."""
    conditions = np.asarray(conditions)
    if conditions.shape != (n_cells,) or pd.isna(conditions).any():
        raise ValueError(
            f"{name} has shape {conditions.shape}; it needs one name, and none "
            f"missing, for each of the {n_cells} cells."
        )
    return pd.Series(conditions).groupby(conditions).indices


def check_same_conditions(true, pred):
    """Raise an error unless two dicts by condition have the same keys."""
    lost, added = (
        sorted(map(str, left.keys() - right.keys()))
        for left, right in ((true, pred), (pred, true))
    )
    if lost or added:
        raise ValueError(
            f"y_true and y_pred must hold the same conditions. {len(lost)} only in "
            f"y_true, such as {lost[:5]}; {len(added)} only in y_pred, such as "
            f"{added[:5]}. Predict the former and drop the latter."
        )


def check_populations(y_true, y_pred, max_cells, random_state):
    """Return both populations as dense float64, at most `max_cells` cells each."""
    rng = None if max_cells is None else check_random_state(random_state)
    x, y = (
        _take_cells(cells_of(population), name, max_cells, rng)
        for population, name in ((y_true, "y_true"), (y_pred, "y_pred"))
    )
    if x.shape[1] != y.shape[1]:
        raise ValueError(
            f"y_true has {x.shape[1]} features and y_pred has {y.shape[1]}; both need "
            "the same genes or embedding, in the same order."
        )
    return x, y


def _take_cells(cells, name, max_cells, rng):
    rows = slice(None)
    if max_cells is not None and cells.shape[0] > max_cells:
        every = np.arange(cells.shape[0])
        rows = resample(every, replace=False, n_samples=max_cells, random_state=rng)
    return check_array(to_dense(cells.rows(rows)), dtype=np.float64, input_name=name)
