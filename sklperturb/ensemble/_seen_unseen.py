"""One model for perturbations that were measured, another for those that were not."""

import numpy as np
from sklearn.base import _fit_context, clone
from sklearn.utils import _safe_indexing, indexable
from sklearn.utils._param_validation import HasMethods

from sklperturb.conditions._frames import as_pandas
from sklperturb.conditions._regressor import ConditionRegressor
from sklperturb.model_selection._fold import responses_for


class SeenUnseenRegressor(ConditionRegressor):
    """Send each row to the model that suits what is known of its perturbation.

    A perturbation measured in other contexts is best predicted from those; of one that
    was never measured only its structure is known, if that. No single model is good at
    both, and learning weights of models on rows of one sort misleads on the other.

    Parameters
    ----------
    seen : regressor, default=None
        Predicts perturbations that are in the training rows. None is a
        `ProductKernelRidge`.
    unseen : regressor, default=None
        Predicts all others. None is an `AdditiveRegressor`, which has the context's
        effect left.
    schema : PerturbationSchema, default=None
        Roles of the columns. None infers them from the column names.

    Attributes
    ----------
    seen_ : regressor or None
        None where no perturbation is measured in two contexts: there is then nothing
        to carry over from one to another, and `unseen_` predicts all rows.
    unseen_ : regressor
    contexts_, perturbations_ : ndarray
        Levels seen in `fit`.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)

    Examples
    --------
    >>> import pandas as pd
    >>> from sklperturb.baseline import GroupStatisticRegressor, NoChangeRegressor
    >>> from sklperturb.ensemble import SeenUnseenRegressor
    >>> X = pd.DataFrame({"cell_type": ["B", "NK", "B"], "sm_name": ["x", "x", "y"]})
    >>> model = SeenUnseenRegressor(
    ...     GroupStatisticRegressor("perturbation"), NoChangeRegressor()
    ... ).fit(X, [1.0, 3.0, 4.0])
    >>> new = pd.DataFrame({"cell_type": ["T", "B"], "sm_name": ["x", "z"]})
    >>> model.predict(new)
    array([2., 0.])
    """

    _parameter_constraints = {
        "seen": [HasMethods(["fit", "predict"]), None],
        "unseen": [HasMethods(["fit", "predict"]), None],
    }

    def __init__(self, seen=None, unseen=None, *, schema=None):
        self.seen = seen
        self.unseen = unseen
        self.schema = schema

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y):
        """Fit both models on all rows.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_columns)
            Conditions.
        y : array-like of shape (n_samples,) or (n_samples, n_genes)
            Responses.

        Returns
        -------
        self : SeenUnseenRegressor
        """
        context, perturbation, _ = self._start_fit(X, y)
        pairs = np.unique(np.column_stack([perturbation, context]), axis=0)
        carries_over = len(pairs) > len(self.perturbations_)
        seen, unseen = clone(self._seen()), clone(self._unseen())
        self.seen_ = seen.fit(X, responses_for(seen, y)) if carries_over else None
        self.unseen_ = unseen.fit(X, responses_for(unseen, y))
        return self

    def predict(self, X):
        """Return each row's response by the model that it is sent to.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_columns)
            Conditions.

        Returns
        -------
        y_pred : ndarray of shape (n_samples,) or (n_samples, n_genes)
        """
        _, perturbation = self._codes(X)
        (X,) = indexable(as_pandas(X))
        known = (perturbation >= 0) & (self.seen_ is not None)
        parts = [
            (rows, np.reshape(model.predict(_safe_indexing(X, rows)), (len(rows), -1)))
            for rows, model in (
                (np.flatnonzero(known), self.seen_),
                (np.flatnonzero(~known), self.unseen_),
            )
            if len(rows)
        ]
        y_pred = np.empty((len(known), *parts[0][1].shape[1:]))
        for rows, predicted in parts:
            y_pred[rows] = predicted
        return self._shaped(y_pred)

    def _seen(self):
        from sklperturb.linear_model import ProductKernelRidge

        return (
            ProductKernelRidge(schema=self.schema) if self.seen is None else self.seen
        )

    def _unseen(self):
        from sklperturb.baseline import AdditiveRegressor

        if self.unseen is None:
            return AdditiveRegressor(schema=self.schema)
        return self.unseen
