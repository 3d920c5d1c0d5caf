"""What all plots have in common."""

import numpy as np


def make_axes(axes, n_rows, n_columns, **options):
    """Return the axes given, or those of a new figure, as an array and without frames.

    Raises
    ------
    ImportError
        If a figure is needed and matplotlib is not installed.
    """
    if axes is None:
        try:
            from matplotlib import pyplot
        except ImportError as error:
            raise ImportError(
                'Plots need matplotlib; run: pip install "sklperturb[plot]"'
            ) from error
        _, axes = pyplot.subplots(n_rows, n_columns, layout="constrained", **options)
    axes = np.ravel(axes)
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
    return axes
