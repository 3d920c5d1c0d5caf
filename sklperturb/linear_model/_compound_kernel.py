"""How alike compounds are, and kernels of it, chosen by what is left out together."""

from dataclasses import dataclass, replace
from operator import attrgetter

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from scipy.stats import binom

from sklperturb.conditions._annotations import TermVectors, read_mechanisms
from sklperturb.conditions._doubts import warn
from sklperturb.conditions._frames import read_column
from sklperturb.conditions._labels import as_text, each_label
from sklperturb.linear_model._calibration import (
    Calibration,
    component_factors,
    row_norms,
)
from sklperturb.linear_model._kernel import (
    best_product,
    beyond_chance,
    left_out_residuals,
    loo_kernel_ridge,
    mean_norm,
    rows_of_groups,
)
from sklperturb.linear_model._variances import PriorCovarianceMixin
from sklperturb.preprocessing._gene_sources import (
    UnitVectors,
    as_dense,
    fitted_source,
    unit_rows,
    warn_of_unknown,
)
from sklperturb.preprocessing._structures import read_structures

# How rare it has to be, of compounds such as those in training, that so few are known.
_BY_CHANCE = 0.01


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


class CompoundPriorMixin(PriorCovarianceMixin):
    """What a `TanimotoKernelRidge` says of conditions that are not measured."""

    def _described(self, *tables):
        codes, scales, lengths = self._prior_codes(*tables)
        perturbation = np.concatenate([self._codes(X)[1] for X in tables])
        smiles = np.split(perturbation, np.cumsum(lengths)[:-1])
        smiles = [
            read_structures(self, X, names, reset=False)
            for X, names in zip(tables, smiles, strict=True)
        ]
        smiles = np.concatenate(smiles)
        described = [*codes, Structures(*self._compounds(smiles)), scales]
        if self._unseen.mechanism_share:
            terms = [term for X in tables for term in read_mechanisms(self.schema_, X)]
            compound = self._compound_of(perturbation, smiles)
            names = same_compound(codes[1], smiles)
            described.insert(3, self._mechanism.described(terms, compound, names))
        return tuple(described), lengths

    def _prior_kernel(self, left, right):
        train = *right[:2], *right[2].distinct()
        alike = self._similarities(*left[:2], *left[2].distinct(), train)
        if self._unseen.mechanism_share:
            alike += (left[3].similarity(right[3]),)
        return self._unseen.kernel(*alike)

    def _mechanisms_of(self, X, compound):
        """Return how alike mechanisms are to those of training rows.

        Warns where few compounds that were not measured have one that training has,
        and the model that predicts them was chosen among compounds that had.
        """
        terms = read_mechanisms(self.schema_, X)
        if self._unseen.mechanism_share and (compound < 0).any():
            rows = np.flatnonzero(compound < 0)
            labels = read_column(X, self.schema_.perturbation)[rows]
            told = self._mechanism.tells([terms[row] for row in rows])
            told = pd.Series(told).groupby(each_label(labels, as_text)).any()
            n_told, n, share = int(told.sum()), len(told), self._mechanism.share_told
            if n_told < n / 2 and binom.cdf(n_told, n, share) < _BY_CHANCE:
                column = self.schema_.mechanism
                warn(
                    f"{n_told} of {n} new compounds have a mechanism in column "
                    f"{column!r} that compounds had in fit, where {share:.0%} shared "
                    "theirs with another. The model tells new compounds apart by it "
                    f"(mechanism_share_={self.mechanism_share_:g}), and is worse here "
                    "than cross-validation says. Fill in what is known, spelled as in "
                    "fit, or leave the column out in fit."
                )
        return self._mechanism(terms, compound)


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
    mechanism_share: float = 0.0

    def predict(self, alike):
        """Return the deviations of rows from how alike they are to training rows."""
        return self._calibrated(self.kernel(*alike) @ self.dual_coef)

    def left_out(self, alike, targets, together):
        """Return the training rows as predicted without the rows named with each."""
        kernel = self.kernel(*alike)
        return self._calibrated(
            targets - left_out_residuals(kernel, self.alpha, self.dual_coef, together)
        )

    def kernel(self, same_context, similarity, mechanism=None):
        alike = similarity**self.power
        if self.mechanism_share:
            alike = (1 - self.mechanism_share) * alike
            alike += self.mechanism_share * mechanism
        return (self.context_share + same_context) * (self.perturbation_share + alike)

    def _calibrated(self, y_pred):
        return y_pred if self.calibration is None else self.calibration(y_pred)


def choose_kernel(
    alike, targets, grids, *, compound, groups, scored, calibrate, mechanism_shares=()
):
    """Fit every combination of the grids and keep the best, then correct it.

    Parameters
    ----------
    alike : tuple of two or three ndarray of shape (n_samples, n_samples)
        Whether contexts are the same, how similar the structures of compounds are, and
        where they are known, their mechanisms.
    grids : tuple
        Powers, shares of contexts and of perturbations, and penalties.
    compound : ndarray of int of shape (n_samples,)
        Numbers of the compounds, from 0.
    groups : ndarray of int of shape (n_samples,) or None
        Rows to leave out together.
    scored : ndarray of bool of shape (n_samples,)
        The rows whose errors count.
    calibrate : bool
    mechanism_shares : sequence of float
        Shares to choose from. One of 0 is kept unless another gains more than
        a standard error.

    Returns
    -------
    chosen : CompoundKernel
    """
    powers, shares, alphas = grids
    same_context, similarity, *mechanism = alike
    truth = targets[scored]
    together = rows_of_groups(groups)

    def score(residuals):
        residuals = residuals[scored]
        if calibrate:
            y_pred = truth - residuals
            residuals = truth - y_pred * component_factors(truth, y_pred)
        return mean_norm(residuals)

    def left_out(kernel):
        return kernel.left_out(alike, targets, together)[scored]

    def corrected(plain):
        """Return a kernel with what its left-out rows ask for."""
        if not calibrate:
            return plain
        # The stretch is a search, so only the best of several gets one.
        y_pred = left_out(plain)
        calibration = Calibration.learn(truth, y_pred)
        error = mean_norm(truth - calibration(y_pred))
        return replace(plain, error=error, calibration=calibration)

    def fit(power):
        best = best_product(
            same_context, similarity**power, targets, shares, alphas, groups, score
        )
        return corrected(CompoundKernel(*best, power))

    chosen = min(map(fit, powers), key=attrgetter("error"))
    mechanism_shares = set(mechanism_shares)
    if not mechanism or mechanism_shares <= {0}:
        return chosen

    def mix(share):
        mixed = replace(chosen, calibration=None, mechanism_share=float(share))
        error, alpha, dual_coef = loo_kernel_ridge(
            mixed.kernel(*alike), targets, alphas, groups, score
        )
        return replace(mixed, error=error, alpha=alpha, dual_coef=dual_coef)

    mixed = [mix(share) for share in sorted(mechanism_shares - {0})]
    mixed = corrected(min(mixed, key=attrgetter("error")))
    if 0 not in mechanism_shares:
        return mixed
    gains = row_norms(truth - left_out(chosen)) - row_norms(truth - left_out(mixed))
    # They are known beforehand, and not one of many guesses: one standard error will
    # do. Two lost half of what targets tell of NELISA's compounds.
    return mixed if beyond_chance(gains, compound[scored], 1) else chosen


class MechanismSimilarity:
    """How alike compounds are by what is known of what they do.

    The cosine of their terms, rare ones counting for more; with sources, the mean of
    it and of the cosines of the terms' vectors as target genes. Compounds of which a
    source, or the column, tells nothing are like themselves there and like no other.

    Parameters
    ----------
    terms : list of tuple of str
        Of the training rows; those without any have the first of their compound.
    compound : ndarray of int of shape (n_samples,)
        Numbers of the compounds, from 0.
    sources : list of GeneSource

    Attributes
    ----------
    share_told : float
        Share of the compounds of which something is known that tells of others.
    """

    def __init__(self, terms, compound, sources=()):
        self.compound, self.known = compound, [()] * (compound.max() + 1)
        for code, found in zip(compound, terms, strict=True):
            self.known[code] = self.known[code] or found
        terms = self._filled(terms, compound)
        self.named = {term for row in terms for term in row}
        self.spaces = [
            TermVectors(self.known),
            # Products of vectors are all that counts.
            *(UnitVectors.of(source, self.named).for_products() for source in sources),
        ]
        self.vectors = self._vectors(terms)
        self.share_told = float(np.mean(self._shared()))

    @classmethod
    def learn(cls, schema, X, y, compound, sources):
        """Return what is learnt of training rows, None where it tells none apart.

        Parameters
        ----------
        schema : PerturbationSchema
        X : DataFrame or array-like of shape (n_samples, n_columns)
        y : array-like of shape (n_samples,) or (n_samples, n_genes)
        compound : ndarray of int of shape (n_samples,)
        sources : list
            As `GeneKnowledgeRidge` takes them.
        """
        terms = read_mechanisms(schema, X)
        if not any(terms):
            if sources:
                column = schema.mechanism
                lack = "no column" if column is None else f"column {column!r} nowhere"
                warn(
                    f"Sources are not used: they tell of target genes, and {lack} "
                    "names mechanisms or targets. PerturbationSchema(..., "
                    "mechanism=...) says which column does."
                )
            return None
        sources = [fitted_source(source, X, y) for source in sources]
        learnt = cls(terms, compound, sources)
        if len({frozenset(map(str.casefold, row)) for row in learnt.known}) == 1:
            return None
        for source, vectors in zip(sources, learnt.spaces[1:], strict=True):
            warn_of_unknown(source.name, vectors, learnt.named, "mechanisms or targets")
        return learnt

    def __call__(self, terms, compound):
        """Return the similarity of rows to the training rows.

        Parameters
        ----------
        terms : list of tuple of str
            Rows without any have those that training has of their compound.
        compound : ndarray of int of shape (n_rows,)
            -1 for one that was not in training.

        Returns
        -------
        similarity : ndarray of shape (n_rows, n_samples), 0 to 1
        """
        asked = self.described(terms, compound, compound)
        return asked.similarity(Mechanisms(self.vectors, self.compound))

    def described(self, terms, compound, names):
        """Return the mechanisms of rows.

        Parameters
        ----------
        terms : list of tuple of str
            Rows without any have those that training has of their compound.
        compound : ndarray of int of shape (n_rows,)
            -1 for one that was not in training.
        names : ndarray of int of shape (n_rows,)
            Numbers that tell the compounds apart.
        """
        return Mechanisms(self._vectors(self._filled(terms, compound)), names)

    def tells(self, terms):
        """Return of which sets of terms something is known, by one source at least."""
        return np.any([_told(vectors) for vectors in self._vectors(terms)], axis=0)

    def _shared(self):
        """Return which compounds would be known of, had they not been in training."""
        own, *others = self._vectors(self.known)
        counts = np.bincount(own.indices, minlength=own.shape[1])
        shared = _told(own[:, counts > 1])
        return np.any([shared, *map(_told, others)], axis=0)

    def _filled(self, terms, compound):
        return [
            found or (self.known[code] if code >= 0 else ())
            for found, code in zip(terms, compound, strict=True)
        ]

    def _vectors(self, terms):
        own, *others = self.spaces
        return [own.rows(terms), *(unit_rows(space.rows(terms)) for space in others)]


@dataclass(frozen=True)
class Mechanisms:
    """What each space of terms knows of rows.

    Attributes
    ----------
    vectors : list of array or csr_array of shape (n_rows, n_dimensions)
        Of length one, or zero where a space knows nothing.
    compound : ndarray of int of shape (n_rows,)
        Whose they are.
    """

    vectors: list
    compound: np.ndarray

    def __getitem__(self, rows):
        return Mechanisms([v[rows] for v in self.vectors], self.compound[rows])

    def similarity(self, other):
        """Return how alike rows are to other ones, 0 to 1."""
        same, of_spaces = self.compound[:, None] == other.compound, []
        for left, right in zip(self.vectors, other.vectors, strict=True):
            alike = as_dense(left @ right.T)
            silent = ~np.logical_and.outer(_told(left), _told(right))
            alike[same & silent] = 1.0
            of_spaces.append(alike)
        own, *others = of_spaces
        return (own + sum(others) / len(others)) / 2 if others else own


def _told(vectors):
    """Return which rows are more than zeros."""
    return np.ravel(abs(vectors).sum(axis=1)) > 0


def spatial_median(points, *, max_iter=200, tol=1e-6):
    """Return the point whose mean distance to the rows of `points` is smallest.

    Weiszfeld's iteration: a mean in which near rows count more.
    """
    centre = points.mean(axis=0)
    smallest = 1e-12 * max(1.0, np.abs(points).max())
    for _ in range(max_iter):
        distance = np.linalg.norm(points - centre, axis=1)
        weights = 1 / np.maximum(distance, smallest)
        moved = weights @ points / weights.sum()
        step = np.linalg.norm(moved - centre)
        centre = moved
        if step <= tol * distance.mean():
            break
    return centre


def same_compound(perturbation, smiles):
    """Number the compounds: rows of one name or of one structure are the same.

    Screens list a compound under several names, sometimes with the same measurement.
    """
    structures, codes = np.unique(smiles.astype(str), return_inverse=True)
    n_names, rows = perturbation.max() + 1, np.flatnonzero(smiles != None)  # noqa: E711
    size = n_names + len(structures)
    links = sparse.coo_array(
        (np.ones(len(rows)), (perturbation[rows], n_names + codes[rows])), (size, size)
    )
    return connected_components(links, directed=False)[1][perturbation]
