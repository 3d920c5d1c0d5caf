"""Kernel ridge on how alike perturbations act in the other contexts."""

from numbers import Integral

import numpy as np
from sklearn.base import _fit_context
from sklearn.utils._param_validation import Interval

from sklperturb.conditions._levels import level_means, pair_means, take_levels
from sklperturb.linear_model._kernel import (
    check_pairs,
    context_similarity,
    left_out_residuals,
    loo_correction,
    loo_kernel_ridge,
)
from sklperturb.linear_model._latent import LatentConditionRegressor
from sklperturb.linear_model._variances import (
    NOT_LEARNT,
    PriorCovarianceMixin,
    combined,
    doubt_of_contexts,
    likeliest_variances,
    prior_variances,
    rows_of_some,
    same,
)

# Rows from which the variances are learnt.
_MAX_ROWS = 400
# What of contexts is multiplied with what of perturbations.
_PARTS = (
    ("any", "any"),
    ("alike", "any"),
    ("same", "any"),
    ("any", "same"),
    ("alike", "same"),
    ("same", "same"),
    ("any", "response"),
    ("alike", "response"),
)
# What is usual, as shares of the variance of a response, where rows cannot tell.
_USUAL = {
    ("any", "same"): 0.15,
    ("alike", "same"): 0.15,
    ("same", "same"): 0.1,
    ("any", "response"): 0.05,
    ("alike", "response"): 0.05,
    "noise": 0.5,
}
_USUALLY_ALIKE = 0.4
# Rows that what is usual counts for.
_TRUSTED = 20


class ResponseKernelRidge(PriorCovarianceMixin, LatentConditionRegressor):
    r"""Learn from perturbations that act alike in the other contexts.

    The response of (context :math:`c`, perturbation :math:`p`) is a Gaussian process
    whose covariance is a sum of products of a kernel of contexts (one, how alike they
    are, the same one) and one of perturbations: one, the same, and **how alike they
    act elsewhere**,

    .. math:: R_{cp,c'p'} = \cos\left((x_{dp})_{d \ne c}, (x_{dp'})_{d \ne c'}\right)

    with the responses :math:`x_{dp}` in the contexts :math:`d`, centred on these, and
    zero where nothing was measured. The response of a row is left out of its own
    similarity, which makes :math:`R` a kernel between rows, and one that a row to be
    predicted has as well. How much each product explains is found by marginal
    likelihood; the penalty, by closed-form leave-one-out, since what is likeliest for
    a few strong responses is not what predicts most rows best.

    Parameters
    ----------
    alphas : array-like of float, default=(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30)
        Penalties to choose from, in units of the kernel's mean diagonal.
    max_iter : int, default=60
        Steps of the search for the variances.
    scale_contexts : bool, default=True
        Whether to divide responses by how strongly their context responds in general
        before fitting, and to multiply predictions by it.
    n_components : "full", int, float or "gavish-donoho", default="full"
        Basis of the targets (see `TargetReducer`); "full" loses nothing.
    schema : PerturbationSchema, default=None
        Roles of the columns. None infers them from the column names.

    Attributes
    ----------
    variances_ : dict of {(str, str): float}
        Share of each product of a kernel of contexts and one of perturbations in what
        they explain together.
    alpha_ : float
        The chosen penalty; infinite where only the mean is predicted.
    n_iter_ : int
        Steps that the search took.
    context_similarity_ : ndarray of shape (n_contexts, n_contexts)
    grand_mean_share_, centre_share_ : float
        Shares, 0 to 1, of the mean of all rows that are predicted in contexts that were
        seen, and in others: what is more than noise, and what contexts have in common.
    context_scales_ : ndarray of shape (n_contexts,)
    dual_coef_ : ndarray of shape (n_samples, n_components)
    reducer_ : TargetReducer
    contexts_, perturbations_ : ndarray
        Levels seen in `fit`.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)

    See Also
    --------
    ProductKernelRidge : With the identity in place of the responses.
    ContextTransferRidge : One model for each context.

    Notes
    -----
    A perturbation that was not seen is like no other: it gets the effect of its
    context. A context that was not seen is as like each of the others as these are to
    it on average. Time is cubic in the number of rows and linear in the number of
    genes; variances are learnt from 400 rows at most, of perturbations drawn at random
    and always the same.

    References
    ----------
    .. [1] Rasmussen and Williams, "Gaussian Processes for Machine Learning", MIT
       Press, 2006, section 5.4.1. :doi:`10.7551/mitpress/3206.001.0001`

    Examples
    --------
    >>> from sklperturb.datasets import make_chemical_screen
    >>> from sklperturb.linear_model import ResponseKernelRidge
    >>> screen = make_chemical_screen(4, 20, 50, n_shared=5, random_state=0)
    >>> model = ResponseKernelRidge().fit(screen.X, screen.y)
    >>> model.predict(screen.X_test).shape == screen.y_test.shape
    True
    """

    _parameter_constraints = {
        **LatentConditionRegressor._parameter_constraints,
        "max_iter": [Interval(Integral, 1, None, closed="left")],
    }

    # How many are decomposed, of all rows.
    _n_kernels = 1

    _learnt_since = (
        LatentConditionRegressor._learnt_since | NOT_LEARNT | {"_prior_parts": {}}
    )

    def __init__(
        self,
        alphas=(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30),
        *,
        max_iter=60,
        scale_contexts=True,
        n_components="full",
        schema=None,
    ):
        self.alphas = alphas
        self.max_iter = max_iter
        self.scale_contexts = scale_contexts
        self.n_components = n_components
        self.schema = schema

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y):
        """Compare the responses elsewhere, and find what each kernel explains.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_columns)
            Conditions.
        y : array-like of shape (n_samples,) or (n_samples, n_genes)
            Responses.

        Returns
        -------
        self : ResponseKernelRidge

        Raises
        ------
        ValueError
            If pairs of rows do not fit into memory.

        Warns
        -----
        UserWarning
            If the rows are so many that the fit takes hours.
        """
        targets = self._compare_responses(X, y)
        kernels = self._kernels(*self._train_codes)
        # A few hundred rows tell as much of eight numbers as all.
        some = rows_of_some(self._train_codes[1], _MAX_ROWS)
        variances, _, self.n_iter_ = likeliest_variances(
            [kernel[np.ix_(some, some)] for kernel in kernels],
            targets[some],
            max_iter=self.max_iter,
        )
        variances /= np.trace(combined(kernels, variances)) / len(targets) or 1.0
        self.variances_ = dict(zip(_PARTS, variances.tolist(), strict=True))
        kernel = combined(kernels, variances)
        # The mean alone, unless what is known of other rows helps beyond chance.
        self.alpha_, self.dual_coef_ = loo_correction(
            kernel, targets, self.alphas, np.arange(len(targets))
        )
        self._learn_prior_of_responses(kernel, targets)
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
        latent = self._kernel(context, perturbation) @ self.dual_coef_
        return self._shaped(self._decode(latent, context))

    def _compare_responses(self, X, y):
        """Return what is to be fitted; keep what contexts and responses tell of it."""
        *self._train_codes, targets = self._start_latent_fit(X, y)
        check_pairs(self, len(targets), n_matrices=15, n_kernels=self._n_kernels)
        context = self._train_codes[0]
        n_levels = len(self.contexts_), len(self.perturbations_)
        self.context_similarity_ = np.eye(n_levels[0])
        if n_levels[0] > 1:
            self.context_similarity_ = context_similarity(
                *self._train_codes, targets, n_levels[0]
            )
        centred = targets - level_means(context, n_levels[0], targets)[0][context]
        self._products = _products_by_context(*self._train_codes, n_levels, centred)
        return targets

    def _learn_prior_of_responses(self, kernel, targets):
        """Keep what is to be said of conditions that are not measured.

        The fewer rows are of perturbations that were measured in other contexts, too,
        the less do variances that were learnt say of contexts and perturbations, and
        the more counts what is usual.
        """
        context, perturbation = self._train_codes
        found = self.alpha_, self.dual_coef_
        if not np.isfinite(self.alpha_):  # what may be there, though it is not proven
            _, *found = loo_kernel_ridge(kernel, targets, self.alphas)
        mean = self.reducer_.mean_
        signal, noise = prior_variances(kernel, *found, len(mean))
        total = signal + noise
        pairs = np.unique([context, perturbation], axis=1)[1]
        shared = np.bincount(pairs)[perturbation] > 1
        usual = 1 / (1 + shared.sum() / _TRUSTED)
        self._prior_parts = {
            part: (1 - usual) * signal * self.variances_[part]
            + usual * total * _USUAL.get(part, 0.0)
            for part in _PARTS
        }
        noise = (1 - usual) * noise + usual * total * _USUAL["noise"]
        of_context = self._prior_parts["same", "any"]
        n_others = len(self.contexts_) * (len(self.contexts_) - 1)
        alike = self.context_similarity_.sum() - len(self.contexts_)
        alike = alike / n_others if n_others else _USUALLY_ALIKE
        of_context += (1 - alike) * self._prior_parts["alike", "any"]
        doubt = doubt_of_contexts(context, targets, mean)
        self._prior_variances = 1.0, noise, max(doubt - of_context, 0.0)

    def _left_out_together(self, together):
        """Return training rows as predicted without the rows named with each."""
        if not np.isfinite(self.alpha_):
            return np.zeros_like(self.dual_coef_)
        kernel = self._kernel(*self._train_codes)
        targets = kernel @ self.dual_coef_ + self.alpha_ * self.dual_coef_
        return targets - left_out_residuals(
            kernel, self.alpha_, self.dual_coef_, together
        )

    def _kernel(self, context, perturbation):
        """Return what was learnt to explain, between codes and training rows."""
        return combined(self._kernels(context, perturbation), self.variances_.values())

    def _kernels(self, context, perturbation):
        """Return the products of kernels between the given codes and training rows."""
        rows = context, perturbation
        return list(self._products_of(_PARTS, rows, self._train_codes))

    def _prior_kernel(self, left, right):
        explains = [part for part in _PARTS if self._prior_parts[part]]
        total = np.zeros((len(left[0]), len(right[0])))
        products = self._products_of(explains, left[:2], right[:2])
        for part, product in zip(explains, products, strict=True):
            product *= self._prior_parts[part]
            total += product
        return total

    def _products_of(self, parts, rows, others):
        """Yield products of kernels of contexts and of perturbations.

        Of both sides, levels that were not seen in `fit` have the code -1, or numbers
        after those that were seen.
        """
        of_contexts = self._of_contexts(rows[0], others[0])
        of_perturbations = {"same": same(rows[1], others[1])}
        if any(p == "response" for _, p in parts):
            of_perturbations["response"] = self._alike_elsewhere(*rows, others)
        for c, p in parts:
            product = of_contexts[c].copy()
            if p != "any":
                product *= of_perturbations[p]
            yield product

    def _of_contexts(self, context, others=None):
        """Return the kernels of contexts between the given codes and training rows."""
        others = self._train_codes[0] if others is None else others
        n_contexts = len(self.contexts_)
        # A context that was not seen is as like each as the others are.
        n_others = max(n_contexts - 1, 1)
        typical = (self.context_similarity_.sum(axis=0) - 1) / n_others
        padded = np.vstack([self.context_similarity_, typical])
        padded = np.column_stack([padded, [*typical, typical.mean()]])
        new = [(codes < 0) | (codes >= n_contexts) for codes in (context, others)]
        known = [
            np.where(is_new, n_contexts, codes)
            for is_new, codes in zip(new, (context, others), strict=True)
        ]
        both = same(context, others)
        alike = padded[known[0]][:, known[1]]
        return {
            "any": np.ones_like(both),
            "alike": np.where(np.outer(*new) & (both > 0), 1.0, alike),
            "same": both,
        }

    def _alike_elsewhere(self, context, perturbation, others=None):
        """Return the cosine of responses in contexts that are those of neither row."""
        others = self._train_codes if others is None else others
        products = np.zeros((len(context), len(others[0])))
        seen, others_seen = self._was_seen(perturbation), self._was_seen(others[1])
        for other, known in enumerate(self._products):
            rows = np.flatnonzero((context != other) & seen)
            columns = np.flatnonzero((others[0] != other) & others_seen)
            products[np.ix_(rows, columns)] += known[
                np.ix_(perturbation[rows], others[1][columns])
            ]
        left = self._energy_elsewhere(context, perturbation)
        right = self._energy_elsewhere(*others)
        norms = np.sqrt(np.outer(left, right))
        return np.divide(products, norms, out=np.zeros_like(norms), where=norms > 0)

    def _energy_elsewhere(self, context, perturbation):
        """Return the squared length of each row's responses in the other contexts."""
        energy = np.diagonal(self._products, axis1=1, axis2=2)
        seen = self._was_seen(perturbation)
        perturbation = np.where(seen, perturbation, 0)
        context = np.where(context < len(self.contexts_), context, -1)
        here = take_levels(energy, context, 0.0)
        here = here[np.arange(len(context)), perturbation]
        total = energy.sum(axis=0)[perturbation] - here
        # Rounding must not leave a trace where there is no other context.
        return np.where(seen & (total > 1e-9 * here), total, 0.0)

    def _was_seen(self, perturbation):
        return (perturbation >= 0) & (perturbation < len(self.perturbations_))


def _products_by_context(context, perturbation, n_levels, targets):
    """Return the inner products of perturbations within each context.

    Returns
    -------
    products : ndarray of shape (n_contexts, n_perturbations, n_perturbations)
        Zero where a perturbation was not measured.
    """
    means, place = pair_means(context, perturbation, n_levels, targets)
    products = np.zeros((n_levels[0], n_levels[1], n_levels[1]))
    for known, row in zip(products, place, strict=True):
        measured = np.flatnonzero(row >= 0)
        responses = means[row[measured]]
        known[np.ix_(measured, measured)] = responses @ responses.T
    return products
