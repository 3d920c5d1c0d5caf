"""Several estimators, weighted by how they predict rows that they have not seen."""

from itertools import pairwise
from numbers import Integral

import numpy as np
from joblib import delayed
from scipy.stats import rankdata
from sklearn.base import RegressorMixin, _fit_context, clone
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.metaestimators import _BaseComposition
from sklearn.utils.validation import check_is_fitted

from sklperturb.cells._files import gene_names
from sklperturb.conditions._documented import DocumentedMixin
from sklperturb.conditions._frames import with_columns
from sklperturb.conditions._named_predictions import NamedPredictionsMixin
from sklperturb.ensemble._weights import (
    RowMoments,
    Spectrum,
    carried_over,
    correlation_weights,
    greedy_weights,
    least_squares_weights,
    mrrmse_weights,
)
from sklperturb.model_selection._meta import (
    ShapedMixin,
    copy_feature_names,
    inherit_tags,
    out_of_fold,
)
from sklperturb.utils._calls import run_calls
from sklperturb.utils._grid import Grid


class BlendRegressor(
    ShapedMixin,
    DocumentedMixin,
    NamedPredictionsMixin,
    RegressorMixin,
    _BaseComposition,
):
    r"""Add up the predictions of several estimators with weights that suit the metric.

    The weights are learnt from out-of-fold predictions: those of training rows by
    estimators that were fitted on other rows. They are not negative and need not add
    up to one: estimators that shrink towards zero under-predict strong effects, and a
    sum above one undoes it.

    Parameters
    ----------
    estimators : list of (str, regressor), default=None
        Names and estimators. None is a `ProductKernelRidge` and an
        `AdditiveRegressor`.
    method : {"mrrmse", "spearman", "nnls", "greedy"}, default="mrrmse"
        "mrrmse" finds the weights of the least mean over rows of the RMSE, a convex
        problem. "spearman" finds those of the largest mean correlation of a row with
        the ranks of its responses. "nnls" is non-negative least squares [2]_, for
        squared error. "greedy" picks estimators one after another, with replacement, so
        that the mean RMSE falls most [1]_, and scales their average to the least error:
        fewer estimators, with a little more error.
    weights : array-like of shape (n_estimators,) or (n_estimators, n_bands), \
            default=None
        Weights to take as they are; nothing is then learnt, and nothing is fitted out
        of fold.
    bands : array-like of int, default=None
        Numbers of components of the training responses where a band of them ends, such
        as ``(10, 25, 50)`` for four bands. Estimators then have a weight in each band:
        what many responses have in common is predicted by all, the rest is mostly noise
        in some. None is one weight each.
    cv : int, splitter or iterable, default=None
        Folds of the out-of-fold predictions; they should hold out what will be asked,
        such as `UnseenPairKFold`. None and integers shuffle rows, 5 folds.
    n_rounds : int, default=20
        Picks of "greedy".
    n_jobs : int, default=None
        Number of fits at a time; None is 1 unless in a `joblib.parallel_config`.
    random_state : int, RandomState instance or None, default=None
        Shuffles the rows where `cv` is None or an integer.

    Attributes
    ----------
    weights_ : ndarray of shape (n_estimators,) or (n_estimators, n_bands)
    estimators_ : list of regressor
        Fitted on all rows. Estimators of weight zero are not fitted: None.
    spectrum_ : Spectrum or None
        The components that bands are made of.
    n_features_in_ : int
        Only if the fitted estimators have it.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Only if the fitted estimators have it.

    See Also
    --------
    SeedEnsembleRegressor : The same estimator with several seeds.
    sklearn.ensemble.StackingRegressor : Learns from the predictions of one output.

    References
    ----------
    .. [1] Caruana et al., "Ensemble selection from libraries of models", ICML 2004.
       :doi:`10.1145/1015330.1015432`
    .. [2] Breiman, "Stacked regressions", Machine Learning, 1996.
       :doi:`10.1007/BF00117832`

    Examples
    --------
    >>> from sklperturb.baseline import AdditiveRegressor, NoChangeRegressor
    >>> from sklperturb.datasets import make_chemical_screen
    >>> from sklperturb.ensemble import BlendRegressor
    >>> screen = make_chemical_screen(4, 20, 50, random_state=0)
    >>> parts = [("zero", NoChangeRegressor()), ("additive", AdditiveRegressor())]
    >>> blend = BlendRegressor(parts, random_state=0).fit(screen.X, screen.y)
    >>> blend.weights_.round(2)
    array([0.  , 0.36])
    """

    _parameter_constraints = {
        "estimators": [list, None],
        "method": [StrOptions({"mrrmse", "spearman", "nnls", "greedy"})],
        "weights": ["array-like", None],
        "bands": [Grid(), None],
        "cv": ["cv_object"],
        "n_rounds": [Interval(Integral, 1, None, closed="left")],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimators=None,
        *,
        method="mrrmse",
        weights=None,
        bands=None,
        cv=None,
        n_rounds=20,
        n_jobs=None,
        random_state=None,
    ):
        self.estimators = estimators
        self.method = method
        self.weights = weights
        self.bands = bands
        self.cv = cv
        self.n_rounds = n_rounds
        self.n_jobs = n_jobs
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y):
        """Learn the weights out of fold, then fit each estimator on all rows.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
            Whatever the estimators read.
        y : array-like of shape (n_samples,) or (n_samples, n_genes)
            Responses.

        Returns
        -------
        self : BlendRegressor

        Raises
        ------
        ValueError
            If there are no estimators, two have one name, `weights` are negative or
            not one for each, `bands` do not ascend, or ranks of one gene are asked for.
        """
        estimators = self._check_estimators()
        X, targets = self._check_rows(X, y)
        columns = gene_names(y)
        flat = targets.reshape(len(targets), -1)
        edges = check_bands(self.bands)
        self.spectrum_ = Spectrum(flat, edges) if edges else None
        shape = (len(estimators), len(edges) + 1)[: 2 if edges else 1]
        if self.weights is not None:
            self.weights_ = self._check_weights(shape)
        elif len(estimators) == 1 and not edges:
            self.weights_ = np.ones(1)
        else:
            self.weights_ = self._learn(estimators, X, flat, columns, edges).reshape(
                shape
            )
        used = self.weights_.reshape(len(estimators), -1).any(axis=1)
        used[0] |= not used.any()  # the shape of a prediction has to come from one
        targets = with_columns(targets, columns)
        calls = (
            delayed(_fit_if)(keep, estimator, X, targets)
            for keep, estimator in zip(used, estimators, strict=True)
        )
        shared = [X, targets]
        self.estimators_ = list(
            run_calls(calls, self.n_jobs, shared=shared, ordered=True)
        )
        copy_feature_names(self, next(e for e in self.estimators_ if e is not None))
        return self

    def predict(self, X):
        """Return the weighted sum of what the estimators predict.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)

        Returns
        -------
        y_pred : ndarray of shape (n_samples,) or (n_samples, n_genes)
        """
        check_is_fitted(self)
        fitted = [f for f in self.estimators_ if f is not None]
        weights = self.weights_[[f is not None for f in self.estimators_]]
        predictions = (self._shaped(f.predict(X)) for f in fitted)
        if self.spectrum_ is None:
            return sum(w * p for w, p in zip(weights, predictions, strict=True))
        predictions = list(predictions)
        rows = [p.reshape(len(p), -1) for p in predictions]
        return self.spectrum_.weigh(rows, weights).reshape(predictions[0].shape)

    def get_params(self, deep=True):
        """Return the parameters, and with `deep` those of the estimators by name.

        Parameters
        ----------
        deep : bool, default=True

        Returns
        -------
        params : dict
        """
        if self.estimators is None:
            return super().get_params(deep=False)
        return self._get_params("estimators", deep=deep)

    def set_params(self, **params):
        """Set parameters, and those of an estimator by its name.

        Parameters
        ----------
        **params : dict
            ``name=estimator`` replaces one, ``name__parameter=value`` changes it.

        Returns
        -------
        self : BlendRegressor
        """
        if self.estimators is None:
            return super().set_params(**params)
        return self._set_params("estimators", **params)

    def _default_estimators(self):
        from sklperturb.baseline import AdditiveRegressor
        from sklperturb.linear_model import ProductKernelRidge

        return [("kernel", ProductKernelRidge()), ("additive", AdditiveRegressor())]

    def _check_estimators(self):
        pairs = self.estimators
        if pairs is None:
            pairs = self._default_estimators()
        if not pairs:
            raise ValueError("estimators is empty; pass a list of (name, regressor).")
        names = [name for name, _ in pairs]
        self._validate_names(names)
        for name, estimator in pairs:
            if not HasMethods(["fit", "predict"]).is_satisfied_by(estimator):
                raise TypeError(
                    f"estimators[{name!r}] is {estimator!r}, which has no fit and "
                    "predict; pass regressors."
                )
        return [estimator for _, estimator in pairs]

    def _check_weights(self, shape):
        weights = np.array(self.weights, dtype=np.float64)
        if weights.shape != shape or not (weights >= 0).all():
            each = " in each band" if len(shape) == 2 else ""
            raise ValueError(
                f"weights={self.weights!r} must be numbers, 0 or more, of shape "
                f"{shape}: one for each estimator{each}."
            )
        return weights

    def _learn(self, estimators, X, targets, columns, edges):
        """Return the weights that suit held-out rows."""
        folds, predictions, truth = out_of_fold(
            estimators,
            X,
            targets,
            self.cv,
            columns=columns,
            n_jobs=self.n_jobs,
            random_state=self.random_state,
        )
        moments, by_rank, start = [], [], 0
        for train, test in folds:
            rows = slice(start, start + len(test))
            start += len(test)
            # Components of the fold's own training rows: those of all rows would know
            # the ones that are held out.
            spectrum = Spectrum(targets[train], edges)
            moments.append(spectrum.moments(truth[rows], predictions[:, rows]))
            if self.method == "spearman":
                ranks = centred_ranks(truth[rows])
                level = np.full(ranks.shape[1], ranks.shape[1] ** -0.5)
                by_rank.append(
                    spectrum.moments(ranks, predictions[:, rows], level=level)
                )
        moments = RowMoments.stacked(moments)
        match self.method:
            case "spearman":
                weights = correlation_weights(RowMoments.stacked(by_rank))
                weights = weights * moments.scale(weights)
            case "nnls":
                weights = least_squares_weights(moments)
            case "greedy":
                weights = greedy_weights(moments, self.n_rounds)
            case "mrrmse":
                weights = mrrmse_weights(moments)
        return carried_over(weights.reshape(len(estimators), -1), moments)

    def __sklearn_tags__(self):
        first = (self.estimators or self._default_estimators())[0][1]
        return inherit_tags(super().__sklearn_tags__(), first)


def centred_ranks(rows):
    """Return the ranks within each row, without their mean."""
    if rows.shape[1] < 2:
        raise ValueError(
            "Weights for 'spearman' rank the genes of each row, and y has one gene; "
            "choose them by another score."
        )
    ranks = rankdata(rows, axis=1)
    return ranks - ranks.mean(axis=1, keepdims=True)


def check_bands(bands):
    """Return the ends of bands as a list, or raise a ValueError."""
    edges = [] if bands is None else [int(edge) for edge in bands]
    if not np.array_equal(edges, [] if bands is None else bands) or any(
        high <= low for low, high in pairwise(edges)
    ):
        raise ValueError(
            f"bands={bands!r} must be whole numbers of components that ascend, such as "
            "(10, 25, 50)."
        )
    return edges


def _fit_if(wanted, estimator, X, y):
    return clone(estimator).fit(X, y) if wanted else None
