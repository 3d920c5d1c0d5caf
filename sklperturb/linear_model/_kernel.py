"""Kernel ridge with a closed-form leave-one-out score, and what limits its rows."""

from dataclasses import dataclass
from itertools import product, starmap
from operator import itemgetter

import numpy as np
import psutil
from scipy import linalg

from sklperturb.conditions._doubts import warn
from sklperturb.conditions._levels import level_means
from sklperturb.conditions._statistics import estimate_smoothing, joint_effects

# Rows past which `BestRegressor` does without such models.
MOST_ROWS = 10_000
# Processor seconds that one kernel of a thousand rows takes, with all its penalties:
# docs/scaling.md.
_SECONDS = 0.5
# Seconds that a fit may take before it is said.
_LONG = 1800
_INSTEAD = (
    "AdditiveRegressor, TargetEncodedRidge or networks (additive_joint, ridge or "
    "token_mlp), whose time is in proportion to the rows"
)


def check_pairs(model, n_rows, *, n_matrices, n_kernels, of="rows"):
    """Refuse rows whose pairs do not fit into memory; warn of those that take long.

    Parameters
    ----------
    model : estimator
        That is being fitted.
    n_rows : int
    n_matrices : int
        Matrices of a number for each pair of rows that are in memory at a time.
    n_kernels : int
        How many of them are decomposed.
    of : str, default="rows"
        What is compared.

    Raises
    ------
    ValueError
        If there is not enough memory.

    Warns
    -----
    UserWarning
        If the fit is going to take more than half an hour of a core.
    """
    name = type(model).__name__
    needed = 8 * n_matrices * n_rows**2
    free = psutil.virtual_memory().available
    if needed > free:
        raise ValueError(
            f"{name} compares each of {n_rows:,} {of} with each, which takes "
            f"{needed / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free. Pass "
            f"fewer, or take {_INSTEAD}."
        )
    seconds = n_kernels * _SECONDS * (n_rows / 1000) ** 3
    if seconds > _LONG:
        warn(
            f"{name} compares each of {n_rows:,} {of} with each, which takes about "
            f"{seconds / 3600:.1f} hours of a core and {needed / 1e9:.1f} GB of "
            f"memory. Pass fewer, or take {_INSTEAD}."
        )


@dataclass
class LinearKernel:
    """The inner products of rows of features, which are never all computed.

    Parameters
    ----------
    features : ndarray of shape (n_samples, n_features)
    """

    features: np.ndarray


def mean_norm(left_out):
    """Return the mean length of the rows."""
    return np.sqrt(np.einsum("ij,ij->i", left_out, left_out)).mean()


def loo_kernel_ridge(kernel, targets, alphas, groups=None, score=mean_norm):
    r"""Fit kernel ridge for every penalty and keep the best by leave-one-out.

    With :math:`A = K + \alpha I` and :math:`C = A^{-1} Z`, the residuals of the rows
    :math:`G` when they are left out together are :math:`([A^{-1}]_{GG})^{-1} C_G`; one
    eigendecomposition of :math:`K` serves every :math:`\alpha`.

    Parameters
    ----------
    kernel : ndarray of shape (n_samples, n_samples) or LinearKernel
        The time grows with the cube of the rows; with a linear kernel of fewer
        features than rows, with the rows and the square of the features.
    groups : ndarray of int of shape (n_samples,) or list of ndarray, default=None
        Rows to leave out together; None leaves out each on its own. Groups that are
        given as a list of their rows may overlap: the residual of a row is then the
        mean of those with each of its groups left out.
    score : callable, default=mean_norm
        What to minimise, of the residuals of the left-out rows. The mean of their
        norms is, in orthonormal coordinates of the genes, the MRRMSE up to one
        constant factor.

    Returns
    -------
    score : float
    alpha : float
    dual_coef : ndarray of shape (n_samples, n_targets)
    """
    return _best(_left_out(_spectrum(kernel), targets, alphas, groups), score)


def _best(path, score):
    fits = ((score(left_out), *fit) for left_out, *fit in path)
    return min(fits, key=itemgetter(0))


def _spectrum(kernel):
    """Return eigenvalues and eigenvectors; of the value 0, they may be left out."""
    if isinstance(kernel, LinearKernel):
        features = kernel.features
        if features.shape[0] > features.shape[1]:
            vectors, singular, _ = linalg.svd(features, full_matrices=False)
            return singular**2, vectors
        kernel = features @ features.T
    eigenvalues, vectors = linalg.eigh(kernel)
    return np.maximum(eigenvalues, 0), vectors


def loo_correction(kernel, targets, alphas, groups):
    """Fit kernel ridge to what another model leaves, where it helps beyond chance.

    The penalty is chosen by leaving out rows. The best of several looks good on the few
    rows of a small screen, so the choice has to stand a second test: when groups are
    left out together, the gain over no correction, a mean over groups, must be more
    than twice its standard error.

    Parameters
    ----------
    kernel : ndarray of shape (n_samples, n_samples) or LinearKernel
    groups : ndarray of int of shape (n_samples,)
        Numbers of the groups, from 0.

    Returns
    -------
    alpha : float
        Infinite where there is no correction.
    dual_coef : ndarray of shape (n_samples, n_targets)
    """
    spectrum = _spectrum(kernel)
    _, alpha, dual_coef = _best(_left_out(spectrum, targets, alphas, None), mean_norm)
    [(left_out, *_)] = _left_out(spectrum, targets, [alpha], groups)
    gains = np.linalg.norm(targets, axis=1) - np.linalg.norm(left_out, axis=1)
    if beyond_chance(gains, groups):
        return alpha, dual_coef
    return np.inf, np.zeros_like(dual_coef)


def beyond_chance(gains, groups, n_errors=2):
    """Return whether the mean of gains, over groups, exceeds its standard errors.

    Parameters
    ----------
    gains : ndarray of shape (n_rows,)
    groups : ndarray of int of shape (n_rows,)
        What rows gain or lose together.
    n_errors : float, default=2
        How many standard errors it has to exceed.
    """
    groups = np.unique(groups, return_inverse=True)[1]
    gains = np.bincount(groups, gains) / np.bincount(groups)
    n_groups = len(gains)
    if n_groups < 2:
        return False
    return bool(gains.mean() > n_errors * gains.std(ddof=1) / np.sqrt(n_groups))


def _left_out(spectrum, targets, alphas, groups):
    """Yield (residuals of the left-out rows, alpha, dual_coef) of each penalty."""
    batches = _batches(groups)
    eigenvalues, vectors = spectrum
    projected = vectors.T @ targets
    complete = vectors.shape[0] == vectors.shape[1]
    squared = vectors**2
    for alpha in alphas:
        # Where no eigenvector is, the eigenvalue of the inverse is that of the penalty.
        rest = 0.0 if complete else 1 / alpha
        weights = 1 / (eigenvalues + alpha) - rest
        dual_coef = vectors @ (weights[:, None] * projected)
        if rest:
            dual_coef += rest * targets
        if batches is None:
            left_out = dual_coef / (squared @ weights + rest)[:, None]
        else:
            left_out, times = np.zeros_like(dual_coef), np.zeros((len(dual_coef), 1))
            for rows in batches:
                blocks = (vectors[rows] * weights) @ vectors[rows].transpose(0, 2, 1)
                blocks += rest * np.eye(rows.shape[1])
                solved = np.linalg.solve(blocks, dual_coef[rows])
                for group, residuals in zip(rows, solved, strict=True):
                    left_out[group] += residuals
                    times[group] += 1
            left_out /= times
        yield left_out, alpha, dual_coef


def left_out_residuals(kernel, alpha, dual_coef, together=None):
    """Return what kernel ridge misses each row by when the row is left out.

    Parameters
    ----------
    kernel : ndarray of shape (n_samples, n_samples)
    alpha : float
        The penalty.
    dual_coef : ndarray of shape (n_samples, n_targets)
        Coefficients that were fitted with it.
    together : list of ndarray of int, default=None
        For each row, the rows to leave out with it, itself among them. None leaves out
        each row on its own.

    Returns
    -------
    residuals : ndarray of shape (n_samples, n_targets)
    """
    precision = linalg.inv(kernel + alpha * np.eye(len(kernel)), overwrite_a=True)
    residuals = dual_coef / np.diag(precision)[:, None]
    for row, rows in enumerate(together or ()):
        if len(rows) > 1:
            block = precision[np.ix_(rows, rows)]
            # The row of the block's inverse that belongs to the row itself.
            own = linalg.solve(block, (rows == row).astype(float), assume_a="pos")
            residuals[row] = own @ dual_coef[rows]
    return residuals


def rows_of_groups(groups):
    """Return for each row the rows of its group, to be left out with it, or None."""
    if groups is None:
        return None
    order = np.argsort(groups, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(groups))[:-1])
    return [members[group] for group in groups]


def groups_by_part(parts):
    """Return the rows that hold each part, to be left out together.

    So no combination tells of a part that is predicted as if it was never seen.

    Parameters
    ----------
    parts : list of tuple of str
        Of each row.

    Returns
    -------
    groups : list of ndarray of int, or None
        They overlap, and each row is in one at least. None where no row has several
        parts. Parts of more than half of the rows are always there, and have no group;
        rows of no other part are left out with those of the same parts.
    """
    if max(map(len, parts)) < 2:
        return None
    members, grouped = {}, np.zeros(len(parts), dtype=bool)
    for row, names in enumerate(parts):
        for name in set(names):
            members.setdefault((name,), []).append(row)
    groups = [rows for rows in members.values() if len(rows) <= len(parts) / 2]
    for rows in groups:
        grouped[rows] = True
    rest = {}
    for row in np.flatnonzero(~grouped):
        rest.setdefault(tuple(sorted(parts[row])), []).append(row)
    return [np.array(rows) for rows in (*groups, *rest.values())]


def _batches(groups):
    """Return the rows group by group, groups of a size together; None if all are 1."""
    if groups is None:
        return None
    if not isinstance(groups, list):
        order = np.argsort(groups, kind="stable")
        groups = np.split(order, np.cumsum(np.bincount(groups))[:-1])
    sizes = np.array([len(rows) for rows in groups])
    if sizes.max() == 1:
        return None
    return [
        np.stack([rows for rows in groups if len(rows) == n])
        for n in np.unique(sizes[sizes > 0])
    ]


def best_product(
    same_context, alike, targets, shares, alphas, groups=None, score=mean_norm
):
    """Fit products of two kernels with a share of what is common to all.

    Parameters
    ----------
    same_context, alike : ndarray of shape (n_samples, n_samples)
    shares : tuple of list of float
        Shares to choose from, of the contexts and of the perturbations.

    Returns
    -------
    score, alpha, dual_coef
        As of `loo_kernel_ridge`.
    context_share, perturbation_share : float
    """

    def fit(a, b):
        kernel = (a + same_context) * (b + alike)
        return *loo_kernel_ridge(kernel, targets, alphas, groups, score), a, b

    return min(starmap(fit, product(*shares)), key=itemgetter(0))


def context_similarity(context, perturbation, targets, n_contexts, *, min_shared=3):
    """Return how alike contexts respond to the perturbations that they share.

    The entry of two contexts is the cosine of their responses, stacked over the
    perturbations measured in both; pairs that share fewer than `min_shared` get the
    mean of the other pairs. Eigenvalues are clipped, so the result is a kernel.

    Returns
    -------
    similarity : ndarray of shape (n_contexts, n_contexts)
    """
    n_perturbations = perturbation.max() + 1
    cell = context * n_perturbations + perturbation
    means, counts = level_means(cell, n_contexts * n_perturbations, targets)
    means = means.reshape(n_contexts, n_perturbations, -1)
    seen = counts.reshape(n_contexts, n_perturbations) > 0
    # Unmeasured cells are zero, so products only count shared perturbations; norms
    # are taken over the shared ones of each pair.
    flat = means.reshape(n_contexts, -1)
    products = flat @ flat.T
    energy = np.einsum("cpk,cpk->cp", means, means) @ seen.T.astype(float)
    norms = np.sqrt(energy * energy.T)
    similarity = np.divide(products, norms, out=np.zeros_like(norms), where=norms > 0)
    known = (seen.astype(int) @ seen.T.astype(int)) >= min_shared
    np.fill_diagonal(known, False)
    typical = similarity[known].mean() if known.any() else 0.0
    similarity = np.where(known, similarity, typical)
    np.fill_diagonal(similarity, 1.0)
    eigenvalues, vectors = linalg.eigh(similarity)
    return (vectors * np.maximum(eigenvalues, 1e-3)) @ vectors.T


def context_scales(context, perturbation, y, n_contexts):
    """Return each context's strength of response relative to the typical one.

    Strengths multiply: a row's root mean square is taken as the product of a context's
    and a perturbation's strength, and their logarithms are fitted together with
    empirical-Bayes shrinkage. A context that was given only strong compounds is thus
    not mistaken for a responsive one.

    Returns
    -------
    scales : ndarray of shape (n_contexts,)
    """
    strength = np.sqrt(np.mean(y**2, axis=1))
    # Rows of zeros have no logarithm; they count as a millionth of the strongest.
    strength = np.log(np.maximum(strength, 1e-6 * strength.max() or 1.0))
    strength = (strength - strength.mean())[:, None]
    codes, n_levels = [context, perturbation], [n_contexts, perturbation.max() + 1]
    lambdas = estimate_smoothing(codes, n_levels, strength, crossed=True)
    return np.exp(joint_effects(codes, n_levels, strength, lambdas)[0][:, 0])
