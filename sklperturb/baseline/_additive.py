"""A context effect plus a perturbation effect."""

import numpy as np
from sklearn.base import _fit_context
from sklearn.utils._param_validation import StrOptions

from sklperturb.conditions._levels import take_levels
from sklperturb.conditions._regressor import ConditionRegressor
from sklperturb.conditions._statistics import (
    LevelStatistics,
    compact_rows,
    estimate_smoothing,
    joint_effects,
    joint_residuals,
    share_of_centre,
    share_of_mean,
)


class AdditiveRegressor(ConditionRegressor):
    r"""Predict grand mean + context effect + perturbation effect, gene by gene.

    Parameters
    ----------
    effects : {"means", "joint"}, default="means"
        "means" is the textbook form, context mean + perturbation mean - grand mean,
        which double-counts when strong compounds were measured in few contexts.
        "joint" fits both effects together with empirical-Bayes shrinkage, which is
        right for unbalanced designs. It predicts only the share of the grand mean
        that is more than noise, and gives a new context only the share that contexts
        have in common.
    schema : PerturbationSchema, default=None
        Roles of the columns. None infers them from the column names.

    Attributes
    ----------
    grand_mean_ : ndarray of shape (n_genes,)
    mean_share_, centre_share_ : float
        Shares, 0 to 1, of the grand mean that are predicted in contexts that were seen,
        and in others.
    context_effects_ : ndarray of shape (n_contexts, n_genes)
    perturbation_effects_ : ndarray of shape (n_perturbations, n_genes)
    contexts_, perturbations_ : ndarray
        Levels seen in `fit`; a level not seen has no effect.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)

    See Also
    --------
    GroupStatisticRegressor : One of the two effects alone.

    Notes
    -----
    Additive models are hard to beat for perturbation responses; see [1]_.

    References
    ----------
    .. [1] Ahlmann-Eltze, Huber and Anders, "Deep-learning-based gene perturbation
       effect prediction does not yet outperform simple linear baselines", Nature
       Methods, 2025. :doi:`10.1038/s41592-025-02772-6`

    Examples
    --------
    >>> import pandas as pd
    >>> from sklperturb.baseline import AdditiveRegressor
    >>> X = pd.DataFrame({"cell_type": list("ABA"), "sm_name": list("uuv")})
    >>> y = [[1.0], [2.0], [3.0]]
    >>> new = pd.DataFrame({"cell_type": ["B"], "sm_name": ["v"]})
    >>> AdditiveRegressor().fit(X, y).predict(new)
    array([[3.]])
    """

    # What models that earlier versions saved have in the place of it.
    _learnt_since = {"mean_share_": 1.0}
    _parameter_constraints = {
        "effects": [StrOptions({"means", "joint"})],
    }

    def __init__(self, effects="means", *, schema=None):
        self.effects = effects
        self.schema = schema

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y):
        """Estimate the effects.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_columns)
            Conditions.
        y : array-like of shape (n_samples,) or (n_samples, n_genes)
            Responses.

        Returns
        -------
        self : AdditiveRegressor

        Raises
        ------
        ValueError
            If `effects` is none of the allowed values.
        """
        *codes, y = self._start_fit(X, y)
        n_levels = [len(self.contexts_), len(self.perturbations_)]
        self.grand_mean_ = y.mean(axis=0)
        centred = y - self.grand_mean_
        self.mean_share_ = self.centre_share_ = 1.0
        if self.effects == "means":
            columns = LevelStatistics.of_columns(
                codes,
                n_levels,
                centred,
                [("mean", None)],
                lambdas=[0.0, 0.0],
                balance=False,
            )
            found = [column.deviations[0] for column in columns]
        else:
            compact = compact_rows(centred)
            lambdas = estimate_smoothing(codes, n_levels, compact, crossed=True)
            found = joint_effects(codes, n_levels, centred, lambdas)
            known = found if compact is centred else None
            left = joint_residuals(codes, n_levels, compact, lambdas, known)
            self.mean_share_ = share_of_mean(self.grand_mean_, left)
            in_common = share_of_centre(codes[0], n_levels[0], y)
            self.centre_share_ = min(in_common, self.mean_share_)
        self.context_effects_, self.perturbation_effects_ = found
        return self

    def predict(self, X):
        """Return the sum of each row's effects.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_columns)
            Conditions.

        Returns
        -------
        y_pred : ndarray of shape (n_samples,) or (n_samples, n_genes)
        """
        context, perturbation = self._codes(X)
        share = np.where(context < 0, self.centre_share_, self.mean_share_)[:, None]
        return self._shaped(
            share * self.grand_mean_
            + take_levels(self.context_effects_, context, 0.0)
            + take_levels(self.perturbation_effects_, perturbation, 0.0)
        )
