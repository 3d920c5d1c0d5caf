"""What is known of perturbations as kernels: their weights, and what they predict."""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from scipy import linalg, sparse

from sklperturb.conditions._frames import take_columns
from sklperturb.conditions._labels import as_text
from sklperturb.linear_model._calibration import Stretch, row_norms
from sklperturb.linear_model._kernel import beyond_chance, loo_kernel_ridge
from sklperturb.linear_model._variances import (
    combined,
    doubt_of_contexts,
    likeliest_variances,
    prior_variances,
    rows_of_some,
)
from sklperturb.preprocessing._gene_sources import as_dense, sum_of_parts

# Components of the responses after which the next band begins. Knowledge tells much of
# the leading ones and next to nothing of the last.
EDGES = (3, 10, 30, 100)
# Penalties to choose from, in units of the noise that the likelihood finds.
_PENALTIES = np.array([0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.4, 2.0, 3.0, 5.0, 10.0, 30.0])
# Rows from which the variances are learnt.
_MAX_ROWS = 400


def fit_knowledge(
    means,
    kernels,
    targets,
    perturbation,
    *,
    groups=None,
    sharing=None,
    edges=EDGES,
    max_iter=60,
    stretch=True,
):
    r"""Learn what several kernels tell of the responses to perturbations not seen.

    Responses are a Gaussian process whose covariance is a sum of the given kernels,
    each times a variance, and of noise. Variances and noise are found by marginal
    likelihood, and a factor of the noise by closed-form leave-perturbations-out: once
    for all components of the responses together, and once for each band of principal
    components apart. The first errs on leading components, of which knowledge tells
    much; the second, since principal components hold the noise of the responses that
    they were found in. Predictions are the mean of both, made stronger or weaker as
    left-out perturbations ask.

    Parameters
    ----------
    means : dict of {str: ndarray of shape (n_samples, n_samples)}
        Kernels of what is typical whatever the perturbation, beyond the mean over all
        rows, which is never shrunken: such as ones for rows of a context. What they
        explain is never stretched. May be empty.
    kernels : dict of {str: ndarray of shape (n_samples, n_samples)}
        Kernels of what tells perturbations apart, such as products of cosines of gene
        vectors with ones or with "same context". Of a perturbation that a source does
        not know, rows and columns are zero: the source says nothing of it. Diagonals
        should be of a size, about one.
    targets : ndarray of shape (n_samples, n_targets)
        Responses in orthonormal coordinates of the genes, or in any space in which
        Euclidean distances count; not centred.
    perturbation : ndarray of int of shape (n_samples,)
        Numbers of the perturbations, from 0. Rows of one are left out together.
    groups : ndarray of int of shape (n_samples,), default=None
        Numbers of what is left out together, where it is not the perturbation.
    sharing : list of ndarray of int, default=None
        In place of the groups, rows to be left out together, which may overlap; as of
        `groups_by_part`. Nothing is stretched then: what helps rows that share a part
        helps by the same chance, and would seem to be sure.
    edges : sequence of int, default=(3, 10, 30, 100)
        Where bands of components end; the last band has all others.
    max_iter : int, default=60
        Steps of the search for the variances of a band.
    stretch : bool, default=True
        Whether predictions may be made stronger or weaker than the process has them.
        They are, only where left-out perturbations say so beyond chance.

    Returns
    -------
    fitted : FittedKnowledge
        ``fitted.predict(means, kernels)`` takes kernels of the same names, of shape
        (n_new, n_samples), between new rows and those of the fit.
        ``fitted.left_out`` has the training rows as predicted without their
        perturbation.

    Examples
    --------
    >>> import numpy as np
    >>> from sklperturb.linear_model._knowledge import fit_knowledge
    >>> from sklperturb.preprocessing._gene_sources import unit_rows
    >>> rng = np.random.RandomState(0)
    >>> vectors = unit_rows(rng.normal(size=(60, 3)))
    >>> y = vectors @ rng.normal(size=(3, 20)) + 0.1 * rng.normal(size=(60, 20))
    >>> known, new = vectors[:50], vectors[50:]
    >>> fitted = fit_knowledge({}, {"sets": known @ known.T}, y[:50], np.arange(50))
    >>> y_pred = fitted.predict({}, {"sets": new @ known.T})
    >>> bool(np.square(y[50:] - y_pred).mean() < 0.1 * np.square(y[50:]).mean())
    True
    """
    groups = perturbation if groups is None else groups
    groups = np.unique(groups, return_inverse=True)[1]
    centre = targets.mean(axis=0)
    rest = targets - centre
    some = rows_of_some(perturbation, _MAX_ROWS)
    components = linalg.svd(rest, full_matrices=False)[2]
    ends = [end for end in edges if end < len(components)]
    out = groups if sharing is None else sharing
    fits = [
        _fit_bands(means, kernels, rest, components, inner, out, some, max_iter)
        for inner in ([], ends)[: 1 + bool(ends)]
    ]
    typical = sum(fit.left_out[0] for fit in fits) / len(fits)
    deviation = sum(fit.left_out[1] for fit in fits) / len(fits)
    learnt = Stretch()
    if stretch and sharing is None:
        learnt = _proven_stretch(rest - typical, deviation, groups)
    left_out = centre + typical + learnt(deviation)
    return FittedKnowledge(centre, fits, learnt, left_out)


@dataclass(frozen=True)
class FittedKnowledge:
    """What was learnt of several kernels.

    Attributes
    ----------
    centre : ndarray of shape (n_targets,)
        The mean response.
    fits : list of BandFit
        For all components together, and for each band apart.
    stretch : Stretch
        What is multiplied with all but the typical response.
    left_out : ndarray of shape (n_samples, n_targets)
        Training rows as predicted without their group. Variances and the stretch are
        learnt from all of them. None `for_predictions`.
    """

    centre: np.ndarray
    fits: list
    stretch: Stretch
    left_out: np.ndarray | None = None

    def for_predictions(self):
        """Return what is needed for these: more than half is about training rows."""
        fits = [replace(fit, left_out=None) for fit in self.fits]
        return replace(self, fits=fits, left_out=None)

    def predict(self, means, kernels):
        """Return the expected responses of new rows.

        Parameters
        ----------
        means, kernels : dict of {str: ndarray of shape (n_new, n_samples)}
            In the order of the fit.

        Returns
        -------
        y_pred : ndarray of shape (n_new, n_targets)
        """
        both = [fit.predict(means, kernels) for fit in self.fits]
        typical, deviation = (sum(p) / len(p) for p in zip(*both, strict=True))
        return self.centre + typical + self.stretch(deviation)

    def coefs(self, names):
        """Return {name: coefficients (n_samples, n_targets)}, without the stretch.

        The centre and each kernel times its coefficients add up to what `predict`
        returns where there is no stretch.

        Parameters
        ----------
        names : list of str
            Of the means and the kernels.
        """
        coefs = {}
        for place, name in enumerate(names):
            parts = [
                (fit.dual_coef[:, part] * variances[place]) @ fit.components[part]
                for fit in self.fits
                for part, variances in zip(fit.parts, fit.variances, strict=True)
                if variances[place]
            ]
            if parts:
                coefs[name] = sum(parts) / len(self.fits)
        return coefs

    def shares(self, names):
        """Return {name: share in what all kernels explain}, of the first fit.

        Parameters
        ----------
        names : list of str
            Of the means and the kernels.
        """
        variances = self.fits[0].variances[0]
        return dict(zip(names, variances / (variances.sum() or 1.0), strict=True))


@dataclass(frozen=True)
class BandFit:
    """Kernel ridge in bands of components.

    Attributes
    ----------
    components : ndarray of shape (n_components, n_targets)
        Orthonormal rows: the principal components, the strongest first.
    parts : list of slice
        The components of each band.
    variances : ndarray of shape (n_bands, n_means + n_kernels)
        In units of the mean square of a band's coordinates.
    noise, alphas : ndarray of shape (n_bands,)
        Noise, and the penalty that was chosen.
    dual_coef : ndarray of shape (n_samples, n_components)
    n_iter : int
        Most steps that a band took.
    left_out : tuple of two ndarray of shape (n_samples, n_targets), or None
        What means and kernels say of each row without its group.
    """

    components: np.ndarray
    parts: list
    variances: np.ndarray
    noise: np.ndarray
    alphas: np.ndarray
    dual_coef: np.ndarray
    n_iter: int
    left_out: tuple | None = None

    def predict(self, means, kernels):
        """Return what means and kernels say of new rows, (n_new, n_targets) each."""
        parts = [
            [K @ self.dual_coef[:, part] for K in _weigh(variances, means, kernels)]
            for part, variances in zip(self.parts, self.variances, strict=True)
        ]
        return tuple(np.hstack(p) @ self.components for p in zip(*parts, strict=True))


def _fit_bands(means, kernels, targets, components, ends, out, some, max_iter):
    """Return the `BandFit` to centred targets; `some` are rows for the likelihood.

    `out` is what is left out together, as `loo_kernel_ridge` takes it.
    """
    coordinates = targets @ components.T
    parts = [*map(slice, [0, *ends], [*ends, len(components)])]
    known = [K[np.ix_(some, some)] for K in (*means.values(), *kernels.values())]
    # A mean of norms asks for less of the rows that are far off anyway.
    norms = row_norms(coordinates)
    score = partial(_weighted_square, 1 / np.maximum(norms, 1e-6 * norms.max() or 1.0))
    fits = []
    for part in parts:
        inside = coordinates[:, part]
        variances, noise, n_iter = likeliest_variances(
            known, inside[some], max_iter=max_iter
        )
        weighed = _weigh(variances, means, kernels)
        _, alpha, dual_coef = loo_kernel_ridge(
            sum(weighed), inside, noise * _PENALTIES, out, score
        )
        left_out = _left_out_parts(*weighed, alpha, inside, dual_coef, out)
        fits.append((variances, noise, alpha, dual_coef, n_iter, *left_out))
    variances, noise, alphas, dual_coef, n_iter, *left_out = zip(*fits, strict=True)
    return BandFit(
        components,
        parts,
        *map(np.array, (variances, noise, alphas)),
        np.hstack(dual_coef),
        max(n_iter),
        tuple(np.hstack(blocks) @ components for blocks in left_out),
    )


def _weigh(variances, means, kernels):
    """Return the sums of means and of kernels, each times its variance."""
    shape = np.shape(next(iter((means | kernels).values())))
    split = np.split(variances, [len(means)])
    return [
        combined(list(given.values()), v) if given else np.zeros(shape)
        for given, v in zip((means, kernels), split, strict=True)
    ]


def _weighted_square(weights, left_out):
    return weights @ np.square(left_out).sum(axis=1)


def _left_out_parts(of_means, of_kernels, alpha, targets, dual_coef, out):
    """Return what both kinds of kernels say of each row without its groups."""
    kernel = of_means + of_kernels
    precision = linalg.inv(kernel + alpha * np.eye(len(kernel)))
    typical, echo = of_means @ dual_coef, of_means @ precision
    if not isinstance(out, list):
        order = np.argsort(out, kind="stable")
        out = np.split(order, np.cumsum(np.bincount(out))[:-1])
    times = np.bincount(np.concatenate(out), minlength=len(targets))[:, None]
    total = targets.copy()
    for rows in out:
        residuals = linalg.solve(precision[np.ix_(rows, rows)], dual_coef[rows])
        total[rows] -= residuals / times[rows]
        # The coefficients without the group are C - P[:, G] r.
        typical[rows] -= echo[np.ix_(rows, rows)] @ residuals / times[rows]
    return typical, total - typical


def _proven_stretch(truth, y_pred, groups):
    """Return the stretch that suits left-out rows; none unless it helps for sure."""
    stretch = Stretch.learn(truth, y_pred)
    gains = row_norms(truth - y_pred) - row_norms(truth - stretch(y_pred))
    return stretch if beyond_chance(gains, groups) else Stretch()


class SourceKernelsMixin:
    """The kernels of a `GeneKnowledgeRidge`: of contexts times what genes have alike.

    A row is described by the codes of its context and perturbation, the parts of its
    label, and the vectors that each source has for them.
    """

    def _kernels_of(self, head, context, perturbation, labels):
        """Return the kernels of means and of genes, with the training rows."""
        rows = context, perturbation, *self._vectors_of(labels, self._index)
        train = *self._train_codes, self._rows_of_parts, *self._rows_of_sources.values()
        return self._kernels_between(head, rows, train)

    def _kernels_between(self, head, rows, others):
        """Return the kernels of means and of genes between described rows."""
        of_contexts = self._of_contexts(rows[0], others[0])
        if len(self.contexts_) < 3:  # the other two say all that there is to say
            del of_contexts["alike"]
        means = {}
        if len(self.contexts_) > 1:
            means["same x any"] = of_contexts["same"]
        else:
            del of_contexts["same"]
        of_genes = {
            name: as_dense(left @ right.T)
            for name, left, right in zip(
                self._vectors, rows[3:], others[3:], strict=False
            )
        }
        kernels = {
            f"{c} x {g}": of_contexts[c] * of_genes[g]
            for g in of_genes
            for c in of_contexts
        }
        parts = as_dense(rows[2] @ others[2].T)
        kernels["any x parts"] = parts
        if self._combines and "same" in of_contexts:
            kernels["same x parts"] = of_contexts["same"] * parts
        if head == "seen":
            alike = self._alike_elsewhere(*rows[:2], others[:2])
            kernels["any x response"] = alike
            kernels["same x response"] = of_contexts["same"] * alike
        return means, kernels

    def _learn_prior(self, fitted, means, kernels, targets):
        """Keep what the fit to all components says of what is not measured."""
        first, mean = fitted.fits[0], self.reducer_.mean_
        names = [*means, *kernels]
        weighed = combined([*means.values(), *kernels.values()], first.variances[0])
        of_context = dict(zip(names, first.variances[0], strict=True))
        found = prior_variances(weighed, first.alphas[0], first.dual_coef, len(mean))
        doubt = doubt_of_contexts(self._train_codes[0], targets, mean)
        doubt -= found[0] * of_context.get("same x any", 0.0)
        self._prior_variances = *found, max(doubt, 0.0)

    def _described(self, *tables):
        codes, scales, lengths = self._prior_codes(*tables)
        columns = self._roles()
        labels = np.concatenate([take_columns(X, columns)[:, -1] for X in tables])
        # Genes that were never perturbed are like themselves, too.
        new = set().union(*self._genes_of(labels)).difference(self._index)
        places = range(len(self._index), len(self._index) + len(new))
        index = self._index | dict(zip(sorted(new), places, strict=True))
        return (*codes, *self._vectors_of(labels, index), scales), lengths

    def _prior_kernel(self, left, right):
        head = "seen" if "seen" in self._heads else "unseen"
        means, kernels = self._kernels_between(head, left, right)
        variances = self._heads[head].fits[0].variances[0]
        return combined([*means.values(), *kernels.values()], variances)

    def _vectors_of(self, labels, index):
        """Return which parts each label has, and its vector from each source."""
        genes = self._genes_of(labels)
        parts = sum_of_parts(genes, index, sparse.eye_array(len(index)).tocsr())
        return parts, *(vectors.rows(genes) for vectors in self._vectors.values())

    def _membership(self, labels):
        return self._vectors_of(labels, self._index)[0]

    def _genes_of(self, labels):
        known = {}
        for label in set(map(as_text, labels)):
            known[label] = self.schema_.split(label)
        return [known[as_text(label)] for label in labels]
