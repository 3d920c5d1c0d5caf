"""A network that corrects a kernel model, trained on its leave-one-out errors."""

from numbers import Integral

import pandas as pd
from sklearn.base import _fit_context, clone
from sklearn.utils._param_validation import HasMethods, Interval

from sklperturb.conditions._frames import take_columns
from sklperturb.conditions._regressor import ConditionRegressor


class KernelResidualRegressor(ConditionRegressor):
    r"""Let a second model learn what a kernel model leaves.

    The kernel models give, in closed form, what each training row would have been
    predicted if it had been left out. The second model learns the difference between
    the measured response and that, from the condition and the leading coordinates of
    the prediction. It thus sees errors as large as they will be on new rows; errors on
    fitted rows would be smaller, and of another kind.

    Parameters
    ----------
    kernel : ProductKernelRidge or ResponseKernelRidge, default=None
        The first model. None is a `ProductKernelRidge`.
    regressor : regressor, default=None
        The second. It is given a DataFrame with the context, the perturbation and
        `n_features` numbers. None is a `SeedEnsembleRegressor` of five
        `TokenEmbeddingMLPRegressor`.
    n_features : int, default=24
        Leading coordinates of the first prediction that the second model sees.
    schema : PerturbationSchema, default=None
        Roles of the columns. None infers them from the column names.
    random_state : int, RandomState instance or None, default=None
        Seeds the default `regressor`.

    Attributes
    ----------
    kernel_ : ProductKernelRidge or ResponseKernelRidge
    regressor_ : regressor
    contexts_, perturbations_ : ndarray
        Levels seen in `fit`.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)

    See Also
    --------
    LongFormBoostingRegressor : Trees, gene by gene, on what the response kernel leaves.
    BlendRegressor : Adds up models that were fitted on their own.

    Notes
    -----
    The similarity of contexts, their strengths and the penalty of the kernel are learnt
    from all training rows, the left-out one too; its own response enters its
    leave-one-out prediction through these few numbers only.

    References
    ----------
    .. [1] Wolpert, "Stacked generalization", Neural Networks, 1992.
       :doi:`10.1016/S0893-6080(05)80023-1`

    Examples
    --------
    >>> from sklperturb.datasets import make_chemical_screen
    >>> from sklperturb.ensemble import KernelResidualRegressor
    >>> from sklperturb.neural_network import TokenEmbeddingMLPRegressor
    >>> screen = make_chemical_screen(4, 20, 50, random_state=0)
    >>> network = TokenEmbeddingMLPRegressor(
    ...     numeric_columns="rest", max_epochs=5, random_state=0
    ... )
    >>> model = KernelResidualRegressor(regressor=network)
    >>> model.fit(screen.X, screen.y).predict(screen.X_test).shape
    (32, 50)
    """

    _parameter_constraints = {
        "kernel": [HasMethods(["fit", "predict"]), None],
        "regressor": [HasMethods(["fit", "predict"]), None],
        "n_features": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        kernel=None,
        regressor=None,
        *,
        n_features=24,
        schema=None,
        random_state=None,
    ):
        self.kernel = kernel
        self.regressor = regressor
        self.n_features = n_features
        self.schema = schema
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y):
        """Fit the kernel, then the second model on what it leaves.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_columns)
            Conditions.
        y : array-like of shape (n_samples,) or (n_samples, n_genes)
            Responses.

        Returns
        -------
        self : KernelResidualRegressor

        Raises
        ------
        ValueError
            If `n_features` is no positive int.
        """
        context, _, y = self._start_fit(X, y)
        self.kernel_ = clone(self._kernel()).fit(X, y)
        left_out = self.kernel_.left_out_
        residual = y - self.kernel_._decode(left_out, context)
        table = self._table(X, left_out)
        self.regressor_ = clone(self._regressor()).fit(table, residual)
        return self

    def predict(self, X):
        """Return the kernel's prediction with its correction.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_columns)
            Conditions.

        Returns
        -------
        y_pred : ndarray of shape (n_samples,) or (n_samples, n_genes)
        """
        self._codes(X)
        coordinates, context = self.kernel_._coordinates(X)
        correction = self.regressor_.predict(self._table(X, coordinates))
        return self._shaped(self.kernel_._decode(coordinates, context) + correction)

    def _table(self, X, coordinates):
        roles = self._roles()
        # Names that inference of a schema knows, whatever those of X are.
        names = ["context", "perturbation"][-len(roles) :]
        table = pd.DataFrame(take_columns(X, roles), columns=names)
        numbers = pd.DataFrame(coordinates[:, : self.n_features]).add_prefix("kernel")
        return pd.concat([table, numbers], axis=1)

    def _kernel(self):
        from sklperturb.linear_model import ProductKernelRidge

        if self.kernel is None:
            return ProductKernelRidge(schema=self.schema)
        return self.kernel

    def _regressor(self):
        from sklperturb.ensemble._seeds import SeedEnsembleRegressor
        from sklperturb.neural_network import TokenEmbeddingMLPRegressor

        if self.regressor is not None:
            return self.regressor
        network = TokenEmbeddingMLPRegressor(numeric_columns="rest", clip=False)
        return SeedEnsembleRegressor(network, 5, random_state=self.random_state)
