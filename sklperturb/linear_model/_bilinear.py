"""A linear model between embeddings of genes and of perturbations."""

from numbers import Integral, Real

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, RegressorMixin, _fit_context, clone
from sklearn.utils._param_validation import HasMethods, Interval
from sklearn.utils.validation import check_is_fitted

from sklperturb.cells._files import gene_names
from sklperturb.conditions._documented import DocumentedMixin
from sklperturb.conditions._frames import take_columns
from sklperturb.conditions._named_predictions import NamedPredictionsMixin
from sklperturb.conditions._regressor import NamedConditionsMixin
from sklperturb.conditions._validation import resolve_schema, validate_conditions
from sklperturb.preprocessing import ExpressionGeneEmbedding
from sklperturb.preprocessing._gene_embedding import scores


class BilinearGeneRegressor(
    DocumentedMixin,
    NamedPredictionsMixin,
    NamedConditionsMixin,
    RegressorMixin,
    BaseEstimator,
):
    r"""Predict effects as a product of gene and perturbation embeddings.

    With effects :math:`Y`, genes by conditions, the model of Ahlmann-Eltze et
    al. [1]_ is

    .. math:: Y \approx G W (P - \bar p)^\top + b

    where :math:`G` are the scores of the genes on the principal components of
    :math:`Y`, :math:`P` embeds the perturbed gene of each condition, :math:`b` is the
    mean effect on each gene, and :math:`W` is found by ridge regression on both
    sides. With :math:`P` from another screen, it beats every deep model in [1]_.

    Parameters
    ----------
    embedding : transformer, default=None
        Gives :math:`P`, one row for each condition. None takes the same loadings as
        :math:`G`, `ExpressionGeneEmbedding`, so that only measured genes have one. A
        `LookupEmbedding` of the effects in another screen tells more.
    n_components : int, default=10
        Columns of :math:`G`, and of the default :math:`P`.
    alpha : float, default=0.1
        Strength of the ridge, relative to the mean square of the columns of
        :math:`G` and :math:`P`, so that their units do not matter.
    schema : PerturbationSchema, default=None
        Roles of the columns. None infers them from the column names.

    Attributes
    ----------
    gene_scores_ : ndarray of shape (n_genes, n_components_)
    weights_ : ndarray of shape (n_components_, n_embedding)
    mean_effect_ : ndarray of shape (n_genes,)
    embedding_ : transformer
        Fitted to the conditions.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)

    See Also
    --------
    sklperturb.compose.PerturbationEffectRegressor : Gives it effects, from cells.

    Notes
    -----
    Of a perturbation without an embedding, the mean effect is predicted; an
    embedding's indicator of missing genes is left out. In [1]_, :math:`P` is not
    centred, and the ridge is 0.1 in absolute terms.

    References
    ----------
    .. [1] Ahlmann-Eltze, Huber and Anders, "Deep-learning-based gene perturbation
       effect prediction does not yet outperform simple linear baselines", Nature
       Methods, 2025. :doi:`10.1038/s41592-025-02772-6`

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from sklperturb.linear_model import BilinearGeneRegressor
    >>> X = pd.DataFrame({"target_gene": ["KLF1", "MYC", "TP53"]})
    >>> y = pd.DataFrame(np.eye(3), columns=["KLF1", "MYC", "GATA1"])
    >>> new = pd.DataFrame({"target_gene": ["GATA1"]})
    >>> BilinearGeneRegressor(n_components=2).fit(X[:2], y[:2]).predict(new).shape
    (1, 3)
    """

    _parameter_constraints = {
        "embedding": [HasMethods(["fit", "transform"]), None],
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "alpha": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(self, embedding=None, *, n_components=10, alpha=0.1, schema=None):
        self.embedding = embedding
        self.n_components = n_components
        self.alpha = alpha
        self.schema = schema

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y):
        """Solve for the weights.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_columns)
            Conditions.
        y : DataFrame or array-like of shape (n_samples,) or (n_samples, n_genes)
            Effects, changes from control. The columns name the genes.

        Returns
        -------
        self : BilinearGeneRegressor
        """
        genes = gene_names(y)
        X, y = validate_conditions(self, X, y, reset=True)
        self.schema_ = resolve_schema(self.schema, X)
        take_columns(X, self.schema_.columns("perturbation"))
        self._y_ndim = y.ndim
        y = y.reshape(len(y), -1)
        self.mean_effect_ = y.mean(axis=0)
        centred = (y - self.mean_effect_).T
        G = self.gene_scores_ = scores(centred, self.n_components)
        self.embedding_ = self._embedding()
        named = y if genes is None else pd.DataFrame(y, columns=genes)
        P = np.asarray(self.embedding_.fit(X, named).transform(X), dtype=np.float64)
        known = P.any(axis=1)
        self._centre = P[known].mean(axis=0) if known.any() else np.zeros(P.shape[1])
        P = self._centred(P)
        left = np.linalg.solve(self._gram(G), G.T @ centred)
        self.weights_ = np.linalg.solve(self._gram(P), P.T @ left.T).T
        return self

    def predict(self, X):
        """Return the effect of each row's perturbation.

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
        P = self._centred(np.asarray(self.embedding_.transform(X), dtype=np.float64))
        y_pred = self.mean_effect_ + P @ self.weights_.T @ self.gene_scores_.T
        return y_pred.ravel() if self._y_ndim == 1 else y_pred

    def _embedding(self):
        if self.embedding is None:
            return ExpressionGeneEmbedding(
                self.n_components,
                add_indicator=False,
                schema=self.schema_,
                random_state=0,
            )
        embedding = clone(self.embedding)
        parameters = embedding.get_params(deep=False)
        if parameters.get("schema", self) is None:
            embedding.set_params(schema=self.schema_)
        if parameters.get("add_indicator"):
            embedding.set_params(add_indicator=False)
        return embedding

    def _centred(self, P):
        """Centre the embeddings; those of unknown genes, all zeros, stay zeros."""
        return np.where(P.any(axis=1, keepdims=True), P - self._centre, 0.0)

    def _gram(self, factor):
        """Return the ridge-regularised products of the columns of a factor."""
        gram = factor.T @ factor
        ridge = self.alpha * np.trace(gram) / len(gram)
        # A factor of zeros, of unknown genes, has weights of zero.
        return gram + max(ridge, np.finfo(float).tiny ** 0.5) * np.eye(len(gram))
