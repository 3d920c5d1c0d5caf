"""Strongly regularised ridge on cross-fitted target statistics."""

from numbers import Integral

import numpy as np
import pandas as pd
from sklearn.base import _fit_context
from sklearn.utils._param_validation import Interval

from sklperturb.conditions._frames import take_columns
from sklperturb.conditions._levels import indicator
from sklperturb.linear_model._kernel import LinearKernel, loo_correction
from sklperturb.linear_model._latent import LatentConditionRegressor
from sklperturb.preprocessing import TargetStatisticsEncoder


class TargetEncodedRidge(LatentConditionRegressor):
    r"""Correct the additive model by ridge regression on target statistics.

    Each column's target statistic is its shrunken, balanced mean response
    (`TargetStatisticsEncoder`); the two of a row add up to an additive prediction.
    Ridge regression of what that leaves on the statistics, and on those of the
    perturbation once more for each context, then learns where a cell type answers to
    a compound's usual effect more, less or differently. The penalty is chosen by
    closed-form leave-one-out; it is infinite, and the model additive, unless the
    correction helps perturbations that are left out by more than chance.

    Parameters
    ----------
    alphas : array-like of float, \
            default=(1, 10, 100, 1e3, 1e4, 1e5, 1e6)
        Ridge penalties to choose from. In the competition only very strong ones
        (100,000) were of use.
    n_statistics : int, default=64
        Leading components of each statistic that are regressed on.
    interactions : bool, default=True
        Whether the perturbation's statistics enter once more for each context.
    scale_contexts : bool, default=True
        Whether to divide responses by how strongly their context responds in general
        before fitting, and to multiply predictions by it.
    smooth : "auto" or float, default="auto"
        Shrinkage of the statistics, in rows.
    cv : int, splitter or iterable, default=5
        Folds of the encoder's cross-fitting.
    n_components : "full", int, float or "gavish-donoho", default="full"
        Basis of the targets (see `TargetReducer`); "full" loses nothing.
    schema : PerturbationSchema, default=None
        Roles of the columns. None infers them from the column names.

    Attributes
    ----------
    alpha_ : float
        The chosen penalty; infinite where there is no correction.
    coef_ : ndarray of shape (n_features, n_components)
    grand_mean_share_, centre_share_ : float
        Shares, 0 to 1, of the mean of all rows that are predicted in contexts that were
        seen, and in others: what is more than noise, and what contexts have in common.
    context_scales_ : ndarray of shape (n_contexts,)
    encoder_ : TargetStatisticsEncoder
        Fitted on the targets' coordinates.
    reducer_ : TargetReducer
    contexts_, perturbations_ : ndarray
        Levels seen in `fit`.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)

    See Also
    --------
    ProductKernelRidge : Borrows across contexts by how alike they respond.
    sklperturb.baseline.AdditiveRegressor : What is corrected.

    Notes
    -----
    The statistics of training rows are cross-fitted, in the additive part too;
    predictions use those of all training rows.

    References
    ----------
    .. [1] Micci-Barreca, "A preprocessing scheme for high-cardinality categorical
       attributes in classification and prediction problems", SIGKDD Explorations,
       2001. :doi:`10.1145/507533.507538`

    Examples
    --------
    >>> from sklperturb.datasets import make_chemical_screen
    >>> from sklperturb.linear_model import TargetEncodedRidge
    >>> screen = make_chemical_screen(4, 20, 50, n_shared=5, random_state=0)
    >>> model = TargetEncodedRidge(n_statistics=8).fit(screen.X, screen.y)
    >>> model.predict(screen.X_test).shape == screen.y_test.shape
    True
    """

    _parameter_constraints = {
        **LatentConditionRegressor._parameter_constraints,
        "n_statistics": [Interval(Integral, 1, None, closed="left")],
        "interactions": ["boolean"],
        "smooth": TargetStatisticsEncoder._parameter_constraints["smooth"],
        "cv": ["cv_object"],
    }

    def __init__(
        self,
        alphas=(1, 10, 100, 1e3, 1e4, 1e5, 1e6),
        *,
        n_statistics=64,
        interactions=True,
        scale_contexts=True,
        smooth="auto",
        cv=5,
        n_components="full",
        schema=None,
    ):
        self.alphas = alphas
        self.n_statistics = n_statistics
        self.interactions = interactions
        self.scale_contexts = scale_contexts
        self.smooth = smooth
        self.cv = cv
        self.n_components = n_components
        self.schema = schema

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y):
        """Encode the conditions and solve for the chosen penalty.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_columns)
            Conditions.
        y : array-like of shape (n_samples,) or (n_samples, n_genes)
            Responses.

        Returns
        -------
        self : TargetEncodedRidge

        Raises
        ------
        ValueError
            If a penalty is not positive, `n_statistics` is no positive int, or a
            parameter of the encoder is out of range.
        """
        context, perturbation, targets = self._start_latent_fit(X, y)
        self.encoder_ = TargetStatisticsEncoder(
            ("mean",), None, columns=self._roles(), smooth=self.smooth, cv=self.cv
        )
        encoded = self.encoder_.fit_transform(self._table(X), targets)
        additive, features = self._features(encoded, context)
        self._feature_mean = features.mean(axis=0)
        features = features - self._feature_mean
        # A row's response is in the statistics of its perturbation's other rows, which
        # must not vouch for the correction.
        self.alpha_, dual_coef = loo_correction(
            LinearKernel(features), targets - additive, self.alphas, perturbation
        )
        self.coef_ = features.T @ dual_coef
        return self

    def predict(self, X):
        """Return the expected response of each row's condition.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_columns)
            Conditions.

        Returns
        -------
        y_pred : ndarray of shape (n_samples,) or (n_samples, n_genes)
        """
        context, _ = self._codes(X)
        encoded = self.encoder_.transform(self._table(X))
        additive, features = self._features(encoded, context)
        correction = (features - self._feature_mean) @ self.coef_
        return self._shaped(self._decode(additive + correction, context))

    def _table(self, X):
        return pd.DataFrame(take_columns(X, self._roles()), columns=self._roles())

    def _features(self, encoded, context):
        """Return the additive prediction and the features of its correction."""
        # Coordinates are centred, so the statistics of the columns simply add up.
        blocks = np.split(encoded, len(self._roles()), axis=1)
        leading = [block[:, : self.n_statistics] for block in blocks]
        if self.interactions and len(self.contexts_) > 1:
            member = indicator(context, len(self.contexts_)).toarray()
            crossed = member[:, :, None] * leading[-1][:, None, :]
            leading.append(crossed.reshape(len(encoded), -1))
        return sum(blocks), np.hstack(leading)
