"""Discrimination of perturbations: is a prediction nearest to its own truth?"""

import numpy as np
import pandas as pd
from sklearn.metrics import pairwise_distances
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import StrOptions, validate_params

from sklperturb.conditions._labels import parts_of
from sklperturb.metrics._checks import finite_pair, without_annotation

_METRICS = {"cosine": "cosine", "l1": "manhattan", "l2": "euclidean"}


@validate_params(
    {
        "metric": [StrOptions(set(_METRICS))],
        "exclude": [StrOptions({"panel", "own"}), None],
        "ties": [StrOptions({"mean", "first", "worst"})],
        "count_own": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def discrimination_score(
    y_true,
    y_pred,
    *,
    metric="cosine",
    targets=None,
    genes=None,
    exclude="panel",
    ties="mean",
    count_own=False,
):
    r"""Compute for each perturbation whether its prediction is nearest to its truth.

    The predicted effect of a perturbation is compared with the measured effects of
    all perturbations. With :math:`r` of them nearer than its own,

    .. math::
        s = 1 - \frac{r}{K - 1}.

    Parameters
    ----------
    y_true : array-like or DataFrame of shape (n_perturbations, n_genes)
        Measured effects: pseudobulk less that of the control.
    y_pred : array-like or DataFrame of shape (n_perturbations, n_genes)
        Predicted effects, in the same order, from the same measured control.
    metric : {"cosine", "l1", "l2"}, default="cosine"
        The distance. Only the cosine does not depend on the size of the predicted
        effects, which L1 rewards.
    targets : sequence of str, or of lists of str, default=None
        The target gene or genes of each perturbation, which are left out of the
        comparison: that a knock-down lowers its own target is no prediction. None
        takes the index of `y_true`, split at "+", if it is a DataFrame; else no gene
        is left out. A name that is no gene leaves out nothing.
    genes : sequence of str, default=None
        Names of the columns. None takes the columns of `y_true` if it is a DataFrame.
    exclude : {"panel", "own", None}, default="panel"
        "panel" leaves the targets of all perturbations out of all comparisons. "own"
        leaves a perturbation's target out of its own comparisons only, where the
        targets of the others still give them away.
    ties : {"mean", "first", "worst"}, default="mean"
        Rank of a truth that is as near as others: the mean of their ranks, the rank
        in order of rows, or the last. With "first" a prediction without information
        wins or loses by its place in the alphabet.
    count_own : bool, default=False
        If True, the rank is divided by :math:`K` and not by :math:`K - 1`: the worst
        score is then :math:`1/K` and chance above 0.5.

    Returns
    -------
    scores : ndarray of shape (n_perturbations,)
        1 is best, 0.5 is chance. A single perturbation scores 1.

    Raises
    ------
    ValueError
        If the inputs differ in shape or genes, or an option is not known.

    See Also
    --------
    centroid_accuracy : On profiles and not on effects.
    retrieval_rank : Ranks predictions for each truth, and smaller is better.

    Examples
    --------
    >>> from sklperturb.metrics import discrimination_score
    >>> y_true = [[2.0, 0.0], [0.0, 2.0], [-1.0, 0.0]]
    >>> y_pred = [[1.0, 0.1], [1.0, 0.0], [0.0, 0.0]]
    >>> discrimination_score(y_true, y_pred)
    array([1. , 0.5, 0.5])
    """
    truth, prediction, genes, targets = _effects(y_true, y_pred, genes, targets)
    if exclude is None or targets is None or genes is None:
        distances = _distances(prediction, truth, metric)
    elif exclude == "panel":
        kept = ~target_mask(targets, genes).any(axis=0)
        if not kept.any():
            raise ValueError(
                "Every gene is the target of a perturbation, so that none is left to "
                'compare. Pass exclude="own" or more genes.'
            )
        distances = _distances(prediction[:, kept], truth[:, kept], metric)
    else:
        distances = _distances(prediction, truth, metric)
        for row, own in enumerate(target_mask(targets, genes)):
            if own.any():
                sides = prediction[[row]], truth
                distances[row] = _distances(*(s[:, ~own] for s in sides), metric)
    n_others = len(truth) - (not count_own)
    if n_others == 0:
        return np.ones(1)
    return 1.0 - _own_rank(distances, ties) / n_others


def centroid_accuracy(y_true, y_pred):
    r"""Compute the share of other truths that are farther than a prediction's own.

    Parameters
    ----------
    y_true : array-like or DataFrame of shape (n_perturbations, n_genes)
        Measured pseudobulks (centroids of cells), one row per perturbation.
    y_pred : array-like or DataFrame of shape (n_perturbations, n_genes)
        Predicted pseudobulks, in the same order.

    Returns
    -------
    accuracy : ndarray of shape (n_perturbations,)
        1 is best. By Euclidean distance; a tie is no success, so that a prediction
        equal for all perturbations still averages 0.5.

    See Also
    --------
    discrimination_score : On effects, with the targets left out.

    References
    ----------
    .. [1] Vinas Torne et al. "Systema". Nature Biotechnology, 2025.
       :doi:`10.1038/s41587-025-02777-8`

    Examples
    --------
    >>> from sklperturb.metrics import centroid_accuracy
    >>> centroid_accuracy([[0.0], [1.0], [5.0]], [[0.2], [4.0], [4.0]])
    array([1. , 0.5, 1. ])
    """
    return discrimination_score(y_true, y_pred, metric="l2", exclude=None, ties="worst")


@validate_params(
    {"metric": [StrOptions(set(_METRICS))], "random_state": ["random_state"]},
    prefer_skip_nested_validation=True,
)
def retrieval_rank(y_true, y_pred, *, metric="l2", random_state=0):
    """Compute how many other predictions are nearer to a truth than its own.

    Parameters
    ----------
    y_true : array-like or DataFrame of shape (n_perturbations, n_genes)
        Measured pseudobulks for "l2" and "l1" (root mean squared error gives the same
        ranks as "l2"), log fold changes for "cosine".
    y_pred : array-like or DataFrame of shape (n_perturbations, n_genes)
        Predicted ones, in the same order.
    metric : {"l2", "l1", "cosine"}, default="l2"
    random_state : int, RandomState instance or None, default=0
        Ties are put in random order with this seed.

    Returns
    -------
    ranks : ndarray of shape (n_perturbations,)
        0-based rank divided by the number of perturbations; 0 is best, 0.5 chance.

    See Also
    --------
    discrimination_score : Ranks truths for each prediction, and greater is better.

    References
    ----------
    .. [1] Wu et al. "PerturBench: Benchmarking machine learning models for cellular
       perturbation analysis". arXiv 2408.10609, 2024.

    Examples
    --------
    >>> from sklperturb.metrics import retrieval_rank
    >>> retrieval_rank([[0.0], [1.0], [5.0], [7.0]], [[0.2], [4.0], [4.6], [6.0]])
    array([0.  , 0.25, 0.  , 0.  ])
    """
    truth, prediction, _, _ = _effects(y_true, y_pred, None, None)
    distances = _distances(truth, prediction, metric)
    order = check_random_state(random_state).permutation(len(truth))
    ranks = _own_rank(distances[np.ix_(order, order)], "first") / len(truth)
    shuffled = np.empty_like(ranks)
    shuffled[order] = ranks
    return shuffled


def _effects(y_true, y_pred, genes, targets):
    """Return both as float64 in one order of genes, with names where there are any."""
    y_true = without_annotation(y_true)
    truth, prediction = finite_pair(y_true, y_pred)
    if isinstance(y_true, pd.DataFrame):
        genes = list(y_true.columns) if genes is None else genes
        targets = list(y_true.index) if targets is None else targets
    for name, values, n in (
        ("genes", genes, truth.shape[1]),
        ("targets", targets, len(truth)),
    ):
        if values is not None and len(values) != n:
            raise ValueError(
                f"{name} has {len(values)} entries; the effects of shape {truth.shape} "
                f"need {n}."
            )
    return truth, prediction, genes, targets


def target_mask(targets, genes):
    """Return which genes are targets of each perturbation, one row for each."""
    genes = pd.Index([str(gene) for gene in genes])
    mask = np.zeros((len(targets), len(genes)), dtype=bool)
    for row, target in enumerate(targets):
        if np.isscalar(target):
            # A gene whose own name holds a "+" is looked up as it is.
            target = [str(target), *parts_of(target)]
        at = genes.get_indexer_for([str(name) for name in target])
        mask[row, at[at >= 0]] = True
    return mask


def _distances(left, right, metric):
    if metric != "cosine":
        return pairwise_distances(left, right, metric=_METRICS[metric])
    # Vectors of zeros are at distance 1 from all.
    products = left @ right.T
    scale = np.outer(*(np.linalg.norm(side, axis=1) for side in (left, right)))
    return 1.0 - np.divide(products, scale, np.zeros_like(products), where=scale > 0)


def _own_rank(distances, ties):
    """Return the 0-based rank of each diagonal entry in its row."""
    own = np.diagonal(distances)[:, None]
    nearer = (distances < own).sum(axis=1)
    equal = distances == own
    if ties == "mean":
        return nearer + (equal.sum(axis=1) - 1) / 2
    if ties == "worst":
        return nearer + equal.sum(axis=1) - 1.0
    return nearer + np.tril(equal, -1).sum(axis=1).astype(np.float64)
