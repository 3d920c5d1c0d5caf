"""Raw counts of cells: into a latent space, and back to counts."""

from numbers import Integral, Real

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    _fit_context,
)
from sklearn.utils import check_array, check_random_state
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted, check_non_negative, validate_data

from sklperturb.cells import log_normalise, looks_like_counts, open_cells
from sklperturb.cells._blocks import to_dense
from sklperturb.cells._files import check_unique_genes, gene_names, is_annotated
from sklperturb.files._fields import LARGEST, Array, Either, Flag, Maybe, Number, Size
from sklperturb.flow._state import Object, stored_estimator
from sklperturb.utils._progress import ProgressBar

_LARGEST_LIBRARY = 1e9  # counts of a cell; of a million at most in practice
_LARGEST_RATE = 1e15  # beyond which counts are no whole numbers any more
_LARGEST_DISPERSION = 100.0
_LARGEST_LOG = 12.0  # of an expression that is decoded; e^12 of 10^4 is absurd


class CountSpace(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Principal components of raw counts, and a way back to counts.

    Counts are scaled to one sum a cell and their logarithm is taken; the components
    are those of the most variable genes. Back, every gene is a linear function of the
    components, and counts are drawn from a negative binomial around it, with the
    dispersion of the gene and the size of a cell: rounded expression has neither the
    zeros nor the spread of counts.

    Parameters
    ----------
    n_components : int, default=50
    n_top_genes : int, default=2000
        Genes that the components are made of.
    target_sum : float, default=10000.0
        Sum to which a cell is scaled.
    verbose : bool, default=False
        Show progress, on a terminal.

    Attributes
    ----------
    genes_ : Index or None
        Names of the genes, where `y` has them.
    top_genes_ : ndarray of int of shape (n_top_genes,)
        Genes that the components are made of.
    components_ : ndarray of shape (n_components, n_top_genes)
    mean_ : ndarray of shape (n_top_genes,)
    decoder_ : ndarray of shape (n_components + 1, n_genes)
        Last row: the intercept. Gives logarithms.
    correction_ : ndarray of shape (n_genes,)
        Factor by which decoded rates are too small: a mean of logarithms is not the
        logarithm of a mean.
    dispersion_ : ndarray of shape (n_genes,)
        Of the negative binomial: its variance is ``mean + dispersion * mean ** 2``.
    library_sizes_ : ndarray of shape (n_cells,)
        Counts of each training cell.
    n_features_in_ : int
    feature_names_in_ : ndarray of str of shape (n_features_in_,)
        Where all names of the genes are text.

    See Also
    --------
    sklperturb.flow.FlowMatchingRegressor : Generates the latent cells.

    Notes
    -----
    `fit` reads the cells four times, a block at a time, so that an AnnData may be
    backed by a file. Dispersions are by moments, of what the components leave over.

    Examples
    --------
    >>> from sklperturb.datasets import make_genetic_screen
    >>> from sklperturb.flow import CountSpace
    >>> screen = make_genetic_screen(
    ...     4, 80, cells_per_perturbation=20, n_controls=40, random_state=0
    ... )
    >>> space = CountSpace(5, n_top_genes=40).fit(screen.y)
    >>> latent = space.transform(screen.y)
    >>> latent.shape
    (120, 5)
    >>> space.sample_counts(latent, random_state=0).shape
    (120, 80)
    """

    _parameter_constraints = {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "n_top_genes": [Interval(Integral, 1, None, closed="left")],
        "target_sum": [Interval(Real, 0, None, closed="neither")],
        "verbose": ["verbose"],
    }

    def __init__(
        self, n_components=50, *, n_top_genes=2000, target_sum=1e4, verbose=False
    ):
        self.n_components = n_components
        self.n_top_genes = n_top_genes
        self.target_sum = target_sum
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Learn the components and the way back.

        Parameters
        ----------
        X : AnnData, DataFrame, sparse matrix or ndarray of shape (n_cells, n_genes)
            Raw counts.
        y : None
            Ignored.

        Returns
        -------
        self : CountSpace

        Raises
        ------
        ValueError
            If the values are no counts, there are too few cells or genes, or a
            parameter is out of range.
        """
        X = self._validate(X, reset=True)
        n_cells, n_genes = X.shape
        if not looks_like_counts(X):
            X.scan()  # which names the cell, where it is negative or not finite
            raise ValueError(
                f"{X.source}: X must hold raw counts: whole numbers, 0 or more, and "
                "some above 1. Use PCA for values that were normalised already."
            )
        n_top = min(self.n_top_genes, n_genes)
        if self.n_components >= min(n_cells, n_top + 1):
            raise ValueError(
                f"n_components={self.n_components} must be below the {n_cells} cells "
                f"and at most the {n_top} genes."
            )
        n_blocks = -(-n_cells // 2048)
        with ProgressBar(4 * n_blocks * bool(self.verbose), "Counts") as bar:

            def blocks():
                for rows, values in X.blocks():
                    yield rows, values, log_normalise(values, self.target_sum)
                    bar.advance()

            self._choose_genes(blocks(), n_top)
            self._fit_components(blocks())
            self._fit_decoder(blocks())
            self._fit_noise(blocks())
        return self

    def transform(self, X):
        """Return cells as points of the latent space.

        Parameters
        ----------
        X : AnnData, DataFrame, sparse matrix or ndarray of shape (n_cells, n_genes)
            Raw counts, with the genes of `fit`.

        Returns
        -------
        Z : ndarray of shape (n_cells, n_components)

        Raises
        ------
        ValueError
            If the genes are others than in `fit`.
        """
        check_is_fitted(self)
        X = self._validate(X, reset=False)
        Z = np.empty((X.shape[0], len(self.components_)))
        for rows, values in X.blocks():
            Z[rows] = self._project(log_normalise(values, self.target_sum))
        return Z

    def inverse_transform(self, Z):
        """Return expected expression.

        Parameters
        ----------
        Z : ndarray of shape (n_cells, n_components)

        Returns
        -------
        X : ndarray of shape (n_cells, n_genes)
            log(1 + counts scaled to `target_sum`), 0 or more.
        """
        check_is_fitted(self)
        Z = check_array(Z, dtype=np.float64, input_name="Z")
        decoded = Z @ self.decoder_[:-1] + self.decoder_[-1]
        return np.clip(decoded, 0.0, _LARGEST_LOG)

    def sample_counts(self, Z, library_sizes=None, *, random_state=None):
        """Draw counts of cells.

        Parameters
        ----------
        Z : ndarray of shape (n_cells, n_components)
        library_sizes : array-like of shape (n_cells,), default=None
            Expected counts of each cell. None draws from those of the training cells.
        random_state : int, RandomState instance or None, default=None
            Seed.

        Returns
        -------
        counts : csr_array of shape (n_cells, n_genes), float32
            Whole numbers.
        """
        check_is_fitted(self)
        Z = check_array(Z, dtype=np.float64, input_name="Z")
        seed = check_random_state(random_state).randint(2**31 - 1)
        rng = np.random.default_rng(seed)
        if library_sizes is None:
            library_sizes = rng.choice(self.library_sizes_, len(Z))
        library_sizes = np.asarray(library_sizes, dtype=np.float64)
        if library_sizes.shape != (len(Z),):
            raise ValueError(
                f"library_sizes has shape {library_sizes.shape}; it needs one number "
                f"for each of the {len(Z)} cells."
            )
        # A gene without dispersion is Poisson, the limit of many failures.
        shape = 1.0 / np.maximum(self.dispersion_, 1e-6)
        drawn = []
        for start in range(0, len(Z), 2048):
            rows = slice(start, start + 2048)
            mean = self._rates(Z[rows], library_sizes[rows])
            rates = rng.gamma(shape, mean / shape)
            if not rates.max(initial=0) < _LARGEST_RATE:  # NaN too
                raise ValueError(
                    "The decoded cells have more counts than any cell has; fit the "
                    "model again, or with a lower learning_rate or guidance."
                )
            drawn.append(sparse.csr_array(rng.poisson(rates).astype(np.float32)))
        return sparse.vstack(drawn, format="csr")

    @property
    def _n_features_out(self):
        return len(self.components_)

    def _validate(self, X, reset):
        """Return the cells to be read by block, with the right genes."""
        if is_annotated(X):
            X = open_cells(X, needs="counts")
            genes = X.genes.astype(str)
            check_unique_genes(genes, X.source)
            validate_data(
                self, pd.DataFrame(columns=genes), reset=reset, skip_check_array=True
            )
            self.genes_ = genes if reset else self.genes_
            return X
        if reset:
            self.genes_ = gene_names(X)
        X = validate_data(
            self,
            open_cells(X).matrix if sparse.issparse(X) else X,
            accept_sparse="csr",
            ensure_min_samples=2 if reset else 1,
            reset=reset,
        )
        check_non_negative(X, type(self).__name__)
        return open_cells(X)

    def _rates(self, Z, library_sizes):
        """Return the expected counts."""
        rates = np.expm1(self.inverse_transform(Z)) * self.correction_
        total = np.maximum(rates.sum(axis=1, keepdims=True), 1e-12)
        return rates / total * library_sizes[:, None]

    def _project(self, logs):
        top = to_dense(logs[:, self.top_genes_])
        return (top - self.mean_) @ self.components_.T

    def _choose_genes(self, blocks, n_top):
        sums, squares = np.zeros((2, self.n_features_in_))
        sizes = []
        for _, values, logs in blocks:
            sizes.append(np.asarray(values.sum(axis=1), np.float64).ravel())
            sums += np.asarray(logs.sum(axis=0)).ravel()
            squares += np.asarray((logs * logs).sum(axis=0)).ravel()
        self.library_sizes_ = np.concatenate(sizes)
        if self.library_sizes_.max() > _LARGEST_LIBRARY:
            raise ValueError(
                f"A cell has {self.library_sizes_.max():.3g} counts, and no cell has "
                f"more than {_LARGEST_LIBRARY:.0e}; leave it out."
            )
        n_cells = len(self.library_sizes_)
        variance = squares / n_cells - np.square(sums / n_cells)
        self.top_genes_ = np.sort(np.argsort(-variance, kind="stable")[:n_top])
        self.mean_ = sums[self.top_genes_] / n_cells

    def _fit_components(self, blocks):
        width = len(self.top_genes_)
        products = np.zeros((width, width))
        for _, _, logs in blocks:
            top = to_dense(logs[:, self.top_genes_])
            products += top.T @ top
        covariance = products / len(self.library_sizes_)
        covariance -= np.outer(self.mean_, self.mean_)
        _, vectors = np.linalg.eigh(covariance)
        components = vectors[:, ::-1][:, : self.n_components].T
        # One sign, so that two runs agree.
        largest = np.abs(components).argmax(axis=1)
        signs = np.sign(components[np.arange(len(components)), largest])
        self.components_ = components * signs[:, None]

    def _fit_decoder(self, blocks):
        width = self.n_components + 1
        gram, cross = np.zeros((width, width)), np.zeros((width, self.n_features_in_))
        for _, _, logs in blocks:
            Z = np.hstack([self._project(logs), np.ones((logs.shape[0], 1))])
            gram += Z.T @ Z
            cross += (logs.T @ Z).T
        self.decoder_ = np.linalg.lstsq(gram, cross, rcond=None)[0]

    def _fit_noise(self, blocks):
        self.correction_ = np.ones(self.n_features_in_)
        # With y counts and m expected: E (y - m)^2 = m + dispersion * m^2, where the
        # expected ones are first brought to the gene's total.
        counts, expected, own, products, squares = np.zeros((5, self.n_features_in_))
        for rows, values, logs in blocks:
            mean = self._rates(self._project(logs), self.library_sizes_[rows])
            dense = to_dense(values)
            counts += dense.sum(axis=0)
            expected += mean.sum(axis=0)
            own += np.square(dense, dtype=np.float64).sum(axis=0)
            products += (dense * mean).sum(axis=0)
            squares += np.square(mean).sum(axis=0)
        factor = np.where(expected > 0, counts / np.maximum(expected, 1e-12), 0.0)
        excess = own - 2 * factor * products + factor**2 * squares - counts
        dispersion = excess / np.maximum(factor**2 * squares, 1e-12)
        self.dispersion_ = np.clip(dispersion, 0.0, _LARGEST_DISPERSION)
        self.correction_ = factor

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = True
        tags.input_tags.sparse = True
        return tags


stored_estimator(
    CountSpace,
    optional=("feature_names_in_",),
    n_components=Number(1, whole=True),
    n_top_genes=Number(1, whole=True),
    target_sum=Number(1e-30, LARGEST),
    verbose=Either(
        lambda value: isinstance(value, bool), Flag(), Number(0, whole=True)
    ),
    n_features_in_=Size("n_genes"),
    feature_names_in_=Array(("n_genes",), "U", unique=True),
    genes_=Maybe(Object(pd.Index)),
    top_genes_=Array(("n_top",), "i", 0, below="n_genes", unique=True),
    components_=Array(("n_latent", "n_top")),
    mean_=Array(("n_top",)),
    decoder_=Array(("n_latent+1", "n_genes")),
    correction_=Array(("n_genes",), low=0),
    dispersion_=Array(("n_genes",), low=0, high=_LARGEST_DISPERSION),
    library_sizes_=Array(("n_cells",), low=0, high=_LARGEST_LIBRARY),
)
