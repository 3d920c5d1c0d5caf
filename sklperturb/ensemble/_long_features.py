"""What is known of a gene's response to a condition without having measured it."""

import numpy as np

# Contexts and perturbations whose responses are features of their own.
_N_CONTEXTS = 4
_N_NEIGHBORS = 3
# Perturbations that the mean over those that act alike is taken of.
_N_AVERAGED = 8

NAMES = (
    "predicted",
    "predicted_strength",
    *(f"elsewhere{k}" for k in range(_N_CONTEXTS)),
    *(f"context_similarity{k}" for k in range(_N_CONTEXTS)),
    "elsewhere_mean",
    "elsewhere_std",
    "elsewhere_weighted_mean",
    "elsewhere_strength",
    "n_elsewhere",
    "context_mean",
    "context_std",
    "context_scale",
    "n_in_context",
    "gene_mean",
    "gene_std",
    *(f"neighbor{k}" for k in range(_N_NEIGHBORS)),
    *(f"neighbor_similarity{k}" for k in range(_N_NEIGHBORS)),
    "neighbors_weighted_mean",
    "neighbors_std",
)


class LongFeatures:
    """Features of (condition, gene), from the pairs that were measured but its own.

    Parameters
    ----------
    means : ndarray of shape (n_pairs, n_genes)
        Response of each measured pair of a context and a perturbation.
    place : ndarray of int of shape (n_contexts, n_perturbations)
        Rows of `means`; -1 where nothing was measured.
    kernel : ResponseKernelRidge
        Fitted to the same pairs: how alike contexts are, how strongly they respond,
        and the products of responses within each context.
    """

    def __init__(self, means, place, kernel):
        self.means = means
        self.place = place
        self.similarity = kernel.context_similarity_
        self.scales = kernel.context_scales_
        self.products = kernel._products
        self.energy = np.diagonal(self.products, axis1=1, axis2=2)
        self.strength = np.sqrt(np.mean(means**2, axis=1))
        self.of_all = _moments(means)
        self.of_contexts = [_moments(means[row[row >= 0]]) for row in place]

    def row(self, context, perturbation, elsewhere, predicted, genes):
        """Return the features of some genes of a condition.

        Parameters
        ----------
        context, perturbation : int
            Codes, both seen in training.
        elsewhere : ndarray of bool of shape (n_contexts,)
            In which contexts the perturbation counts as measured; not in `context`.
        predicted : ndarray of shape (n_genes,)
            A first prediction of the condition, made without its response.
        genes : ndarray of int of shape (n_chosen,)

        Returns
        -------
        table : ndarray of shape (n_chosen, n_features), float32
            Columns as in `NAMES`, NaN where there is nothing to tell.
        """
        found = {
            "predicted": predicted[genes],
            "predicted_strength": np.sqrt(np.mean(predicted**2)),
            **self._elsewhere(context, perturbation, elsewhere, genes),
            **self._of_levels(context, perturbation, genes),
            **self._of_neighbors(context, perturbation, elsewhere, genes),
        }
        table = np.full((len(genes), len(NAMES)), np.nan, dtype=np.float32)
        for column, name in enumerate(NAMES):
            if name in found:
                table[:, column] = found[name]
        return table

    def _elsewhere(self, context, perturbation, elsewhere, genes):
        """Return the responses to the perturbation, the most similar context first."""
        contexts = np.flatnonzero(elsewhere)
        alike = self.similarity[context, contexts]
        order = np.argsort(-alike, kind="stable")
        contexts, alike = contexts[order], alike[order]
        rows = self.place[contexts, perturbation]
        stretch = self.scales[context] / self.scales[contexts]
        responses = self.means[np.ix_(rows, genes)] * stretch[:, None]
        weights = np.maximum(alike, 0.01)
        found = {
            "elsewhere_mean": responses.mean(axis=0),
            "elsewhere_weighted_mean": weights @ responses / weights.sum(),
            "elsewhere_strength": (self.strength[rows] * stretch).mean(),
            "n_elsewhere": len(rows),
        }
        if len(rows) > 1:
            found["elsewhere_std"] = responses.std(axis=0)
        for k in range(min(len(rows), _N_CONTEXTS)):
            found[f"elsewhere{k}"] = responses[k]
            found[f"context_similarity{k}"] = alike[k]
        return found

    def _of_levels(self, context, perturbation, genes):
        """Return statistics of the context and of the gene, without the pair itself."""
        row = self.place[context, perturbation]
        own = None if row < 0 else self.means[row, genes]
        found = {"context_scale": self.scales[context]}
        for name, moments in (
            ("context", self.of_contexts[context]),
            ("gene", self.of_all),
        ):
            n, total, squares = moments[0], moments[1][genes], moments[2][genes]
            if own is not None:
                n, total, squares = n - 1, total - own, squares - own**2
            if n:
                mean = total / n
                found[f"{name}_mean"] = mean
                found[f"{name}_std"] = np.sqrt(np.maximum(squares / n - mean**2, 0))
        return found

    def _of_neighbors(self, context, perturbation, elsewhere, genes):
        """Return responses here to the perturbations that act most alike elsewhere."""
        others = np.flatnonzero(self.place[context] >= 0)
        others = others[others != perturbation]
        found = {"n_in_context": len(others)}
        contexts = np.flatnonzero(elsewhere)
        shared = self.place[np.ix_(contexts, others)] >= 0
        dots = self.products[contexts, perturbation][:, others].sum(axis=0)
        own = self.energy[contexts, perturbation] @ shared
        norms = np.sqrt(own * self.energy[np.ix_(contexts, others)].sum(axis=0))
        alike = np.divide(dots, norms, out=np.zeros(len(others)), where=norms > 0)
        nearest = np.argsort(-alike, kind="stable")[:_N_AVERAGED]
        alike = alike[nearest]
        responses = self.means[np.ix_(self.place[context, others[nearest]], genes)]
        weights = np.maximum(alike, 0) ** 2
        if weights.any():
            found["neighbors_weighted_mean"] = weights @ responses / weights.sum()
        if len(nearest) > 1:
            found["neighbors_std"] = responses.std(axis=0)
        for k in range(min(len(nearest), _N_NEIGHBORS)):
            found[f"neighbor{k}"] = responses[k]
            found[f"neighbor_similarity{k}"] = alike[k]
        return found


def as_missing(place, random_state):
    """Return where each measured pair's perturbation counts as measured.

    A perturbation that is missing in one context is often missing in others as well.
    For each measured pair, one that is missing in its context is drawn, and the pair
    is to be predicted from where both were measured. Where none is missing or none
    shares a context with it, it is from all other contexts.

    Returns
    -------
    elsewhere : ndarray of bool of shape (n_pairs, n_contexts)
        Pairs in the order of `place`.
    """
    measured = place >= 0
    overlaps = measured.T.astype(int) @ measured.astype(int) > 0
    known = measured.any(axis=0)
    result = []
    for context, perturbation in np.argwhere(measured):
        elsewhere = measured[:, perturbation].copy()
        elsewhere[context] = False
        # The context itself is not among what the two share, since one is missing here.
        missing = np.flatnonzero(~measured[context] & known & overlaps[:, perturbation])
        if len(missing):
            elsewhere &= measured[:, random_state.choice(missing)]
        result.append(elsewhere)
    return np.array(result)


def _moments(rows):
    return len(rows), rows.sum(axis=0), np.square(rows).sum(axis=0)
