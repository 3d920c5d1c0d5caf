"""Raw counts of cells: into a latent space, and back to counts."""

import numpy as np
from scipy import sparse
from sklearn.exceptions import NotFittedError
from sklearn.utils import check_random_state

from sklperturb.cells import log_normalise, looks_like_counts, open_cells
from sklperturb.cells._blocks import to_dense
from sklperturb.utils._progress import ProgressBar

_LARGEST_LOG = 12.0  # of an expression that is decoded; e^12 of 10^4 is absurd


class CountSpace:
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

    See Also
    --------
    sklperturb.flow.FlowMatchingRegressor : Generates the latent cells.

    Notes
    -----
    Not an estimator of scikit-learn, whose transformers take any numbers: this takes
    raw counts and nothing else. `fit` reads the cells four times, a block at a time,
    so that an AnnData may be backed by a file. Dispersions are by moments, of what the
    components leave over.

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

    def __init__(
        self, n_components=50, *, n_top_genes=2000, target_sum=1e4, verbose=False
    ):
        self.n_components = n_components
        self.n_top_genes = n_top_genes
        self.target_sum = target_sum
        self.verbose = verbose

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
            If the values are no counts, or there are too few cells or genes.
        """
        X = open_cells(X)
        self.genes_ = None if X.genes is None else X.genes.astype(str)
        n_cells, n_genes = X.shape
        if not looks_like_counts(X):
            raise ValueError(
                "X must hold raw counts: whole numbers, 0 or more. Use PCA for values "
                "that were normalised already."
            )
        n_top = min(self.n_top_genes, n_genes)
        if not 1 <= self.n_components < min(n_cells, n_top + 1):
            raise ValueError(
                f"n_components={self.n_components} must be at least 1, below the "
                f"{n_cells} cells and at most the {n_top} genes."
            )
        self.n_features_in_ = n_genes
        n_blocks = -(-n_cells // 2048)
        with ProgressBar(4 * n_blocks * bool(self.verbose), "Counts") as bar:
            self._choose_genes(X, n_top, bar)
            self._fit_components(X, bar)
            self._fit_decoder(X, bar)
            self._fit_noise(X, bar)
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
        """
        self._check_fitted()
        X = open_cells(X)
        if X.shape[1] != self.n_features_in_:
            raise ValueError(
                f"X has {X.shape[1]} genes, and CountSpace was fitted to "
                f"{self.n_features_in_}; pass the same genes."
            )
        Z = np.empty((X.shape[0], self.n_components))
        for rows, values in X.blocks():
            Z[rows] = self._project(self._log(values))
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
        self._check_fitted()
        Z = np.asarray(Z, dtype=np.float64)
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
        self._check_fitted()
        Z = np.asarray(Z, dtype=np.float64)
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
            drawn.append(sparse.csr_array(rng.poisson(rates).astype(np.float32)))
        return sparse.vstack(drawn, format="csr")

    def _check_fitted(self):
        if not hasattr(self, "decoder_"):
            raise NotFittedError("This CountSpace is not fitted yet; call fit first.")

    def _rates(self, Z, library_sizes):
        """Return the expected counts."""
        rates = np.expm1(self.inverse_transform(Z)) * self.correction_
        total = np.maximum(rates.sum(axis=1, keepdims=True), 1e-12)
        return rates / total * library_sizes[:, None]

    def _log(self, values):
        return log_normalise(values, self.target_sum)

    def _project(self, logs):
        top = logs[:, self.top_genes_]
        top = to_dense(top)
        return (top - self.mean_) @ self.components_.T

    def _choose_genes(self, X, n_top, bar):
        sums, squares = np.zeros((2, X.shape[1]))
        sizes = []
        for _, values in X.blocks():
            sizes.append(np.asarray(values.sum(axis=1), np.float64).ravel())
            logs = self._log(values)
            sums += np.asarray(logs.sum(axis=0)).ravel()
            squares += np.asarray((logs * logs).sum(axis=0)).ravel()
            bar.advance()
        self.library_sizes_ = np.concatenate(sizes)
        if not np.isfinite(sums).all():
            raise ValueError("X holds NaN or infinite values; drop those cells.")
        variance = squares / X.shape[0] - np.square(sums / X.shape[0])
        self.top_genes_ = np.sort(np.argsort(-variance, kind="stable")[:n_top])
        self.mean_ = sums[self.top_genes_] / X.shape[0]

    def _fit_components(self, X, bar):
        width = len(self.top_genes_)
        products = np.zeros((width, width))
        for _, values in X.blocks():
            logs = self._log(values)[:, self.top_genes_]
            logs = to_dense(logs)
            products += logs.T @ logs
            bar.advance()
        covariance = products / X.shape[0] - np.outer(self.mean_, self.mean_)
        _, vectors = np.linalg.eigh(covariance)
        components = vectors[:, ::-1][:, : self.n_components].T
        # One sign, so that two runs agree.
        largest = np.abs(components).argmax(axis=1)
        signs = np.sign(components[np.arange(len(components)), largest])
        self.components_ = components * signs[:, None]

    def _fit_decoder(self, X, bar):
        width = self.n_components + 1
        gram, cross = np.zeros((width, width)), np.zeros((width, X.shape[1]))
        for _, values in X.blocks():
            logs = self._log(values)
            Z = np.hstack([self._project(logs), np.ones((logs.shape[0], 1))])
            gram += Z.T @ Z
            cross += (logs.T @ Z).T
            bar.advance()
        self.decoder_ = np.linalg.lstsq(gram, cross, rcond=None)[0]

    def _fit_noise(self, X, bar):
        self.correction_ = np.ones(X.shape[1])
        counts, expected, excess, squares = np.zeros((4, X.shape[1]))
        # With y counts and m expected: E (y - m)^2 = m + dispersion * m^2, where the
        # expected ones are first brought to the gene's total.
        products, own = np.zeros((2, X.shape[1]))
        for rows, values in X.blocks():
            mean = self._rates(
                self._project(self._log(values)), self.library_sizes_[rows]
            )
            dense = to_dense(values)
            counts += dense.sum(axis=0)
            expected += mean.sum(axis=0)
            products += (dense * mean).sum(axis=0)
            own += np.square(dense, dtype=np.float64).sum(axis=0)
            squares += np.square(mean).sum(axis=0)
            bar.advance()
        factor = np.where(expected > 0, counts / np.maximum(expected, 1e-12), 0.0)
        excess = own - 2 * factor * products + factor**2 * squares - counts
        self.dispersion_ = np.clip(
            excess / np.maximum(factor**2 * squares, 1e-12), 0.0, 100.0
        )
        self.correction_ = factor
