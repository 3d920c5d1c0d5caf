"""Which experiment is next: by what it tells, or by the designs in use."""

import numpy as np
from scipy import sparse
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from sklperturb.conditions._levels import level_means, number_levels
from sklperturb.preprocessing import read_gene_source, tanimoto_similarity
from sklperturb.preprocessing._gene_sources import UnitVectors
from sklperturb.preprocessing._molecules import fingerprints, smiles_or_none

# Rows of similarities at a time.
_BLOCK = 512


class MostTold:
    """The unit of which the targets' expected error falls most, per cost."""

    def __init__(self, posterior, units, costs, rank):
        self._posterior, self._units = posterior, units
        self._costs, self._rank = costs, rank

    def pick(self, allowed):
        """Return the next unit, of those that are allowed."""
        return self._posterior.best(self._units, allowed, self._costs, self._rank)[0]

    def measured(self, unit):
        """Take note of the unit that was chosen."""


class Ranked:
    """Units in a given order.

    Parameters
    ----------
    order : sequence of int
        All units, the first one first.
    """

    def __init__(self, order, reason=""):
        self._order, self._reason = np.asarray(order), reason

    def pick(self, allowed):
        return int(self._order[np.argmax(allowed[self._order])])

    def measured(self, unit):
        pass

    def reason(self, unit):
        return self._reason


class Farthest:
    """The unit that is least like what is measured or chosen: k-centre."""

    def __init__(self, likeness, units, rank):
        self._likeness, self._units, self._rank = likeness, units, rank
        self._nearest = likeness.to_measured(np.concatenate(units))
        self._owner = np.repeat(np.arange(len(units)), list(map(len, units)))
        self._rows = np.concatenate(units)
        self._shown = None

    def pick(self, allowed):
        near = level_means(self._owner, len(allowed), self._nearest[:, None])[0][:, 0]
        near = np.where(allowed, near, np.inf)
        equal = np.flatnonzero(near <= near.min() + 1e-9)
        unit = int(equal[np.argmin(self._rank[equal])])
        self._shown = near[unit]
        return unit

    def measured(self, unit):
        for row in self._units[unit]:
            alike = self._likeness.of_candidate(row)[self._rows]
            self._nearest = np.maximum(self._nearest, alike)

    def reason(self, unit):
        return f"the nearest that is measured is alike by {self._shown:.2f} of 1"


class Nearest:
    """The unit that brings the targets nearest to what is measured: k-medoids.

    Gains can only fall, so that a unit whose gain is still the largest when it is
    worked out anew is the best of all.
    """

    def __init__(self, likeness, units, costs, rank, weights):
        self._likeness, self._units = likeness, units
        self._costs, self._rank, self._weights = costs, rank, weights
        self._nearest = likeness.targets_to_measured()
        self._gains = np.array([self._gain(unit) for unit in range(len(units))])
        self._count = 0

    def pick(self, allowed):
        fresh = np.zeros(len(allowed), dtype=bool)
        while True:
            values = np.where(allowed, self._gains / self._costs, -np.inf)
            equal = np.flatnonzero(values >= values.max() - 1e-12)
            unit = int(equal[np.argmin(self._rank[equal])])
            if fresh[unit]:
                return unit
            self._gains[unit] = self._gain(unit)
            fresh[unit] = True

    def measured(self, unit):
        near = self._nearer(unit)
        self._count = int((near > self._nearest + 1e-9).sum())
        self._nearest = near

    def reason(self, unit):
        return f"nearest of what is measured to {self._count} of the targets"

    def _nearer(self, unit):
        near = self._nearest
        for row in self._units[unit]:
            alike = self._likeness.of_candidate(row, targets=True)
            near = np.maximum(near, alike)
        return near

    def _gain(self, unit):
        return float(self._weights @ (self._nearer(unit) - self._nearest))


class OneOfEach:
    """One of each cluster in turn, the most typical one first, the largest ahead.

    Parameters
    ----------
    clusters : ndarray of int of shape (n_units,)
    typical : ndarray of shape (n_units,)
        How like its cluster a unit is.
    rank : ndarray of int of shape (n_units,)
    names : ndarray, default=None
        Of clusters.
    """

    def __init__(self, clusters, typical, rank, names=None):
        self._clusters, self._names = clusters, names
        self._sizes = np.bincount(clusters)
        self._taken = np.zeros(len(self._sizes), dtype=int)
        self._typical, self._rank = typical, rank

    def pick(self, allowed):
        open_ = np.flatnonzero(allowed)
        of = self._clusters[open_]
        keys = (
            *(self._rank[open_], -np.round(self._typical[open_], 9), of),
            *(-self._sizes[of], self._taken[of]),
        )
        return int(open_[np.lexsort(keys)[0]])

    def measured(self, unit):
        self._taken[self._clusters[unit]] += 1

    def reason(self, unit):
        number = self._clusters[unit]
        if self._names is None:
            return f"of a cluster of {self._sizes[number]} that are alike"
        return f"of {self._names[number]}, which has {self._sizes[number]}"


def one_context_first(X, schema, units, rank):
    """Return units in the order of contexts, that with most candidates first."""
    first = np.array([unit[0] for unit in units])
    if schema.context is None:
        return np.argsort(rank)
    codes, names = number_levels(X[schema.context])
    codes = codes[first]
    counts = np.bincount(codes, minlength=len(names))
    return np.lexsort((rank, codes, -counts[codes]))


class Likeness:
    """How alike conditions are, without a model: 0 to 1.

    Half for the perturbation and half for the context: the product of how alike
    perturbations are and of one, or one half where contexts differ. Perturbations are
    as alike as their structures, where there are any, or else as their responses in
    what is measured; those of which nothing is known are like themselves alone.

    Parameters
    ----------
    X : DataFrame
        What is measured; may be empty.
    y : ndarray of shape (n_samples, n_genes)
    pool : DataFrame
        Candidates and targets, these first.
    place : ndarray of int of shape (n_candidates,)
        Rows of the candidates in the pool.
    n_targets : int
    schema : PerturbationSchema
    sources : list, default=None
        What is known of genes, as `GeneKnowledgeRidge` takes it; before structures.
    """

    def __init__(self, X, y, pool, place, n_targets, schema, sources=None):
        self._n_measured, self._n_targets, self._place = len(X), n_targets, place
        columns = schema.columns("context", "perturbation")
        names = np.concatenate([t[columns].to_numpy(dtype=object) for t in (X, pool)])
        self._perturbation, labels = number_levels(names[:, -1])
        self._context = np.zeros(len(names), dtype=int)
        if schema.context is not None:
            self._context = number_levels(names[:, 0])[0]
        self.of_perturbations = np.eye(len(labels), dtype=np.float32)
        vectors = _structures(X, pool, schema, self._perturbation, len(labels))
        if sources:
            known = _of_sources(sources, labels, schema)
            self.of_perturbations = sum(_alike(v, _cosines) for v in known) / len(known)
        elif vectors is not None:
            self.of_perturbations = _alike(vectors, tanimoto_similarity)
        elif len(X) and y.size:
            self.of_perturbations = _alike(self._profiles(y, len(labels)), _cosines)

    def of_candidate(self, row, targets=False):
        """Return how like a candidate all candidates are, or all targets."""
        others = np.arange(self._n_targets) if targets else self._place
        return self._between(self._n_measured + self._place[row], others)

    def to_measured(self, rows):
        """Return how like the nearest that is measured candidates are."""
        return self._to_measured(self._place)[rows]

    def targets_to_measured(self):
        return self._to_measured(np.arange(self._n_targets))

    def between_candidates_and_pool(self):
        """Return the similarities as a matrix of float32."""
        codes, contexts = (
            v[self._n_measured :] for v in (self._perturbation, self._context)
        )
        found = np.empty((len(self._place), len(codes)), dtype=np.float32)
        for start in range(0, len(found), _BLOCK):
            rows = slice(start, start + _BLOCK)
            some = self._place[rows]
            found[rows] = self.of_perturbations[codes[some]][:, codes]
            found[rows] *= np.where(contexts[some, None] == contexts, 1.0, 0.5)
        return found

    def perturbations(self, rows):
        """Return numbers of the perturbations of candidates."""
        return self._perturbation[self._n_measured + self._place[rows]]

    def _to_measured(self, places):
        near = np.zeros(len(places))
        for row in range(self._n_measured):
            near = np.maximum(near, self._between(row, places))
        return near

    def _between(self, row, places):
        others = self._n_measured + places
        alike = self.of_perturbations[self._perturbation[row]]
        share = np.where(self._context[others] == self._context[row], 1.0, 0.5)
        return share * alike[self._perturbation[others]]

    def _profiles(self, y, n_levels):
        """Return the mean responses of perturbations, centred in each context."""
        context = np.unique(self._context[: len(y)], return_inverse=True)[1]
        centred = y - level_means(context, context.max() + 1, y)[0][context]
        return level_means(self._perturbation[: len(y)], n_levels, centred)[0]


def cluster(alike, n_clusters):
    """Return numbers of clusters, by average linkage, and how typical members are.

    Parameters
    ----------
    alike : ndarray of shape (n_levels, n_levels)
    n_clusters : int

    Returns
    -------
    numbers : ndarray of int of shape (n_levels,)
    typical : ndarray of shape (n_levels,)
        Mean similarity to the members of the cluster.
    """
    if len(alike) == 1:
        return np.zeros(1, dtype=int), np.ones(1)
    distance = 1 - (alike + alike.T) / 2
    np.fill_diagonal(distance, 0)
    tree = linkage(squareform(distance, checks=False), "average")
    numbers = fcluster(tree, n_clusters, "maxclust") - 1
    typical = np.empty(len(alike))
    for number in range(numbers.max() + 1):
        members = np.flatnonzero(numbers == number)
        typical[members] = alike[np.ix_(members, members)].mean(axis=1)
    return numbers, typical


def _structures(X, pool, schema, codes, n_levels):
    """Return the fingerprint of each perturbation, or None without structures."""
    tables = [t for t in (X, pool) if schema.smiles is not None and schema.smiles in t]
    if not tables:
        return None
    given = [
        t[schema.smiles] if schema.smiles in t else np.full(len(t), None)
        for t in (X, pool)
    ]
    found = np.full(n_levels, None, dtype=object)
    for code, text in zip(codes, smiles_or_none(np.concatenate(given)), strict=True):
        found[code] = found[code] or text
    if not (found != None).any():  # noqa: E711
        return None
    return fingerprints(found, "morgan_counts")[0]


def _of_sources(sources, labels, schema):
    """Return the vectors that each source has for the genes of each perturbation."""
    genes = [schema.split(label) for label in labels]
    named = set().union(*genes)
    # Of transformers, which learn from what is measured, nothing is known yet.
    read = [read_gene_source(s) for s in sources if not hasattr(s, "fit")]
    rows = [UnitVectors.of(source, named).rows(genes) for source in read]
    rows = [r.toarray() if sparse.issparse(r) else np.asarray(r) for r in rows]
    return rows or [np.zeros((len(genes), 1))]


def _alike(vectors, similarity):
    """Return the similarities of rows, in blocks; each is like itself."""
    alike = np.empty((vectors.shape[0],) * 2, dtype=np.float32)
    for start in range(0, len(alike), _BLOCK):
        rows = slice(start, start + _BLOCK)
        alike[rows] = similarity(vectors[rows], vectors)
    np.fill_diagonal(alike, 1.0)
    return alike


def _cosines(left, right):
    """Return the cosines of rows, negative ones and those of no length as zero."""
    norms = np.outer(np.linalg.norm(left, axis=1), np.linalg.norm(right, axis=1))
    products = np.maximum(left @ right.T, 0)
    return np.divide(products, norms, out=np.zeros_like(norms), where=norms > 0)
