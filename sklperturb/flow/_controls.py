"""Control cells, found by what they share with a row of conditions."""

import numpy as np
import pandas as pd

from sklperturb.conditions._frames import take_columns


class ControlPools:
    """Pools of control cells, one for each context and batch.

    Parameters
    ----------
    schema : PerturbationSchema
    match_batch : bool
        Whether a pool is a batch of a context, or the whole context.

    Attributes
    ----------
    cells_ : list of ndarray of shape (n_cells, n_features)
        The cells of each pool; empty lists where nothing is a control.
    means_ : ndarray of shape (n_pools, n_features)
    """

    def __init__(self, schema, match_batch):
        roles = ["context"] + ["batch"] * bool(match_batch)
        self.columns = schema.columns(*roles)
        self._n_context = len(schema.columns("context"))

    def fit(self, X, cells, is_control):
        keys = self._keys(X)
        self.numbers_, self.cells_, self._keys_of_pools = {}, [], []
        rows = np.flatnonzero(is_control)
        self._add((), cells[rows])
        for length in range(1, len(self.columns) + 1):
            starts = pd.Series([keys[i][:length] for i in rows], dtype=object)
            for start, at in starts.groupby(starts, sort=True).indices.items():
                self._add(start, cells[rows[at]])
        self.means_ = np.array(
            [
                pool.mean(axis=0, dtype=np.float64)
                if len(pool)
                else np.zeros(cells.shape[1])
                for pool in self.cells_
            ]
        )
        return self

    def find(self, X):
        """Return the pool of each row, and how many of its columns it shares.

        The most specific pool that has cells: same context and batch, else same
        context, else all controls.
        """
        keys = pd.Series(self._keys(X), dtype=object)
        codes, levels = pd.factorize(keys)
        found = [self._nearest(level) for level in levels]
        numbers = np.array([self.numbers_[key] for key in found])
        return numbers[codes], np.array([len(key) for key in found])[codes]

    def context_of(self, pool):
        """Return the pool of all batches of a pool's context."""
        key = self._keys_of_pools[pool]
        return self.numbers_[key[: self._n_context]]

    def _nearest(self, key):
        while key not in self.numbers_:
            key = key[:-1]
        return key

    def _add(self, key, cells):
        self.numbers_[key] = len(self.cells_)
        self._keys_of_pools.append(key)
        self.cells_.append(cells)

    def _keys(self, X):
        if not self.columns:
            return [()] * len(X)
        return [tuple(map(str, row)) for row in take_columns(X, self.columns)]
