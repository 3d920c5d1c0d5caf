"""Ridge regression whose penalty is chosen by one decomposition a fold."""

from dataclasses import dataclass

import numpy as np
from scipy import linalg
from sklearn.preprocessing import StandardScaler

ALPHAS = np.logspace(-1, 5, 25)


@dataclass
class ScaledRidge:
    """Ridge regression on standardised features, all of them in one penalty.

    Attributes
    ----------
    centre, scale : ndarray of shape (n_features,)
        Mean and standard deviation of the features.
    coef : ndarray of shape (n_features, n_targets)
    intercept : ndarray of shape (n_targets,)
    alpha : float
        The penalty.
    """

    centre: np.ndarray
    scale: np.ndarray
    coef: np.ndarray
    intercept: np.ndarray
    alpha: float

    @classmethod
    def fit(cls, Z, targets, folds=None):
        """Fit with the penalty of `ALPHAS` that predicts left-out rows best.

        The same penalty as that of `StandardScaler` and `RidgeCV`.

        Parameters
        ----------
        Z : ndarray of shape (n_samples, n_features)
        targets : ndarray of shape (n_samples, n_targets)
        folds : list of tuple (train, test) of ndarray of int, default=None
            Scored by their mean R2. None leaves out each row, by squared error. A
            fold with a test row of its own has no R2 and does not count.

        Returns
        -------
        ridge : ScaledRidge
        """
        scaler = StandardScaler().fit(Z)
        scaled = scaler.transform(Z)
        path = _RidgePath(scaled, targets)
        if folds is None:
            scores = path.leave_one_out()
        else:
            folds = [(train, test) for train, test in folds if len(test) > 1]
            scores = sum(
                _RidgePath(scaled[train], targets[train]).r2(
                    scaled[test], targets[test]
                )
                for train, test in folds
            )
        # The first of equals: without two rows, all penalties predict alike.
        equal = scores >= scores.max() - 1e-12 * abs(scores.max())
        alpha = float(ALPHAS[equal.argmax()])
        coef = path.coef(alpha)
        intercept = path.target_mean - path.mean @ coef
        return cls(scaler.mean_, scaler.scale_, coef, intercept, alpha)

    def predict(self, Z):
        """Return the targets (n_samples, n_targets) of rows of features."""
        return (Z - self.centre) / self.scale @ self.coef + self.intercept


class _RidgePath:
    """Ridge regression with an intercept, for every penalty from one SVD."""

    def __init__(self, Z, targets):
        self.mean, self.target_mean = Z.mean(axis=0), targets.mean(axis=0)
        self._targets = targets - self.target_mean
        self._left, self._values, self._right = linalg.svd(
            Z - self.mean, full_matrices=False
        )
        self._projected = self._left.T @ self._targets

    def coef(self, alpha):
        """Return the coefficients, (n_features, n_targets)."""
        return self._right.T @ self._shrink(alpha)

    def leave_one_out(self):
        """Return minus the mean squared error of left-out rows, by penalty."""
        squared = self._left**2
        scores = []
        for alpha in ALPHAS:
            residuals = self._targets - self._left @ (
                self._values[:, None] * self._shrink(alpha)
            )
            shares = self._values**2 / (self._values**2 + alpha)
            leverage = squared @ shares + 1 / len(squared)
            left_out = residuals / np.maximum(1 - leverage, 1e-12)[:, None]
            scores.append(-np.square(left_out).mean())
        return np.array(scores)

    def r2(self, Z, targets):
        """Return R2 on other rows, the mean over targets, by penalty."""
        coordinates = (Z - self.mean) @ self._right.T
        beyond = targets - self.target_mean
        total = np.square(targets - targets.mean(axis=0)).sum(axis=0)
        scores = []
        for alpha in ALPHAS:
            left = np.square(beyond - coordinates @ self._shrink(alpha)).sum(axis=0)
            share = np.divide(left, total, out=np.sign(left), where=total > 0)
            scores.append(1 - share.mean())
        return np.array(scores)

    def _shrink(self, alpha):
        weights = self._values / (self._values**2 + alpha)
        return weights[:, None] * self._projected
