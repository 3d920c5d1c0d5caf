"""Read the expression of many cells a block at a time, wherever it is kept."""

import numpy as np
import pandas as pd
from scipy import sparse

from sklperturb.conditions._frames import as_pandas
from sklperturb.conditions._levels import indicator

# Cells in a block: at 18,000 genes some 300 MB where a block has to be dense.
BLOCK = 2048


def is_annotated(y):
    """Tell whether `y` is an AnnData, without importing anndata."""
    return hasattr(y, "var_names") and hasattr(y, "X")


def gene_names(y):
    """Return the names of the columns of `y` as an Index of text, or None."""
    if is_annotated(y):
        return pd.Index(y.var_names).astype(str)
    y = as_pandas(y)
    return y.columns.astype(str) if isinstance(y, pd.DataFrame) else None


def rows_of(y, rows):
    """Return some rows of `y` as a CSR matrix or an ndarray in memory.

    Parameters
    ----------
    y : AnnData, DataFrame, sparse matrix or ndarray
        An AnnData may be backed by a file.
    rows : slice or ndarray of int
        Sorted, so that a file is read in one direction.
    """
    if is_annotated(y):
        values = y[rows].X
    elif isinstance(y, pd.DataFrame):
        values = y.iloc[rows].to_numpy()
    else:
        values = y[rows]
    if sparse.issparse(values):
        return sparse.csr_array(values)
    return np.asarray(values)


def blocks(y, size=BLOCK):
    """Yield (slice, rows) over all rows of `y`, `size` of them at a time."""
    for start in range(0, y.shape[0], size):
        rows = slice(start, min(start + size, y.shape[0]))
        yield rows, rows_of(y, rows)


def sample_rows(y, n_rows, rng):
    """Return `n_rows` rows of `y` drawn without replacement, or all of fewer."""
    if y.shape[0] <= n_rows:
        return rows_of(y, slice(None))
    return rows_of(y, np.sort(rng.choice(y.shape[0], n_rows, replace=False)))


def looks_like_counts(values):
    """Tell whether rows of expression are raw counts: whole, and some above one."""
    values = values.data if sparse.issparse(values) else np.asarray(values).ravel()
    return bool(
        len(values)
        and values.min() >= 0
        and values.max() > 1
        and (values == np.floor(values)).all()
    )


def log_normalise(values, target_sum):
    """Return log(1 + counts scaled to `target_sum` a cell); None changes nothing."""
    if target_sum is None:
        return values
    totals = np.asarray(values.sum(axis=1), dtype=np.float64).ravel()
    scale = target_sum / np.maximum(totals, 1e-12)
    if sparse.issparse(values):
        values = values.astype(np.float64)
        values.data *= np.repeat(scale, np.diff(values.indptr))
        values.data = np.log1p(values.data)
        return values
    return np.log1p(values * scale[:, None])


def group_means(y, codes, n_groups, target_sum=None):
    """Return the mean row of each group, (n_groups, n_genes), and the group sizes.

    One pass over `y`, a block in memory at a time. Rows of code -1 count nowhere, and
    the mean of an empty group is zero.

    Raises
    ------
    ValueError
        If a value is not finite.
    """
    sums = np.zeros((n_groups, y.shape[1]))
    for rows, values in blocks(y):
        values = log_normalise(values, target_sum)
        part = indicator(codes[rows], n_groups).T @ values
        sums += part.toarray() if sparse.issparse(part) else part
    if not np.isfinite(sums).all():
        raise ValueError(
            "y holds NaN or infinite values, in columns such as "
            f"{np.flatnonzero(~np.isfinite(sums).all(axis=0))[:5].tolist()}. Correct "
            "or remove them."
        )
    sizes = np.bincount(codes[codes >= 0], minlength=n_groups)
    return sums / np.maximum(sizes, 1)[:, None], sizes
