"""Integer codes for the levels of categorical columns, and sums over them."""

import numpy as np
from scipy import sparse
from sklearn.preprocessing import OrdinalEncoder


def fit_levels(table):
    """Learn the levels of each column of an object array.

    Returns
    -------
    encoder : OrdinalEncoder
        Its ``transform`` gives integer codes, -1 for a level not seen in fit.
    """
    return OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=-1, dtype=np.intp
    ).fit(table)


def indicator(codes, n_levels, dtype=np.float64):
    """Return the sparse (n_samples, n_levels) membership matrix of `codes`.

    Rows with code -1, an unseen level, are empty.
    """
    rows = np.flatnonzero(codes >= 0)
    return sparse.csr_array(
        (np.ones(len(rows), dtype), (rows, codes[rows])), shape=(len(codes), n_levels)
    )


def take_levels(values, codes, default):
    """Return ``values[codes]``, with `default` where the level was not seen."""
    taken = values[np.maximum(codes, 0)]
    taken[codes < 0] = default
    return taken
