"""Undo the shrinkage of an estimator, and keep predictions in the range seen."""

import numpy as np
from sklearn.base import _fit_context
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_is_fitted

from sklperturb.model_selection._meta import MetaRegressor
from sklperturb.utils._grid import Grid


class RescaledRegressor(MetaRegressor):
    """Multiply predictions by a factor and clip them gene by gene.

    Estimators fitted to squared error shrink strong effects towards zero, and the
    competition's best submissions were multiplied by 1.2 to 1.3 for it. Whether that
    helps depends on the estimator and on the screen; here it is chosen by
    cross-validation inside `fit`, as is clipping each gene to the range that it had in
    the training rows.

    Parameters
    ----------
    estimator : regressor, default=None
        None is ``Ridge()``.
    factors : array-like of float, default=(0.9, 1.0, 1.1, 1.2, 1.3)
        Factors to choose from; with one there is no choice to make.
    clip : {"auto"} or bool, default="auto"
        Whether each gene is limited to its range in the training rows. "auto" chooses.
    cv : int, splitter or iterable, default=None
        Folds on which the choice is made. None and integers shuffle rows, 5 folds.
    n_jobs : int, default=None
        Number of fits at a time; None is 1 unless in a `joblib.parallel_config`.
    random_state : int, RandomState instance or None, default=None
        Shuffles the rows where `cv` is None or an integer.

    Attributes
    ----------
    estimator_ : regressor
    factor_ : float
    clip_ : bool
    range_ : tuple of two ndarray of shape (n_genes,)
        Least and largest training response.
    errors_ : dict
        The mean of the held-out rows' RMSE of each (factor, clip), where there was a
        choice.
    n_features_in_ : int
        Only if the fitted estimator has it.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Only if the fitted estimator has it.

    See Also
    --------
    BlendRegressor : Its weights undo shrinkage of several estimators at once.

    Examples
    --------
    >>> from sklperturb.baseline import AdditiveRegressor
    >>> from sklperturb.datasets import make_chemical_screen
    >>> from sklperturb.ensemble import RescaledRegressor
    >>> screen = make_chemical_screen(4, 20, 50, random_state=0)
    >>> model = RescaledRegressor(AdditiveRegressor(), random_state=0)
    >>> model.fit(screen.X, screen.y).factor_
    0.9
    """

    _parameter_constraints = {
        **MetaRegressor._parameter_constraints,
        "factors": [Grid()],
        "clip": [StrOptions({"auto"}), "boolean"],
    }

    def __init__(
        self,
        estimator=None,
        factors=(0.9, 1.0, 1.1, 1.2, 1.3),
        *,
        clip="auto",
        cv=None,
        n_jobs=None,
        random_state=None,
    ):
        self.estimator = estimator
        self.factors = factors
        self.clip = clip
        self.cv = cv
        self.n_jobs = n_jobs
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y):
        """Choose factor and clipping out of fold, then fit on all rows.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
            Whatever the estimator reads.
        y : array-like of shape (n_samples,) or (n_samples, n_genes)
            Responses.

        Returns
        -------
        self : RescaledRegressor

        Raises
        ------
        ValueError
            If `factors` is empty or holds anything but positive numbers.
        """
        factors = list(self.factors)
        X, targets = self._check_rows(X, y)
        clips = [False, True] if self.clip == "auto" else [self.clip]
        self.errors_ = {}
        self.factor_, self.clip_ = float(factors[0]), bool(clips[0])
        if len(factors) * len(clips) > 1:
            self._choose(X, targets.reshape(len(targets), -1), y, factors, clips)
        self.range_ = targets.min(axis=0), targets.max(axis=0)
        self._fit_estimator(X, y)
        return self

    def predict(self, X):
        """Return the scaled, and where chosen clipped, predictions.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)

        Returns
        -------
        y_pred : ndarray of shape (n_samples,) or (n_samples, n_genes)
        """
        check_is_fitted(self)
        y_pred = self.factor_ * self._shaped(self.estimator_.predict(X))
        return np.clip(y_pred, *self.range_) if self.clip_ else y_pred

    def _choose(self, X, targets, y, factors, clips):
        folds, predictions, truth = self._out_of_fold(X, targets, y)
        # A held-out row must not widen the range that it is clipped to.
        lengths = [len(test) for _, test in folds]
        low, high = (
            np.repeat(
                [extreme(targets[train], axis=0) for train, _ in folds], lengths, axis=0
            )
            for extreme in (np.min, np.max)
        )
        for factor in factors:
            for clip in clips:
                y_pred = factor * predictions
                if clip:
                    y_pred = np.clip(y_pred, low, high)
                error = np.sqrt(((truth - y_pred) ** 2).mean(axis=1)).mean()
                self.errors_[float(factor), bool(clip)] = float(error)
        self.factor_, self.clip_ = min(self.errors_, key=self.errors_.get)
