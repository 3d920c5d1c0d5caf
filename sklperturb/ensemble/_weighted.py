"""Fit predictions to a squared error that weighs each gene of each row."""

import numpy as np
from sklearn.base import _fit_context
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_is_fitted

from sklperturb.conditions._frames import as_pandas
from sklperturb.metrics import WeightedMSEScorer, differential_weights
from sklperturb.model_selection._meta import MetaRegressor

CENTRES = ("mean", "weighted")


class WeightedErrorRegressor(MetaRegressor):
    r"""Stretch predictions of any estimator for the least weighted error.

    Where strong responses weigh more, as in the error of VCPI 2026 (wMSE), estimators
    that are fitted to the plain error predict too little of what they know. Out of
    fold, this one learns the factor by which predictions are moved away from a centre
    of each gene:

    .. math::
        \hat y_{ij} = c_j + b \, (f_{ij} - d_j)

    Parameters
    ----------
    estimator : regressor, default=None
        Predicts :math:`f`, fitted as it is. None is ``Ridge()``.
    weights : DataFrame of shape (n_labels, n_genes), or array-like of shape \
            (n_genes,), default=None
        As in :class:`~sklperturb.metrics.WeightedMSEScorer`. None makes them of the
        training responses in the contest's way, but without replicates: what a gene
        differs from its mean, in its standard deviations, by `differential_weights`.
    by : str, int or None, default=None
        Column of `X` with the labels of `weights`.
    centre : {"auto", "mean", "weighted"}, default="auto"
        Centres of the genes: their means, or the weighted means of responses, for
        :math:`c`, and of predictions, for :math:`d`, which are better where there are
        many rows and follow a few of them where there are not. "auto" chooses by the
        error on each fold of the map of the others; of one fold it is "mean".
    cv : int, splitter or iterable, default=None
        Folds on which the map is learnt. None and integers shuffle rows, 5 folds.
    n_jobs : int, default=None
        Number of fits at a time; None is 1 unless in a `joblib.parallel_config`.
    random_state : int, RandomState instance or None, default=None
        Shuffles the rows where `cv` is None or an integer.

    Attributes
    ----------
    estimator_ : regressor
    factor_ : float
        :math:`b`, at least 0; above 1 where predictions are stretched.
    centre_, origin_ : ndarray of shape (n_genes,)
        :math:`c` and :math:`d`.
    n_features_in_ : int
        Only if the fitted estimator has it.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Only if the fitted estimator has it.

    See Also
    --------
    RescaledRegressor : A factor for the error of the OP2 benchmark.
    sklperturb.metrics.weighted_mean_squared_error : The error.

    Notes
    -----
    Scaling genes by the root of their weights before a fit is another way to a weighted
    error, and needs no estimator: it changes nothing where all genes have one linear
    smoother, as in kernel methods.

    Examples
    --------
    >>> from sklperturb.baseline import AdditiveRegressor
    >>> from sklperturb.datasets import make_chemical_screen
    >>> from sklperturb.ensemble import WeightedErrorRegressor
    >>> screen = make_chemical_screen(4, 20, 50, random_state=0)
    >>> model = WeightedErrorRegressor(AdditiveRegressor(), random_state=0)
    >>> bool(model.fit(screen.X, screen.y).factor_ > 0)
    True
    """

    _parameter_constraints = {
        **MetaRegressor._parameter_constraints,
        "weights": ["array-like", None],
        "by": [str, int, None],
        "centre": [StrOptions({"auto", *CENTRES})],
    }

    def __init__(
        self,
        estimator=None,
        weights=None,
        *,
        by=None,
        centre="auto",
        cv=None,
        n_jobs=None,
        random_state=None,
    ):
        self.estimator = estimator
        self.weights = weights
        self.by = by
        self.centre = centre
        self.cv = cv
        self.n_jobs = n_jobs
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y):
        """Learn the map out of fold, then fit the estimator on all rows.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
            Whatever the estimator reads, and the labels of the weights.
        y : array-like of shape (n_samples,) or (n_samples, n_genes)
            Responses.

        Returns
        -------
        self : WeightedErrorRegressor

        Raises
        ------
        ValueError
            If a row has no weights, or theirs are for other genes.
        """
        X, targets = self._check_rows(X, y)
        weights = self._weights_of(X, as_pandas(y), targets.reshape(len(targets), -1))
        folds, predicted, truth = self._out_of_fold(X, targets, y)
        weights = weights[np.concatenate([test for _, test in folds])]
        parts = [weights, predicted, truth]
        kinds = list(CENTRES) if self.centre == "auto" else [self.centre]
        if len(kinds) > 1 and len(folds) > 1:
            ends = np.cumsum([len(test) for _, test in folds])
            kinds.sort(key=lambda kind: _held_out_error(parts, ends, kind))
        self.centre_, self.origin_, self.factor_ = _fit_map(*parts, kinds[0])
        self._fit_estimator(X, y)
        return self

    def predict(self, X):
        """Return the stretched predictions.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)

        Returns
        -------
        y_pred : ndarray of shape (n_samples,) or (n_samples, n_genes)
        """
        check_is_fitted(self)
        y_pred = self._shaped(self.estimator_.predict(X)).astype(np.float64)
        moved = y_pred.reshape(len(y_pred), -1) - self.origin_
        return (self.centre_ + self.factor_ * moved).reshape(y_pred.shape)

    def _weights_of(self, X, y, targets):
        """Return weights of the training rows, of sum 1 in a row."""
        if self.weights is None:
            spread = targets.std(axis=0)
            deviations = targets - targets.mean(axis=0)
            weights = differential_weights(deviations / np.where(spread > 0, spread, 1))
        else:
            scorer = WeightedMSEScorer(self.weights, by=self.by)
            weights = scorer.weights_for(X, y)
        return weights / weights.sum(axis=1, keepdims=True)


def _fit_map(weights, predicted, truth, kind):
    """Return the centres of responses and of predictions by gene, and the factor."""
    if kind == "weighted":
        # A gene that nothing weighs is centred as if all rows did alike.
        by_gene = np.where(weights.any(axis=0), weights, 1.0)
        centre, origin = (
            np.average(side, axis=0, weights=by_gene) for side in (truth, predicted)
        )
    else:
        centre = origin = truth.mean(axis=0)
    moved = predicted - origin
    spread = np.vdot(weights, moved**2)
    together = np.vdot(weights, moved * (truth - centre))
    factor = max(float(together / spread), 0.0) if spread > 0 else 1.0
    return centre, origin, factor


def _held_out_error(parts, ends, kind):
    """Return the weighted error of the rows of each fold, by the map of the others."""
    error, start = 0.0, 0
    for end in ends:
        inside = np.arange(start, end)
        others = [np.delete(part, inside, axis=0) for part in parts]
        centre, origin, factor = _fit_map(*others, kind)
        weights, predicted, truth = (part[inside] for part in parts)
        y_pred = centre + factor * (predicted - origin)
        error += np.vdot(weights, (truth - y_pred) ** 2)
        start = end
    return error
