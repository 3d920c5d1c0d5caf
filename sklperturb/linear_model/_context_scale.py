"""How strongly a context responds, whatever it was given."""

import numpy as np

from sklperturb.conditions._statistics import estimate_smoothing, joint_effects


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
