"""Variances of the parts of a Gaussian process, by marginal likelihood."""

import numpy as np
from scipy import linalg, optimize

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
