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
    clone,
)
from sklearn.utils import check_array
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted, check_non_negative, validate_data

from sklperturb.cells import (
    log_normalise,
    looks_like_counts,
    open_cells,
    perturb_counts,
)
from sklperturb.cells._blocks import to_dense
from sklperturb.cells._files import check_unique_genes, gene_names, is_annotated
from sklperturb.cells._perturbed import ControlCells, CountChange
from sklperturb.conditions._documented import DocumentedMixin
from sklperturb.files._fields import (
    LARGEST,
    Array,
    Either,
    Flag,
    Listed,
    Maybe,
    Number,
    Size,
)
from sklperturb.flow._state import Object, attributes, stored
from sklperturb.preprocessing._latent_decoder import LatentDecoder
from sklperturb.utils._progress import ProgressBar

_LARGEST_LIBRARY = 1e9  # counts of a cell; of a million at most in practice
_LARGEST_LOG = 12.0  # of an expression that is decoded; e^12 of 10^4 is absurd
_BASIS = 4  # principal components of an autoencoder, of its own dimensions
_AUTOENCODER = {"batch_size": 256, "max_epochs": 100, "patience": 10}


class CountSpace(
    DocumentedMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator
):
    """Principal components of raw counts, and a way back to counts.

    Counts are scaled to one sum a cell and their logarithm is taken; the components
    are those of the most variable genes. Back, every gene is a linear function of the
    components. Counts are not decoded: real control cells are changed by what two
    points differ in, so that errors of the way back cancel, and zeros, spread and
    sizes are those of measured cells.

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
    n_features_in_ : int
    feature_names_in_ : ndarray of str of shape (n_features_in_,)
        Where all names of the genes are text.

    See Also
    --------
    sklperturb.flow.FlowMatchingRegressor : Generates the latent cells.

    Notes
    -----
    `fit` reads the cells three times, a block at a time, so that an AnnData may be
    backed by a file.

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
    >>> controls = screen.y[screen.is_control].X
    >>> before, after = latent[screen.is_control], latent[~screen.is_control]
    >>> space.perturb_counts(controls, before, after, random_state=0).shape
    (40, 80)
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
        with ProgressBar(3 * n_blocks * bool(self.verbose), "Counts") as bar:

            def blocks():
                for rows, values in X.blocks():
                    yield rows, values, log_normalise(values, self.target_sum)
                    bar.advance()

            self._choose_genes(blocks(), n_top)
            self._fit_components(blocks(), n_cells)
            self._fit_decoder(blocks())
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
            Z[rows] = self._points_of(values)
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

    def perturb_counts(self, counts, before, after, rows=None, *, random_state=None):
        """Return control cells as they would be after a move in the latent space.

        Parameters
        ----------
        counts : AnnData, sparse matrix or ndarray of shape (n_controls, n_genes)
            Raw counts of control cells of one context.
        before, after : ndarray of shape (n_points, n_components)
            Points of controls and of perturbed cells, such as a flow generates; the
            difference of their means is what is done to the cells.
        rows : array-like of int of shape (n_cells,), default=None
            Controls to make cells of; None is all, each once.
        random_state : int, RandomState instance or None, default=None
            Seed.

        Returns
        -------
        perturbed : csr_array or ndarray of shape (n_cells, n_genes)
            Whole numbers.

        See Also
        --------
        sklperturb.cells.perturb_counts : How counts are changed.
        """
        check_is_fitted(self)
        counts = self._validate(counts, reset=False).rows(slice(None))
        before, after = (
            check_array(points, dtype=np.float64, input_name=name).mean(axis=0)
            for name, points in (("before", before), ("after", after))
        )
        change = CountChange.of(sparse.csr_array(counts), self.target_sum)
        logs = (after - before) @ self.decoder_[:-1]
        return perturb_counts(
            counts, change.fold(logs), rows, random_state=random_state
        )

    def keep_controls(self, X, rows, conditions):
        """Return counts of some cells of `fit`, of each condition its part.

        Parameters
        ----------
        X : AnnData, DataFrame, sparse matrix or ndarray of shape (n_cells, n_genes)
            Raw counts.
        rows : ndarray of int of shape (n_controls,)
            Cells to choose from.
        conditions : DataFrame of shape (n_controls, n_columns)
            Context and batch of each of `rows`.

        Returns
        -------
        cells : ControlCells
            All of `rows`, or an even sample, as large as a file may hold.
        """
        groups = pd.Series(0, conditions.index)
        if conditions.shape[1]:
            groups = conditions.astype(str).groupby(list(conditions)).ngroup()
        return ControlCells.choose(self._validate(X, reset=False), rows, groups)

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

    def _points_of(self, counts):
        """Return counts (n_cells, n_genes) as points, without a check of them."""
        return self._project(log_normalise(counts, self.target_sum))

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
        sizes = np.concatenate(sizes)
        if sizes.max() > _LARGEST_LIBRARY:
            raise ValueError(
                f"A cell has {sizes.max():.3g} counts, and no cell has more than "
                f"{_LARGEST_LIBRARY:.0e}; leave it out."
            )
        n_cells = len(sizes)
        variance = squares / n_cells - np.square(sums / n_cells)
        self.top_genes_ = np.sort(np.argsort(-variance, kind="stable")[:n_top])
        self.mean_ = sums[self.top_genes_] / n_cells

    def _fit_components(self, blocks, n_cells):
        width = len(self.top_genes_)
        products = np.zeros((width, width))
        for _, _, logs in blocks:
            top = to_dense(logs[:, self.top_genes_])
            products += top.T @ top
        covariance = products / n_cells
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

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = True
        tags.input_tags.sparse = True
        return tags


stored(
    attributes(),
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
)(CountSpace)


def latent_of(y, obsm):
    """Return cells that are points of a latent space already, in single precision."""
    if is_annotated(y):
        if obsm not in y.obsm:
            raise ValueError(
                f"y has no {obsm!r} in its obsm; it has {list(y.obsm)}. Pass obsm= to "
                "name the latent space, or space='counts'."
            )
        y = to_dense(open_cells(y, obsm=obsm, needs="finite").rows(slice(None)))
    return np.asarray(y, dtype=np.float32)


def fit_space(space, n_components, y, verbose, random_state):
    """Fit a latent space to counts, and a way back to principal components of them.

    Parameters
    ----------
    space : {"counts", "autoencoder"} or transformer
    n_components : int
    y : AnnData, DataFrame, sparse matrix or ndarray of shape (n_cells, n_genes)
    verbose : bool
    random_state : int, RandomState instance or None

    Returns
    -------
    components : CountSpace
    encoder : fitted transformer or None
    decoder : LatentDecoder or None
        From the latent space to the components; None where they are the same.
    points : ndarray of shape (n_cells, n_dimensions), float32
    """
    widest = max(min(y.shape[1] - 1, y.shape[0] - 1), 1)
    n_components = min(n_components, widest)
    width = (
        n_components if space != "autoencoder" else min(_BASIS * n_components, widest)
    )
    encoder = decoder = None
    if not isinstance(space, str):
        encoder = clone(space).fit(y)
    components = CountSpace(width, verbose=verbose).fit(y)
    points = components.transform(y)
    if encoder is not None:
        targets, points = points, to_dense(encoder.transform(y)).astype(np.float32)
        decoder = LatentDecoder.fit(points, targets)
    elif space == "autoencoder":
        from sklperturb.neural_network import AutoencoderTransformer

        options = {"verbose": int(verbose), "random_state": random_state}
        encoder = AutoencoderTransformer(
            n_components, reduction=None, **options, **_AUTOENCODER
        ).fit(points)
        decoder, points = encoder.as_decoder(), encoder.transform(points)
    return components, encoder, decoder, points.astype(np.float32)


def _take_controls(cells):
    counts = cells.counts
    if type(counts) is not sparse.csr_array:
        raise TypeError(f"counts of controls are a {type(counts).__name__}")
    parts = {"data": counts.data, "indices": counts.indices, "indptr": counts.indptr}
    widths = {"n_genes": cells.n_genes, "n_columns": counts.shape[1]}
    return widths | {"places": cells.places} | parts


stored(
    _take_controls,
    n_genes=Size("n_genes"),
    n_columns=Size("n_genes"),
    places=Array(("n_kept",), "i", 0, below="n_rows", unique=True),
    data=Array(("n_values",), "i", 1, _LARGEST_LIBRARY),
    indices=Array(("n_values",), "i", 0, below="n_genes"),
    indptr=Array(("n_kept+1",), "i", 0),
)(ControlCells)
stored(attributes(), weights=Listed(Array(None)), biases=Listed(Array(None)))(
    LatentDecoder
)
