"""Means, medians and quantiles of the training responses, overall or by group."""

from numbers import Real

import numpy as np
from sklearn.base import _fit_context
from sklearn.utils._param_validation import Interval, StrOptions

from sklperturb.conditions._levels import take_levels
from sklperturb.conditions._regressor import ConditionRegressor
from sklperturb.preprocessing import TargetReducer


class GroupStatisticRegressor(ConditionRegressor):
    """Predict a statistic of each gene over the training rows of a group.

    Parameters
    ----------
    by : {"context", "perturbation"} or None, default=None
        Rows that count: those of the same cell type, those of the same compound, or
        all. Beware of the published names: the benchmark's ``mean_across_celltypes``
        is the mean **per cell type** (`by="context"`) and its
        ``mean_across_compounds`` the mean **per compound** (`by="perturbation"`).
    statistic : {"mean", "median"} or float, default="mean"
        A float in (0, 1) is that quantile.
    n_components : int or None, default=None
        Denoise the responses first by keeping this many principal components. With
        ``by="perturbation", statistic=0.54, n_components=35`` this was the best simple
        entry (public MRRMSE 0.623) of the competition's early weeks.
    schema : PerturbationSchema, default=None
        Roles of the columns. None infers them from the column names.

    Attributes
    ----------
    values_ : ndarray of shape (n_groups, n_genes)
    overall_ : ndarray of shape (n_genes,)
        The statistic over all rows; the prediction for a group not seen in `fit`.
    contexts_, perturbations_ : ndarray
        Levels seen in `fit`.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)

    See Also
    --------
    AdditiveRegressor : Context and perturbation effects together.
    NoChangeRegressor : Zeros.

    References
    ----------
    .. [1] Szalata et al., "A benchmark for prediction of transcriptomic responses to
       chemical perturbations across cell types", NeurIPS Datasets and Benchmarks
       Track, 2024; data: GEO GSE279945.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklperturb.baseline import GroupStatisticRegressor
    >>> X = pd.DataFrame({"cell_type": list("ABA"), "sm_name": list("uuv")})
    >>> y = [[1.0, 0.0], [3.0, 0.0], [5.0, 6.0]]
    >>> GroupStatisticRegressor(by="perturbation").fit(X, y).predict(X)
    array([[2., 0.],
           [2., 0.],
           [5., 6.]])
    """

    _parameter_constraints = {
        "by": [StrOptions({"context", "perturbation"}), None],
        "statistic": [
            StrOptions({"mean", "median"}),
            Interval(Real, 0, 1, closed="neither"),
        ],
        "n_components": [*TargetReducer._parameter_constraints["n_components"], None],
    }

    def __init__(self, by=None, statistic="mean", n_components=None, *, schema=None):
        self.by = by
        self.statistic = statistic
        self.n_components = n_components
        self.schema = schema

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y):
        """Compute the statistic for each group.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_columns)
            Conditions.
        y : array-like of shape (n_samples,) or (n_samples, n_genes)
            Responses.

        Returns
        -------
        self : GroupStatisticRegressor

        Raises
        ------
        ValueError
            If `by` or `statistic` is none of the allowed values.
        """
        reduce = self._reduction()
        *codes, y = self._start_fit(X, y)
        if self.n_components is not None:
            reducer = TargetReducer(self.n_components).fit(y)
            y = reducer.inverse_transform(reducer.transform(y))
        self.overall_ = reduce(y)
        groups = self._groups(codes)
        self.values_ = np.stack(
            [reduce(y[groups == g]) for g in range(groups.max() + 1)]
        )
        return self

    def predict(self, X):
        """Return the statistic of each row's group.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_columns)
            Conditions.

        Returns
        -------
        y_pred : ndarray of shape (n_samples,) or (n_samples, n_genes)
        """
        groups = self._groups(self._codes(X))
        return self._shaped(take_levels(self.values_, groups, self.overall_))

    def _groups(self, codes):
        context, perturbation = codes
        if self.by is None:
            return np.zeros(len(context), dtype=np.intp)
        return context if self.by == "context" else perturbation

    def _reduction(self):
        statistic = self.statistic
        if statistic == "mean":
            return lambda rows: rows.mean(axis=0)
        if statistic == "median":
            return lambda rows: np.median(rows, axis=0)
        return lambda rows: np.quantile(rows, statistic, axis=0)
