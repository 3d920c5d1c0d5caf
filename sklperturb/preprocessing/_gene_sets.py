"""Embeddings of genes from the sets that they belong to."""

from collections.abc import Mapping
from numbers import Integral
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.base import _fit_context
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.utils._param_validation import Interval

from sklperturb.files._reading import FileError, short
from sklperturb.files._text import read_lines
from sklperturb.preprocessing._gene_embedding import GeneEmbedding, axes


class GeneSetEncoder(GeneEmbedding):
    """Embed perturbed genes by the pathways and processes that they belong to.

    Genes are to sets what documents are to words: membership is weighted so that
    small sets count for more than large ones (TF-IDF), and the matrix is reduced to the
    singular directions that tell the genes of the screen apart. What comes out needs no
    pretrained model and no measurement, so it knows genes that no training cell has.

    Parameters
    ----------
    gene_sets : str, path-like, list of these, or mapping, default=None
        ``.gmt`` files (GO, Reactome, MSigDB), also compressed as ``.gmt.gz``, or a
        mapping from the name of a set to its genes. There is no default, and `fit`
        needs it. Where two files give other genes to one name, both sets are kept,
        the second with the name of its file.
    n_components : int or None, default=64
        Singular directions to keep, of the memberships of the genes that `fit` sees;
        at most as many as there are such genes. None keeps one column for each set,
        which loses nothing, and is what a kernel or a ridge is best given.
    min_size, max_size : int, default=3 and 500
        Sets with fewer or more genes are left out: the small ones tell genes apart by
        chance, and the large ones say little.
    combine : {"sum", "mean"}, default="sum"
        How the vectors of a combination ``"A+B"`` become one.
    add_indicator : bool, default=True
        Append the share of a row's genes that are in no set.
    schema : PerturbationSchema, default=None
        Roles of the columns. None infers them from the column names.

    Attributes
    ----------
    genes_ : ndarray of str of shape (n_genes,)
        Genes that are in at least one set that was kept.
    embedding_ : ndarray or csr_array of shape (n_genes, n_components_)
        Sparse where `n_components` is None.
    sets_ : list of str
        Names of the sets that were kept.
    n_components_ : int
    schema_ : PerturbationSchema
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)

    See Also
    --------
    LookupEmbedding : From a table of vectors.
    ExpressionGeneEmbedding : From the training data alone.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklperturb.preprocessing import GeneSetEncoder
    >>> sets = {"erythroid": ["KLF1", "GATA1"], "growth": ["MYC", "GATA1"]}
    >>> X = pd.DataFrame({"target_gene": ["KLF1", "GATA1", "control"]})
    >>> GeneSetEncoder(sets, min_size=2).fit(X).transform(X).shape
    (3, 3)
    """

    _parameter_constraints = {
        **GeneEmbedding._parameter_constraints,
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "min_size": [Interval(Integral, 0, None, closed="left")],
        "max_size": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        gene_sets=None,
        *,
        n_components=64,
        min_size=3,
        max_size=500,
        combine="sum",
        add_indicator=True,
        schema=None,
    ):
        self.gene_sets = gene_sets
        self.n_components = n_components
        self.min_size = min_size
        self.max_size = max_size
        self.combine = combine
        self.add_indicator = add_indicator
        self.schema = schema

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Read the sets and reduce them.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_columns)
            Conditions.
        y : None
            Ignored.

        Returns
        -------
        self : GeneSetEncoder

        Raises
        ------
        ValueError
            If a file is no ``.gmt`` file or names a set twice, genes are no text, or
            no set is of the right size.
        """
        named = self._start_fit(X)
        sizes = self.min_size, self.max_size
        self.sets_, genes, weights = gene_set_weights(self.gene_sets, *sizes)
        if self.n_components is None:
            return self._finish_fit(genes, weights)
        rows = np.flatnonzero(np.isin(genes.astype(str), list(named)))
        # Without a gene of the screen in any set, all genes are as good.
        of_screen = weights[rows] if len(rows) else weights
        return self._finish_fit(genes, weights @ axes(of_screen, self.n_components).T)


def gene_set_weights(gene_sets, min_size=3, max_size=500):
    """Return how much each gene is of each set, by TF-IDF.

    Parameters
    ----------
    gene_sets, min_size, max_size
        As of `GeneSetEncoder`.

    Returns
    -------
    names : list of str
        Of the sets that are kept.
    genes : ndarray of str of shape (n_genes,)
    weights : csr_array of shape (n_genes, n_sets)
        Rows of length one.
    """
    sets = {
        name: genes
        for name, genes in read_gene_sets(gene_sets).items()
        if min_size <= len(genes) <= max_size
    }
    if not sets:
        raise ValueError(
            f"No gene set of {_named(gene_sets)} has between {min_size} and "
            f"{max_size} genes; lower min_size or raise max_size."
        )
    codes, genes = pd.factorize(
        np.concatenate([np.array(g, dtype=object) for g in sets.values()])
    )
    sizes = [len(g) for g in sets.values()]
    members = sparse.csr_array(
        (np.ones(len(codes)), (codes, np.repeat(np.arange(len(sets)), sizes))),
        shape=(len(genes), len(sets)),
    )
    weights = sparse.csr_array(TfidfTransformer().fit_transform(members))
    return list(sets), genes, weights


def _named(gene_sets):
    """Return what the sets are from, for messages."""
    if isinstance(gene_sets, Mapping):
        return "the mapping"
    paths = [gene_sets] if isinstance(gene_sets, str | Path) else gene_sets
    return short([str(path) for path in paths])


def read_gene_sets(gene_sets):
    """Return {name of the set: sorted list of its genes}."""
    if isinstance(gene_sets, Mapping):
        return {str(name): _check_genes(name, g) for name, g in gene_sets.items()}
    if isinstance(gene_sets, str | Path):
        gene_sets = [gene_sets]
    if not isinstance(gene_sets, list | tuple) or not gene_sets:
        raise ValueError(
            f"gene_sets={gene_sets!r} is not allowed; pass the path of a .gmt file, a "
            "list of them, or a mapping from the name of a set to its genes."
        )
    sets = {}
    for path in map(Path, gene_sets):
        for name, genes in _read_gmt(path).items():
            if sets.get(name, genes) != genes:
                name = f"{name} ({path.name})"
            sets[name] = genes
    return sets


def _check_genes(name, genes):
    if isinstance(genes, str) or not all(isinstance(gene, str) for gene in genes):
        raise ValueError(
            f"The gene set {name!r} is {short(genes)}; pass a list of names of genes."
        )
    return sorted(set(genes))


def _read_gmt(path):
    sets = {}
    for number, line in enumerate(read_lines(path, "gene sets"), start=1):
        if not line.strip():
            continue
        name, *rest = (field.strip() for field in line.split("\t"))
        if len(rest) < 2 or not name:
            raise FileError(
                f"{path} is no .gmt file: line {number} has fewer than three fields, "
                "and a set is a name, a description and its genes, separated by tabs."
            )
        # Some collections write a weight after each gene.
        genes = sorted({field.partition(",")[0].strip() for field in rest[1:]} - {""})
        if sets.setdefault(name, genes) != genes:
            raise FileError(
                f"{path}: line {number} names the set {short(name)} again, with other "
                "genes. Rename or remove one of the two."
            )
    return sets
