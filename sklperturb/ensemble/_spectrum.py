"""The components of responses, cut into bands that can be weighted on their own."""

from itertools import pairwise

import numpy as np
from scipy import linalg

from sklperturb.ensemble._weights import RowMoments


class Spectrum:
    """Bands of the components of training responses, strongest first.

    Models differ in how many components they predict well: of what is common to many
    responses all know something, of the rest each knows little, and what it says of it
    is mostly noise. Weights by band let each speak where it knows.

    Parameters
    ----------
    responses : ndarray of shape (n_rows, n_genes)
        Training responses; their right singular vectors, without centring, are the
        components.
    edges : sequence of int
        Where a band ends and the next begins, as numbers of components. The last band
        is all the rest, what is outside of the training responses included.

    Attributes
    ----------
    components : ndarray of shape (n_components, n_genes)
        Those before the last edge.
    n_bands : int
    """

    def __init__(self, responses, edges):
        self.edges = np.zeros(1, int)
        self.components = np.empty((0, responses.shape[1]))
        if not len(edges):
            return
        gram = responses @ responses.T
        values, vectors = linalg.eigh(gram)
        values, vectors = values[::-1], vectors[:, ::-1]
        floor = max(values[0], 0) * np.finfo(np.float64).eps * len(values)
        rank = min(int((values > floor).sum()), *edges[-1:])
        kept = vectors[:, :rank].T @ responses
        self.components = kept / np.sqrt(values[:rank])[:, None]
        self.edges = np.minimum([0, *edges], rank)

    @property
    def n_bands(self):
        return len(self.edges)

    def weigh(self, predictions, weights):
        """Return the weighted sum of predictions.

        Parameters
        ----------
        predictions : sequence of ndarray of shape (n_rows, n_genes)
        weights : ndarray of shape (n_predictions, n_bands)
        """
        by_component = np.repeat(weights[:, :-1], np.diff(self.edges), axis=1)
        total, leading = 0.0, 0.0
        for predicted, of_components, rest in zip(
            predictions, by_component, weights[:, -1], strict=True
        ):
            total = total + rest * predicted
            leading = leading + (predicted @ self.components.T) * (of_components - rest)
        return total + leading @ self.components

    def moments(self, truth, predictions, *, level=None, n_genes=None):
        """Return the moments of each prediction in each band, band by band.

        Components are orthogonal, so that bands have no products with each other.

        Parameters
        ----------
        truth : ndarray of shape (n_rows, n_genes)
        predictions : ndarray of shape (n_predictions, n_rows, n_genes)
        level : ndarray of shape (n_genes,), default=None
            The direction of rows that are the same for all genes, of length one. Given,
            predictions are taken without their part in it: without their row's mean.
        n_genes : int, default=None
            Where the columns are coordinates, the number of genes that they stand for.

        Returns
        -------
        moments : RowMoments
            Of ``n_predictions * n_bands`` predictions, those of one next to each other.
        """
        n_predictions, n_rows, _ = predictions.shape
        shape = n_predictions, self.n_bands
        gram = np.zeros((n_rows, *shape, *shape))
        moment = np.zeros((n_rows, *shape))
        inside = predictions @ self.components.T
        truth_inside = truth @ self.components.T
        for band, (low, high) in enumerate(pairwise(self.edges)):
            part = RowMoments.of(truth_inside[:, low:high], inside[:, :, low:high])
            gram[:, :, band, :, band], moment[:, :, band] = part.gram, part.moment
        whole = RowMoments.of(truth, predictions)
        gram[:, :, -1, :, -1] = whole.gram - np.einsum("rmbnb->rmn", gram)
        moment[:, :, -1] = whole.moment - moment.sum(axis=2)
        if level is not None:
            means = np.empty((n_rows, *shape))
            along = self.components @ level
            for band, (low, high) in enumerate(pairwise(self.edges)):
                means[:, :, band] = (inside[:, :, low:high] @ along[low:high]).T
            means[:, :, -1] = (predictions @ level).T - means[:, :, :-1].sum(axis=2)
            gram -= np.einsum("rmb,rnc->rmbnc", means, means)
        size = n_predictions * self.n_bands
        return RowMoments(
            gram.reshape(n_rows, size, size),
            moment.reshape(n_rows, size),
            whole.energy,
            n_genes or truth.shape[1],
        )
