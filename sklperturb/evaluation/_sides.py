"""Open the cells that are compared, and bring them to the scale that is scored."""

import logging
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse

from sklperturb.cells import Cells, log_normalise, open_cells
from sklperturb.cells._blocks import (
    LazyMatrix,
    by_row,
    rows_of,
    sample_places,
    stored_values,
)
from sklperturb.cells._counts import value_kind, whole_counts
from sklperturb.cells._files import check_unique_genes
from sklperturb.conditions._doubts import warn
from sklperturb.conditions._labels import as_text, each_label
from sklperturb.conditions._near import spelling_hint

_logger = logging.getLogger("sklperturb")
# Counts a cell is scaled to, and how far from it, as a share, a cell may be that is
# not scaled again.
_DEPTH, _DEPTH_TOLERANCE = 1e4, 1e-3
# By how much a mean cell may add up to more, or less, than another on the same scale.
_FAR = 3.0
_LOGARITHMS = ("log1p", "signed")
_WHAT = {
    "log1p": "logarithms",
    "normalised": "fractions too large for logarithms",
    "signed": "negative values",
}


@dataclass(frozen=True)
class Population:
    """Cells with a label each; None leaves a cell out."""

    matrix: object
    labels: np.ndarray
    genes: pd.Index
    name: str = "The cells"
    cell_names: pd.Index | None = None

    @cached_property
    def rows(self):
        """Rows of each label, sorted by label."""
        return pd.Series(self.labels).groupby(self.labels).indices

    def codes(self, names):
        return pd.Index(names).get_indexer(self.labels)

    def checked(self, needs):
        """Return the cells as `Cells` whose values are checked as they are read."""
        names = {"genes": self.genes, "obs_names": self.cell_names}
        return open_cells(Cells(self.matrix, self.name, **names), needs=needs)

    def cells_of(self, label):
        """Return the cells of a label in memory, from a matrix stored by row."""
        return rows_of(self.matrix, self.rows[label])


@contextmanager
def opened_sides(given, perturbation, **options):
    """Open cells as `Population` of the same genes; their values are as stored.

    Parameters
    ----------
    given : dict of str to AnnData, str or path-like
        Under the name that the caller gives the cells. The first has the genes.
    perturbation : str
        Column of `obs`.
    **options
        Of `open_cells`.

    Yields
    ------
    sides : dict of str to Population
    """
    with ExitStack() as stack:
        sides = {}
        for name, cells in given.items():
            is_path = isinstance(cells, str | Path)
            cells = stack.enter_context(open_cells(cells, **options))
            shown = f"{name} ({cells.source})" if is_path else name
            sides[name] = side = _population(cells, shown, perturbation)
            first = next(iter(sides))
            genes = sides[first].genes
            if not genes.equals(side.genes):
                raise ValueError(
                    f"{name} must have the genes of {first} in the same order; it has "
                    f"{len(side.genes)}, of which "
                    f"{len(genes.intersection(side.genes))} are among the "
                    f"{len(genes)} of {first}.{spelling_hint(side.genes, genes)}"
                )
        yield sides


def _population(cells, name, perturbation):
    if perturbation not in cells.obs:
        raise ValueError(
            f"perturbation={perturbation!r} is no column of obs of {name}: "
            f"{list(cells.obs)}.{spelling_hint([perturbation], cells.obs)}"
        )
    check_unique_genes(cells.genes, name)
    labels = cells.obs[perturbation]
    if labels.isna().any():
        raise ValueError(
            f"{int(labels.isna().sum())} cells of {name} have no label in "
            f"{perturbation!r}; leave them out."
        )
    labels = each_label(labels, as_text)
    return Population(cells.matrix, labels, cells.genes, name, cells.obs_names)


def in_one_spelling(sides, schema, control):
    """Return the sides, combinations spelled as in the first one.

    What is a label of both sides stays as it is.

    Parameters
    ----------
    sides : dict of str to Population
    schema : PerturbationSchema
        Says whether labels combine.
    control : str
        Label of the controls.

    Returns
    -------
    sides : dict of str to Population
    """
    if not schema.labels_combine:
        return sides
    schema = replace(schema, control_labels=(control,))
    first = next(iter(sides.values())).rows
    own = {schema.spell(label): label for label in first if label != control}

    def spelled(label):
        known = label in first or label == control
        return label if known else own.get(schema.spell(label), label)

    return {
        name: replace(side, labels=each_label(side.labels, spelled))
        for name, side in sides.items()
    }


def on_one_scale(sides, values, *, normalised=()):
    """Bring all sides to what a convention scores, alike and block by block.

    Parameters
    ----------
    sides : dict of str to Population
    values : {"log1p", "counts", "any"}
    normalised : collection of str, default=()
        Names of the sides whose logarithms, if they hold any, are log1p at the common
        depth. Those of others may be cells at a depth of their own.

    Returns
    -------
    sides : dict of str to Population

    Raises
    ------
    ValueError
        If a side holds what cannot become that.

    Warns
    -----
    UserWarning
        If beside counts a side holds fractions that add up to another depth.
    """
    named = {side.name: side for side in sides.values()}
    matrices = {name: side.matrix for name, side in named.items()}
    if values == "any" and _mixed(matrices):
        values = "log1p"  # of two scales, distances would be those of the scales
    if values == "any":
        matrices = {name: by_row(matrix, name) for name, matrix in matrices.items()}
    else:
        matrices = _on_one_scale(named, matrices, values, normalised)
    return {n: replace(side, matrix=matrices[side.name]) for n, side in sides.items()}


def _mixed(matrices):
    """Whether some hold counts and others logarithms."""
    samples = [sample_places(matrix)[0] for matrix in matrices.values()]
    kinds = {value_kind(sample) for sample in samples}
    if "signed" in kinds:
        # A displacement takes logarithms below zero.
        kinds |= {value_kind(abs(sample)) for sample in samples}
    return kinds >= {"counts", "log1p"}


def _on_one_scale(sides, matrices, values, normalised):
    kinds = {name: value_kind(sample_places(m)[0]) for name, m in matrices.items()}
    for name, kind in kinds.items():
        if kind == "invalid" or (kind == "signed" and values == "counts"):
            sides[name].checked("counts" if kind == "signed" else "finite").scan()
    if values == "counts":
        return _to_counts(matrices, kinds)
    return _to_logarithms(matrices, kinds, normalised)


def _to_logarithms(matrices, kinds, normalised):
    for name, kind in kinds.items():
        if kind == "normalised":
            raise ValueError(
                f"This convention scores log1p-normalised cells, and {name} holds "
                f"{_WHAT[kind]}. Take log1p first, or pass raw counts."
            )
    if "counts" not in kinds.values():
        return matrices
    for name, kind in kinds.items():
        # Of a model that was fitted to counts as if they were expression.
        if kind == "signed" and value_kind(abs(sample_places(matrices[name])[0])) in (
            "counts",
            "normalised",
        ):
            raise ValueError(
                f"Beside counts, {name} holds {_WHAT[kind]} and values too large for "
                "logarithms. Fit the model to log1p-normalised cells, or generate "
                "counts."
            )
    _logger.info(
        "Scaled each cell to 10,000 counts and took log1p, which the convention "
        "scores: %s.",
        ", ".join(
            f"{name} holds {'counts' if kind == 'counts' else 'logarithms'}"
            for name, kind in kinds.items()
        ),
    )
    converted = {}
    for name, matrix in matrices.items():
        scale = partial(_normalised, name=name)
        if kinds[name] in _LOGARITHMS:
            scale = _as_given if name in normalised else _rescaled
        rows = by_row(matrix, name)
        converted[name] = LazyMatrix(rows, convert=scale, dtype=np.float32)
    _warn_of_depths(converted, kinds)
    return converted


def _warn_of_depths(converted, kinds):
    """Warn of fractions that are no logarithms at the common depth, as it seems.

    Means of logarithms add up to less than cells do, so that means over all cells are
    compared, which are the same of cells and of what is expected of them.
    """
    totals = {}
    for name, matrix in converted.items():
        sample = sample_places(matrix)[0]
        mean = np.asarray(sample.mean(axis=0), dtype=np.float64).ravel()
        totals[name] = float(np.expm1(mean).sum())
    of_counts = next(name for name, kind in kinds.items() if kind == "counts")
    expected = totals[of_counts]
    for name, kind in kinds.items():
        far = not expected / _FAR < totals[name] < expected * _FAR
        if kind in _LOGARITHMS and far:
            warn(
                f"{of_counts} holds counts and {name} fractions, which are scored as "
                f"log1p of cells scaled to {_DEPTH:,.0f} counts. They do not look like "
                f"that: expm1 of their mean adds up to {totals[name]:,.0f}, and to "
                f"{expected:,.0f} in {of_counts}. Fit the model to such logarithms "
                "(log_normalise(counts), or target_sum=1e4 where an estimator has it), "
                "or let it generate whole counts."
            )


def _as_given(logarithms):
    return logarithms


def _to_counts(matrices, kinds):
    converted = dict(matrices)
    for name, kind in kinds.items():
        if kind not in ("counts", "binary", "zeros"):
            work_out = partial(_worked_out, name=name, kind=kind)
            rows = by_row(matrices[name], name)
            lazy = LazyMatrix(rows, convert=work_out, dtype=np.float64)
            sample_places(lazy)  # which fails now, and not after hours
            _logger.info("%s holds log1p of counts; the counts were worked out.", name)
            converted[name] = lazy
    return converted


def _worked_out(block, name, kind):
    """Return the counts of which a block is log1p."""
    if kind == "log1p":
        counts, found = whole_counts(block)
        if found.all():
            return counts
    raise ValueError(
        f"This convention scores raw counts, and {name} holds {_WHAT[kind]} that no "
        "whole counts lead to. Pass the layer with the counts."
    )


def _normalised(counts, name):
    """Return log1p of counts at the common depth."""
    if stored_values(counts).min(initial=0) < 0:
        raise ValueError(
            f"{name} holds counts and negative values, which counts cannot be. Correct "
            "them, or leave these cells out."
        )
    return log_normalise(counts)


def _rescaled(logarithms):
    """Return cells that are log1p of counts at a depth of their own at the common one.

    Cells of that depth stay as they are, so that values that tie still do. So does what
    no whole counts lead to: a mean of logarithms adds up to less than the depth of
    the cells, and a displaced cell to anything.
    """
    cells = sparse.csr_array(logarithms)
    totals = np.asarray(cells.expm1().sum(axis=1), dtype=np.float64).ravel()
    other = (totals > 0) & (np.abs(totals / _DEPTH - 1) >= _DEPTH_TOLERANCE)
    if not other.any():
        return cells
    counts, found = whole_counts(cells[np.flatnonzero(other)])
    if not found.any():
        return cells
    other[other] = found
    rescaled = log_normalise(counts[np.flatnonzero(found)], _DEPTH)
    stacked = sparse.vstack([cells[np.flatnonzero(~other)], rescaled], format="csr")
    back = np.argsort(np.concatenate([np.flatnonzero(~other), np.flatnonzero(other)]))
    return stacked[back]
