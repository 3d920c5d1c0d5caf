"""Kernel ridge with a closed-form leave-one-out score; similarity of contexts."""

import numpy as np
from scipy import linalg

from sklperturb.conditions._levels import level_means
from sklperturb.conditions._statistics import estimate_smoothing, joint_effects


def check_grids(estimator, positive=(), others=()):
    """Refuse grids that are empty or out of range.

    Parameters
    ----------
    estimator : estimator
    positive : tuple of str
        Parameters whose values must be above 0.
    others : tuple of str
        Parameters whose values may be 0 too.
    """
    for name in (*positive, *others):
        values = getattr(estimator, name)
        low = min(values, default=-1)
        if low < 0 or (name in positive and low == 0):
            allowed = "positive numbers" if name in positive else "numbers, 0 or more"
            raise ValueError(
                f"{name}={values!r} must be a non-empty list of {allowed}."
            )


def loo_kernel_ridge(kernel, targets, alphas):
    r"""Fit kernel ridge for every penalty and keep the best by leave-one-out.

    With :math:`C = (K + \alpha I)^{-1} Z`, the residual of row :math:`i` when it is
    left out is :math:`C_i / [(K + \alpha I)^{-1}]_{ii}`; one eigendecomposition of
    :math:`K` serves every :math:`\alpha`.

    Returns
    -------
    score : float
        Mean over rows of the left-out row's RMSE; in orthonormal coordinates of the
        genes, the MRRMSE up to one constant factor.
    alpha : float
    dual_coef : ndarray of shape (n_samples, n_targets)
    """
    eigenvalues, vectors = linalg.eigh(kernel)
    eigenvalues = np.maximum(eigenvalues, 0)
    projected = vectors.T @ targets
    squared = vectors**2
    best = (np.inf, None, None)
    for alpha in alphas:
        weights = 1 / (eigenvalues + alpha)
        dual_coef = vectors @ (weights[:, None] * projected)
        left_out = dual_coef / (squared @ weights)[:, None]
        score = np.sqrt(np.einsum("ij,ij->i", left_out, left_out)).mean()
        if score < best[0]:
            best = (score, alpha, dual_coef)
    return best


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
