"""Weights of several predictions, whole or in bands of components."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy import linalg
from scipy.optimize import minimize, minimize_scalar, nnls


@dataclass(frozen=True)
class RowMoments:
    """Products of predictions with each other and with the truth, row by row.

    Each row's squared error is quadratic in the weights, so that these few numbers
    stand for all genes, and trying weights costs nothing.

    Attributes
    ----------
    gram : ndarray of shape (n_rows, n_predictions, n_predictions)
    moment : ndarray of shape (n_rows, n_predictions)
    energy : ndarray of shape (n_rows,)
        Squared length of the truth.
    n_genes : int
    """

    gram: np.ndarray
    moment: np.ndarray
    energy: np.ndarray
    n_genes: int

    @classmethod
    def of(cls, truth, predictions):
        """Return those of predictions of shape (n_predictions, n_rows, n_genes)."""
        return cls(
            np.einsum("mrg,nrg->rmn", predictions, predictions, optimize=True),
            np.einsum("mrg,rg->rm", predictions, truth, optimize=True),
            np.einsum("rg,rg->r", truth, truth),
            truth.shape[1],
        )

    @classmethod
    def stacked(cls, parts):
        """Return the moments of the rows of several."""
        arrays = ([getattr(p, name) for p in parts] for name in _ARRAYS)
        return cls(*map(np.concatenate, arrays), parts[0].n_genes)

    def rows(self, chosen):
        """Return the moments of some rows."""
        return RowMoments(*(getattr(self, n)[chosen] for n in _ARRAYS), self.n_genes)

    def blended(self, weights):
        """Return (product with the truth, squared length) of each row of a blend."""
        square = np.einsum("rmn,m,n->r", self.gram, weights, weights, optimize=True)
        return self.moment @ weights, np.maximum(square, 0.0)

    def scale(self, weights):
        """Return the factor of the weights that makes squared error least."""
        moment, square = self.blended(weights)
        return max(moment.sum(), 0.0) / max(square.sum(), 1e-300)

    def errors(self, weights, stretch=None):
        """Return each row's root mean squared error, stretched or not."""
        moment, square = self.blended(weights)
        if stretch is not None:
            factors = stretch.factors(np.sqrt(square / self.n_genes))
            moment, square = factors * moment, factors**2 * square
        return np.sqrt(np.maximum(self.energy - 2 * moment + square, 0) / self.n_genes)


_ARRAYS = ("gram", "moment", "energy")


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
        # Whichever products are fewer: those of rows, or those of genes.
        wide = responses.shape[1] > len(responses)
        gram = responses @ responses.T if wide else responses.T @ responses
        values, vectors = linalg.eigh(gram)
        values, vectors = values[::-1], vectors[:, ::-1]
        floor = max(values[0], 0) * np.finfo(np.float64).eps * len(values)
        # One at least, so that responses of zeros have a coordinate: it is zero.
        rank = min(max(int((values > floor).sum()), 1), *edges[-1:])
        self.edges = np.minimum([0, *edges], rank)
        if not wide:
            self.components = vectors[:, :rank].T
            return
        kept = vectors[:, :rank].T @ responses
        lengths = np.sqrt(np.maximum(values[:rank], 0))
        self.components = kept / np.where(lengths > 0, lengths, 1.0)[:, None]

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


def carried_over(weights, moments):
    """Give bands in which there was nothing to learn from the weights of the last one.

    Parameters
    ----------
    weights : ndarray of shape (n_predictions, n_bands)
    moments : RowMoments
        That they were learnt from. Training rows of a fold are fewer than all, and
        have fewer components.
    """
    squares = np.einsum("rmm->m", moments.gram).reshape(weights.shape).sum(axis=0)
    known = squares > 1e-12 * squares.sum()
    source = np.where(known, np.arange(len(squares)), 0)
    return weights[:, np.maximum.accumulate(source)]


def mrrmse_weights(moments, row_weights=None):
    """Return the non-negative weights of the least mean of the rows' RMSE.

    The mean of norms of linear functions is convex, so that any descent finds its
    least value. It is taken in units of its value without predictions, and weights in
    units of how much larger the truth is than these, since descents stop by absolute
    numbers.

    Parameters
    ----------
    moments : RowMoments
    row_weights : ndarray of shape (n_rows,), default=None
        How much each row counts; None is all the same.
    """
    n_rows = len(moments.energy)
    shares = _shares(n_rows, row_weights)

    typical = shares @ np.sqrt(moments.energy / moments.n_genes)
    unit = _unit(moments)

    def loss(scaled):
        weights = unit * scaled
        projected = moments.gram @ weights
        squared = moments.energy + (projected - 2 * moments.moment) @ weights
        squared = np.maximum(squared, 1e-12 * moments.energy) / moments.n_genes
        rows = np.sqrt(squared)
        # A row that is predicted without error has no slope.
        slope = np.divide(
            shares, rows * moments.n_genes, out=np.zeros(n_rows), where=rows > 0
        )
        return (
            shares @ rows / typical,
            slope @ (projected - moments.moment) * (unit / typical),
        )

    if typical == 0:
        return np.zeros(moments.moment.shape[1])
    return unit * _descended(loss, np.zeros(moments.moment.shape[1]))


def least_squares_weights(moments, row_weights=None):
    """Return the non-negative weights of least squared error over all genes."""
    shares = _shares(len(moments.energy), row_weights)
    # The normal equations: as many unknowns as predictions, however many genes.
    gram = np.einsum("rmn,r->mn", moments.gram, shares)
    gram[np.diag_indices_from(gram)] += 1e-10 * max(gram.trace(), 1e-300)
    root = np.linalg.cholesky(gram)
    return nnls(root.T, np.linalg.solve(root, shares @ moments.moment))[0]


def correlation_weights(moments, row_weights=None):
    """Return the non-negative weights of the largest mean of the rows' correlation.

    Parameters
    ----------
    moments : RowMoments
        With rows of truth and of predictions that have a mean of zero. Of ranks of the
        truth, the correlation is close to Spearman's.

    Returns
    -------
    weights : ndarray of shape (n_predictions,)
        Only their ratios matter (see `RowMoments.scale`).
    """
    n_rows = len(moments.energy)
    shares = _shares(n_rows, row_weights)
    norms = np.sqrt(moments.energy)
    scaled = shares / np.where(norms > 0, norms, 1.0)

    def loss(weights):
        moment, square = moments.blended(weights)
        length = np.sqrt(square)
        inverse = np.divide(1, length, out=np.zeros(n_rows), where=length > 0)
        correlation = moment * inverse
        slope = moments.moment - (correlation * inverse)[:, None] * (
            moments.gram @ weights
        )
        return -(scaled @ correlation), -((scaled * inverse) @ slope)

    # From zero there is no way up: the correlation is not defined there.
    start = mrrmse_weights(moments, row_weights)
    if not start.any():
        return start
    # Only ratios matter, and a slope is the flatter, the larger the weights are.
    return _descended(loss, start / start.max())


def greedy_weights(moments, n_rounds=20):
    """Return the weights of greedy selection by the mean of the rows' RMSE."""
    n_predictions = moments.moment.shape[1]
    picked = np.zeros(n_predictions)
    best_weights, best_error = picked, np.inf
    for n_picked in range(1, n_rounds + 1):
        candidates = (picked + np.eye(n_predictions)) / n_picked
        found = [moments.errors(weights).mean() for weights in candidates]
        winner = int(np.argmin(found))
        picked = candidates[winner] * n_picked
        if found[winner] < best_error:
            best_weights, best_error = candidates[winner], found[winner]
    # A mean of norms is convex in the scale: one search finds the least.
    scale = minimize_scalar(
        lambda factor: moments.errors(factor * best_weights).mean(),
        bounds=(0, 3),
        method="bounded",
    ).x
    return scale * best_weights


def _shares(n_rows, row_weights):
    """Return how much each row counts; all together are one."""
    weights = np.ones(n_rows) if row_weights is None else row_weights
    return weights / weights.sum()


def _unit(moments):
    """Return how much larger the truth is than the predictions."""
    square = np.einsum("rmm->", moments.gram) / moments.moment.shape[1]
    return np.sqrt(moments.energy.sum() / square) if square > 0 else 1.0


def _descended(loss, start):
    bounds = [(0, None)] * len(start)
    found = minimize(loss, start, jac=True, bounds=bounds, method="L-BFGS-B").x
    # What is left of a prediction that the descent was about to drop.
    return np.where(found > 1e-3 * found.max(), found, 0.0)
