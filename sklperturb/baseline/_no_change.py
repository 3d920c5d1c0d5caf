"""The perturbation does nothing."""

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from sklperturb.conditions._documented import DocumentedMixin
from sklperturb.conditions._named_predictions import NamedPredictionsMixin
from sklperturb.conditions._regressor import NamedConditionsMixin
from sklperturb.conditions._validation import validate_conditions


class NoChangeRegressor(
    DocumentedMixin,
    NamedPredictionsMixin,
    NamedConditionsMixin,
    RegressorMixin,
    BaseEstimator,
):
    """Predict zero for every gene: the response of an inert compound.

    For targets measured against control (signed -log10 p, log fold changes) this is
    the null model. On the reprocessed OP2 benchmark it scores an MRRMSE of 0.918, and
    one published mean is worse than it [1]_.

    Attributes
    ----------
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)

    See Also
    --------
    GroupStatisticRegressor : Means, medians and quantiles of the training responses.

    References
    ----------
    .. [1] Szalata et al., "A benchmark for prediction of transcriptomic responses to
       chemical perturbations across cell types", NeurIPS Datasets and Benchmarks
       Track, 2024; data: GEO GSE279945.

    Examples
    --------
    >>> from sklperturb.baseline import NoChangeRegressor
    >>> NoChangeRegressor().fit([[0], [1]], [[1.0, 2.0], [3.0, 4.0]]).predict([[5]])
    array([[0., 0.]])
    """

    def fit(self, X, y):
        """Remember how many genes there are.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_columns)
            Conditions.
        y : array-like of shape (n_samples,) or (n_samples, n_genes)
            Responses.

        Returns
        -------
        self : NoChangeRegressor
        """
        _, y = validate_conditions(self, X, y, reset=True)
        self.target_shape_ = y.shape[1:]
        return self

    def predict(self, X):
        """Return zeros.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_columns)
            Conditions.

        Returns
        -------
        y_pred : ndarray of shape (n_samples,) or (n_samples, n_genes)
        """
        check_is_fitted(self)
        X = validate_conditions(self, X, reset=False)
        return np.zeros((len(X), *self.target_shape_))
