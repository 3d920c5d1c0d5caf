"""Kernels of contexts times compounds, chosen by what is left out together."""

from dataclasses import dataclass
from operator import attrgetter

import numpy as np

from sklperturb.linear_model._calibration import Calibration, component_factors
from sklperturb.linear_model._kernel import (
    best_product,
    left_out_residuals,
    mean_norm,
    rows_of_groups,
)


@dataclass(frozen=True)
class Structures:
    """Structures of rows, of which several may have the same.

    Attributes
    ----------
    counts : list of csr_array of shape (n_structures, n_features)
    codes : ndarray of int of shape (n_rows,)
        Which structure a row has.
    known : ndarray of bool of shape (n_rows,)
    """

    counts: list
    codes: np.ndarray
    known: np.ndarray

    def __getitem__(self, rows):
        return Structures(self.counts, self.codes[rows], self.known[rows])

    def distinct(self):
        """Return the counts of the structures that rows have, codes, and if known."""
        used, codes = np.unique(self.codes, return_inverse=True)
        return [counts[used] for counts in self.counts], codes, self.known


@dataclass(frozen=True)
class CompoundKernel:
    """A kernel ridge that was solved, and what corrects its predictions.

    Attributes
    ----------
    error : float
        Mean norm of the left-out rows' errors that it was chosen by.
    dual_coef : ndarray of shape (n_samples, n_components)
    calibration : Calibration or None
    """

    error: float
    alpha: float
    dual_coef: np.ndarray
    context_share: float
    perturbation_share: float
    power: float
    calibration: Calibration | None = None

    def predict(self, same_context, similarity):
        """Return the deviations of rows from how alike they are to training rows."""
        kernel = self.kernel(same_context, similarity)
        return self._calibrated(kernel @ self.dual_coef)

    def left_out(self, same_context, similarity, targets, together):
        """Return the training rows as predicted without the rows named with each."""
        kernel = self.kernel(same_context, similarity)
        return self._calibrated(
            targets - left_out_residuals(kernel, self.alpha, self.dual_coef, together)
        )

    def kernel(self, same_context, similarity):
        return (self.context_share + same_context) * (
            self.perturbation_share + similarity**self.power
        )

    def _calibrated(self, y_pred):
        return y_pred if self.calibration is None else self.calibration(y_pred)


def choose_kernel(alike, targets, grids, *, groups, scored, calibrate):
    """Fit every combination of the grids and keep the best, then correct it.

    Parameters
    ----------
    alike : tuple of ndarray of shape (n_samples, n_samples)
        Whether contexts are the same, and how similar compounds are.
    grids : tuple
        Powers, shares of contexts and of perturbations, and penalties.
    groups : ndarray of int of shape (n_samples,) or None
        Rows to leave out together.
    scored : ndarray of bool of shape (n_samples,)
        The rows whose errors count.
    calibrate : bool

    Returns
    -------
    chosen : CompoundKernel
    """
    powers, shares, alphas = grids
    same_context, similarity = alike
    truth = targets[scored]

    def score(residuals):
        residuals = residuals[scored]
        if calibrate:
            y_pred = truth - residuals
            residuals = truth - y_pred * component_factors(truth, y_pred)
        return mean_norm(residuals)

    def fit(power):
        best = best_product(
            same_context, similarity**power, targets, shares, alphas, groups, score
        )
        plain = CompoundKernel(*best, power)
        if not calibrate:
            return plain
        # The stretch is a search, so only the best of a power gets one.
        together = rows_of_groups(groups)
        y_pred = plain.left_out(*alike, targets, together)[scored]
        calibration = Calibration.learn(truth, y_pred)
        error = mean_norm(truth - calibration(y_pred))
        return CompoundKernel(error, *best[1:], power, calibration)

    return min(map(fit, powers), key=attrgetter("error"))
