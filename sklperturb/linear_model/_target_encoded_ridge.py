"""Strongly regularised ridge on cross-fitted target statistics."""

import numpy as np
import pandas as pd

from sklperturb.linear_model._kernel import loo_kernel_ridge
from sklperturb.preprocessing import TargetReducer, TargetStatisticsEncoder
from sklperturb.utils._condition_regressor import ConditionRegressor
from sklperturb.utils._conditions import take_columns
from sklperturb.utils._levels import indicator


class TargetEncodedRidge(ConditionRegressor):
    r"""Ridge regression on target statistics of the context and the perturbation.

    Features are the statistics of both columns (`TargetStatisticsEncoder`) and, with
    `interactions`, those of the perturbation once more for each context, so that a
    cell type may answer to a compound's usual effect more or less strongly. The
    penalty is chosen by closed-form leave-one-out over the training rows.

    Parameters
    ----------
    alphas : array-like of float, \
            default=(0.1, 1, 10, 100, 1e3, 1e4, 1e5)
        Ridge penalties to choose from. In the competition only very strong ones
        (100,000 for statistics over genes) were of use.
    statistics : sequence of {"mean", "median", "std"} or float, \
            default=("mean", "std")
        Statistics to encode by; a float in (0, 1) is that quantile.
    n_statistics : int or None, default=64
        Components kept of each statistic; None keeps all genes.
    interactions : bool, default=True
        Whether the perturbation's statistics enter once more for each context.
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
        The chosen penalty.
    coef_ : ndarray of shape (n_features, n_components)
    encoder_ : TargetStatisticsEncoder
    reducer_ : TargetReducer
    contexts_, perturbations_ : ndarray
        Levels seen in `fit`.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)

    See Also
    --------
    ProductKernelRidge : Borrows across contexts by how alike they respond.

    Notes
    -----
    The encodings of training rows are cross-fitted; predictions use those of all
    training rows.

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

    def __init__(
        self,
        alphas=(0.1, 1, 10, 100, 1e3, 1e4, 1e5),
        *,
        statistics=("mean", "std"),
        n_statistics=64,
        interactions=True,
        smooth="auto",
        cv=5,
        n_components="full",
        schema=None,
    ):
        self.alphas = alphas
        self.statistics = statistics
        self.n_statistics = n_statistics
        self.interactions = interactions
        self.smooth = smooth
        self.cv = cv
        self.n_components = n_components
        self.schema = schema

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
            If a penalty is not positive, or a parameter of the encoder is out of
            range.
        """
        if len(self.alphas) == 0 or min(self.alphas) <= 0:
            raise ValueError(
                f"alphas={self.alphas!r} must be a non-empty list of positive numbers."
            )
        context, _, y = self._start_fit(X, y)
        self.encoder_ = TargetStatisticsEncoder(
            self.statistics,
            self.n_statistics,
            columns=self._roles(),
            smooth=self.smooth,
            cv=self.cv,
        )
        encoded = self.encoder_.fit_transform(self._table(X), y)
        self._encoded_mean = encoded.mean(axis=0)
        features = self._features(encoded, context)
        self._feature_mean = features.mean(axis=0)
        features = features - self._feature_mean
        self.reducer_ = TargetReducer(self.n_components).fit(y)
        _, self.alpha_, dual_coef = loo_kernel_ridge(
            features @ features.T, self.reducer_.transform(y), self.alphas
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
        features = self._features(encoded, context) - self._feature_mean
        return self._shaped(self.reducer_.inverse_transform(features @ self.coef_))

    def _table(self, X):
        return pd.DataFrame(take_columns(X, self._roles()), columns=self._roles())

    def _features(self, encoded, context):
        encoded = encoded - self._encoded_mean
        if not self.interactions or len(self.contexts_) < 2:
            return encoded
        perturbation = encoded[:, encoded.shape[1] // 2 :]
        member = indicator(context, len(self.contexts_)).toarray()
        crossed = member[:, :, None] * perturbation[:, None, :]
        return np.hstack([encoded, crossed.reshape(len(encoded), -1)])
