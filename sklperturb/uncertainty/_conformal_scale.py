"""How large the errors of a row and of a gene are expected to be."""

import numpy as np
import pandas as pd
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklperturb.conditions._levels import level_means, take_levels
from sklperturb.uncertainty._conformal_quantiles import unit_weights

_ALPHAS = np.logspace(-1, 3, 9)
# Parts of the mean square error: what a row's, and a gene's, is at least taken for.
_LEAST_OF_ROW, _LEAST_OF_GENE = 1e-2, 1e-6


class ResponseStrength:
    """What training rows tell of how strongly a condition will respond.

    Parameters
    ----------
    context, perturbation : ndarray of int of shape (n_samples,)
        Codes of the training rows.
    n_levels : tuple (int, int)
    y : ndarray of shape (n_samples, n_genes)
    least : float
        Root mean square that a response is taken for at least, above 0.
    """

    def __init__(self, context, perturbation, n_levels, y, least):
        energy, self.least = np.mean(y**2, axis=1), least
        strength = self._log(energy)
        self.mean = strength.mean()
        by_context, counts = level_means(context, n_levels[0], strength[:, None])
        self.by_context = np.where(counts > 0, by_context[:, 0], self.mean)
        deviation = strength - self.by_context[context]
        found, self.counts = level_means(perturbation, n_levels[1], deviation[:, None])
        self.by_perturbation = found[:, 0] * self.counts / (self.counts + 1)

    def features(self, context, perturbation, y_pred, distance):
        """Return what the size of errors is predicted from.

        These are the strength that is predicted, those of the context and of the
        perturbation where it was measured, in how many rows that was, how far the
        condition is from training, and which context it is.
        """
        contexts = np.arange(len(self.by_context))
        return np.column_stack(
            [
                self._log(np.mean(y_pred**2, axis=1)),
                take_levels(self.by_context, context, self.mean),
                take_levels(self.by_perturbation, perturbation, 0.0),
                np.log1p(take_levels(self.counts, perturbation, 0.0)),
                distance,
                (context[:, None] == contexts).astype(float),
            ]
        )

    def _log(self, energy):
        return np.log(np.maximum(np.sqrt(energy), self.least))


class ErrorScale:
    """The expected size of errors: a factor for each row and one for each gene.

    The factor of a row is a ridge regression of the logarithm of its error, in which
    every unit counts as much. That of a gene is the root mean square of what remains,
    its logarithm shrunken towards the mean over genes by how well two halves of the
    units agree on it.

    No feature is taken for more, or less, than it was in the rows that were learnt
    from: one that hardly differed between them would tell of large errors elsewhere.
    """

    def fit(self, features, errors, units):
        """Learn from errors of rows that were held out.

        Parameters
        ----------
        features : ndarray of shape (n_rows, n_features)
        errors : ndarray of shape (n_rows, n_genes)
        units : ndarray of int of shape (n_rows,)
        """
        weights = unit_weights(units)
        squares = np.mean(errors**2, axis=1)
        self.typical = float(np.average(squares, weights=weights)) or 1.0
        log_size = 0.5 * np.log(squares / self.typical + _LEAST_OF_ROW)
        self.limits = float(log_size.min()), float(log_size.max())
        self.ranges = np.stack([features.min(axis=0), features.max(axis=0)])
        self.rows = make_pipeline(StandardScaler(), RidgeCV(_ALPHAS))
        self.rows.fit(features, log_size, ridgecv__sample_weight=weights)
        remaining = (errors / self.of_rows(features)[:, None]) ** 2
        self.genes = np.exp(0.5 * _shrunken_logs(remaining, units, weights))
        return self

    def of_rows(self, features):
        """Return the factor of each row, within the range of errors that were seen."""
        features = np.clip(features, *self.ranges)
        log_size = np.clip(self.rows.predict(features), *self.limits)
        return np.exp(log_size) * np.sqrt(self.typical)

    def __call__(self, features):
        """Return the expected size of the error of each entry."""
        return self.of_rows(features)[:, None] * self.genes


def _shrunken_logs(squares, units, weights):
    """Return the logarithm of each gene's mean square, shrunken to what is reliable."""

    def logs(rows):
        means = np.average(squares[rows], axis=0, weights=weights[rows])
        return np.log(np.maximum(means, _LEAST_OF_GENE * (means.mean() or 1.0)))

    found = logs(slice(None))
    half = pd.factorize(units)[0] % 2 == 0
    if len(found) < 2 or half.all():
        return found
    first, second = logs(half), logs(~half)
    agreement = 0.0
    if first.std() > 0 and second.std() > 0:
        agreement = max(float(np.corrcoef(first, second)[0, 1]), 0.0)
    # By Spearman and Brown: of all units, from that of halves.
    reliability = 2 * agreement / (1 + agreement)
    return found.mean() + reliability * (found - found.mean())
