"""Weighted least squares for many genes: one mean per group, and shared covariates."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import linalg

from sklperturb.conditions._levels import indicator


@dataclass
class GroupFit:
    """What :func:`fit_groups` finds, for some genes.

    Attributes
    ----------
    means : ndarray of shape (n_groups, n_genes)
        Of each group, where the covariates are 0.
    fitted : ndarray of shape (n_samples, n_genes)
    variance : ndarray of shape (n_genes,)
        Residual sum of squares over the degrees of freedom.
    weight : ndarray of shape (n_groups, n_genes) or (n_groups, 1)
        Sums of weights.
    shift : ndarray of shape (n_covariates, n_groups, n_genes or 1)
        Weighted means of the covariates.
    inverse : ndarray of shape (n_genes or 1, n_covariates, n_covariates)
        Of the normal matrix of the covariates within groups.
    """

    means: np.ndarray
    fitted: np.ndarray
    variance: np.ndarray
    weight: np.ndarray
    shift: np.ndarray
    inverse: np.ndarray

    def contrasts(self, groups, controls):
        """Return differences of means, and their variances for a residual one of 1.

        Exact with weights that differ from gene to gene, covariates included.
        """
        shift = self.shift[:, groups] - self.shift[:, controls]
        unscaled = 1 / self.weight[groups] + 1 / self.weight[controls]
        unscaled = unscaled + np.einsum("kcg,gkl,lcg->cg", shift, self.inverse, shift)
        return self.means[groups] - self.means[controls], unscaled


def fit_groups(y, codes, covariates, weights=None):
    """Fit ``y = mean of the group + covariates @ effects`` to every gene.

    The group means are swept out first, so that a system of equations no larger than
    the number of covariates is left for each gene, whatever the number of groups.

    Parameters
    ----------
    y : ndarray of shape (n_samples, n_genes)
    codes : ndarray of shape (n_samples,)
        Groups, all of 0 to the largest present.
    covariates : ndarray of shape (n_samples, n_covariates)
        Independent of each other within the groups.
    weights : ndarray of shape (n_samples, n_genes), default=None
        Positive; None stands for equal weights.

    Returns
    -------
    fit : GroupFit
    """
    n_groups, n_covariates = codes.max() + 1, covariates.shape[1]
    member = indicator(codes, n_groups).T.tocsr()
    if weights is None:
        weights = np.ones((len(y), 1))
    weight = member @ weights
    means = (member @ (weights * y)) / weight
    shift = np.empty((n_covariates, *weight.shape))
    within = np.empty((n_covariates, *weights.shape))
    for k, column in enumerate(covariates.T):
        shift[k] = (member @ (weights * column[:, None])) / weight
        within[k] = column[:, None] - shift[k][codes]
    residual = y - means[codes]
    normal = np.einsum("kng,ng,lng->gkl", within, weights, within, optimize=True)
    inverse = np.linalg.inv(normal)
    right = np.einsum("kng,ng,ng->gk", within, weights, residual)
    effects = (inverse @ right[:, :, None])[:, :, 0].T
    for k in range(n_covariates):
        residual -= within[k] * effects[k]
        means = means - shift[k] * effects[k]
    df = len(y) - n_groups - n_covariates
    variance = np.sum(weights * residual**2, axis=0) / df
    return GroupFit(means, y - residual, variance, weight, shift, inverse)


def covariate_matrix(obs, columns):
    """Code covariates as numbers: levels but the first as 0 and 1, numbers centred.

    Returns
    -------
    matrix : ndarray of shape (n_samples, n_columns)
        Each column has mean 0.
    """
    parts = [np.empty((len(obs), 0))]
    for name in columns:
        column = obs[name]
        if column.isna().any():
            raise ValueError(
                f"Covariate {name!r} is missing in {int(column.isna().sum())} samples. "
                "Name the level, or leave these samples out."
            )
        if pd.api.types.is_float_dtype(column):
            part = column.to_numpy(dtype=np.float64)[:, None]
            part = part / (part.std() or 1.0)
        else:
            levels, uniques = pd.factorize(column, sort=True)
            part = (levels[:, None] == np.arange(1, len(uniques))).astype(np.float64)
        parts.append(part)
    matrix = np.hstack(parts)
    return matrix - matrix.mean(axis=0)


def independent_covariates(matrix, codes, groups, controls):
    """Drop covariates that the others and the groups determine.

    Parameters
    ----------
    matrix : ndarray of shape (n_samples, n_columns)
    codes : ndarray of shape (n_samples,)
    groups, controls : ndarray of shape (n_contrasts,)
        Codes of the groups to be compared.

    Returns
    -------
    matrix : ndarray of shape (n_samples, rank)
    confounded : ndarray of bool, shape (n_contrasts,)
        Contrasts that cannot be told apart from the effects of the covariates.
    """
    n_groups = codes.max() + 1
    member = indicator(codes, n_groups).T.tocsr()
    means = (member @ matrix) / np.bincount(codes)[:, None]
    if matrix.shape[1] == 0:
        return matrix, np.zeros(len(groups), dtype=bool)
    within = matrix - means[codes]
    _, triangle, pivot = linalg.qr(within, mode="economic", pivoting=True)
    size = np.abs(np.diag(triangle))
    rank = int((size > 1e-9 * np.linalg.norm(matrix)).sum())
    # Combinations of covariates that do not vary within groups: the null space of
    # `within`, whose columns the decomposition has reordered.
    null = np.empty((matrix.shape[1], matrix.shape[1] - rank))
    null[pivot] = np.linalg.svd(triangle)[2][rank:].T
    confounded = np.abs((means[groups] - means[controls]) @ null).max(
        axis=1, initial=0.0
    )
    return matrix[:, np.sort(pivot[:rank])], confounded > 1e-7
