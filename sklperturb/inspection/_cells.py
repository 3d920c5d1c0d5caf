"""Look at a screen of single cells before modelling it."""

import numpy as np
import pandas as pd

from sklperturb.cells import (
    log_normalise,
    looks_like_counts,
    mean_by_group,
    open_cells,
)
from sklperturb.inspection._figure import make_axes


class CellScreenDisplay:
    """Plot how many counts and cells there are, and how far perturbations move.

    Four questions come before any model: are cells sequenced deeply and evenly enough,
    are genes, does every perturbation have enough cells, and how far is the centroid
    of its cells from that of the controls, compared with what sampling alone gives?

    Parameters
    ----------
    counts_per_cell : ndarray of shape (n_cells,)
        Sum of each cell's expression.
    counts_per_gene : ndarray of shape (n_genes,)
        Sum of each gene's.
    perturbations : DataFrame
        Indexed by perturbation, with the columns ``cells``, ``distance`` and
        ``noise``.

    Attributes
    ----------
    axes_ : ndarray of four matplotlib Axes
        Counts per cell, counts per gene, cells per perturbation, and centroid
        distances.
    figure_ : matplotlib Figure

    See Also
    --------
    sklperturb.datasets.describe_perturbseq : The same in words, of a file.

    Examples
    --------
    >>> from sklperturb.datasets import make_genetic_screen
    >>> from sklperturb.inspection import CellScreenDisplay
    >>> screen = make_genetic_screen(
    ...     5, 100, cells_per_perturbation=20, n_controls=50, embedding_dim=8,
    ...     random_state=0,
    ... )
    >>> display = CellScreenDisplay.from_screen(screen)
    >>> display.perturbations.columns.tolist()
    ['cells', 'distance', 'noise']
    >>> display.plot().axes_[0].get_xlabel()  # doctest: +SKIP
    'counts per cell'
    """

    def __init__(self, *, counts_per_cell, counts_per_gene, perturbations):
        self.counts_per_cell = counts_per_cell
        self.counts_per_gene = counts_per_gene
        self.perturbations = perturbations

    @classmethod
    def from_screen(cls, screen, *, target_sum="auto"):
        """Compute the numbers, reading the cells a block at a time.

        Parameters
        ----------
        screen : :class:`~sklearn.utils.Bunch`
            As given by `load_perturbseq` or `make_genetic_screen`.
        target_sum : float, None or "auto", default="auto"
            Before distances are taken, scale each cell to this sum and take
            log(1 + x). "auto" does it, to 10,000, where the values are raw counts.

        Returns
        -------
        display : CellScreenDisplay

        Raises
        ------
        ValueError
            If no cell is a control.

        Notes
        -----
        A distance is Euclidean, between the mean of a perturbation's cells and that of
        all controls, over genes. ``noise`` is the distance to expect from as many
        cells if the perturbation did nothing, the root of the variance of the two
        means. Contexts are pooled, so their mixture should not differ between
        perturbations.
        """
        if not screen.is_control.any():
            raise ValueError(
                "No cell is a control, and distances are measured from controls. See "
                "control_labels of PerturbationSchema."
            )
        y = open_cells(screen.y)
        if target_sum == "auto":
            target_sum = 1e4 if looks_like_counts(y) else None
        labels = screen.X[screen.schema.perturbation].to_numpy()
        codes, names = pd.factorize(np.where(screen.is_control, "", labels), sort=True)
        means, sizes = mean_by_group(y, codes, len(names), target_sum=target_sum)
        per_cell, per_gene, variance = _sums(y, screen.is_control, means[0], target_sum)
        # The controls come first: the empty name sorts before all others.
        distance = np.linalg.norm(means[1:] - means[0], axis=1)
        noise = np.sqrt(variance * (1 / sizes[1:] + 1 / sizes[0]))
        table = pd.DataFrame(
            {"cells": sizes[1:], "distance": distance, "noise": noise},
            index=pd.Index(names[1:], name=screen.schema.perturbation),
        )
        return cls(
            counts_per_cell=per_cell,
            counts_per_gene=per_gene,
            perturbations=table.sort_values("distance", ascending=False),
        )

    def plot(self, axes=None):
        """Draw.

        Parameters
        ----------
        axes : sequence of four matplotlib Axes, default=None
            None makes a figure.

        Returns
        -------
        self : CellScreenDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        axes = make_axes(axes, 2, 2, figsize=(10, 7))
        table = self.perturbations
        _histogram(axes[0], self.counts_per_cell, "counts per cell", "cells")
        _histogram(axes[1], self.counts_per_gene, "counts per gene", "genes")
        _histogram(axes[2], table["cells"], "cells per perturbation", "perturbations")
        ax = axes[3]
        rank = np.arange(1, len(table) + 1)
        ax.plot(rank, table["distance"], "o", markersize=3, label="measured")
        ax.plot(rank, table["noise"], "_", color="0.5", label="without any effect")
        ax.set(xlabel="perturbations by distance", ylabel="distance of centroids")
        ax.set_ylim(bottom=0)
        ax.legend(frameon=False, fontsize="small")
        self.axes_, self.figure_ = axes, axes[0].figure
        return self


def _sums(y, is_control, control_mean, target_sum):
    """Return the sums of rows and columns, and the total variance of controls."""
    per_cell = np.zeros(y.shape[0])
    per_gene = np.zeros(y.shape[1])
    squares = 0.0
    for rows, values in y.blocks():
        per_cell[rows] = np.asarray(values.sum(axis=1)).ravel()
        per_gene += np.asarray(values.sum(axis=0)).ravel()
        own = log_normalise(values[is_control[rows]], target_sum)
        squares += float((own * own).sum())
    n_controls = is_control.sum()
    total = squares - n_controls * float(control_mean @ control_mean)
    return per_cell, per_gene, max(total, 0.0) / max(n_controls - 1, 1)


def _histogram(ax, values, label, unit):
    """Draw a histogram, of logarithms where values span more than a decade."""
    values = np.asarray(values, dtype=float)
    positive = values[values > 0]
    bins = 40
    if len(positive) and positive.max() > 10 * positive.min():
        bins = np.geomspace(positive.min(), positive.max(), 41)
        _log_axis(ax, positive.max() / positive.min())
        if len(positive) < len(values):
            label += f" ({len(values) - len(positive)} at zero not shown)"
        values = positive
    ax.hist(values, bins=bins, color="tab:blue")
    if len(values):
        ax.axvline(np.median(values), color="0.3", linestyle=":")
    ax.set(xlabel=label, ylabel=unit)


def _log_axis(ax, span):
    """Label 1, 2 and 5 of each decade, or over a wide span 1 alone."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if span < 1000 else (1,)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
