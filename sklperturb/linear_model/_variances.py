"""Variances of the parts of a Gaussian process, and what it says of conditions."""

import numpy as np
from scipy import linalg, optimize
from sklearn.utils.validation import check_is_fitted

from sklperturb.conditions._frames import take_columns
from sklperturb.conditions._labels import as_text, each_label
from sklperturb.conditions._levels import level_means, take_levels
from sklperturb.conditions._validation import validate_conditions

# What models that earlier versions saved have in the place of variances.
NOT_LEARNT = {"_prior_variances": (float("nan"),) * 3}
# Rows of a covariance at a time.
_BLOCK = 128
# Rows of a context that tell as much of its mean as they leave open.
_ROWS_OF_DOUBT = 2
# Logarithms of a variance, in units of the mean square of a response.
_LOG_BOUNDS = (-14.0, 5.0)


def likeliest_variances(kernels, targets, *, max_iter=60):
    r"""Return how much each kernel explains, and what is left as noise.

    Columns of the targets are independent draws of a Gaussian process with covariance
    :math:`\sum_i v_i K_i + v_0 I`, all with the same variances. The gradient of the
    likelihood is in closed form, so that a step takes one inverse.

    Parameters
    ----------
    kernels : list of ndarray of shape (n_samples, n_samples)
    targets : ndarray of shape (n_samples, n_targets)
        In orthonormal coordinates of the genes.
    max_iter : int, default=60

    Returns
    -------
    variances : ndarray of shape (n_kernels,)
        In units of the mean square of the targets.
    noise : float
    n_iter : int
        Steps that were taken.

    References
    ----------
    .. [1] Rasmussen and Williams, "Gaussian Processes for Machine Learning", MIT
       Press, 2006, section 5.4.1. :doi:`10.7551/mitpress/3206.001.0001`
    """
    n_samples = len(targets)
    mean_square = np.square(targets).sum() / n_samples
    if mean_square == 0:
        return np.zeros(len(kernels)), 1.0, 1
    # No more columns than rows: what counts is their products.
    if targets.shape[1] > n_samples:
        values, vectors = linalg.eigh(targets @ targets.T)
        targets = vectors * np.sqrt(np.maximum(values, 0))
    targets = targets / np.sqrt(mean_square)
    lower = np.tri(n_samples, k=-1, dtype=bool)

    def loss(logarithms):
        *variances, noise = np.exp(logarithms)
        covariance = combined(kernels, variances)
        covariance[np.diag_indices_from(covariance)] += noise
        factor = linalg.cholesky(covariance, lower=True, overwrite_a=True)
        explained = linalg.cho_solve((factor, True), targets)
        value = np.log(np.diag(factor)).sum() + 0.5 * np.vdot(targets, explained)
        precision = linalg.lapack.dpotri(factor, lower=True, overwrite_c=True)[0]
        np.copyto(precision.T, precision, where=lower)
        # The derivative by a covariance; that by the logarithm of a variance is a sum.
        slope = 0.5 * (precision - explained @ explained.T)
        slopes = [np.vdot(slope, kernel) for kernel in kernels]
        return value, np.array([*slopes, np.trace(slope)]) * np.exp(logarithms)

    start = np.full(len(kernels) + 1, -np.log(len(kernels) + 1))
    found = optimize.minimize(
        loss,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=[_LOG_BOUNDS] * len(start),
        options={"maxiter": max_iter, "ftol": 1e-6},
    )
    *variances, noise = np.exp(found.x)
    # What the data do not ask for is left out altogether.
    least = np.exp(_LOG_BOUNDS[0] + 2)
    explains = [bool(kernel.any()) for kernel in kernels]
    kept = np.array(explains) & (np.array(variances) > least)
    return np.where(kept, variances, 0.0), float(noise), max(int(found.nit), 1)


def combined(kernels, variances):
    """Return the sum of the kernels, each times its variance."""
    total = np.zeros(kernels[0].shape)
    for kernel, variance in zip(kernels, variances, strict=True):
        if variance:
            total += variance * kernel
    return total


def rows_of_some(perturbation, n_rows):
    """Return the rows of whole perturbations, drawn until there are enough."""
    order = np.random.RandomState(0).permutation(perturbation.max() + 1)
    place = np.argsort(order)[perturbation]
    rows = np.argsort(place, kind="stable")
    last = place[rows[min(n_rows, len(rows)) - 1]]
    return np.flatnonzero(place <= last)


class PriorCovarianceMixin:
    """What kernel models know of responses before these are measured.

    A subclass sets `_prior_variances` in `fit`, by `prior_variances`, and has
    `_prior_kernel`, of rows as `_described` describes them.
    """

    def prior_covariance(self, X, X2=None, *, dtype=np.float64):
        """Return the covariance of the responses to conditions, were none measured.

        It is that of the Gaussian process which the model is, with the kernel that was
        learnt in `fit`: two conditions of which one tells of the other have a large
        one. Noise is left out.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_columns)
            Conditions, measured or not.
        X2 : DataFrame or array-like of shape (n_others, n_columns), default=None
            Others. None stands for `X`.
        dtype : dtype, default=float64
            Of what is returned; float32 takes half of the memory.

        Returns
        -------
        covariance : ndarray of shape (n_samples, n_others)
            Mean over genes, in the squared unit of `y`.
        """
        self._check_prior()
        described, lengths = self._described(*(X,) if X2 is None else (X, X2))
        left = [values[: lengths[0]] for values in described]
        right = [values[-lengths[-1] :] for values in described]
        covariance = np.empty((len(left[0]), len(right[0])), dtype)
        for start in range(0, len(covariance), _BLOCK):
            rows = slice(start, start + _BLOCK)
            block = self._prior_kernel([values[rows] for values in left], right)
            block *= self._prior_variances[0]
            block += self._prior_variances[2] * same(left[0][rows], right[0])
            covariance[rows] = left[-1][rows, None] * block * right[-1]
        return covariance

    def noise_variance(self, X):
        """Return how far a measurement is from the response, squared, per condition.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_columns)
            Conditions.

        Returns
        -------
        noise : ndarray of shape (n_samples,)
            Mean over genes, in the squared unit of `y`.
        """
        self._check_prior()
        scales = self._described(X)[0][-1]
        return self._prior_variances[1] * np.square(scales)

    def _described(self, *tables):
        """Return arrays with an entry for each row of all tables, and their lengths.

        The last one has the strengths of the contexts.
        """
        codes, scales, lengths = self._prior_codes(*tables)
        return (*codes, scales), lengths

    def _check_prior(self):
        check_is_fitted(self)
        if not np.isfinite(self._prior_variances).all():
            raise ValueError(
                f"This {type(self).__name__} was kept by an earlier version, and does "
                "not know what it would say of conditions that are not measured. Fit "
                "it again."
            )

    def _prior_codes(self, *tables):
        """Return codes of contexts and perturbations of tables, one after the other.

        Levels that were not seen in `fit` are numbered after those that were, the same
        one with the same number in all tables.

        Returns
        -------
        codes : tuple of ndarray of shape (n_rows_of_all,)
        scales : ndarray of shape (n_rows_of_all,)
            Strengths of the contexts.
        lengths : list of int
            Rows of each table.
        """
        tables = [validate_conditions(self, X, reset=False) for X in tables]
        tables = [take_columns(X, self._roles()) for X in tables]
        table = np.concatenate(tables)
        codes = self._level_encoder.transform(table)
        for j, levels in enumerate(self._level_encoder.categories_):
            new = codes[:, j] < 0
            texts = each_label(table[new, j], as_text).astype(str)
            codes[new, j] = len(levels) + np.unique(texts, return_inverse=True)[1]
        context, perturbation = self._split(codes)
        scales = np.ones(len(context))
        if hasattr(self, "context_scales_"):
            known = np.where(context < len(self.contexts_), context, -1)
            scales = take_levels(self.context_scales_, known, 1.0)
        return (context, perturbation), scales, [len(X) for X in tables]


def prior_variances(kernel, alpha, dual_coef, n_genes):
    """Return the variances of signal and noise that kernel ridge implies.

    Those with which the squared errors of left-out rows are, on average, what the
    process expects of them [1]_.

    Parameters
    ----------
    kernel : ndarray of shape (n_samples, n_samples)
    alpha : float
    dual_coef : ndarray of shape (n_samples, n_components)
    n_genes : int
        What the squares are a mean over.

    Returns
    -------
    signal, noise : float
        The kernel's factor, and the noise.

    References
    ----------
    .. [1] Rasmussen and Williams, "Gaussian Processes for Machine Learning", MIT
       Press, 2006, section 5.4.2. :doi:`10.7551/mitpress/3206.001.0001`
    """
    precision = linalg.inv(kernel + alpha * np.eye(len(kernel)), overwrite_a=True)
    squares = np.einsum("ij,ij->i", dual_coef, dual_coef) / np.diag(precision)
    signal = float(squares.mean() / n_genes)
    return signal, signal * float(alpha)


def doubt_of_contexts(context, targets, mean):
    """Return the variance, over contexts, of their mean responses.

    A model that was fitted to one context takes its effect for the mean of all, and
    learns that contexts do not differ. A context more may respond by as much in a
    direction of its own as all do in common: this counts as one context, and those that
    were seen as what their rows tell of them.

    Parameters
    ----------
    context : ndarray of int of shape (n_samples,)
    targets : ndarray of shape (n_samples, n_components)
        Centred on the mean of all rows.
    mean : ndarray of shape (n_genes,)

    Returns
    -------
    variance : float
        Mean over genes.
    """
    n_genes, n_contexts = len(mean), context.max() + 1
    in_common = mean @ mean / n_genes
    if n_contexts == 1:
        return float(in_common)
    means, counts = level_means(context, n_contexts, targets)
    inside = np.square(targets - means[context]).sum()
    noise = inside / max(len(targets) - n_contexts, 1) * np.mean(1 / counts)
    between = np.square(means - means.mean(axis=0)).sum() / (n_contexts - 1)
    between = max(between - noise, 0.0) / n_genes
    n_known = max((counts / (counts + _ROWS_OF_DOUBT)).sum(), 1.0)
    return float((in_common + (n_known - 1) * between) / n_known)


def same(left, right):
    """Return which entries of two arrays are equal, as numbers."""
    return (left[:, None] == right).astype(float)
