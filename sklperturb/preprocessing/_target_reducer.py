"""An orthonormal basis for targets with more genes than rows."""

from numbers import Integral, Real

import numpy as np
from scipy import linalg
from sklearn.base import BaseEstimator, TransformerMixin, _fit_context
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data

from sklperturb.conditions._documented import DocumentedMixin


def _gavish_donoho_rank(singular_values, shape):
    """Count the singular values above the optimal hard threshold.

    The threshold for unknown noise is a multiple of the median singular value;
    the multiple is Gavish and Donoho's cubic fit in the aspect ratio.
    """
    beta = min(shape) / max(shape)
    omega = 0.56 * beta**3 - 0.95 * beta**2 + 1.82 * beta + 1.43
    return int((singular_values > omega * np.median(singular_values)).sum())


class TargetReducer(DocumentedMixin, TransformerMixin, BaseEstimator):
    r"""Write targets in an orthonormal basis of their training rows.

    With :math:`n` rows and :math:`g > n` genes, the centred targets
    :math:`Y - \bar y` have rank at most :math:`n - 1`. Their right singular
    vectors :math:`V` (:math:`V^\top V = I`), found through the
    :math:`n \times n` Gram matrix, give coordinates :math:`Z = (Y - \bar y) V`
    in which squared errors and row-wise RMSEs are *identical* to those over
    genes, at a fraction of the width.

    Parameters
    ----------
    n_components : "full", int, float or "gavish-donoho", default="full"
        "full" keeps every direction of the training targets and loses nothing;
        an int keeps that many (at most the rank); a float in (0, 1) keeps the
        fewest that hold this share of the variance; "gavish-donoho" keeps the
        singular values above the optimal hard threshold [1]_.

    Attributes
    ----------
    components_ : ndarray of shape (n_components_, n_features_in_)
        Orthonormal rows, by decreasing variance.
    mean_ : ndarray of shape (n_features_in_,)
        Per-gene mean of the training targets.
    singular_values_ : ndarray of shape (n_components_,)
    n_components_ : int
    n_features_in_ : int
        Number of genes.

    See Also
    --------
    sklearn.decomposition.PCA : The same subspace by other algorithms.

    Notes
    -----
    Time and memory are :math:`O(n^2 g)` and :math:`O(n g)`. A loss that is not
    a function of row-wise Euclidean distances, such as Huber or the absolute
    error, is not the same in the new coordinates as over genes.

    References
    ----------
    .. [1] Gavish and Donoho, "The Optimal Hard Threshold for Singular Values is
       4/sqrt(3)", IEEE Transactions on Information Theory, 2014.
       :doi:`10.1109/TIT.2014.2323359`

    Examples
    --------
    >>> import numpy as np
    >>> from sklperturb.preprocessing import TargetReducer
    >>> y = np.random.default_rng(0).normal(size=(10, 500))
    >>> reducer = TargetReducer().fit(y)
    >>> reducer.transform(y).shape
    (10, 9)
    >>> np.allclose(reducer.inverse_transform(reducer.transform(y)), y)
    True
    """

    _parameter_constraints = {
        "n_components": [
            StrOptions({"full", "gavish-donoho"}),
            Interval(Integral, 1, None, closed="left"),
            Interval(Real, 0, 1, closed="neither"),  # share of variance
        ],
    }

    def __init__(self, n_components="full"):
        self.n_components = n_components

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Find the basis of the targets.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_genes)
            The targets; named `X` since they are what this object transforms.
        y : None
            Ignored.

        Returns
        -------
        self : TargetReducer

        Raises
        ------
        ValueError
            If `n_components` is none of the allowed values.
        """
        self._fit(X)
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def fit_transform(self, X, y=None):
        """Find the basis of the targets, and return their coordinates in it.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_genes)
        y : None
            Ignored.

        Returns
        -------
        Z : ndarray of shape (n_samples, n_components_)
        """
        return self._fit(X)

    def _fit(self, X):
        """Learn the basis; return the coordinates of `X`."""
        X = validate_data(self, X, dtype=[np.float64, np.float32])
        self.mean_ = X.mean(axis=0)
        self.singular_values_, self.components_, coordinates = _decompose(
            X - self.mean_, lambda spectrum: self._rank(spectrum, X.shape)
        )
        self.n_components_ = len(self.components_)
        return coordinates

    def transform(self, X):
        """Return the coordinates of targets in the basis.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_genes)

        Returns
        -------
        Z : ndarray of shape (n_samples, n_components_)
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        return (X - self.mean_) @ self.components_.T

    def inverse_transform(self, X):
        """Return the genes for coordinates in the basis.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_components_)

        Returns
        -------
        y : ndarray of shape (n_samples, n_genes)
        """
        check_is_fitted(self)
        return np.asarray(X) @ self.components_ + self.mean_

    def get_feature_names_out(self, input_features=None):
        """Return ``["component0", ...]``.

        Parameters
        ----------
        input_features : None
            Ignored.

        Returns
        -------
        names : ndarray of str of shape (n_components_,)
        """
        check_is_fitted(self)
        return np.array(
            [f"component{i}" for i in range(self.n_components_)], dtype=object
        )

    def _rank(self, singular_values, shape):
        n = self.n_components
        available = len(singular_values)
        if n == "full":
            return available
        if n == "gavish-donoho":
            return max(1, _gavish_donoho_rank(singular_values, shape))
        if isinstance(n, Integral):
            return min(int(n), available)
        share = np.cumsum(singular_values**2) / max((singular_values**2).sum(), 1e-300)
        return min(int(np.searchsorted(share, n)) + 1, available)


def _decompose(centred, choose_rank):
    """Return leading singular values, right singular vectors, and coordinates.

    `choose_rank` says from the non-zero singular values how many to keep. Goes
    through whichever of the two Gram matrices is smaller. At least one direction is
    returned, so that constant targets still have coordinates.
    """
    n_samples, n_genes = centred.shape
    centred = centred.astype(np.float64, copy=False)
    wide = n_genes > n_samples
    gram = centred @ centred.T if wide else centred.T @ centred
    eigenvalues, vectors = linalg.eigh(gram)
    eigenvalues, vectors = eigenvalues[::-1], vectors[:, ::-1]
    # The Gram matrix squares the spectrum, so directions below sqrt(eps) of the
    # leading one are rounding noise.
    limit = max(eigenvalues[0], 0) * np.finfo(np.float64).eps * max(gram.shape)
    nonzero = max(1, int((eigenvalues > limit).sum()))
    singular_values = np.sqrt(np.maximum(eigenvalues[:nonzero], 0))
    kept = choose_rank(singular_values)
    singular_values, coordinates = singular_values[:kept], None
    if not wide:
        components = vectors[:, :kept].T
    elif singular_values[0] == 0:
        components = np.eye(1, n_genes)
    else:
        components = (vectors[:, :kept] / singular_values).T @ centred
        coordinates = vectors[:, :kept] * singular_values
        if singular_values[-1] < 1e-4 * singular_values[0]:
            # Weak directions come out less orthogonal than the rest: repair them.
            lower = linalg.cholesky(components @ components.T, lower=True)
            components = linalg.solve_triangular(lower, components, lower=True)
            coordinates = None  # a direction of nothing but noise would blow them up
    if coordinates is None:
        coordinates = centred @ components.T
    coordinates = np.ascontiguousarray(coordinates)
    # Signs of singular vectors are arbitrary: fix them by the largest loading. One by
    # one, since absolute values of all of them take as much memory again.
    for component, along in zip(components, coordinates.T, strict=True):
        if component[np.argmax(np.abs(component))] < 0:
            component *= -1.0
            along *= -1.0
    return singular_values, components, coordinates
