"""A flexible model on top of a simple one."""

import numpy as np
from scipy.optimize import minimize_scalar
from sklearn.base import _fit_context, clone
from sklearn.utils._param_validation import HasMethods
from sklearn.utils.validation import check_is_fitted

from sklperturb.cells._files import gene_names
from sklperturb.conditions._frames import take_columns, with_columns
from sklperturb.conditions._levels import LevelEncoder
from sklperturb.conditions._schema import PerturbationSchema
from sklperturb.conditions._validation import resolve_schema
from sklperturb.model_selection._meta import (
    MetaRegressor,
    copy_feature_names,
    out_of_fold,
)

# As how many rows those of other contexts count where one context's share is learnt.
_BORROWED = 15


class ResidualRegressor(MetaRegressor):
    """Fit a simple model, and a flexible one on what it leaves.

    Most of a response is a context's and a perturbation's own effect, which a shrunken
    additive model finds without error where networks find it with some. A network that
    is given the rest starts where the simple model ends. With `cv`, only as much of
    what it says is added as helped on rows that were left out, which may be nothing.

    Parameters
    ----------
    base : regressor, default=None
        The simple model. It should be shrunken, or have far fewer parameters than there
        are rows: what it leaves of the rows that it was fitted on is what `regressor`
        learns. None is ``AdditiveRegressor("joint")``.
    regressor : regressor, default=None
        The flexible model; it sees the same `X`, and may be a Pipeline. None is
        ``ProductKernelRidge()``.
    cv : int, cross-validation generator, iterable or None, default=None
        Folds on which the share of the second prediction is learnt, from 0 to 1: that
        of the least MRRMSE. An int shuffles the rows. None adds the whole.
    by_context : bool, default=False
        Whether each context gets a share of its own, learnt from its left-out rows and
        from those of the others, which together count as 15. A network learns little of
        a context where few perturbations were measured, and may do harm in it that a
        common share does not show.
    schema : PerturbationSchema, default=None
        Which column the context is. None infers it from the column names.
    random_state : int, RandomState instance or None, default=None
        Shuffles the rows for `cv`; it does not seed `regressor`.

    Attributes
    ----------
    base_, regressor_ : regressor
        The fitted models, whose predictions are added up.
    share_ : float
        What the second prediction is multiplied by, in contexts without a share of
        their own; 0 where no share of it helps.
    context_shares_ : dict of {object: float}
        Shares by context, where these have their own.
    n_features_in_ : int
        Only if the fitted base has it.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Only if the fitted base has it.

    See Also
    --------
    LongFormBoostingRegressor : Corrects a kernel on rows that were left out.
    BlendRegressor : Adds up models that were fitted on their own.

    Notes
    -----
    The residuals are those of the fitted rows, and not of rows left out. A left-out
    row is predicted from the other rows of its compound, so that its residual has the
    opposite sign of their errors, and a network takes that for a pattern: on the
    reprocessed OP2 screen its error was higher by 0.007 so, and by 0.019 on what
    `ResponseKernelRidge` leaves.

    References
    ----------
    .. [1] Friedman, "Greedy function approximation: a gradient boosting machine", The
       Annals of Statistics, 2001. :doi:`10.1214/aos/1013203451`

    Examples
    --------
    >>> from sklperturb.baseline import AdditiveRegressor
    >>> from sklperturb.datasets import make_chemical_screen
    >>> from sklperturb.ensemble import ResidualRegressor
    >>> from sklperturb.neural_network import TokenEmbeddingMLPRegressor
    >>> screen = make_chemical_screen(4, 20, 50, n_shared=5, random_state=0)
    >>> network = TokenEmbeddingMLPRegressor(max_epochs=5, clip=False, random_state=0)
    >>> model = ResidualRegressor(AdditiveRegressor("joint"), network)
    >>> y_pred = model.fit(screen.X, screen.y).predict(screen.X_test)
    >>> y_pred.shape == screen.y_test.shape
    True
    """

    # What models that earlier versions saved have in the place of it.
    _learnt_since = MetaRegressor._learnt_since | {
        "share_": 1.0,
        "context_shares_": {},
    }
    _parameter_constraints = {
        "base": [HasMethods(["fit", "predict"]), None],
        "regressor": [HasMethods(["fit", "predict"]), None],
        "cv": ["cv_object"],
        "by_context": ["boolean"],
        "schema": [PerturbationSchema, None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        base=None,
        regressor=None,
        *,
        cv=None,
        by_context=False,
        schema=None,
        random_state=None,
    ):
        self.base = base
        self.regressor = regressor
        self.cv = cv
        self.by_context = by_context
        self.schema = schema
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y):
        """Fit the base, then the regressor on what it leaves.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
            Whatever the two read.
        y : array-like of shape (n_samples,) or (n_samples, n_genes)
            Responses, in any unit.

        Returns
        -------
        self : ResidualRegressor

        Raises
        ------
        InvalidParameterError
            If `base` or `regressor` is no regressor.
        """
        columns = gene_names(y)
        X, y = self._check_rows(X, y)
        self.share_, self.context_shares_ = 1.0, {}
        if self.cv is not None:
            self._learn_shares(X, y, columns)
        self.base_ = clone(self._base()).fit(X, with_columns(y, columns))
        copy_feature_names(self, self.base_)
        residual = y - np.reshape(self.base_.predict(X), y.shape)
        residual = with_columns(residual, columns)
        self.regressor_ = clone(self._estimator()).fit(X, residual)
        return self

    def predict(self, X):
        """Return the sum of the two predictions.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)

        Returns
        -------
        y_pred : ndarray of shape (n_samples,) or (n_samples, n_genes)
        """
        check_is_fitted(self)
        y_base = self._shaped(self.base_.predict(X))
        correction = np.reshape(self.regressor_.predict(X), y_base.shape)
        share = self.share_
        if self.context_shares_:
            # The last one is for code -1, a context that was not seen.
            shares = np.array([*self.context_shares_.values(), share])
            share = shares[self._level_encoder.transform(self._contexts(X))[:, 0]]
            share = share.reshape(-1, *[1] * (y_base.ndim - 1))
        return y_base + share * correction

    def _learn_shares(self, X, y, columns):
        """Learn the shares that predict rows left out best."""
        whole = clone(self).set_params(cv=None)
        folds, (y_base, y_pred), truth = out_of_fold(
            [self._base(), whole],
            *(X, y, self.cv),
            columns=columns,
            random_state=self.random_state,
        )
        residual, correction = truth - y_base, y_pred - y_base
        self.share_ = _best_share(residual, correction, np.ones(len(truth)))
        if not self.by_context or not self._contexts(X).shape[1]:
            return
        self._level_encoder = LevelEncoder().fit(self._contexts(X))
        codes = self._level_encoder.transform(self._contexts(X))[:, 0]
        codes = codes[np.concatenate([test for _, test in folds])]
        for code, context in enumerate(self._level_encoder.categories_[0]):
            inside = codes == code
            borrowed = min(1.0, _BORROWED / max((~inside).sum(), 1))
            weights = np.where(inside, 1.0, borrowed)
            self.context_shares_[context] = _best_share(residual, correction, weights)

    def _contexts(self, X):
        """Return the column of the contexts, or none if there is none."""
        return take_columns(X, resolve_schema(self.schema, X).columns("context"))

    def _base(self):
        from sklperturb.baseline import AdditiveRegressor

        return AdditiveRegressor("joint") if self.base is None else self.base

    def _estimator(self):
        from sklperturb.linear_model import ProductKernelRidge

        return ProductKernelRidge() if self.regressor is None else self.regressor


def _best_share(residual, correction, row_weights):
    """Return the share, 0 to 1, of the least weighted mean of the rows' RMSE."""
    # All that a row's error depends on; genes are gone through once.
    energy, along, square = (
        np.einsum("ij,ij->i", one, other) / residual.shape[1]
        for one, other in [
            (residual, residual),
            (residual, correction),
            (correction, correction),
        ]
    )

    def error(share):
        squares = energy - 2 * share * along + share**2 * square
        return row_weights @ np.sqrt(np.maximum(squares, 0))

    # A mean of norms is convex in the share: one search finds the least, but for the
    # ends, which it only comes near.
    found = float(minimize_scalar(error, bounds=(0, 1), method="bounded").x)
    return min(0.0, 1.0, found, key=error)
