"""What every regressor on (context, perturbation) does around its own work."""

from abc import ABCMeta, abstractmethod

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from sklperturb.conditions._documented import DocumentedMixin
from sklperturb.conditions._frames import take_columns
from sklperturb.conditions._levels import LevelEncoder, warn_of_near_misses
from sklperturb.conditions._named_predictions import NamedPredictionsMixin
from sklperturb.conditions._validation import resolve_schema, validate_conditions


class NamedConditionsMixin:
    """Tags of a regressor of many genes that reads names, not numbers."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        # Conditions are names: continuous columns are all levels of one row each.
        tags.regressor_tags.poor_score = True
        return tags


class ConditionRegressor(
    DocumentedMixin,
    NamedPredictionsMixin,
    NamedConditionsMixin,
    RegressorMixin,
    BaseEstimator,
    metaclass=ABCMeta,
):
    """Base of the regressors that see conditions as integer codes.

    A subclass has a `schema` parameter and calls `_start_fit` at the top of `fit`,
    `_codes` at the top of `predict`, and `_shaped` on what it returns.

    Attributes
    ----------
    schema_ : PerturbationSchema
        Roles of the columns, given or inferred.
    contexts_, perturbations_ : ndarray
        Levels seen in `fit`, in the order of their codes.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from sklperturb.conditions import ConditionRegressor
    >>> class Loudest(ConditionRegressor):
    ...     def __init__(self, *, schema=None):
    ...         self.schema = schema
    ...
    ...     def fit(self, X, y):
    ...         context, perturbation, y = self._start_fit(X, y)
    ...         self.largest_ = y.max(axis=0)
    ...         return self
    ...
    ...     def predict(self, X):
    ...         context, perturbation = self._codes(X)
    ...         return self._shaped(np.tile(self.largest_, (len(context), 1)))
    >>> X = pd.DataFrame({"cell_type": list("ABA"), "sm_name": list("uuv")})
    >>> Loudest().fit(X, [1.0, 3.0, 2.0]).predict(X)
    array([3., 3., 3.])
    """

    @abstractmethod
    def fit(self, X, y):
        """Learn from conditions and responses.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_columns)
            Conditions.
        y : array-like of shape (n_samples,) or (n_samples, n_genes)
            Responses.

        Returns
        -------
        self : ConditionRegressor
        """

    @abstractmethod
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

    def _start_fit(self, X, y):
        """Return (context codes, perturbation codes, y of shape (n, n_outputs))."""
        X, y = validate_conditions(self, X, y, reset=True)
        self.schema_ = resolve_schema(self.schema, X)
        self.schema_.require(X, "perturbation")
        self._y_ndim = y.ndim
        table = take_columns(X, self._roles())
        self._level_encoder = LevelEncoder().fit(table)
        *contexts, self.perturbations_ = self._level_encoder.categories_
        self.contexts_ = contexts[0] if contexts else np.array([""])
        return *self._split(self._level_encoder.transform(table)), y.reshape(len(y), -1)

    def _codes(self, X):
        """Return (context codes, perturbation codes); -1 is a level not in fit."""
        check_is_fitted(self)
        X = validate_conditions(self, X, reset=False)
        table = take_columns(X, self._roles())
        return self._split(self._level_encoder.transform(table))

    def _names(self, X):
        """Return (context codes, names of the perturbations), which may be new."""
        check_is_fitted(self)
        X = validate_conditions(self, X, reset=False)
        table = take_columns(X, self._roles())
        names, known = table[:, -1].copy(), self.perturbations_
        # Spelled otherwise is not unknown here, if it is split into the same parts.
        parts = {part for name in known for part in self.schema_.split(name)}
        new = {part for name in set(names) for part in self.schema_.split(name)}
        warn_of_near_misses(new - parts, parts)
        table[:, -1] = known[0]
        return self._split(self._level_encoder.transform(table))[0], names

    def _shaped(self, y_pred):
        """Return a prediction with as many dimensions as `y` had in fit."""
        y_pred = np.asarray(y_pred, dtype=np.float64)
        return y_pred.ravel() if self._y_ndim == 1 else y_pred

    def _roles(self):
        return self.schema_.columns("context", "perturbation")

    def _used_columns(self):
        return self._roles()

    @staticmethod
    def _split(codes):
        # Without a context column, every row is in the one context there is.
        context = codes[:, 0] if codes.shape[1] == 2 else np.zeros(len(codes), np.intp)
        return context, codes[:, -1]
