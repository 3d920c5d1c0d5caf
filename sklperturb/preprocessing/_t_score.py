"""Learn t statistics instead of signed -log10 p-values."""

from numbers import Real

import numpy as np
from sklearn.base import (
    BaseEstimator,
    OneToOneFeatureMixin,
    TransformerMixin,
    _fit_context,
)
from sklearn.utils import check_array
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted, validate_data

from sklperturb.conditions._documented import DocumentedMixin
from sklperturb.signatures._signed_log_p import signed_log_p_from_t, t_from_signed_log_p


class TScoreTransformer(
    DocumentedMixin, OneToOneFeatureMixin, TransformerMixin, BaseEstimator
):
    r"""Turn signed :math:`-\log_{10} p` into t statistics, and back.

    The step between a response as OP2 stores it and the scale on which effects add up:
    :math:`-\log_{10} p` grows with the square of a large t. Use it as the
    `transformer` of `TransformedTargetRegressor` or `LatentTargetRegressor`.

    Parameters
    ----------
    df : float or array-like of shape (n_genes,), default=inf
        Degrees of freedom of the test behind each gene, positive; ``inf`` is the
        normal distribution. They are not in the data: take those of the analysis that
        made the p-values.
    clip : float, default=None
        Limit what `inverse_transform` gives to plus and minus this value. OP2's
        benchmark takes 4.

    Attributes
    ----------
    df_ : ndarray of shape (n_features_in_,)
    n_features_in_ : int
        Number of genes.
    feature_names_in_ : ndarray of shape (n_features_in_,)

    See Also
    --------
    t_from_signed_log_p, signed_log_p_from_t : The functions that it calls.

    Notes
    -----
    A wrong `df` is not an error: the transformation stays invertible, and is then
    merely another scale. A small `df` stretches strong responses, ``inf`` compresses
    them most. A value that was clipped when the data were made becomes the t statistic
    of the clip. A mean of t statistics is not the t statistic of a mean response, and
    what minimises the squared error of t need not minimise that of the response, so
    compare both by cross-validation.

    Examples
    --------
    >>> from sklearn.compose import TransformedTargetRegressor
    >>> from sklperturb.datasets import make_chemical_screen
    >>> from sklperturb.linear_model import ProductKernelRidge
    >>> from sklperturb.preprocessing import TScoreTransformer
    >>> TScoreTransformer(df=20).fit_transform([[1.301, -4.0]]).round(2).tolist()
    [[2.09, -4.84]]
    >>> screen = make_chemical_screen(4, 20, 50, random_state=0)
    >>> model = TransformedTargetRegressor(
    ...     ProductKernelRidge(), transformer=TScoreTransformer(df=20)
    ... )
    >>> model.fit(screen.X, screen.y).predict(screen.X_test).shape
    (32, 50)
    """

    _parameter_constraints = {
        "df": [Interval(Real, 0, np.inf, closed="right"), "array-like"],
        "clip": [Interval(Real, 0, None, closed="neither"), None],
    }

    def __init__(self, df=np.inf, *, clip=None):
        self.df = df
        self.clip = clip

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Check the number of genes and the parameters; nothing is learnt.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_genes)
            The responses; named `X` since they are what this object transforms.
        y : None
            Ignored.

        Returns
        -------
        self : TScoreTransformer

        Raises
        ------
        ValueError
            If `df` is not positive or has another number of genes, or if `clip` is
            not positive.
        """
        X = validate_data(self, X, dtype=np.float64)
        df = np.asarray(self.df, dtype=np.float64)
        if df.shape not in ((), (X.shape[1],)):
            raise ValueError(
                f"df has shape {df.shape}, and the responses have {X.shape[1]} genes; "
                "pass one number, or one for each gene."
            )
        if not (df > 0).all():
            raise ValueError(
                f"df={self.df!r} must be positive. Pass the degrees of freedom of the "
                "test, or inf for a normal statistic."
            )
        self.df_ = np.broadcast_to(df, X.shape[1]).copy()
        return self

    def transform(self, X):
        """Return the t statistics of responses.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_genes)
            Signed -log10 p.

        Returns
        -------
        t : ndarray of shape (n_samples, n_genes)
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        return t_from_signed_log_p(X, self.df_)

    def inverse_transform(self, X):
        """Return the responses of t statistics.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_genes)
            t statistics.

        Returns
        -------
        response : ndarray of shape (n_samples, n_genes)
            Signed -log10 p.
        """
        check_is_fitted(self)
        X = check_array(X, dtype=np.float64)
        return signed_log_p_from_t(X, self.df_, clip=self.clip)
