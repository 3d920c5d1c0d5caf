"""The screens that `suggest.py` measures again, and how deals of them are drawn."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd
from scipy import linalg

from sklperturb.datasets import load_op2, make_chemical_screen
from sklperturb.preprocessing import read_gene_source
from sklperturb.preprocessing._gene_sources import profile_source


def rotated(y):
    """Return coordinates with the same products, one per row, of unit mean square."""
    y = np.asarray(y, dtype=np.float64)
    values, vectors = linalg.eigh(y @ y.T)
    kept = values > 1e-10 * values.max()
    # Divided such that norms are root mean squares: estimators see the scale of y.
    return vectors[:, kept] * np.sqrt(values[kept] * kept.sum() / y.shape[1])


def real(folder, data, number, *, clip=None, n_rows=None):
    """Return the training rows, or as many of them as are drawn for a deal."""
    screen = load_op2(data / folder, clip=clip)
    X, y = screen.X.reset_index(drop=True), np.asarray(screen.y)
    if n_rows and n_rows < len(X):
        rows = np.sort(np.random.RandomState(number).permutation(len(X))[:n_rows])
        X, y = X.iloc[rows].reset_index(drop=True), y[rows]
    return X, rotated(y), screen.schema


def generated(number, *, n_contexts=6, n_compounds=70, n_genes=1000):
    """Return a screen of its own for each deal."""
    shape = n_contexts, n_compounds, n_genes
    screen = make_chemical_screen(*shape, random_state=number)
    schema = screen.schema
    X = pd.concat([screen.X, screen.X_test[screen.X.columns]], ignore_index=True)
    y = np.vstack([np.asarray(screen.y), np.asarray(screen.y_test)])
    kept = np.flatnonzero(~X.duplicated([schema.context, schema.perturbation]))
    return X.iloc[kept].reset_index(drop=True), rotated(y[kept]), schema


@cache
def gene_sets(folder):
    """Return the sets that genes belong to, a source for each file."""
    return [read_gene_source(path) for path in sorted(folder.glob("*.gmt"))]


@cache
def _knock_downs(folder):
    """Return the conditions of K562, their responses, a schema, and RPE1 as a source.

    Responses of both lines are rotated together, and their coordinates have names, by
    which a model takes over what the other line has shown.
    """
    screen = load_op2(folder)
    X, schema = screen.X.reset_index(drop=True), screen.schema
    y = rotated(screen.y)
    y = pd.DataFrame(y, columns=[f"c{i}" for i in range(y.shape[1])])
    context, perturbation = columns_of(X, schema)
    own, other = context == "K562", context == "RPE1"
    elsewhere = profile_source("RPE1", perturbation[other], y[other], schema)
    return X[own], y[own], schema, elsewhere


def knock_downs(folder, number, *, n_rows):
    """Return as many knock-downs in K562 as are drawn for a deal."""
    X, y, schema, _ = _knock_downs(folder)
    rows = np.sort(np.random.RandomState(number).permutation(len(X))[:n_rows])
    X, y = (table.iloc[rows].reset_index(drop=True) for table in (X, y))
    return X, y, schema


def known_of_genes(data, *, other_line):
    """Return the sources: gene sets, and what the other line has shown."""
    found = gene_sets(data / "gene_annotation")
    if other_line:
        found = [*found, _knock_downs(data / "replogle_ranks")[3]]
    return found


# Deals


@dataclass(frozen=True)
class Deal:
    """What is known, what can be measured and what is to be predicted, as rows."""

    start: np.ndarray
    candidates: np.ndarray
    targets: np.ndarray


def columns_of(X, schema):
    """Return the context and the perturbation of each row."""
    return X[schema.context].to_numpy(str), X[schema.perturbation].to_numpy(str)


def new_contexts(X, schema, rng, *, n_new, n_known, share, full, wide, names=None):
    """Predict perturbations in contexts of which nothing is known.

    Parameters
    ----------
    n_new, n_known : int
        Contexts that are new, and of which all is known.
    share : float
        Share of perturbations that are targets.
    full : int
        Perturbations that a context must have to be drawn.
    wide : bool
        Whether all else may be measured, in any context, or only the new ones.
    names : list of str, default=None
        The new contexts, in place of drawing them.
    """
    context, perturbation = columns_of(X, schema)
    levels, counts = np.unique(context, return_counts=True)
    order = rng.permutation(levels[counts >= full])
    new = order[:n_new] if names is None else np.array(names)
    known = order[~np.isin(order, new)][:n_known]
    is_new = np.isin(context, new)
    asked = rng.permutation(np.unique(perturbation[is_new]))
    asked = asked[: round(share * len(asked))]
    start = np.isin(context, known)
    targets = is_new & np.isin(perturbation, asked)
    free = ~targets & ~start & (is_new | wide)
    return Deal(*map(np.flatnonzero, (start, free, targets)))


def new_perturbations(X, schema, rng, *, n_start, share):
    """Predict perturbations that were never measured; a few others are known."""
    perturbation = columns_of(X, schema)[1]
    order = rng.permutation(np.unique(perturbation))
    n_targets = round(share * len(order))
    asked, known = order[:n_targets], order[n_targets : n_targets + n_start]
    targets, start = np.isin(perturbation, asked), np.isin(perturbation, known)
    return Deal(*map(np.flatnonzero, (start, ~start & ~targets, targets)))
