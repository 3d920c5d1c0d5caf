"""What all embeddings of perturbed genes share: names in, one vector a row out."""

import warnings

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import svds
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.extmath import svd_flip
from sklearn.utils.validation import check_is_fitted

from sklperturb.cells._blocks import to_dense
from sklperturb.conditions._documented import DocumentedMixin
from sklperturb.conditions._frames import read_column
from sklperturb.conditions._labels import as_text
from sklperturb.conditions._near import near_misses, pairs
from sklperturb.conditions._validation import resolve_schema, validate_conditions


class GeneEmbedding(DocumentedMixin, TransformerMixin, BaseEstimator):
    """Base of the transformers from conditions to embeddings of the perturbed genes.

    A subclass has the parameters `combine`, `add_indicator` and `schema`, calls
    `_start_fit` at the top of `fit`, and sets `genes_` and `embedding_`.
    """

    _parameter_constraints = {
        "combine": [StrOptions({"sum", "mean"})],
        "add_indicator": ["boolean"],
    }

    def _start_fit(self, X):
        """Return the perturbed genes."""
        X = validate_conditions(self, X, reset=True)
        self.schema_ = resolve_schema(self.schema, X)
        self.schema_.require(X, "perturbation")
        labels = read_column(X, self.schema_.perturbation)
        split = map(self.schema_.split, set(map(as_text, labels)))
        return {gene for genes in split for gene in genes}

    def _used_columns(self):
        return [self.schema_.perturbation]

    def _finish_fit(self, genes, embedding):
        self.genes_ = np.asarray(genes, dtype=object)
        if not sparse.issparse(embedding):
            embedding = np.asarray(embedding, dtype=np.float64)
        self.embedding_ = embedding
        self.n_components_ = self.embedding_.shape[1]
        self._positions = {gene: i for i, gene in enumerate(self.genes_)}
        return self

    def transform(self, X):
        """Return the embedding of each row's perturbation.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_columns)
            Conditions; the perturbation column names genes and combinations
            ``"A+B"``. A control has no perturbed gene, and so all zeros.

        Returns
        -------
        Z : ndarray of shape (n_samples, n_components_) or \
                (n_samples, n_components_ + 1)
            With `add_indicator`, the last column is the share of the row's genes
            that have no embedding.

        Warns
        -----
        UserWarning
            If genes have no embedding; names them.
        """
        check_is_fitted(self)
        X = validate_conditions(self, X, reset=False)
        labels = read_column(X, self.schema_.perturbation)
        levels, codes = np.unique(list(map(as_text, labels)), return_inverse=True)
        parts = [self.schema_.split(name) for name in levels.tolist()]
        missing = {part for row in parts for part in row} - self._positions.keys()
        if missing:
            self._warn_missing(sorted(missing), {p for row in parts for p in row})
        vectors = np.zeros((len(levels), self.n_components_ + 1))
        for row, genes in zip(vectors, parts, strict=True):
            known = [self._positions[gene] for gene in genes if gene not in missing]
            if known:
                row[:-1] = self.embedding_[known].sum(axis=0)
                if self.combine == "mean":
                    row[:-1] /= len(known)
            row[-1] = (len(genes) - len(known)) / max(len(genes), 1)
        return vectors[codes] if self.add_indicator else vectors[codes, :-1]

    def get_feature_names_out(self, input_features=None):
        """Return the names of the columns of the embedding.

        Parameters
        ----------
        input_features : None
            Ignored.

        Returns
        -------
        names : ndarray of str
        """
        check_is_fitted(self)
        prefix = type(self).__name__.lower()
        names = [f"{prefix}{i}" for i in range(self.n_components_)]
        return np.array(names + ["missing"] * bool(self.add_indicator), dtype=object)

    def _warn_missing(self, missing, named):
        examples = missing[:10] + ["..."] * (len(missing) > 10)
        flagged = ", flagged in the column 'missing'" if self.add_indicator else ""
        hint = ""
        near = near_misses(missing, self.genes_)
        if near:
            hint = (
                f" {len(near)} of them differ in spelling only, such as "
                f"{pairs(near)}. Rename those of X or of the table."
            )
        elif len(missing) == len(named):
            hint = (
                " None of the names is known, so the two may be spelled differently: "
                f"known are, for example, {self.genes_[:3].tolist()}."
            )
        warnings.warn(
            f"{type(self).__name__} has no embedding for {len(missing)} of the "
            f"{len(named)} genes: {examples}. They are given zeros{flagged}.{hint}",
            UserWarning,
            stacklevel=4,  # past scikit-learn's wrapper of transform
        )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        return tags


def scores(matrix, n_components):
    """Return the rows of `matrix` in its leading singular directions, ``U S``.

    The start of the iteration is fixed, so that two runs give the same bits. At most
    as many columns come back as the matrix has rows or columns.
    """
    u, s, _ = _leading(matrix, n_components)
    return u * s


def axes(matrix, n_components):
    """Return the leading singular directions of the rows, (n_components, n_columns)."""
    return _leading(matrix, n_components)[2]


def _leading(matrix, n_components):
    n_components = min(n_components, *matrix.shape)
    if n_components < min(matrix.shape) // 2:
        start = np.random.RandomState(0).uniform(-1, 1, min(matrix.shape))
        u, s, vt = svds(matrix.astype(np.float64), k=n_components, v0=start)
        order = np.argsort(-s)
        u, s, vt = u[:, order], s[order], vt[order]
    else:
        dense = to_dense(matrix)
        u, s, vt = np.linalg.svd(dense, full_matrices=False)
        u, s, vt = u[:, :n_components], s[:n_components], vt[:n_components]
    u, vt = svd_flip(u, vt)
    return u, s, vt
