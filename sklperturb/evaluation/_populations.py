"""Scores of predicted cells that need no genes: populations in any space."""

import numpy as np
import pandas as pd

from sklperturb.evaluation._paired import aligned_bulks, score_frame
from sklperturb.metrics._discrimination import discrimination_score
from sklperturb.metrics._effects import pearson_delta
from sklperturb.metrics._populations import POPULATION_METRICS

_METRICS = ("energy", "sliced_wasserstein", "variance_ratio")


def population_metrics(pseudobulk_true, pseudobulk_pred, distances, *, control):
    """Compute scores of populations of cells, in an embedding or of genes.

    Parameters
    ----------
    pseudobulk_true, pseudobulk_pred : DataFrame of shape (n_perturbations + 1, \
            n_features)
        Means of cells, indexed by perturbation. The control's row of the truth serves
        both sides; that of the prediction may be missing.
    distances : DataFrame of shape (n_perturbations, n_metrics)
        Table of :func:`~sklperturb.metrics.population_scores` with the columns
        "energy", "sliced_wasserstein" and "variance_ratio".
    control : str
        Name of the control's row.

    Returns
    -------
    scores : DataFrame
        Indexed by perturbation: the three columns of `distances`; "variance_error",
        how far the ratio is from 1; "discrimination" by cosine of the effects; and
        "pearson_delta" from the mean of the measured perturbations, NaN where that
        leaves no effect, as with a single perturbation.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklperturb.evaluation import population_metrics
    >>> bulks = pd.DataFrame([[1.0, 1], [1, 3], [2, 1]], index=["ctrl", "A", "B"])
    >>> distances = pd.DataFrame({"energy": [0.1, 0.2],
    ...                           "sliced_wasserstein": [0.3, 0.4],
    ...                           "variance_ratio": [0.5, 1.0]}, index=["A", "B"])
    >>> scores = population_metrics(bulks, bulks, distances, control="ctrl")
    >>> scores[["variance_error", "discrimination"]]
                  variance_error  discrimination
    perturbation
    A                        0.5             1.0
    B                        0.0             1.0
    """
    bulks, effects = aligned_bulks(pseudobulk_true, pseudobulk_pred, control)
    distances = distances.loc[bulks[0].index]
    has_effect = np.ptp((bulks[0] - bulks[0].mean()).to_numpy(), axis=1) > 0
    return score_frame(
        distances.index,
        **{name: distances[name].to_numpy() for name in _METRICS},
        variance_error=(distances["variance_ratio"] - 1).abs().to_numpy(),
        discrimination=discrimination_score(*effects),
        pearson_delta=np.where(has_effect, pearson_delta(*bulks), np.nan),
    )


def distances_of(true, pred, control):
    """Return the distances of two `Population`, one perturbation in memory at a time.

    Returns
    -------
    distances : DataFrame of shape (n_perturbations, n_metrics)
    """
    names = [name for name in true.rows if name != control]
    table = [
        [POPULATION_METRICS[metric](*cells) for metric in _METRICS]
        for cells in ((true.cells_of(name), pred.cells_of(name)) for name in names)
    ]
    return pd.DataFrame(table, index=names, columns=list(_METRICS))
