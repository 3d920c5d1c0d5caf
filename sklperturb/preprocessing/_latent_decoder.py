"""The way out of a latent space of cells, as numbers that a file can hold."""

from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import RidgeCV

_PENALTIES = np.logspace(-3, 4, 8)
_MOST_CELLS = 5000  # that a linear way back is learnt from


@dataclass
class LatentDecoder:
    """Linear layers with ReLU between, from a latent space to another.

    Attributes
    ----------
    weights : list of ndarray of shape (n_out, n_in)
    biases : list of ndarray of shape (n_out,)
    """

    weights: list
    biases: list

    @classmethod
    def fit(cls, latent, targets):
        """Return the linear way from points to targets, its penalty chosen among rows.

        Parameters
        ----------
        latent : ndarray of shape (n_cells, n_dimensions)
        targets : ndarray of shape (n_cells, n_targets)
        """
        rows = slice(None, None, -(-len(latent) // _MOST_CELLS))
        # Penalties are relative to the spread of the points, in whatever unit.
        scale = float(latent.std()) or 1.0
        ridge = RidgeCV(_PENALTIES).fit(latent[rows] / scale, targets[rows])
        weights = np.atleast_2d(ridge.coef_) / scale
        return cls([weights.astype(np.float32)], [np.atleast_1d(ridge.intercept_)])

    def decode(self, latent):
        """Return targets (n_cells, n_targets) of points (n_cells, n_dimensions)."""
        last = len(self.weights) - 1
        layers = zip(self.weights, self.biases, strict=True)
        for number, (weight, bias) in enumerate(layers):
            latent = latent @ weight.T + bias
            if number < last:
                latent = np.maximum(latent, 0.0)
        return latent

    @property
    def widths(self):
        """Width of the latent space and of the targets; raise if layers do not fit."""
        if not self.weights or len(self.weights) != len(self.biases):
            raise ValueError("a decoder has no layers, or as many weights as biases")
        ends = zip(self.weights[:-1], self.weights[1:], strict=True)
        heights = [len(bias) for bias in self.biases]
        if [len(w) for w in self.weights] != heights or any(
            len(first) != second.shape[1] for first, second in ends
        ):
            raise ValueError("the layers of the decoder do not fit each other")
        return self.weights[0].shape[1], len(self.weights[-1])
