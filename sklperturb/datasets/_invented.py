"""Invent what generated screens are made of: genes, their graph, cells, compounds."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.sparse.linalg import eigsh
from sklearn.neighbors import kneighbors_graph

_N_MODULES = 15  # groups of genes that work together
_POSITION_DIM = 8
_MODULE_SPREAD = 0.6  # of genes around their module, in sds between modules
_N_NEIGHBORS = 10
_DIFFUSION = 0.98  # share of a gene's value that comes from its neighbours
_STEPS = 30
_STATE_SD = 0.4  # log sd of a gene between cells that were treated alike
_DEPTH_SD = 0.35  # log sd of counts between cells
_RESPONSE_SD = 0.3  # log sd of the response between cells that respond
_EFFICIENCY_DRAWS = 20  # larger: efficiencies of cells differ less
_DENSE_GENES = 300  # up to here, the eigenvectors of the whole graph are taken


@dataclass(frozen=True)
class GeneNetwork:
    """Genes and their relations.

    Attributes
    ----------
    genes : ndarray of str of shape (n_genes,)
    graph : csr_array of shape (n_genes, n_genes)
        1 where two genes are linked.
    embedding : DataFrame of shape (n_genes, embedding_dim)
    programmes : ndarray of shape (n_programmes, n_genes)
        How each gene follows each programme; rows of root mean square 1.
    response : ndarray of shape (n_genes, n_programmes)
        Direction in which a knock-down of each gene moves the programmes; rows of
        length 1.
    """

    genes: np.ndarray
    graph: sparse.csr_array
    embedding: pd.DataFrame
    programmes: np.ndarray
    response: np.ndarray


def make_gene_network(
    n_genes, n_programmes, embedding_dim, predictability, nonlinearity, noise, rng
):
    """Draw a `GeneNetwork`.

    What a gene does, and what it follows, diffuses over the graph, so that linked
    genes are alike; the embedding holds the leading eigenvectors of the same graph.

    Parameters
    ----------
    n_genes, n_programmes, embedding_dim : int
    predictability : float
        Share of the response that follows the graph; the rest is the gene's own.
    nonlinearity : float
        Share of what follows the graph that is a product of two smooth functions, and
        so no linear function of the embedding.
    noise : float
        Standard deviation of the noise of the embedding, in that of its columns.
    rng : numpy.random.Generator
    """
    genes = np.array([f"GENE{i:05d}" for i in range(1, n_genes + 1)], dtype=object)
    module = rng.integers(min(_N_MODULES, n_genes), size=n_genes)
    positions = rng.standard_normal((_N_MODULES, _POSITION_DIM))[module]
    positions += _MODULE_SPREAD * rng.standard_normal(positions.shape)
    n_neighbors = min(_N_NEIGHBORS, n_genes - 1)
    nearest = sparse.csr_array(kneighbors_graph(positions, n_neighbors))
    graph = sparse.csr_array(nearest.maximum(nearest.T))
    degree = np.asarray(graph.sum(axis=1)).ravel()
    scale = sparse.diags_array(1 / np.sqrt(degree))
    links = sparse.csr_array(scale @ graph @ scale)

    def smooth():
        own = rng.standard_normal((n_genes, n_programmes))
        values = own
        for _ in range(_STEPS):
            values = _DIFFUSION * (links @ values) + (1 - _DIFFUSION) * own
        return values / values.std(axis=0)

    response = np.sqrt(1 - nonlinearity) * smooth()
    response += np.sqrt(nonlinearity) * smooth() * smooth()
    response = np.sqrt(predictability) * response
    response += np.sqrt(1 - predictability) * rng.standard_normal(response.shape)
    response /= np.linalg.norm(response, axis=1, keepdims=True)
    embedding = _spectral(links, embedding_dim)
    embedding += noise * rng.standard_normal(embedding.shape) * embedding.std(axis=0)
    embedding = pd.DataFrame(embedding, index=genes)
    return GeneNetwork(genes, graph, embedding, smooth().T, response)


def _spectral(links, n_components):
    """Return the leading eigenvectors, weighted as the diffusion weighs them."""
    n_genes = links.shape[0]
    if n_genes <= _DENSE_GENES or n_components > n_genes // 3:
        values, vectors = np.linalg.eigh(links.toarray())
        values, vectors = values[-n_components:], vectors[:, -n_components:]
    else:
        start = np.ones(n_genes)
        values, vectors = eigsh(links, k=n_components, which="LA", v0=start)
    order = np.argsort(-values)
    values, vectors = values[order], vectors[:, order]
    # The sign of an eigenvector is arbitrary; the largest entry is made positive.
    largest = vectors[np.abs(vectors).argmax(axis=0), np.arange(n_components)]
    weight = (1 - _DIFFUSION) / (1 - _DIFFUSION * values)
    return vectors * np.sign(largest) * weight * np.sqrt(n_genes)


@dataclass(frozen=True)
class CellModel:
    """All that a cell is drawn from; contexts, perturbations and genes by position."""

    programmes: np.ndarray  # (n_programmes, n_genes)
    effects: np.ndarray  # (n_contexts, n_perturbations + 1, n_programmes)
    knocked: np.ndarray  # (n_perturbations + 1, 2): genes, or -1
    base: np.ndarray  # (n_contexts, n_genes)
    batches: np.ndarray  # (n_batches, n_genes)
    dispersion: np.ndarray  # (n_genes,)
    escaper_fraction: float
    efficiency: float
    depth: float
    dropout: float
    seed: int

    def draw(self, block, cells):
        """Return the counts of some cells, and which of them escaped."""
        rng = np.random.default_rng([self.seed, block])
        n_cells, n_programmes = len(cells), len(self.programmes)
        perturbation = cells["perturbation"].to_numpy()
        context = cells["context"].to_numpy()
        escaped = rng.random(n_cells) < self.escaper_fraction
        mean = self.efficiency * _EFFICIENCY_DRAWS
        knock = rng.beta(mean + 1e-9, _EFFICIENCY_DRAWS - mean + 1e-9, n_cells)
        knock[escaped] = 0
        spread = np.exp(_RESPONSE_SD * rng.standard_normal(n_cells))
        response = spread * knock / max(self.efficiency, 1e-9)
        state = rng.standard_normal((n_cells, n_programmes))
        state *= _STATE_SD / np.sqrt(n_programmes)
        state += response[:, None] * self.effects[context, perturbation]
        log_mean = state.astype(np.float32) @ self.programmes
        offset = self.base[:, None] + self.batches
        log_mean += offset[context, cells["batch"].to_numpy()].astype(np.float32)
        for genes in self.knocked[perturbation].T:
            cell = np.flatnonzero(genes >= 0)
            log_mean[cell, genes[cell]] += np.log1p(-np.minimum(knock[cell], 0.999))
        means = np.exp(log_mean, out=log_mean)
        depth = self.depth * np.exp(_DEPTH_SD * rng.standard_normal(n_cells))
        means *= (depth / means.sum(axis=1)).astype(np.float32)[:, None]
        escaped &= perturbation > 0
        # Negative binomial: the variance is mean + mean ** 2 / dispersion.
        rates = rng.standard_gamma(self.dispersion, means.shape, dtype=np.float32)
        rates *= means / self.dispersion
        counts = sparse.csr_matrix(rng.poisson(rates).astype(np.float32))
        counts.data[rng.random(counts.nnz) < self.dropout] = 0
        counts.eliminate_zeros()
        return counts, escaped


# A name stem and a structure with two places to substitute. Every place is a
# carbon, and the two places of a scaffold are never equivalent by symmetry, so
# that different substituents always give different molecules.
SCAFFOLDS = (
    ("tinib", "c1c({0})cc2c({1})ncnc2c1"),
    ("oxacin", "c1cc2nc({0})cc({1})c2cc1"),
    ("dolin", "c1cc({0})cc2c({1})c[nH]c12"),
    ("prazole", "c1cc({0})cc2nc({1})[nH]c12"),
    ("ciclib", "c1cc({0})ccc1-c1ccnc({1})n1"),
    ("inostat", "ONC(=O)/C=C/c1ccc({0})c({1})c1"),
    ("parib", "NC(=O)c1cc({0})ccc1-c1ccc({1})cc1"),
    ("lisib", "Cn1cnc2c({0})nc({1})nc12"),
    ("tazol", "Cc1sc({0})nc1-c1ccc({1})cc1"),
    ("arol", "O=c1oc2cc({0})ccc2c({1})c1"),
    ("coxib", "NS(=O)(=O)c1ccc({0})c({1})c1"),
    ("peridol", "O=C(c1ccc({0})cc1)N1CCC({1})CC1"),
    ("azine", "c1cc({0})ccc1CN1CCN(CC1)C(=O)c1ccc({1})nc1"),
    ("rafenib", "Cn1nc({0})cc1-c1ccc({1})cc1"),
    ("zolam", "c1cc({0})cn2cc({1})nc12"),
    ("fenamide", "O=C(Nc1ccc({0})cc1)Nc1cccc({1})c1"),
)
SUBSTITUENTS = (
    *("C", "F", "Cl", "Br", "O", "OC", "OCC", "CC", "CO", "C#N"),
    *("C(C)C", "N(C)C", "C(F)(F)F", "C(=O)OC", "NC(C)=O", "S(C)(=O)=O"),
    *("C9CC9", "N9CCOCC9"),
)
_FIRST = (
    *("Ba", "Ce", "Do", "Fa", "Ge", "Hy", "Ju", "Ka", "Lo", "Mu", "Na", "Or"),
    *("Pe", "Qui", "Ra", "Su", "Te", "Ul", "Va", "Wo", "Xa", "Yo", "Ze", "Bri"),
)
_SECOND = (
    *("bu", "ca", "dro", "fe", "gli", "ko", "la", "mo"),
    *("ni", "pra", "ro", "se", "ti", "vo", "xi", "zu"),
)
MAX_COMPOUNDS = len(SCAFFOLDS) * len(SUBSTITUENTS) ** 2


def invent_compounds(n_compounds, rng):
    """Draw distinct compounds, several on each scaffold.

    Parameters
    ----------
    n_compounds : int
        At most ``MAX_COMPOUNDS``.
    rng : numpy.random.Generator

    Returns
    -------
    compounds : DataFrame of shape (n_compounds, 4)
        Columns `sm_name`, `sm_lincs_id`, `SMILES` and `scaffold`, an integer.
    """
    # About six compounds to a scaffold, so that relatives exist on small screens.
    n_scaffolds = int(np.clip(n_compounds // 6, 1, len(SCAFFOLDS)))
    while n_compounds > n_scaffolds * len(SUBSTITUENTS) ** 2:
        n_scaffolds += 1
    scaffold = rng.permutation(np.arange(n_compounds) % n_scaffolds)
    names = np.empty(n_compounds, dtype=object)
    smiles = np.empty(n_compounds, dtype=object)
    for s in range(n_scaffolds):
        stem, template = SCAFFOLDS[s]
        members = np.flatnonzero(scaffold == s)
        for values, firsts, seconds, form in (
            (names, _FIRST, _SECOND, "{0}{1}" + stem),
            (smiles, SUBSTITUENTS, SUBSTITUENTS, template),
        ):
            codes = rng.choice(
                len(firsts) * len(seconds), size=len(members), replace=False
            )
            for member, code in zip(members, codes, strict=True):
                first, second = divmod(int(code), len(seconds))
                values[member] = form.format(firsts[first], seconds[second])
    numbers = rng.choice(np.arange(1000, 50_000), size=n_compounds, replace=False)
    return pd.DataFrame(
        {
            "sm_name": names,
            "sm_lincs_id": np.array([f"LSM-{n}" for n in numbers], dtype=object),
            "SMILES": smiles,
            "scaffold": scaffold,
        }
    )
