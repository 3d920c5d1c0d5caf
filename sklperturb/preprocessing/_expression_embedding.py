"""Embeddings of genes from how they vary together in the training data."""

import warnings
from numbers import Integral, Real

import numpy as np
from scipy import sparse
from sklearn.base import _fit_context
from sklearn.decomposition import PCA
from sklearn.utils import check_array, check_consistent_length, check_random_state
from sklearn.utils._param_validation import Interval

from sklperturb.cells import log_normalise, looks_like_counts, open_cells
from sklperturb.cells._blocks import to_dense
from sklperturb.cells._files import check_unique_genes, gene_names, is_annotated
from sklperturb.conditions._validation import require_y
from sklperturb.preprocessing._gene_embedding import GeneEmbedding


class ExpressionGeneEmbedding(GeneEmbedding):
    """Embed perturbed genes by their loadings on the principal components of `y`.

    Genes that rise and fall together get similar vectors. This is the gene embedding
    of the bilinear model of Ahlmann-Eltze et al. [1]_: nothing but the training data
    is needed, and a perturbed gene must be among the measured ones.

    Parameters
    ----------
    n_components : int, default=32
        Principal components; at most as many as the rows or the genes allow.
    max_cells : int, default=20000
        With more rows in `y`, a random sample of this size is decomposed.
    target_sum : float, default=None
        Scale each row to this sum and take log(1 + x) first, for raw counts.
    combine : {"sum", "mean"}, default="sum"
        How the vectors of a combination ``"A+B"`` become one.
    add_indicator : bool, default=True
        Append the share of a row's genes that are not measured.
    schema : PerturbationSchema, default=None
        Roles of the columns. None infers them from the column names.
    random_state : int, RandomState instance or None, default=None
        Seed of the sample and of the decomposition.

    Attributes
    ----------
    genes_ : ndarray of str of shape (n_genes,)
        Names of the columns of `y`; their positions if `y` is an array.
    embedding_ : ndarray of shape (n_genes, n_components_)
        Loadings times the standard deviation along the component.
    n_components_ : int
    schema_ : PerturbationSchema
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)

    See Also
    --------
    GeneSetEncoder : Knows genes that were not measured.
    sklperturb.linear_model.BilinearGeneRegressor : The model that it was made for.

    References
    ----------
    .. [1] Ahlmann-Eltze, Huber and Anders, "Deep-learning-based gene perturbation
       effect prediction does not yet outperform simple linear baselines", Nature
       Methods, 2025. :doi:`10.1038/s41592-025-02772-6`

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from sklperturb.preprocessing import ExpressionGeneEmbedding
    >>> X = pd.DataFrame({"target_gene": ["control", "KLF1", "MYC", "KLF1"]})
    >>> y = pd.DataFrame(np.eye(4)[:, :3], columns=["KLF1", "MYC", "TP53"])
    >>> ExpressionGeneEmbedding(2).fit_transform(X, y).shape
    (4, 3)
    """

    _parameter_constraints = {
        **GeneEmbedding._parameter_constraints,
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "max_cells": [Interval(Integral, 1, None, closed="left")],
        "target_sum": [Interval(Real, 0, None, closed="neither"), None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_components=32,
        *,
        max_cells=20_000,
        target_sum=None,
        combine="sum",
        add_indicator=True,
        schema=None,
        random_state=None,
    ):
        self.n_components = n_components
        self.max_cells = max_cells
        self.target_sum = target_sum
        self.combine = combine
        self.add_indicator = add_indicator
        self.schema = schema
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y):
        """Decompose the expression.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_columns)
            Conditions.
        y : AnnData, DataFrame or array-like of shape (n_samples, n_genes)
            Expression, of cells or of conditions. The names of the columns are what
            the perturbed genes are looked up by.

        Returns
        -------
        self : ExpressionGeneEmbedding

        Raises
        ------
        ValueError
            If a gene occurs twice in `y`, or a value is not finite.

        Warns
        -----
        UserWarning
            If `y` looks like raw counts and `target_sum` is None.
        """
        self._start_fit(X)
        require_y(self, y)
        genes = gene_names(y)
        if genes is not None:
            check_unique_genes(genes, "y")
        if not is_annotated(y):
            y = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")
            y = y.reshape(len(y), -1)
        needs = "finite" if self.target_sum is None else "counts"
        cells = open_cells(y, needs=needs)
        check_consistent_length(X, cells)
        rng = check_random_state(self.random_state)
        rows, n_cells = slice(None), cells.shape[0]
        if n_cells > self.max_cells:
            rows = np.sort(rng.choice(n_cells, self.max_cells, replace=False))
        rows = cells.rows(rows)
        if self.target_sum is None and rows.shape[0] > 1 and looks_like_counts(rows):
            warnings.warn(
                f"{type(self).__name__}: y looks like raw counts, whose components "
                "follow the depth of sequencing. Pass target_sum=10000, or normalised "
                "values.",
                UserWarning,
                stacklevel=3,  # past scikit-learn's wrapper of fit
            )
        rows = log_normalise(rows, self.target_sum)
        if genes is None:
            genes = np.arange(rows.shape[1]).astype(str)
        return self._finish_fit(genes, _loadings(rows, self.n_components, rng))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags


def _loadings(rows, n_components, rng):
    """Return the scaled principal axes, (n_genes, n_components)."""
    if rows.shape[0] == 1:  # nothing varies
        return np.zeros((rows.shape[1], 1))
    n_components = min(n_components, rows.shape[0] - 1, rows.shape[1])
    solver = "auto"
    if sparse.issparse(rows) and n_components < min(rows.shape):
        # The only solver that centres a sparse matrix without filling it.
        rows, solver = sparse.csr_matrix(rows), "arpack"
    elif sparse.issparse(rows):
        rows = to_dense(rows)
    pca = PCA(n_components, svd_solver=solver, random_state=rng).fit(rows)
    return pca.components_.T * np.sqrt(pca.explained_variance_)
