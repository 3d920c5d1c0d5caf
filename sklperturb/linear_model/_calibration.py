"""Correct predictions by what they were out of fold: components, and strength."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

# A component's factor is at most this; a larger one comes of a few rows.
_LARGEST_FACTOR = 2.0
# Rows that the factor common to all components counts for.
_PRIOR_ROWS = 100.0
# Largest factor of a whole prediction.
LARGEST_SHARE = 1.5
# Least squares, reweighted by the errors to the least mean of their norms.
_N_REWEIGHTINGS = 3


@dataclass(frozen=True)
class Stretch:
    """A factor for each row, a power of the strength that is predicted for it.

    Attributes
    ----------
    scale : float
        Factor of a row of typical strength.
    exponent : float
    low, typical, high : float
        Root mean squares of predicted rows: the factor is constant beyond the outer
        two, which were the least and the largest that it was learnt from.

    Examples
    --------
    >>> import numpy as np
    >>> stretch = Stretch(2.0, 0.5, low=1.0, typical=1.0, high=4.0)
    >>> stretch(np.array([[1.0, -1.0], [4.0, 4.0], [16.0, 16.0]]))
    array([[ 2., -2.],
           [16., 16.],
           [64., 64.]])
    """

    scale: float = 1.0
    exponent: float = 0.0
    low: float = 1.0
    typical: float = 1.0
    high: float = 1.0

    def __call__(self, y_pred):
        factors = self.factors(_strength(y_pred.reshape(len(y_pred), -1)))
        return y_pred * factors.reshape(-1, *[1] * (y_pred.ndim - 1))

    def factors(self, strengths):
        """Return the factors of rows.

        Parameters
        ----------
        strengths : ndarray of shape (n_rows,)
            Root mean squares of the predicted rows.

        Returns
        -------
        factors : ndarray of shape (n_rows,)
        """
        strengths = np.clip(strengths, self.low, self.high)
        return self.scale * (strengths / self.typical) ** self.exponent

    @classmethod
    def learn(cls, truth, y_pred):
        """Return the stretch with the least mean of the rows' RMSE.

        Parameters
        ----------
        truth, y_pred : ndarray of shape (n_rows, n_genes)
            `y_pred` by estimators that were fitted on other rows.
        """
        energy, moment, square = (
            np.einsum("rg,rg->r", a, b)
            for a, b in ((truth, truth), (truth, y_pred), (y_pred, y_pred))
        )
        return cls.suited(energy, moment, square, truth.shape[1])

    @classmethod
    def suited(cls, energy, moment, square, n_genes):
        """Return the stretch with the least mean of the rows' RMSE, from products.

        Parameters
        ----------
        energy, moment, square : ndarray of shape (n_rows,)
            Products of the truth with itself and with the prediction, and of the
            prediction with itself.
        n_genes : int
        """
        strengths = np.sqrt(square / n_genes)
        positive = strengths[strengths > 0]
        if len(positive) < 2:
            return cls()
        ends = positive.min(), np.median(positive), positive.max()
        relative = np.log(np.maximum(strengths, ends[0]) / ends[1])

        def error(parameters):
            factor = np.exp(parameters[0] + parameters[1] * relative)
            squared = energy - 2 * factor * moment + factor**2 * square
            return np.sqrt(np.maximum(squared, 0)).mean()

        found = minimize(
            error, [0.0, 0.0], method="Nelder-Mead", bounds=[(-2, 2), (-1, 1)]
        ).x
        return cls(float(np.exp(found[0])), float(found[1]), *map(float, ends))


@dataclass(frozen=True)
class Calibration:
    r"""A factor for each component of a prediction, then a stretch of the row.

    One penalty shrinks all components alike, but some of them are told by structure
    and others hardly: :math:`b_j` is how the truth goes with what was predicted of
    component :math:`j`, each row weighted by one over its error, as a mean of norms
    asks.

    Attributes
    ----------
    factors : ndarray of shape (n_components,)
    stretch : Stretch
    """

    factors: np.ndarray
    stretch: Stretch

    def __call__(self, y_pred):
        return self.stretch(y_pred * self.factors)

    @classmethod
    def learn(cls, truth, y_pred):
        """Return the calibration of predictions by models that saw other rows.

        Parameters
        ----------
        truth, y_pred : ndarray of shape (n_rows, n_components)
            In orthonormal coordinates of the genes.
        """
        factors = component_factors(truth, y_pred)
        return cls(factors, Stretch.learn(truth, y_pred * factors))


def component_factors(truth, y_pred):
    """Return the factors with the least mean norm, shrunken to a common one."""
    products, squares = truth * y_pred, y_pred**2
    share = len(truth) / (len(truth) + _PRIOR_ROWS)
    weights = np.ones(len(truth))
    for _ in range(_N_REWEIGHTINGS):
        moments, energies = weights @ products, weights @ squares
        total = energies.sum()
        common = moments.sum() / total if total > 0 else 1.0
        own = np.full(len(moments), common)
        np.divide(moments, energies, out=own, where=energies > 1e-12 * total)
        factors = share * own + (1 - share) * common
        factors = np.clip(factors, 0, _LARGEST_FACTOR)
        error = row_norms(truth - y_pred * factors)
        weights = 1 / np.maximum(error, 1e-6 * error.max() or 1.0)
    return factors


def row_norms(rows):
    """Return the Euclidean length of each row."""
    return np.sqrt(np.einsum("rg,rg->r", rows, rows))


def _strength(rows):
    return np.sqrt(np.mean(np.square(rows, dtype=np.float64), axis=1))


def shrunken_factor(truth, y_pred, groups, prior):
    """Return the factor of a prediction that suits rows which it did not see.

    Of what least squares asks for beyond `prior`, as much is kept as exceeds chance,
    by the positive part of Stein's estimate; the spread is that over groups.

    Parameters
    ----------
    truth, y_pred : ndarray of shape (n_rows, n_targets)
    groups : ndarray of int of shape (n_rows,)
        Rows that were left out together.
    prior : float

    Returns
    -------
    factor : float
        From 0 to 1.5.

    Examples
    --------
    >>> import numpy as np
    >>> truth = np.array([[2.0, 1.0], [4.0, 2.0], [6.0, 3.0]])
    >>> shrunken_factor(truth, truth / 1.25, np.arange(3), prior=1.0)
    1.25
    """
    products, energies = (
        np.bincount(groups, np.einsum("ij,ij->i", a, y_pred)) for a in (truth, y_pred)
    )
    total, n_groups = energies.sum(), len(np.unique(groups))
    if total == 0 or n_groups < 2:
        return prior
    estimate = products.sum() / total
    squared = np.square(products - estimate * energies).sum() / total**2
    squared *= n_groups / (n_groups - 1)
    beyond = estimate - prior
    kept = max(1 - squared / beyond**2, 0.0) if beyond else 0.0
    return float(np.clip(prior + kept * beyond, 0, LARGEST_SHARE))
