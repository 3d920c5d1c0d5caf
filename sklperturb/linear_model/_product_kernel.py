"""Kernel ridge on the product of a context and a perturbation kernel."""

import numpy as np
from sklearn.base import _fit_context
from sklearn.utils._param_validation import StrOptions

from sklperturb.linear_model._kernel import (
    best_product,
    check_pairs,
    context_similarity,
)
from sklperturb.linear_model._latent import LatentConditionRegressor
from sklperturb.linear_model._variances import (
    NOT_LEARNT,
    PriorCovarianceMixin,
    doubt_of_contexts,
    prior_variances,
    same,
)
from sklperturb.utils._grid import Grid


class ProductKernelRidge(PriorCovarianceMixin, LatentConditionRegressor):
    r"""Borrow strength across contexts and perturbations with a product kernel.

    The response of (context :math:`c`, perturbation :math:`p`) is a Gaussian process
    with covariance

    .. math:: k = (a + S_{cc'})\,(b + [p = p'])

    that is, an effect common to all rows, one of the context, one of the
    perturbation, and one of the pair which similar contexts share: :math:`S` says
    how alike two contexts responded to the perturbations measured in both, and is
    learnt from the training rows. The penalty, :math:`a` and :math:`b` are chosen by
    closed-form leave-one-out, one eigendecomposition for each :math:`(a, b)`.

    Parameters
    ----------
    alphas : array-like of float, default=(0.03, 0.1, 0.3, 1, 3, 10, 30)
        Ridge penalties to choose from.
    context_shares : array-like of float, default=(0.03, 0.1, 0.3)
        Values of :math:`a`: how much of a perturbation's effect is the same in
        every context.
    perturbation_shares : array-like of float, default=(0, 0.03, 0.1, 0.3)
        Values of :math:`b`: how much of a context's effect is the same for every
        perturbation.
    context_kernel : {"learned", "identity"}, default="learned"
        :math:`S`; "identity" treats all contexts as equally far apart.
    scale_contexts : bool, default=True
        Whether to divide responses by how strongly their context responds in general
        before fitting, and to multiply predictions by it.
    n_components : "full", int, float or "gavish-donoho", default="full"
        Basis of the targets (see `TargetReducer`); "full" loses nothing.
    schema : PerturbationSchema, default=None
        Roles of the columns. None infers them from the column names.

    Attributes
    ----------
    alpha_, context_share_, perturbation_share_ : float
        The chosen values.
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
    TargetEncodedRidge : Ridge on target statistics.

    Notes
    -----
    Leaving out one row is leaving out one pair, which is how OP2 asks: its compounds
    and cell types were all seen, but not together. The similarity and the strengths of
    contexts are learnt from all training rows, the left-out one too, so the score that
    chooses the penalty is slightly optimistic; cross-validation is not, since all of it
    happens inside `fit`. Time is cubic in the number of rows and linear in the number
    of genes.

    References
    ----------
    .. [1] Stegle et al., "Efficient inference in matrix-variate Gaussian models with
       iid observation noise", NeurIPS 2011.
    .. [2] Rasmussen and Williams, "Gaussian Processes for Machine Learning", MIT
       Press, 2006, section 5.4.2. :doi:`10.7551/mitpress/3206.001.0001`

    Examples
    --------
    >>> from sklperturb.datasets import make_chemical_screen
    >>> from sklperturb.linear_model import ProductKernelRidge
    >>> screen = make_chemical_screen(4, 20, 50, n_shared=5, random_state=0)
    >>> model = ProductKernelRidge().fit(screen.X, screen.y)
    >>> model.predict(screen.X_test).shape == screen.y_test.shape
    True
    """

    _parameter_constraints = {
        **LatentConditionRegressor._parameter_constraints,
        "context_shares": [Grid(zero=True)],
        "perturbation_shares": [Grid(zero=True)],
        "context_kernel": [StrOptions({"learned", "identity"})],
    }

    _learnt_since = LatentConditionRegressor._learnt_since | NOT_LEARNT

    def __init__(
        self,
        alphas=(0.03, 0.1, 0.3, 1, 3, 10, 30),
        *,
        context_shares=(0.03, 0.1, 0.3),
        perturbation_shares=(0, 0.03, 0.1, 0.3),
        context_kernel="learned",
        scale_contexts=True,
        n_components="full",
        schema=None,
    ):
        self.alphas = alphas
        self.context_shares = context_shares
        self.perturbation_shares = perturbation_shares
        self.context_kernel = context_kernel
        self.scale_contexts = scale_contexts
        self.n_components = n_components
        self.schema = schema

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y):
        """Learn the context similarity and solve for the chosen penalty.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_columns)
            Conditions.
        y : array-like of shape (n_samples,) or (n_samples, n_genes)
            Responses.

        Returns
        -------
        self : ProductKernelRidge

        Raises
        ------
        ValueError
            If `context_kernel` is none of the allowed values, a grid is empty or
            negative, or pairs of rows do not fit into memory.

        Warns
        -----
        UserWarning
            If the rows are so many that the fit takes hours.
        """
        *self._train_codes, targets = self._start_latent_fit(X, y)
        n_kernels = np.size(self.context_shares) * np.size(self.perturbation_shares)
        check_pairs(self, len(targets), n_matrices=10, n_kernels=n_kernels)
        n_contexts = len(self.contexts_)
        self.context_similarity_ = np.eye(n_contexts)
        if self.context_kernel == "learned" and n_contexts > 1:
            self.context_similarity_ = context_similarity(
                *self._train_codes, targets, n_contexts
            )
        alike = self._similarities(*self._train_codes)
        shares = self.context_shares, self.perturbation_shares
        _, *best = best_product(*alike, targets, shares, self.alphas)
        self.alpha_, self.dual_coef_, *shares = best
        self.context_share_, self.perturbation_share_ = shares
        kernel = self._kernel(*self._train_codes)
        mean = self.reducer_.mean_
        found = prior_variances(kernel, self.alpha_, self.dual_coef_, len(mean))
        doubt = doubt_of_contexts(self._train_codes[0], targets, mean)
        doubt -= found[0] * self.perturbation_share_
        self._prior_variances = *found, max(doubt, 0.0)
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

    def _kernel(self, context, perturbation):
        """Return the chosen kernel between the given codes and the training rows."""
        same_context, same_perturbation = self._similarities(context, perturbation)
        return (self.context_share_ + same_context) * (
            self.perturbation_share_ + same_perturbation
        )

    def _prior_kernel(self, left, right):
        # Contexts that were not seen are like themselves alone.
        known = [np.minimum(side[0], len(self.contexts_)) for side in (left, right)]
        padded = np.pad(self.context_similarity_, (0, 1))
        alike = padded[known[0]][:, known[1]]
        new = known[0] == len(self.contexts_)
        alike[new] = same(left[0][new], right[0])
        return (self.context_share_ + alike) * (
            self.perturbation_share_ + same(left[1], right[1])
        )

    def _similarities(self, context, perturbation):
        """Return both factors between the given codes and the training rows."""
        train_context, train_perturbation = self._train_codes
        # A level that was not seen is like nothing: a row of zeros at the end.
        padded = np.vstack([self.context_similarity_, np.zeros(len(self.contexts_))])
        same_context = padded[context][:, train_context]
        same_perturbation = perturbation[:, None] == train_perturbation[None, :]
        return same_context, same_perturbation.astype(float)
