"""Do predicted perturbations lie among each other as the measured ones do?"""

import warnings

from scipy.stats import pearsonr
from sklearn.metrics import adjusted_mutual_info_score
from sklearn.utils._param_validation import validate_params

from sklperturb.metrics._cells import (
    cells_of,
    check_populations,
    check_same_conditions,
    rows_by_condition,
)
from sklperturb.metrics._populations import SAMPLING, mean_of_pairs
from sklperturb.utils._optional import import_extra

# The clusterings that are compared, as cell-eval 0.8 defines them.
_RESOLUTION, _RESOLUTIONS = 1.0, (0.2, 0.4, 0.6, 0.8, 1.0, 1.5, 2.0)
_N_NEIGHBORS = 15


@validate_params(SAMPLING, prefer_skip_nested_validation=True)
def energy_distance_correlation(
    y_true,
    y_pred,
    conditions,
    conditions_pred=None,
    *,
    control,
    max_cells=2000,
    random_state=0,
):
    """Correlate the strength of perturbations, measured and predicted.

    The strength is the energy distance of a perturbation's cells from the control
    cells of the same side; the correlation is Pearson's, over perturbations. With
    ``max_cells=None`` this is "pearson_edistance" of cell-eval 0.8.

    Parameters
    ----------
    y_true : array-like, sparse matrix or AnnData of shape (n_cells, n_features)
        Measured cells, controls among them.
    y_pred : array-like, sparse matrix or AnnData of shape (n_predicted, n_features)
        Predicted cells, controls among them.
    conditions : array-like of shape (n_cells,)
        The perturbation of each measured cell.
    conditions_pred : array-like of shape (n_predicted,), default=None
        The perturbation of each predicted cell. None takes `conditions`.
    control : str
        The label of the control cells.
    max_cells : int or None, default=2000
        Larger populations are sub-sampled to this size. None takes all cells, whose
        number enters quadratically into time.
    random_state : int, RandomState instance or None, default=0
        Seed of the sub-sampling.

    Returns
    -------
    correlation : float
        Between -1 and 1; 1 is best. NaN if all perturbations of a side are equally
        far from the control.

    Raises
    ------
    ValueError
        If a side lacks the control, the sides hold different perturbations, or fewer
        than two.

    See Also
    --------
    energy_distance : Of two populations.

    Notes
    -----
    A prediction can have all perturbations move in the wrong direction and still
    reach 1, since only the size of the distances is compared.

    References
    ----------
    .. [1] Szekely and Rizzo. "Energy statistics: A class of statistics based on
       distances". Journal of Statistical Planning and Inference 143, 2013.
       :doi:`10.1016/j.jspi.2013.03.018`

    Examples
    --------
    >>> from sklperturb.metrics import energy_distance_correlation
    >>> cells = [[0.0], [1.0], [2.0], [3.0], [5.0], [6.0], [9.0], [9.5]]
    >>> labels = ["control", "control", "A", "A", "B", "B", "C", "C"]
    >>> energy_distance_correlation(cells, cells, labels, control="control")
    1.0
    """
    if conditions_pred is None:
        conditions_pred = conditions
    first, second = (
        _strengths(cells, labels, control, max_cells, random_state)
        for cells, labels in ((y_true, conditions), (y_pred, conditions_pred))
    )
    check_same_conditions(first, second)
    if len(first) < 2:
        raise ValueError(f"{len(first)} perturbation(s); a correlation needs two.")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=RuntimeWarning)
        return float(pearsonr(list(first.values()), list(second.values())).statistic)


def clustering_agreement(pseudobulk_true, pseudobulk_pred, *, control):
    """Compare how measured and predicted perturbations fall into clusters.

    Leiden clusters of the measured pseudobulks are compared, by adjusted mutual
    information, with those of the predicted ones at seven resolutions, and the best of
    these counts: "clustering_agreement" of cell-eval 0.8. Clusters are found by scanpy.

    Parameters
    ----------
    pseudobulk_true, pseudobulk_pred : DataFrame of shape (n_perturbations + 1, n_genes)
        Means of log1p-normalised cells, indexed by perturbation. The row of the
        control, if there is one, is left out.
    control : str
        Name of the control's row.

    Returns
    -------
    agreement : float
        Between 0 and 1; 1 is best.

    Raises
    ------
    ImportError
        If scanpy or igraph is not installed.
    ValueError
        If the pseudobulks hold different perturbations or genes, or fewer than three
        perturbations.

    Notes
    -----
    The best of seven is taken with the truth at hand, which favours predictions whose
    clusters depend on the resolution; and few perturbations make few clusters, for
    which the agreement is 0 or 1. Prefer
    :func:`~sklperturb.metrics.discrimination_score`.

    References
    ----------
    .. [1] Traag, Waltman and van Eck. "From Louvain to Leiden: guaranteeing
       well-connected communities". Scientific Reports 9, 2019.
       :doi:`10.1038/s41598-019-41695-z`
    .. [2] Wolf, Angerer and Theis. "SCANPY: large-scale single-cell gene expression
       data analysis". Genome Biology 19, 2018.
       :doi:`10.1186/s13059-017-1382-0`

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from sklperturb.metrics import clustering_agreement
    >>> bulks = np.random.default_rng(0).normal(size=(60, 5))
    >>> bulks[:30] += 6
    >>> bulks = pd.DataFrame(bulks, index=[f"P{i}" for i in range(60)])
    >>> clustering_agreement(bulks, bulks, control="control")
    1.0
    """
    truth, prediction = (
        side.drop(index=control, errors="ignore").sort_index()
        for side in (pseudobulk_true, pseudobulk_pred)
    )
    for kind, here, there in (
        ("perturbations", truth.index, prediction.index),
        ("genes", truth.columns, prediction.columns),
    ):
        if not here.equals(there):
            raise ValueError(
                f"The pseudobulks must hold the same {kind}, genes in the same order; "
                f"they hold {len(here)} and {len(there)}."
            )
    if len(truth) < 3:
        raise ValueError(f"{len(truth)} perturbation(s); clusters need three.")
    measured = _clusters(truth, [_RESOLUTION])[0]
    scores = [
        adjusted_mutual_info_score(measured, labels)
        for labels in _clusters(prediction, _RESOLUTIONS)
    ]
    return float(max(0.0, *scores))


def _strengths(cells, labels, control, max_cells, random_state):
    """Return {perturbation: energy distance from the control}."""
    cells = cells_of(cells)
    rows = rows_by_condition(labels, cells.shape[0], "conditions")
    if control not in rows:
        raise ValueError(
            f"control={control!r} is not among the conditions: {list(rows)[:5]}."
        )
    own = cells.rows(rows.pop(control))
    own, _ = check_populations(own, own, max_cells, random_state)
    within = mean_of_pairs(own)
    found = {}
    for name, part in rows.items():
        _, y = check_populations(own, cells.rows(part), max_cells, random_state)
        found[name] = 2 * mean_of_pairs(own, y) - within - mean_of_pairs(y)
    return found


def _clusters(bulks, resolutions):
    """Return the Leiden clusters of the rows, one array per resolution."""
    scanpy = import_extra("clustering_agreement", "cluster", "scanpy", "igraph")
    from anndata import AnnData

    rows = AnnData(bulks.to_numpy(dtype="float64"))
    n_neighbors = min(_N_NEIGHBORS, len(bulks) - 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scanpy.pp.neighbors(rows, n_neighbors=n_neighbors, use_rep="X")
        for resolution in resolutions:
            scanpy.tl.leiden(
                rows,
                resolution=resolution,
                key_added=str(resolution),
                flavor="igraph",
                n_iterations=2,
            )
    return [rows.obs[str(resolution)].to_numpy() for resolution in resolutions]
