"""Levels of categorical columns: their codes, and sums and means over them."""

import numpy as np
import pandas as pd
from scipy import sparse

from sklperturb.conditions._doubts import warn
from sklperturb.conditions._labels import as_text, each_label
from sklperturb.conditions._near import near_misses, pairs


class LevelEncoder:
    """Integer codes for the levels of categorical columns.

    Levels are compared as text, whatever the type that a file gave them.

    Attributes
    ----------
    categories_ : list of ndarray of object
        The levels of each column, sorted by their text.
    """

    def fit(self, table):
        """Learn the levels of each column of an (n_samples, n_columns) array."""
        self.categories_ = [number_levels(column)[1] for column in table.T]
        return self

    def transform(self, table):
        """Return the (n_samples, n_columns) codes, -1 for a level not seen in fit."""
        codes = np.empty(table.shape, dtype=np.intp)
        for j, levels in enumerate(self.categories_):
            index = pd.Index(list(map(as_text, levels)), dtype=object)
            texts = each_label(table[:, j], as_text)
            codes[:, j] = index.get_indexer(texts)
            unseen = texts[codes[:, j] < 0]
            if len(unseen):
                warn_of_near_misses(unseen, index)
        return codes


def warn_of_near_misses(unseen, known):
    """Warn of names that were not seen in fit, but for their spelling."""
    near = near_misses(unseen, known)
    if near:
        warn(
            f"{len(near)} names were not seen in fit, but for their spelling, and are "
            f"taken as unknown. Did you mean {pairs(near)}?"
        )


def number_levels(values):
    """Number `values` by their sorted names; 1, 1.0 and "1" are one name.

    Sorting makes the numbers, and so what a split holds out or how a network starts,
    a matter of the names alone: the order of the rows does not change them.

    Returns
    -------
    codes : ndarray of int of shape (n_samples,)
        -1 where the value is missing.
    levels : ndarray of object of shape (n_levels,)
    """
    codes, levels = pd.factorize(np.asarray(values, dtype=object))
    texts = np.array([as_text(level) for level in levels], dtype=object)
    # By text, since names of several types have no order among themselves.
    _, first, ranks = np.unique(texts, return_index=True, return_inverse=True)
    # The extra last entry keeps -1 for code -1.
    return np.append(ranks, -1)[codes], levels[first]


def indicator(codes, n_levels, dtype=np.float64):
    """Return the sparse (n_samples, n_levels) membership matrix of `codes`.

    Rows with code -1, an unseen level, are empty.
    """
    return sparse.csr_array(_membership(codes, dtype), (len(codes), n_levels))


def level_sums(codes, n_levels, y, dtype=None):
    """Return the sum of the rows of `y` for each level, by weights of `dtype`."""
    parts = _membership(codes, y.dtype if dtype is None else dtype)
    # The transposed `indicator`, which takes as long again to make.
    return sparse.csc_array(parts, (n_levels, len(codes))) @ y


def _membership(codes, dtype):
    """Return values, levels and where those of each row begin.

    As they are stored: from coordinates, scipy would sort and look for doubles.
    """
    seen = codes >= 0
    bounds = np.append(0, np.cumsum(seen))
    return np.ones(bounds[-1], dtype), codes[seen], bounds


def level_counts(codes, n_levels):
    """Return the number of rows of each level, (n_levels,), as floats."""
    return np.bincount(codes[codes >= 0], minlength=n_levels).astype(np.float64)


def level_means(codes, n_levels, y):
    """Return the mean row of `y` for each level, zero for one without rows, and sizes.

    Returns
    -------
    means : ndarray of shape (n_levels, n_targets)
    counts : ndarray of shape (n_levels,)
    """
    counts = level_counts(codes, n_levels)
    sums = level_sums(codes, n_levels, y, np.float64)
    return sums / np.maximum(counts, 1)[:, None], counts


def pair_means(first, second, n_levels, y):
    """Return the means of the pairs of two codes, and where the mean of each pair is.

    Returns
    -------
    means : ndarray of shape (n_measured, n_outputs)
    place : ndarray of int of shape (n_first, n_second)
        Rows of `means`; -1 for pairs without rows.
    """
    measured, codes = np.unique(first * n_levels[1] + second, return_inverse=True)
    place = np.full(n_levels[0] * n_levels[1], -1)
    place[measured] = np.arange(len(measured))
    return level_means(codes, len(measured), y)[0], place.reshape(n_levels)


def take_levels(values, codes, default):
    """Return ``values[codes]``, with `default` where the level was not seen."""
    taken = values[np.maximum(codes, 0)]
    taken[codes < 0] = default
    return taken
