"""Predict a context from the same perturbation's responses in the other contexts."""

from dataclasses import dataclass
from numbers import Integral

import numpy as np
from scipy import sparse
from sklearn.base import _fit_context
from sklearn.utils._param_validation import Interval, StrOptions

from sklperturb.conditions._levels import pair_means, take_levels
from sklperturb.conditions._statistics import estimate_smoothing, joint_effects
from sklperturb.linear_model._kernel import check_pairs, loo_kernel_ridge
from sklperturb.linear_model._latent import LatentConditionRegressor
from sklperturb.utils._grid import Grid


class ContextTransferRidge(LatentConditionRegressor):
    r"""Transfer a perturbation's responses from the contexts where it was measured.

    One model for each target context :math:`c`, learnt from the perturbations that
    were measured there and elsewhere:

    .. math:: \hat y_{cp} = \sum_{c' \ne c} w_{c'} x_{c'p} + w_0 \bar x_p
       + \sum_q k(x_p, x_q)\, d_q

    Here :math:`x_{c'p}` is the response in another context, zero where it was not
    measured, and :math:`\bar x_p` its mean over those where it was. The weights
    :math:`w`, the same for all genes, come from ridge regression; what they leave is
    learnt by kernel ridge on all responses in other contexts together, which can move
    effects from one gene to another. Both penalties are chosen for each context by
    closed-form leave-one-out over perturbations.

    Parameters
    ----------
    kernel : {"linear", "rbf"}, default="linear"
        Similarity :math:`k` of two perturbations by their responses in the other
        contexts; the width of "rbf" is the median distance.
    alphas : array-like of float, default=(0.03, 0.1, 0.3, 1, 3, 10, 30, 100)
        Penalties of the kernel to choose from, in units of its mean diagonal. The
        infinite one, no correction, is always among the choices.
    weight_alphas : array-like of float, \
            default=(0.001, 0.01, 0.03, 0.1, 0.3, 1, 3, 10)
        Penalties of the contexts' weights to choose from, in units of the mean square
        of a context's responses.
    min_shared : int, default=3
        With fewer perturbations measured both in a context and elsewhere, nothing is
        learnt for that context, and a share of :math:`\bar x_p` is predicted.
    scale_contexts : bool, default=True
        Whether to divide responses by how strongly their context responds in general
        before fitting, and to multiply predictions by it.
    n_components : "full", int, float or "gavish-donoho", default="full"
        Basis of the targets (see `TargetReducer`); "full" loses nothing.
    schema : PerturbationSchema, default=None
        Roles of the columns. None infers them from the column names.

    Attributes
    ----------
    weights_ : ndarray of shape (n_contexts, n_contexts + 1)
        A row for each target context: weights of the other contexts, and last that of
        their mean.
    mean_share_ : float
        Share, 0 to 1, of :math:`\bar x_p` that predicts the contexts best, all of them
        together: what is predicted where no weights are learnt. In a screen of a few
        perturbations that differ between contexts it is small.
    alphas_ : ndarray of shape (n_contexts,)
        Chosen penalties of the kernel; infinite where it does not help.
    weight_alphas_ : ndarray of shape (n_contexts,)
        Chosen penalties of the weights; infinite where too few perturbations are
        shared.
    context_effects_ : ndarray of shape (n_contexts, n_components)
        Shrunken effects of the contexts, for perturbations that were not seen.
    grand_mean_share_, centre_share_ : float
        Shares, 0 to 1, of the mean of all rows that are predicted in contexts that were
        seen, and in others: what is more than noise, and what contexts have in common.
    context_scales_ : ndarray of shape (n_contexts,)
    reducer_ : TargetReducer
    contexts_, perturbations_ : ndarray
        Levels seen in `fit`.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)

    See Also
    --------
    ProductKernelRidge : One model for all contexts.

    Notes
    -----
    A perturbation that was not seen gets the effect of its context. In a context that
    was not seen, a share of the mean over contexts is predicted, and of a perturbation
    measured in the target context alone the same share of its response there.
    Responses are centred on the mean of all rows, so that zero stands for that mean.

    The response of a row never enters its own features. The kernel's penalty is chosen
    on what the weights leave of the rows they were fitted on, which is slightly
    optimistic. Time is cubic in the number of perturbations of a context, and in the
    number of contexts times that of perturbations.

    Examples
    --------
    >>> from sklperturb.datasets import make_chemical_screen
    >>> from sklperturb.linear_model import ContextTransferRidge
    >>> screen = make_chemical_screen(4, 20, 50, n_shared=5, random_state=0)
    >>> model = ContextTransferRidge().fit(screen.X, screen.y)
    >>> model.predict(screen.X_test).shape == screen.y_test.shape
    True
    >>> model.weights_.shape
    (4, 5)
    """

    _parameter_constraints = {
        "kernel": [StrOptions({"linear", "rbf"})],
        **LatentConditionRegressor._parameter_constraints,
        "weight_alphas": [Grid()],
        # With one shared perturbation, nothing is left to learn from.
        "min_shared": [Interval(Integral, 2, None, closed="left")],
    }

    def __init__(
        self,
        kernel="linear",
        *,
        alphas=(0.03, 0.1, 0.3, 1, 3, 10, 30, 100),
        weight_alphas=(0.001, 0.01, 0.03, 0.1, 0.3, 1, 3, 10),
        min_shared=3,
        scale_contexts=True,
        n_components="full",
        schema=None,
    ):
        self.kernel = kernel
        self.alphas = alphas
        self.weight_alphas = weight_alphas
        self.min_shared = min_shared
        self.scale_contexts = scale_contexts
        self.n_components = n_components
        self.schema = schema

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y):
        """Learn the weights and the correction of every context.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_columns)
            Conditions.
        y : array-like of shape (n_samples,) or (n_samples, n_genes)
            Responses.

        Returns
        -------
        self : ContextTransferRidge

        Raises
        ------
        ValueError
            If `kernel` is none of the allowed values, a grid is empty or not
            positive, `min_shared` is no int of at least 2, or pairs of perturbations
            do not fit into memory.

        Warns
        -----
        UserWarning
            If the perturbations are so many that the fit takes hours.
        """
        *codes, targets = self._start_latent_fit(X, y)
        n_levels = [len(self.contexts_), len(self.perturbations_)]
        n_contexts = n_levels[0]
        lambdas = estimate_smoothing(codes, n_levels, targets, crossed=True)
        self.context_effects_ = joint_effects(codes, n_levels, targets, lambdas)[0]
        self._cells = _Cells(*pair_means(*codes, n_levels, targets))
        shared = [self._cells.shared(target) for target in range(n_contexts)]
        check_pairs(
            *(self, max(map(len, shared))),
            n_matrices=8,
            n_kernels=n_contexts,
            of="perturbations of a context",
        )
        # A context that shares too little predicts a share of the mean of the others.
        self.mean_share_ = self._cells.share_of_mean()
        self.weights_ = np.zeros((n_contexts, n_contexts + 1))
        self.weights_[:, -1] = self.mean_share_
        self.alphas_ = np.full(n_contexts, np.inf)
        self.weight_alphas_ = np.full(n_contexts, np.inf)
        self._corrections = [
            self._learn_context(target, found) for target, found in enumerate(shared)
        ]
        return self

    def predict(self, X):
        """Return the expected response of each row's condition.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_columns)
            Conditions.

        Returns
        -------
        y_pred : ndarray of shape (n_samples,) or (n_samples, n_genes)
        """
        context, perturbation = self._codes(X)
        # Where the perturbation was not seen: the context's effect, or the mean.
        latent = take_levels(self.context_effects_, context, 0.0)
        seen = perturbation >= 0
        for target in np.unique(context[seen]):
            rows = np.flatnonzero(seen & (context == target))
            latent[rows] = self._predict_context(target, perturbation[rows])
        return self._shaped(self._decode(latent, context))

    def _learn_context(self, target, shared):
        """Return the correction of a context, or None where it has none."""
        if len(shared) < self.min_shared:
            return None
        truth = self._cells.of(target, shared)
        weights, self.weight_alphas_[target] = _loo_weights(
            self._cells.sources(target, shared), truth, self.weight_alphas
        )
        # The model's row of the weights skips the target context itself.
        self.weights_[target] = np.insert(weights, target, 0.0)
        residual = truth - self._cells.blend(target, shared, self.weights_[target])
        similarity = self._cells.products(target, shared, shared)
        scale = self._kernel_scale(similarity)
        kernel = self._kernel(similarity, *[np.diag(similarity)] * 2, scale)
        score, alpha, dual_coef = loo_kernel_ridge(kernel, residual, self.alphas)
        if score >= np.linalg.norm(residual, axis=1).mean():
            return None
        self.alphas_[target] = alpha
        return _Correction(shared, np.diag(similarity).copy(), scale, dual_coef)

    def _predict_context(self, target, perturbation):
        # Code -1, a context that was not seen, leaves no context out of the mean.
        of_mean = np.r_[np.zeros(len(self.contexts_)), self.mean_share_]
        weights = of_mean if target < 0 else self.weights_[target]
        latent = self._cells.blend(target, perturbation, weights)
        alone = ~self._cells.elsewhere(target, perturbation)
        latent[alone] = self._cells.blend(-1, perturbation[alone], of_mean)
        correction = None if target < 0 else self._corrections[target]
        if correction is not None:
            queries, back = np.unique(perturbation[~alone], return_inverse=True)
            products = self._cells.products(target, queries, correction.perturbation)
            squares = self._cells.squares(target, queries)
            kernel = self._kernel(
                products, squares, correction.squares, correction.scale
            )
            latent[~alone] += (kernel @ correction.dual_coef)[back]
        return latent

    def _kernel_scale(self, products):
        """Return what makes the kernel free of the units of the response."""
        squares = np.diag(products)
        if self.kernel == "linear":
            scale = squares.mean()
        else:
            upper = np.triu_indices(len(products), 1)
            scale = np.median(_squared_distances(products, squares, squares)[upper])
        return scale if scale > 0 else 1.0

    def _kernel(self, products, left_squares, right_squares, scale):
        if self.kernel == "linear":
            return products / scale
        return np.exp(
            -0.5 * _squared_distances(products, left_squares, right_squares) / scale
        )


@dataclass
class _Correction:
    """The kernel part of one context's model."""

    perturbation: np.ndarray
    squares: np.ndarray
    scale: float
    dual_coef: np.ndarray


@dataclass
class _Cells:
    """Mean responses of the pairs that were measured.

    ``place`` of shape (n_contexts, n_perturbations) says which row of ``values`` a
    pair has, or -1. Context -1 is none: it leaves nothing out.
    """

    values: np.ndarray
    place: np.ndarray

    def of(self, target, perturbation):
        return self.values[self.place[target, perturbation]]

    def others(self, target):
        return np.delete(np.arange(len(self.place)), [] if target < 0 else target)

    def elsewhere(self, target, perturbation):
        """Return whether each perturbation was measured in another context."""
        others = self.place[np.ix_(self.others(target), perturbation)]
        return (others >= 0).any(axis=0)

    def shared(self, target):
        """Return the perturbations measured both in the context and elsewhere."""
        here = np.flatnonzero(self.place[target] >= 0)
        return here[self.elsewhere(target, here)]

    def sources(self, target, perturbation):
        """Yield each perturbation's responses elsewhere, and below them their mean.

        Arrays are of shape (n_contexts, n_targets), zero where nothing was measured.
        """
        others = self.others(target)
        for column in self.place[np.ix_(others, perturbation)].T:
            sources = np.zeros((len(others) + 1, self.values.shape[1]))
            measured = column >= 0
            sources[:-1][measured] = self.values[column[measured]]
            sources[-1] = sources.sum(axis=0) / measured.sum()
            yield sources

    def blend(self, target, perturbation, weights):
        """Return the weighted sum of the responses elsewhere and of their mean."""
        others = self.others(target)
        place = self.place[np.ix_(others, perturbation)].T
        row, column = np.nonzero(place >= 0)
        counts = np.bincount(row, minlength=len(perturbation))
        share = weights[others[column]] + weights[-1] / counts[row]
        mixing = sparse.csr_array(
            (share, (row, place[row, column])),
            shape=(len(perturbation), len(self.values)),
        )
        return mixing @ self.values

    def share_of_mean(self):
        """Return which share, 0 to 1, of the mean elsewhere predicts responses best.

        By least squares over all pairs, in which strong responses do not count for
        more than weak ones, as in a mean of row-wise errors.
        """
        only_mean = np.r_[np.zeros(len(self.place)), 1.0]
        along = energy = 0.0
        for target in range(len(self.place)):
            shared = self.shared(target)
            truth = self.of(target, shared)
            means = self.blend(target, shared, only_mean)
            size = np.linalg.norm(truth, axis=1)
            size = np.where(size > 0, size, np.inf)
            along += (np.einsum("ij,ij->i", means, truth) / size).sum()
            energy += (np.einsum("ij,ij->i", means, means) / size).sum()
        return float(np.clip(along / energy, 0, 1)) if energy > 0 else 1.0

    def products(self, target, left, right):
        """Return inner products of perturbations over all other contexts."""
        products = np.zeros((len(left), len(right)))
        for other in self.others(target):
            i = np.flatnonzero(self.place[other, left] >= 0)
            j = np.flatnonzero(self.place[other, right] >= 0)
            if len(i) and len(j):
                rows, columns = self.of(other, left[i]), self.of(other, right[j])
                products[np.ix_(i, j)] += rows @ columns.T
        return products / max(len(self.place) - 1, 1)

    def squares(self, target, perturbation):
        """Return the diagonal of `products`."""
        place = self.place[np.ix_(self.others(target), perturbation)]
        energy = np.append(np.einsum("ij,ij->i", self.values, self.values), 0.0)
        return energy[place].sum(axis=0) / max(len(self.place) - 1, 1)


def _loo_weights(sources, truth, alphas):
    """Return the ridge weights of the sources, and the penalty.

    Weights are common to all targets, so a perturbation is a block of rows; each is
    left out in turn by taking its share from the normal equations. The score is the
    mean over perturbations of the left-out RMSE.
    """
    gram, right = [], []
    for block, response in zip(sources, truth, strict=True):
        gram.append(block @ block.T)
        right.append(block @ response)
    gram, right = np.array(gram), np.array(right)
    total_gram, total_right = gram.sum(axis=0), right.sum(axis=0)
    eye = np.eye(len(total_gram))
    eye *= np.trace(total_gram) / len(total_gram) or 1.0
    squares = np.einsum("ij,ij->i", truth, truth)
    best = (np.inf, None, None)
    for alpha in alphas:
        # The trailing axis keeps a stack of vectors from being read as a matrix.
        weights = np.linalg.solve(
            total_gram - gram + alpha * eye, (total_right - right)[:, :, None]
        )[:, :, 0]
        error = squares - 2 * np.einsum("ij,ij->i", weights, right)
        error += np.einsum("ij,ijk,ik->i", weights, gram, weights)
        score = np.sqrt(np.maximum(error, 0)).mean()
        if score < best[0]:
            weights = np.linalg.solve(total_gram + alpha * eye, total_right)
            best = (score, weights, alpha)
    return best[1:]


def _squared_distances(products, left_squares, right_squares):
    squared = left_squares[:, None] + right_squares[None, :] - 2 * products
    return np.maximum(squared, 0)
