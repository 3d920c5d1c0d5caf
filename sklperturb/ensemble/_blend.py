"""Several estimators, weighted by how they predict rows that they have not seen."""

from numbers import Integral

import numpy as np
from joblib import Parallel, delayed
from scipy.optimize import minimize, minimize_scalar, nnls
from sklearn.base import RegressorMixin, _fit_context, clone
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.metaestimators import _BaseComposition
from sklearn.utils.validation import check_is_fitted

from sklperturb.ensemble._meta import (
    check_rows,
    copy_feature_names,
    inherit_tags,
    out_of_fold,
)


class BlendRegressor(RegressorMixin, _BaseComposition):
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
    method : {"mrrmse", "greedy", "nnls"}, default="mrrmse"
        "mrrmse" finds the weights of the least mean over rows of the RMSE, a convex
        problem. "greedy" picks estimators one after another, with replacement, so that
        it falls most [1]_, and scales their average to the least error: fewer
        estimators, with a little more error. "nnls" is non-negative least squares
        [2]_, for squared error.
    weights : array-like of shape (n_estimators,), default=None
        Weights to take as they are; nothing is then learnt, and nothing is fitted out
        of fold.
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
    weights_ : ndarray of shape (n_estimators,)
    estimators_ : list of regressor
        Fitted on all rows. Estimators of weight zero are not fitted: None.
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
        "method": [StrOptions({"mrrmse", "greedy", "nnls"})],
        "weights": ["array-like", None],
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
        cv=None,
        n_rounds=20,
        n_jobs=None,
        random_state=None,
    ):
        self.estimators = estimators
        self.method = method
        self.weights = weights
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
            If there are no estimators, two have one name, or `weights` are negative
            or not one for each.
        """
        estimators = self._check_estimators()
        X, targets = check_rows(self, X, y)
        if self.weights is not None:
            self.weights_ = self._check_weights(len(estimators))
        elif len(estimators) == 1:
            self.weights_ = np.ones(1)
        else:
            _, predictions, truth = out_of_fold(
                estimators,
                X,
                targets,
                self.cv,
                n_jobs=self.n_jobs,
                random_state=self.random_state,
            )
            if self.method == "greedy":
                self.weights_ = greedy_weights(truth, predictions, self.n_rounds)
            else:
                learn = {"mrrmse": mrrmse_weights, "nnls": least_squares_weights}
                self.weights_ = learn[self.method](truth, predictions)
        used = self.weights_ > 0
        used[0] |= not used.any()  # the shape of a prediction has to come from one
        self.estimators_ = Parallel(n_jobs=self.n_jobs)(
            delayed(_fit_if)(keep, estimator, X, targets)
            for keep, estimator in zip(used, estimators, strict=True)
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
        return sum(
            weight * fitted.predict(X)
            for weight, fitted in zip(self.weights_, self.estimators_, strict=True)
            if fitted is not None
        )

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

    def _check_weights(self, n_estimators):
        weights = np.array(self.weights, dtype=np.float64)
        if weights.shape != (n_estimators,) or not (weights >= 0).all():
            raise ValueError(
                f"weights={self.weights!r} must be {n_estimators} numbers, 0 or more: "
                "one for each estimator."
            )
        return weights

    def __sklearn_tags__(self):
        first = (self.estimators or self._default_estimators())[0][1]
        return inherit_tags(super().__sklearn_tags__(), first)


def least_squares_weights(truth, predictions):
    """Return the non-negative weights of least squared error over all genes."""
    flat = predictions.reshape(len(predictions), -1)
    # The normal equations: as many unknowns as estimators, however many genes.
    gram, moment = flat @ flat.T, flat @ truth.ravel()
    gram[np.diag_indices_from(gram)] += 1e-10 * max(gram.trace(), 1e-300)
    root = np.linalg.cholesky(gram)
    return nnls(root.T, np.linalg.solve(root, moment))[0]


def mrrmse_weights(truth, predictions):
    """Return the non-negative weights of the least mean of the rows' RMSE.

    The mean of norms of linear functions is convex, so that any descent finds its
    least value.
    """
    errors = _RowErrors(truth, predictions)
    n_estimators = len(predictions)
    found = minimize(
        errors.with_gradient,
        np.zeros(n_estimators),  # what changes nothing stays out
        jac=True,
        bounds=[(0, None)] * n_estimators,
        method="L-BFGS-B",
    ).x
    # What is left of an estimator that the descent was about to drop.
    return np.where(found > 1e-3 * found.max(), found, 0.0)


def greedy_weights(truth, predictions, n_rounds=20):
    """Return the weights of greedy selection by the mean of the rows' RMSE."""
    errors = _RowErrors(truth, predictions)
    n_estimators = len(predictions)
    picked = np.zeros(n_estimators)
    best_weights, best_error = picked, np.inf
    for n_picked in range(1, n_rounds + 1):
        candidates = (picked + np.eye(n_estimators)) / n_picked
        found = [errors(weights) for weights in candidates]
        winner = int(np.argmin(found))
        picked = candidates[winner] * n_picked
        if found[winner] < best_error:
            best_weights, best_error = candidates[winner], found[winner]
    # A mean of norms is convex in the scale: one search finds the least.
    scale = minimize_scalar(
        lambda factor: errors(factor * best_weights), bounds=(0, 3), method="bounded"
    ).x
    return scale * best_weights


class _RowErrors:
    """The mean of the rows' RMSE as a function of the weights.

    Each row's squared error is quadratic in the weights, so that its few coefficients
    stand for all genes and trying weights costs nothing.
    """

    def __init__(self, truth, predictions):
        self.gram = np.einsum("mrg,nrg->rmn", predictions, predictions, optimize=True)
        self.moment = np.einsum("mrg,rg->rm", predictions, truth, optimize=True)
        self.energy = np.einsum("rg,rg->r", truth, truth)
        self.n_genes = truth.shape[1]

    def __call__(self, weights):
        squared = (
            self.energy
            - 2 * self.moment @ weights
            + np.einsum("rmn,m,n->r", self.gram, weights, weights)
        )
        return np.sqrt(np.maximum(squared, 0) / self.n_genes).mean()

    def with_gradient(self, weights):
        """Return the error, and its derivative by each weight."""
        projected = self.gram @ weights
        squared = self.energy + (projected - 2 * self.moment) @ weights
        rows = np.sqrt(np.maximum(squared, 1e-12 * self.energy) / self.n_genes)
        # A row that is predicted without error has no slope.
        slope = np.divide(1, rows * self.n_genes, out=0 * rows, where=rows > 0)
        return rows.mean(), slope @ (projected - self.moment) / len(rows)


def _fit_if(wanted, estimator, X, y):
    return clone(estimator).fit(X, y) if wanted else None
