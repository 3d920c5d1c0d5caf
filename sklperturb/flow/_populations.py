"""Populations of cells: the controls that cells start from, and those perturbed."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from sklperturb.cells import open_cells
from sklperturb.cells._strengths import SpreadEvidence
from sklperturb.conditions._labels import control_rows, take_labels
from sklperturb.files._fields import Array, Listed, Number
from sklperturb.flow._generation import counts_of, draw_like, moves_under
from sklperturb.flow._state import COLUMN, stored

_FEWEST_PERTURBATIONS = 10  # to hold some out
_FEWEST_IN_TURN, _FEWEST_CONTEXTS = 5, 3  # to hold out each in turn
_N_FOLDS = 3
# Conditions of which the spread of strengths is learnt, and cells of each.
_N_SPREADS, _MOST_CELLS, _FEWEST_CELLS = 32, 128, 20
_TRIED_SPREAD, _LEAST_TRIED = 0.25, 0.01


@stored(
    columns=Listed(COLUMN, "n_pool_columns", unique=True),
    n_context=Number(0, 1, whole=True),
    names=Array(("n_controls", "n_pool_columns"), "U"),
    controls=Array(("n_controls", "n_outputs")),
)
@dataclass
class ControlPools:
    """Pools of control cells, one for each context and batch.

    Attributes
    ----------
    columns : list of str or int
        Columns of the conditions by which controls are pooled: of the context and of
        the batch, as far as there are any.
    n_context : int
        How many of these name the context: 0 or 1.
    names : ndarray of str of shape (n_controls, n_columns)
        Context and batch of each control.
    controls : ndarray of shape (n_controls, n_features)
    cells : list of ndarray of shape (n_cells, n_features)
        The cells of each pool; empty where nothing is a control.
    means : ndarray of shape (n_pools, n_features)
    """

    columns: list
    n_context: int
    names: np.ndarray
    controls: np.ndarray

    def __post_init__(self):
        if len(self.columns) > 2:
            raise ValueError(f"controls are pooled by {len(self.columns)} columns")
        self._keys, self.cells = [()], [self.controls]
        keys = [tuple(map(str, row)) for row in self.names]
        for length in range(1, len(self.columns) + 1):
            starts = pd.Series([key[:length] for key in keys], dtype=object)
            for start, rows in starts.groupby(starts, sort=True).indices.items():
                self._keys.append(start)
                self.cells.append(self.controls[rows])
        self._numbers = {key: number for number, key in enumerate(self._keys)}
        self.means = np.zeros((len(self.cells), self.controls.shape[1]))
        if len(self.controls):
            self.means[:] = [pool.mean(axis=0, dtype=float) for pool in self.cells]

    @classmethod
    def of(cls, schema, match_batch, X, controls):
        """Return the pools of controls, whose conditions are the rows of `X`.

        With `match_batch` a pool is a batch of a context, else a whole context.
        """
        columns = schema.columns("context", *["batch"] * bool(match_batch))
        n_context = len(schema.columns("context"))
        names = take_labels(X, columns).astype(str)
        return cls(columns, n_context, names, controls)

    def find(self, X):
        """Return the pool of each row, and how many of its columns it shares.

        The most specific pool that has cells: same context and batch, else same
        context, else all controls.
        """
        keys = [tuple(map(str, row)) for row in take_labels(X, self.columns)]
        codes, levels = pd.factorize(pd.Series(keys, dtype=object))
        found = [self._nearest(level) for level in levels]
        numbers = np.array([self._numbers[key] for key in found])
        return numbers[codes], np.array([len(key) for key in found])[codes]

    def contexts(self, X):
        """Return the context of each row as text; all the same where there is none."""
        labels = take_labels(X, self.columns[: self.n_context]).astype(str)
        return labels[:, 0] if self.n_context else np.full(len(X), "")

    def context_of(self, pool):
        """Return the pool of all batches of a pool's context."""
        return self._numbers[self._keys[pool][: self.n_context]]

    def _nearest(self, key):
        while key not in self._numbers:
            key = key[:-1]
        return key


def group_cells(keys, rows, pools):
    """Return the cells of each condition by pool, and the condition of each row.

    Parameters
    ----------
    keys : list of hashable
        Condition of each of `rows`.
    rows : ndarray of int
        Cells that are no controls.
    pools : ndarray of int
        Pool of controls of each of `rows`.

    Returns
    -------
    members : list of list of (int, ndarray of int)
        For each condition: pool, and cells.
    codes : ndarray of int of shape (n_rows,)
    """
    codes, levels = pd.factorize(pd.Series(keys, dtype=object))
    members = [[] for _ in levels]
    groups = pd.DataFrame({"code": codes, "pool": pools}).groupby(["code", "pool"])
    for (code, pool), places in sorted(groups.indices.items()):
        members[code].append((int(pool), rows[places]))
    return members, codes


def measure_effects(cells, members, means):
    """Return the effect of each condition, and its squared standard error.

    The mean of the cells less that of their controls, and the sum over features of
    the variance of the former.
    """
    effects, noise = [], []
    for populations in members:
        changes = np.concatenate(
            [cells[rows] - means[pool] for pool, rows in populations]
        )
        effects.append(changes.mean(axis=0))
        noise.append(changes.var(axis=0).sum() / len(changes))
    noise = np.array(noise)
    sizes = np.array([sum(len(rows) for _, rows in m) for m in members])
    # A single cell has no spread of its own; it is given that of the others.
    alone = sizes < 2
    if alone.any():
        several = noise[~alone] * sizes[~alone]
        noise[alone] = several.mean() if len(several) else 0.0
    return np.array(effects), noise


def hold_out(keys, fraction, rng):
    """Return which conditions are held out: those with a held-out perturbation."""
    parts = sorted({part for _, parts, _ in keys for part in parts})
    n_held_out = round(fraction * len(parts))
    if len(parts) < _FEWEST_PERTURBATIONS or n_held_out < 1:
        return np.zeros(len(keys), dtype=bool)
    chosen = set(rng.choice(parts, n_held_out, replace=False))
    held_out = np.array([bool(chosen & set(parts)) for _, parts, _ in keys])
    return held_out & (not held_out.all())


def make_folds(keys, rng):
    """Hold out each perturbation in turn; where these are too few, each context.

    Parameters
    ----------
    keys : list of tuple (context, parts, dose)
    rng : numpy.random.Generator

    Returns
    -------
    units : ndarray of int of shape (n_conditions,)
        Perturbation, or context, of each condition.
    folds : list of tuple (held_out, tested)
        Masks of the conditions: what has anything to do with the fold's perturbations,
        and what of it is to be predicted, single perturbations if there are any.
    """
    parts = sorted({part for _, parts, _ in keys for part in parts})
    levels, of_key = parts, [key[1] for key in keys]
    if len(parts) < _FEWEST_IN_TURN:
        levels, of_key = sorted({key[0] for key in keys}), [key[:1] for key in keys]
    units = pd.factorize(pd.Series(of_key, dtype=object))[0]
    folds = []
    if len(levels) < _FEWEST_CONTEXTS:
        return units, folds
    fold_of = {v: i % _N_FOLDS for i, v in enumerate(rng.permutation(levels))}
    alone = np.array([len(key[1]) == 1 for key in keys])
    for fold in range(_N_FOLDS):
        held_out = np.array([fold in {fold_of[v] for v in vs} for vs in of_key])
        tested = held_out & alone if (held_out & alone).any() else held_out
        if not held_out.all():
            folds.append((held_out, tested))
    return units, folds


def find_spreads(model, X, y):
    """Return how much cells of one condition differ in how strongly they respond.

    Of the conditions with the largest effects, as many cells are generated as were
    measured, all of one strength. Along the effect, measured cells vary more. The
    variance of strengths is what makes up for it.

    Parameters
    ----------
    model : CellScreenModel
        Fitted but for this.
    X : DataFrame of shape (n_cells, n_columns)
    y : AnnData, DataFrame, sparse matrix or ndarray of shape (n_cells, n_genes)
        Counts of the training cells.

    Returns
    -------
    spread : float
        Variance of strengths, whose mean is one, in contexts that were not measured.
    spreads : dict of str to float
        The same in each context.
    """
    flow = model.flow_._flow
    treated = np.flatnonzero(~control_rows(X, flow.reader.schema))
    if model.cells_ is None or not len(flow.pools.controls):
        return 0.0, {}
    codes, levels = pd.factorize(
        pd.Series(flow.reader.keys(X.iloc[treated]), dtype=object)
    )
    lengths = np.linalg.norm(flow.effects, axis=1)
    lengths = dict(zip(flow.reader.keys(flow.conditions), lengths, strict=True))
    enough = np.bincount(codes) >= _FEWEST_CELLS
    strongest = np.argsort([-lengths.get(key, 0.0) for key in levels], kind="stable")
    rng = np.random.default_rng(0)
    cells, kept = open_cells(y), model.controls_.iloc[model.cells_.places]
    shown = []
    for code in strongest[enough[strongest]][:_N_SPREADS]:
        rows = treated[rng.permutation(np.flatnonzero(codes == code))[:_MOST_CELLS]]
        rows = np.sort(rows)
        conditions = X.iloc[rows].reset_index(drop=True)
        drawn = draw_like(flow.pools, conditions, kept, rng)
        # Moves are the same whatever the spread, and take longer than to draw counts.
        moved = moves_under(model, drawn, conditions, "expected")
        points = model.space_._points_of
        start, measured = points(model.cells_.counts[drawn]), points(cells.rows(rows))
        context = str(flow.pools.contexts(conditions)[0])
        shown.append((drawn, moved, context, start, measured))

    def generate(spread):
        made = []
        for i, (drawn, moved, *_) in enumerate(shown):
            counts = counts_of(model, drawn, moved, np.random.default_rng(i), spread)
            made.append(model.space_._points_of(counts))
        return made

    one = generate(0.0)

    def evidence(tried):
        found = SpreadEvidence([], [], [], [])
        for *made, (*_, context, start, measured) in zip(
            one, generate(tried), shown, strict=True
        ):
            found.add(context, start, measured, made, tried)
        return found.pooled()

    # What a spread does is not proportional to it, so that it is tried near the answer.
    first = evidence(_TRIED_SPREAD)
    return evidence(max(first[0], _LEAST_TRIED)) if first[0] else first
