"""Look at a screen of single cells before modelling it."""

import numpy as np
import pandas as pd

from sklperturb.cells import log_normalise, open_cells
from sklperturb.cells._blocks import sample_places
from sklperturb.cells._counts import value_kind
from sklperturb.cells._sums import add_up
from sklperturb.compose import PerturbationEffectRegressor
from sklperturb.conditions._doubts import warn
from sklperturb.conditions._labels import take_labels
from sklperturb.inspection._figure import (
    COLOURS,
    GREY,
    MARKERS,
    Display,
    counted,
    legend_below,
    log_axis,
    make_axes,
    shown,
    title,
)
from sklperturb.utils._optional import import_extra

_TOTALS = {
    "counts": "counts",
    "binary": "ones",
    "log1p": "sum of logarithms",
    "normalised": "sum of normalised values",
}


class CellScreenDisplay(Display):
    """Plot how many counts and cells there are, and how far perturbations move.

    Four questions come before any model: are cells sequenced deeply and evenly enough,
    are genes, does every perturbation have enough cells, and how far is the centroid
    of its cells from that of the controls, compared with what sampling alone gives?

    Use `from_screen` to make one.

    Parameters
    ----------
    per_cell : ndarray of shape (n_cells,)
        Sum of each cell's values.
    per_gene : ndarray of shape (n_genes,)
        Sum of each gene's.
    perturbations : DataFrame
        One row for each perturbation in each context, at each dose: indexed by
        perturbation, with the columns ``context`` and ``dose`` where there are any,
        ``cells``, ``distance``, ``noise`` and ``pooled``, the share of the cells
        whose own context and batch has no controls.
    values : {"counts", "binary", "log1p", "normalised", "signed", "zeros"}, \
            default="counts"
        What the values are.
    reference : str, default="all controls"
        What distances are measured from.

    Attributes
    ----------
    axes_ : ndarray of four matplotlib Axes
        Sums per cell, sums per gene, cells per perturbation, and centroid distances.
    figure_ : matplotlib Figure

    See Also
    --------
    sklperturb.datasets.describe_perturbseq : The same in words, of a file.
    sklperturb.compose.PerturbationEffectRegressor : Measures the same effects.

    Notes
    -----
    A distance is Euclidean, over genes, between the mean of a perturbation's cells in
    a context and that of the controls of the same context and batch, these weighted by
    where its cells are. Cell lines differ by more than perturbations do, so controls of
    other contexts are a last resort, which is warned of. ``noise`` is the distance to
    expect from as many cells if the perturbation did nothing: the root of the variance
    of the two means.

    Examples
    --------
    >>> from sklperturb.datasets import make_genetic_screen
    >>> from sklperturb.inspection import CellScreenDisplay
    >>> screen = make_genetic_screen(
    ...     5, 100, cells_per_perturbation=20, n_controls=50, embedding_dim=8,
    ...     random_state=0,
    ... )
    >>> display = CellScreenDisplay.from_screen(screen)  # doctest: +SKIP
    >>> display.perturbations.columns.tolist()  # doctest: +SKIP
    ['cells', 'distance', 'noise', 'pooled']
    """

    def __init__(
        self,
        *,
        per_cell,
        per_gene,
        perturbations,
        values="counts",
        reference="all controls",
    ):
        self.per_cell = per_cell
        self.per_gene = per_gene
        self.perturbations = perturbations
        self.values = values
        self.reference = reference

    @classmethod
    def from_screen(cls, screen, *, target_sum="auto", ax=None):
        """Compute the numbers, reading the cells a block at a time, and draw them.

        Parameters
        ----------
        screen : :class:`~sklearn.utils.Bunch`
            As given by `load_perturbseq` or `make_genetic_screen`.
        target_sum : float, None or "auto", default="auto"
            Before distances are taken, scale each cell to this sum and take
            log(1 + x). "auto" does it, to 10,000, where the values are raw counts.
        ax : sequence of four matplotlib Axes, default=None
            None makes a figure.

        Returns
        -------
        display : CellScreenDisplay

        Raises
        ------
        ValueError
            If no cell is a control.
        ImportError
            If matplotlib is not installed.

        Warns
        -----
        UserWarning
            If perturbed cells are in a context or a batch that has no controls, so
            that those of others stand in.
        """
        import_extra("CellScreenDisplay.from_screen", "plot", "matplotlib")
        if not screen.is_control.any():
            raise ValueError(
                "No cell is a control, and distances are measured from controls. See "
                "control_labels of PerturbationSchema."
            )
        y = open_cells(screen.y)
        kind = value_kind(sample_places(y.matrix)[0])
        if target_sum == "auto":
            target_sum = 1e4 if kind == "counts" else None
        controls = _Controls(screen)
        per_cell, per_gene, *moments = _sums(
            y, controls.codes, len(controls.levels), target_sum
        )
        effects = PerturbationEffectRegressor(
            match_batch=True, target_sum=target_sum, schema=screen.schema
        ).fit(screen.X, screen.y)
        sizes = np.bincount(controls.codes[controls.is_control])
        noise, pooled = controls.noise(sizes, *moments)
        controls.warn_of_pooled()
        columns = {r: getattr(screen.schema, r) for r in ("context", "dose")}
        table = pd.DataFrame(
            {
                role: take_labels(effects.conditions_, [column])[:, 0]
                for role, column in columns.items()
                if column is not None
            }
        )
        perturbation = screen.schema.perturbation
        names = take_labels(effects.conditions_, [perturbation])[:, 0]
        table.index = pd.Index(names, name=perturbation)
        table["cells"] = effects.n_cells_
        table["distance"] = np.linalg.norm(effects.effects_, axis=1)
        table["noise"], table["pooled"] = noise, pooled
        return cls(
            per_cell=per_cell,
            per_gene=per_gene,
            perturbations=table.sort_values("distance", ascending=False),
            values=kind,
            reference=controls.described(),
        ).plot(ax)

    def plot(self, ax=None):
        """Draw.

        Parameters
        ----------
        ax : sequence of four matplotlib Axes, default=None
            None makes a figure.

        Returns
        -------
        self : CellScreenDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        axes = make_axes(ax, 2, 2, figsize=(8, 6))
        table = self.perturbations
        several = "context" in table and table["context"].nunique() > 1
        total = _TOTALS.get(self.values, "sum of values")
        _histogram(axes[0], self.per_cell, f"{total} per cell", "cell")
        _histogram(axes[1], self.per_gene, f"{total} per gene", "gene")
        what = "perturbation in a context" if several else "perturbation"
        noun = "condition" if several else "perturbation"
        _histogram(axes[2], table["cells"], f"cells per {what}", noun)
        if several:
            n_perturbations = counted(table.index.nunique(), "perturbation")
            n_contexts = counted(table["context"].nunique(), "context")
            title(axes[2], f"{n_perturbations} in {n_contexts}")
        self._draw_distances(axes[3], several)
        self.axes_, self.figure_ = axes, axes[0].figure
        return self

    def _draw_distances(self, ax, several):
        table = self.perturbations
        rank = np.arange(1, len(table) + 1)
        ax.plot(rank, table["noise"], "_", color=GREY, label="if it did nothing")
        groups = [(None, np.ones(len(table), dtype=bool))]
        if several:
            # The largest come first; what has no colour of its own is one group.
            names = table["context"].value_counts().index[: len(COLOURS) - 1]
            groups = [(name, (table["context"] == name).to_numpy()) for name in names]
            others = ~table["context"].isin(names).to_numpy()
            groups += [("others", others)] if others.any() else []
        for (name, rows), colour, marker in zip(groups, COLOURS, MARKERS, strict=False):
            label = "measured" if name is None else shown(name, 20)
            ax.plot(
                rank[rows],
                table["distance"][rows],
                marker,
                color=colour,
                markersize=4,
                label=label,
            )
        ax.set(
            xlabel="conditions by distance" if several else "perturbations by distance"
        )
        ax.set_ylabel("distance of centroids")
        ax.set_ylim(bottom=0)
        title(ax, f"From {self.reference}")
        legend_below(ax, 2)


class _Controls:
    """Which controls each perturbed cell is compared with.

    Those of its context and batch; where there are none, those of its context, and
    where there are none, all.
    """

    def __init__(self, screen):
        schema = screen.schema
        self.roles = [r for r in ("context", "batch") if getattr(schema, r) is not None]
        self.columns = [getattr(schema, role) for role in self.roles]
        self.is_control = np.asarray(screen.is_control, dtype=bool)
        keys = take_labels(screen.X, self.columns)
        self._keys = pd.Series([tuple(key) for key in keys], dtype=object)
        # Controls are numbered by their context and batch, other cells are at -1.
        self.codes = np.full(len(keys), -1)
        numbers, levels = pd.factorize(self._keys[self.is_control])
        self.codes[self.is_control], self.levels = numbers, list(levels)
        self._members = {}
        for number, level in enumerate(self.levels):
            for length in range(len(level) + 1):
                self._members.setdefault(level[:length], []).append(number)
        conditions = take_labels(
            screen.X, schema.columns("context", "perturbation", "dose")
        )[~self.is_control]
        rows = pd.Series([tuple(row) for row in conditions], dtype=object)
        self._conditions = pd.factorize(rows)[0]
        references = [self._nearest(key) for key in self._keys[~self.is_control]]
        self._at, found = pd.factorize(pd.Series(references, dtype=object))
        self._found = list(found)
        lengths = np.array([len(reference) for reference in self._found])
        self._is_pooled = (lengths < len(self.columns))[self._at]

    def _nearest(self, key):
        while key not in self._members:
            key = key[:-1]
        return key

    def described(self):
        """Return what distances are measured from, in words."""
        if not self.columns:
            return "all controls"
        own = f"controls of the same {' and '.join(self.roles)}"
        share = self._is_pooled.mean()
        return f"{own} (not {share:.0%} of cells)" if share else own

    def noise(self, sizes, sums, squares):
        """Return the distance that sampling alone gives each condition, and its pools.

        Parameters
        ----------
        sizes : ndarray of int of shape (n_levels,)
            Controls of each level.
        sums : ndarray of shape (n_levels, n_genes)
        squares : ndarray of shape (n_levels,)
            Sum of the squares of all their values.

        Returns
        -------
        noise : ndarray of shape (n_conditions,)
        pooled : ndarray of shape (n_conditions,)
            Share of the cells whose own context and batch has no controls.
        """
        moments = [
            (sizes[rows].sum(), sums[rows].sum(axis=0), squares[rows].sum())
            for rows in self._members.values()
        ]
        variances = {}
        for key, (size, total, square) in zip(self._members, moments, strict=True):
            spread = max(square - float(total @ total) / size, 0.0)
            variances[key] = spread / (size - 1) if size > 1 else None
        variance, n_controls = [], []
        for reference in self._found:
            n_controls.append(sizes[self._members[reference]].sum())
            # One control alone tells nothing of how controls vary.
            while variances[reference] is None and reference:
                reference = reference[:-1]
            known = variances[reference]
            variance.append(np.nan if known is None else known)
        counts = pd.crosstab(self._conditions, self._at).to_numpy()
        n_cells = counts.sum(axis=1)
        share = counts / n_cells[:, None]
        of_cells = share @ np.array(variance) / n_cells
        of_controls = share**2 @ (np.array(variance) / n_controls)
        pooled = np.bincount(self._conditions, weights=self._is_pooled) / n_cells
        return np.sqrt(of_cells + of_controls), pooled

    def warn_of_pooled(self):
        """Warn where controls of other contexts or batches stand in."""
        keys = pd.unique(self._keys[~self.is_control])
        for depth, (role, column) in enumerate(
            zip(self.roles, self.columns, strict=True)
        ):
            lacking = sorted(
                {key[depth] for key in keys if len(self._nearest(key)) == depth}
            )
            if lacking:
                wider = "all contexts" if role == "context" else "all batches"
                if role == "batch" and depth:
                    wider += " of their context"
                n_levels = len({key[depth] for key in keys})
                warn(
                    f"{len(lacking)} of {n_levels} levels of {column!r} have no "
                    f"controls, such as {', '.join(map(repr, lacking[:3]))}. Their "
                    f"cells are compared with the controls of {wider}, pooled: their "
                    f"distances hold the differences between {role}s"
                    + (
                        ", which are often larger than those that perturbations make."
                        if role == "context"
                        else "."
                    )
                )


def _sums(y, codes, n_levels, target_sum):
    """Return the sums of rows and of columns, and of controls sums and squares."""
    per_cell, per_gene = np.zeros(y.shape[0]), np.zeros(y.shape[1])
    sums, squares = np.zeros((n_levels, y.shape[1])), np.zeros(n_levels)
    for rows, values in y.blocks():
        per_cell[rows] = np.asarray(values.sum(axis=1)).ravel()
        per_gene += np.asarray(values.sum(axis=0)).ravel()
        own = codes[rows]
        logarithms = log_normalise(values[own >= 0], target_sum)
        groups, added = add_up(logarithms, own[own >= 0])
        sums[groups] += added
        of_rows = np.asarray((logarithms * logarithms).sum(axis=1)).ravel()
        squares += np.bincount(own[own >= 0], weights=of_rows, minlength=n_levels)
    return per_cell, per_gene, sums, squares


def _histogram(ax, values, label, noun):
    """Draw a histogram, of logarithms where values span more than a decade."""
    from matplotlib.ticker import MaxNLocator

    values = np.asarray(values, dtype=float)
    positive = values[values > 0]
    text = counted(len(values), noun)
    bins = 40
    if len(positive) and positive.max() > 10 * positive.min():
        bins = np.geomspace(positive.min(), positive.max(), 41)
        ax.set_xscale("log")
        if positive.max() < 1000 * positive.min():
            log_axis(ax.xaxis, positive.min(), positive.max())
        if len(positive) < len(values):
            text += f", {len(values) - len(positive):,} at 0"
        values = positive
    ax.hist(values, bins=bins, color=COLOURS[0])
    if len(values):
        median = np.median(values)
        ax.axvline(median, color=GREY, linestyle=":")
        text += f"; median {median:,.1f}".removesuffix(".0")
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set(xlabel=label, ylabel=f"{noun}s")
    title(ax, text)
