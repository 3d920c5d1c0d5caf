"""Empirical-Bayes moderation of gene-wise variances."""

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.optimize import brentq
from scipy.special import digamma, polygamma

# Degrees of freedom of the natural spline through the trend, by number of genes.
_SPLINE_GENES = (3, 6, 30)


def moderate(variance, df, covariate=None):
    """Shrink the variances of genes towards a common value or trend.

    Gene-wise variances are taken as a scaled F sample; its scale and its second
    degrees of freedom come from the mean and variance of their logarithms [1]_.

    Parameters
    ----------
    variance : ndarray of shape (n_genes,)
        Residual variances.
    df : float
        Residual degrees of freedom.
    covariate : ndarray of shape (n_genes,), default=None
        Mean log expression: the prior variance follows a natural spline in it.

    Returns
    -------
    moderated : ndarray of shape (n_genes,)
    df_prior : float
        Possibly infinite.
    prior : float or ndarray of shape (n_genes,)

    References
    ----------
    .. [1] Smyth, "Linear models and empirical Bayes methods for assessing differential
       expression in microarray experiments", Statistical Applications in Genetics and
       Molecular Biology 3, 2004. :doi:`10.2202/1544-6115.1027`
    """
    n = len(variance)
    if n < 2:
        return variance, 0.0, variance
    middle = np.median(variance)
    floored = np.maximum(variance, 1e-5 * (middle if middle > 0 else 1.0))
    logs = np.log(floored) - digamma(df / 2) + np.log(df / 2)
    if covariate is None:
        centre, spread = logs.mean(), logs.var(ddof=1)
    else:
        rank = 1 + sum(n >= least for least in _SPLINE_GENES)
        rank = min(rank, len(np.unique(covariate)))
        basis = natural_spline(covariate, rank)
        coefficients, _, rank, _ = np.linalg.lstsq(basis, logs, rcond=None)
        centre = basis @ coefficients
        spread = np.sum((logs - centre) ** 2) / (n - rank)
    excess = spread - polygamma(1, df / 2)
    if excess > 0:
        df_prior = 2 * _inverse_trigamma(excess)
        prior = np.exp(centre + digamma(df_prior / 2) - np.log(df_prior / 2))
        moderated = (df_prior * prior + df * variance) / (df_prior + df)
    else:
        df_prior = np.inf
        prior = floored.mean() if covariate is None else np.exp(centre)
        moderated = np.broadcast_to(prior, n).copy()
    return moderated, df_prior, prior


def natural_spline(x, n_knots):
    """Return a basis of natural cubic splines, constants in its span.

    Knots are at the ends and at equally spaced quantiles.
    """
    knots = np.unique(np.quantile(x, np.linspace(0, 1, n_knots)))
    if len(knots) == 1:
        return np.ones((len(x), 1))
    return CubicSpline(knots, np.eye(len(knots)), bc_type="natural")(x)


def _inverse_trigamma(value):
    """Solve trigamma(y) = value for y, between the bounds 1/y and 1/y + 1/y^2 of it."""
    if value < 1e-6:
        return 1 / value
    above = (1 + np.sqrt(1 + 4 * value)) / (2 * value)
    return brentq(lambda y: polygamma(1, y) - value, 1 / value, above, xtol=1e-15)
