"""What models share that are fitted in a basis of the responses."""

from dataclasses import dataclass

import numpy as np

from sklperturb.conditions._levels import take_levels
from sklperturb.conditions._regressor import ConditionRegressor
from sklperturb.conditions._statistics import (
    compact_rows,
    estimate_smoothing,
    joint_residuals,
    share_of_centre,
    share_of_mean,
)
from sklperturb.linear_model._kernel import context_scales
from sklperturb.preprocessing import TargetReducer
from sklperturb.utils._grid import Grid

# Share of a squared length that may be lost to rounding.
_OUTSIDE = 1e-13


@dataclass(frozen=True, eq=False)
class Within:
    """The basis of a `TargetReducer` in another one, which several models share.

    Attributes
    ----------
    mean_ : ndarray of shape (n_genes,)
    coordinates : ndarray of shape (n_components, n_shared)
    shared : ndarray of shape (n_shared, n_genes)
        Orthonormal rows, one array for all that share it.
    """

    mean_: np.ndarray
    coordinates: np.ndarray
    shared: np.ndarray

    @classmethod
    def of(cls, reducer, shared):
        """Return a basis in another one; the `reducer` as it is if it is not in it."""
        coordinates = coordinates_in(shared, reducer.components_)
        return (
            reducer if coordinates is None else cls(reducer.mean_, coordinates, shared)
        )

    def inverse_transform(self, latent):
        """Return the genes for coordinates in the basis."""
        return (latent @ self.coordinates) @ self.shared + self.mean_


def coordinates_in(shared, rows, weights=1.0):
    """Return rows in an orthonormal basis, or None if they are not in it.

    None as well where the basis has as many dimensions as there are genes. `weights`
    say how much each row counts, the longest 1.
    """
    coordinates = rows @ shared.T
    outside = np.square(rows).sum(axis=1) - np.square(coordinates).sum(axis=1)
    lost = (np.square(weights) * outside).max(initial=0)
    if shared.shape[0] >= shared.shape[1] or lost > _OUTSIDE:
        return None
    return coordinates


def bands_in(shared, bands):
    """Return bands of `all_responses` in an orthonormal basis, or None as above."""
    sizes = [np.linalg.norm(scores, axis=0) for _, scores, _ in bands.values()]
    # Of a component without scores the direction is chance, and does not count.
    largest = max((size.max() for size in sizes), default=0.0) or 1.0
    found = {
        name: (index, scores, coordinates_in(shared, components, size / largest))
        for (name, (index, scores, components)), size in zip(
            bands.items(), sizes, strict=True
        )
    }
    return None if any(c is None for *_, c in found.values()) else found


class LatentConditionRegressor(ConditionRegressor):
    """Base of the models of responses at one strength of all contexts, in a basis.

    Coordinates are centred on the mean of all rows. Only the share of this mean that is
    more than noise is predicted (`grand_mean_share_`), and in a context that was not
    seen, only that which contexts have in common, too (`centre_share_`).
    """

    _parameter_constraints = {
        "alphas": [Grid()],
        "scale_contexts": ["boolean"],
        **TargetReducer._parameter_constraints,
    }

    # What models that earlier versions saved have in the place of it.
    _learnt_since = {"grand_mean_share_": 1.0}

    @property
    def centre_share_(self):
        """Share of the mean of all rows in contexts that were not seen."""
        return self._centre_share

    def _start_latent_fit(self, X, y):
        """Return the codes of contexts and perturbations, and what is to be fitted."""
        context, perturbation, y = self._start_fit(X, y)
        n_contexts = len(self.contexts_)
        self.context_scales_ = np.ones(n_contexts)
        if self.scale_contexts:
            self.context_scales_ = context_scales(context, perturbation, y, n_contexts)
        y = y / self.context_scales_[context][:, None]
        y = y - self._known_beforehand(self.perturbations_[perturbation], y)
        self.reducer_ = TargetReducer(self.n_components)
        latent = self.reducer_.fit_transform(y)
        mean = self.reducer_.mean_
        # What contexts and perturbations explain is no noise of the mean.
        codes, n_levels = (
            (context, perturbation),
            (n_contexts, len(self.perturbations_)),
        )
        compact = compact_rows(y - mean)
        lambdas = estimate_smoothing(codes, n_levels, compact, crossed=True)
        left = joint_residuals(codes, n_levels, compact, lambdas)
        self.grand_mean_share_ = share_of_mean(mean, left)
        in_common = share_of_centre(context, n_contexts, y)
        self._centre_share = min(in_common, self.grand_mean_share_)
        return context, perturbation, latent

    def _known_beforehand(self, labels, y):
        """Return what is not left to be fitted, of training rows at one strength."""
        return 0.0

    def _decode(self, latent, context):
        """Return the responses that coordinates stand for."""
        scale = take_levels(self.context_scales_, context, 1.0)
        y_pred = self.reducer_.inverse_transform(latent)
        # Of what all rows have in common, only a share holds for another context.
        share = np.where(context < 0, self.centre_share_, self.grand_mean_share_)
        y_pred -= np.multiply.outer(1 - share, self.reducer_.mean_)
        return y_pred * scale[:, None]
