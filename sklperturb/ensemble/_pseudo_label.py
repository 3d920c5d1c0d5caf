"""Learn from conditions without a response by predicting it first."""

from numbers import Integral, Real

import numpy as np
import pandas as pd
from sklearn.base import _fit_context, clone
from sklearn.utils import _safe_indexing
from sklearn.utils._param_validation import HasMethods, Interval
from sklearn.utils.validation import check_is_fitted, has_fit_parameter

from sklperturb.cells._files import gene_names
from sklperturb.conditions._doubts import warn
from sklperturb.conditions._frames import (
    as_pandas,
    as_table,
    column_names,
    with_columns,
)
from sklperturb.model_selection._fold import responses_for
from sklperturb.model_selection._meta import MetaRegressor


class PseudoLabelRegressor(MetaRegressor):
    """Fit, predict conditions that have no response, and refit on both.

    The conditions to predict are known when a screen is submitted. Their predicted
    responses, the pseudo-labels, are appended to the training rows with a weight, and
    the estimator is fitted again: a network thus sees every compound in every cell
    type. Pseudo-labels are targets of training only; they are never scored as truth,
    and in a cross-validation they are made from the training rows of the fold.

    Parameters
    ----------
    estimator : regressor, default=None
        Makes the pseudo-labels. None is ``Ridge()``.
    final_estimator : regressor, default=None
        Is fitted on both and predicts. None is a clone of `estimator`.
    weight : float, default=0.5
        Weight of a pseudo-labelled row, from 0 (exclusive) to 1; a measured row has
        1. Of a network that takes no `sample_weight`, measured rows are repeated
        ``round(1 / weight)`` times; of other estimators that take none, all rows have
        weight 1, with a warning.
    n_rounds : int, default=1
        How often pseudo-labels are made: after the first time, by the final estimator.

    Attributes
    ----------
    estimator_ : regressor
        The one that predicts.
    n_pseudo_labelled_ : int
    n_features_in_ : int
        Only if the fitted estimator has it.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Only if the fitted estimator has it.

    Notes
    -----
    `X_unlabeled` is metadata: with metadata routing on, ask for it by
    ``set_fit_request(X_unlabeled=True)``, and Pipelines and searches hand it on. Note
    that steps before this one in a Pipeline do not transform it: encode conditions
    inside `estimator`. scikit-learn cuts metadata of as many rows as `X` to the fold;
    of any other length it is handed on whole.

    References
    ----------
    .. [1] Lee, "Pseudo-label: the simple and efficient semi-supervised learning method
       for deep neural networks", ICML workshop on challenges in representation
       learning, 2013.

    Examples
    --------
    >>> from sklperturb.datasets import make_chemical_screen
    >>> from sklperturb.ensemble import PseudoLabelRegressor
    >>> from sklperturb.linear_model import ProductKernelRidge
    >>> screen = make_chemical_screen(4, 20, 50, random_state=0)
    >>> model = PseudoLabelRegressor(ProductKernelRidge(), weight=1)
    >>> model.fit(screen.X, screen.y, X_unlabeled=screen.X_test).n_pseudo_labelled_
    32
    """

    _parameter_constraints = {
        **MetaRegressor._parameter_constraints,
        "final_estimator": [HasMethods(["fit", "predict"]), None],
        "weight": [Interval(Real, 0, 1, closed="right")],
        "n_rounds": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(self, estimator=None, final_estimator=None, *, weight=0.5, n_rounds=1):
        self.estimator = estimator
        self.final_estimator = final_estimator
        self.weight = weight
        self.n_rounds = n_rounds

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, X_unlabeled=None):
        """Fit on measured rows, then on measured and pseudo-labelled ones.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
            Measured conditions.
        y : array-like of shape (n_samples,) or (n_samples, n_genes)
            Their responses.
        X_unlabeled : array-like or DataFrame of shape (n_unlabeled, n_features), \
                default=None
            Conditions without a response, with the columns of `X`. None fits `X` and
            `y` alone.

        Returns
        -------
        self : PseudoLabelRegressor

        Raises
        ------
        ValueError
            If `X_unlabeled` lacks columns of `X`.

        Warns
        -----
        UserWarning
            If the final estimator cannot be told `weight`.
        """
        columns = gene_names(y)
        X, targets = self._check_rows(X, y)
        X_unlabeled = as_pandas(X_unlabeled)
        self._fit_estimator(X, y)
        n_unlabeled = 0 if X_unlabeled is None else len(X_unlabeled)
        self.n_pseudo_labelled_ = n_unlabeled
        if not n_unlabeled:
            if self.final_estimator is not None:
                final = clone(self.final_estimator)
                self.estimator_ = final.fit(X, responses_for(final, y))
            return self
        final = self.final_estimator or self._estimator()
        takes_weights = has_fit_parameter(final, "sample_weight")
        repeats = 1 if takes_weights else self._repeats(final)
        rows = np.tile(np.arange(len(targets)), repeats)
        X_both = _stacked(_safe_indexing(X, rows), X_unlabeled)
        weights = {}
        if takes_weights:
            ones = np.ones(len(rows))
            both = np.concatenate([ones, np.full(n_unlabeled, float(self.weight))])
            weights["sample_weight"] = both
        for _ in range(self.n_rounds):
            labels = self._shaped(self.estimator_.predict(X_unlabeled))
            y_both = with_columns(np.concatenate([targets[rows], labels]), columns)
            self.estimator_ = clone(final).fit(X_both, y_both, **weights)
        return self

    def _repeats(self, final):
        """Return how often measured rows are given to what takes no weights.

        Others than networks may choose a penalty by rows that they leave out, and would
        find each of these among the rest.
        """
        names = final.get_params() if hasattr(final, "get_params") else ()
        if any(name.rpartition("__")[2] == "max_epochs" for name in names):
            return round(1 / self.weight)
        if self.weight != 1:
            warn(
                f"{type(final).__name__} takes no sample_weight, so that weight="
                f"{self.weight:g} cannot be told to it: pseudo-labelled rows count as "
                "much as measured ones. Pass weight=1 to have it so."
            )
        return 1

    def predict(self, X):
        """Return what the estimator of the last round predicts.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)

        Returns
        -------
        y_pred : ndarray of shape (n_samples,) or (n_samples, n_genes)
        """
        check_is_fitted(self)
        return self._shaped(self.estimator_.predict(X))


def _stacked(X, X_unlabeled):
    if not isinstance(X, pd.DataFrame):
        X_unlabeled = np.asarray(X_unlabeled)
        if X_unlabeled.ndim != 2 or X_unlabeled.shape[1] != np.shape(X)[1]:
            raise ValueError(
                f"X_unlabeled has shape {X_unlabeled.shape}; it needs the "
                f"{np.shape(X)[1]} columns of X."
            )
        return np.concatenate([np.asarray(X), X_unlabeled])
    known = column_names(as_table(X_unlabeled))
    absent = [column for column in X.columns if column not in known]
    if absent:
        raise ValueError(
            f"X_unlabeled lacks the columns {absent} of X; pass a DataFrame of "
            "conditions with the same columns."
        )
    return pd.concat([X, X_unlabeled[X.columns]], ignore_index=True)
