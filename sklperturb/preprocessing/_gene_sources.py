"""What is known of genes, from files of gene sets, of vectors and of other screens."""

import warnings
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.base import clone
from sklearn.utils._param_validation import validate_params

from sklperturb.cells import looks_like_counts, mean_by_group
from sklperturb.cells._files import check_unique_genes
from sklperturb.conditions._doubts import warn
from sklperturb.conditions._labels import as_text, each_label
from sklperturb.conditions._levels import level_means, number_levels
from sklperturb.conditions._near import near_misses, pairs
from sklperturb.conditions._schema import PerturbationSchema
from sklperturb.datasets import load_op2, load_perturbseq
from sklperturb.datasets._files import DEFAULT_LAYER
from sklperturb.files._reading import FileError
from sklperturb.files._stores import opened_store
from sklperturb.files._text import text_suffix
from sklperturb.preprocessing._gene_embedding import GeneEmbedding, axes
from sklperturb.preprocessing._gene_sets import gene_set_weights
from sklperturb.preprocessing._lookup_embedding import read_gene_table

# Counts of a cell after normalisation, before logarithms.
_TARGET_SUM = 1e4
# Cosine from which responses are the same, told by so many perturbations and genes.
# Replicates of a screen, and its cell lines, are less alike.
_SAME, _FEWEST_COMMON = 0.995, 3


@dataclass(frozen=True, eq=False)
class GeneSource:
    """Vectors of genes, and responses to their perturbation in another screen.

    Attributes
    ----------
    name : str
    genes : ndarray of str of shape (n_genes,)
    vectors : ndarray or csr_array of shape (n_genes, n_dimensions)
    profiles : dict of {str: DataFrame of shape (n_perturbed, n_measured)}
        Of a screen, the responses in each of its contexts, indexed by the perturbed
        gene and centred on the mean of the context.

    Examples
    --------
    >>> import numpy as np
    >>> from sklperturb.preprocessing import GeneSource
    >>> GeneSource("own", np.array(["KLF1", "MYC"]), np.eye(2))
    GeneSource('own', 2 genes, 2 dimensions)
    """

    name: str
    genes: np.ndarray
    vectors: np.ndarray
    profiles: dict = field(default_factory=dict)

    def __repr__(self):
        n_genes, n_dimensions = self.vectors.shape
        return f"GeneSource({self.name!r}, {n_genes} genes, {n_dimensions} dimensions)"

    def __sklearn_clone__(self):
        # It is never changed, and may be a whole screen: each fold shares it.
        return self


@validate_params(
    {
        "source": [str, PathLike, pd.DataFrame, GeneSource],
        "layer": [str, None],
        "schema": [PerturbationSchema, None],
    },
    prefer_skip_nested_validation=True,
)
def read_gene_source(source, *, layer=None, schema=None):
    """Read what is known of genes.

    Parameters
    ----------
    source : str, path-like, DataFrame or GeneSource
        One of

        - gene sets: ``.gmt``, ``.gmt.gz``. Each gene has its memberships, weighted by
          TF-IDF, all of them (see `GeneSetEncoder`);
        - a table with a vector for each gene: ``.parquet``, ``.csv``, ``.tsv``,
          ``.npz``, ``.safetensors`` or a DataFrame (see `LookupEmbedding`);
        - another screen: a folder with signatures in the layout of OP2 (see
          `load_op2`), or ``.h5ad`` and ``.zarr`` with cells or signatures. If
          there are controls, responses are differences from the mean of the controls
          of the same context, of log(1 + x) at a depth of 10,000 where the file holds
          counts; without controls, rows are responses as they are.
    layer : str, default=None
        Layer of a screen to read.
    schema : PerturbationSchema, default=None
        Roles of the columns of a screen. None infers them.

    Returns
    -------
    source : GeneSource

    Raises
    ------
    ValueError
        If the file is of no known kind or cannot be read, or a screen has no single
        genes, or counts without controls.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklperturb.preprocessing import read_gene_source
    >>> table = pd.DataFrame([[1.0, 0.0], [0.0, 2.0]], index=["KLF1", "MYC"])
    >>> read_gene_source(table)
    GeneSource('table', 2 genes, 2 dimensions)
    """
    if isinstance(source, GeneSource):
        return source
    if isinstance(source, pd.DataFrame):
        return GeneSource("table", *read_gene_table(source))
    path = Path(source)
    suffix = text_suffix(path)
    if suffix in (".h5ad", ".zarr"):
        return _of_screen(path, *_read_rows(path, layer, schema))
    if path.is_dir():
        screen = load_op2(path, layer=layer, schema=schema, on_nonfinite="replace")
        return _of_screen(
            path, screen.X, screen.y.to_numpy(), screen.y.columns, screen.schema
        )
    if suffix == ".gmt":
        _, genes, weights = gene_set_weights(path)
        return GeneSource(path.name, genes, weights)
    if suffix == path.suffix.lower() == "":
        raise FileError(
            f"{path} is no folder and its name has no end that says what it is; pass "
            "a .gmt file of gene sets, a table of vectors, or another screen as .h5ad."
        )
    return GeneSource(path.name, *read_gene_table(path))


def _read_rows(path, layer, schema):
    """Return conditions, responses, the names of genes and the schema of a store."""
    if layer is None:
        with opened_store(path) as store:
            held = "layers" in store and DEFAULT_LAYER in store["layers"]
        layer = DEFAULT_LAYER if held else None
    with warnings.catch_warnings():
        # Signatures need none; what does is told apart below.
        warnings.filterwarnings("ignore", message=".*no cell is a control")
        screen = load_perturbseq(path, schema, layer=layer, backed=True)
    schema, counts = screen.schema, looks_like_counts(screen.y)
    columns = schema.columns("context", "perturbation")
    labels = screen.X[columns].astype(str)
    labels.loc[screen.is_control, schema.perturbation] = ""
    groups, codes = np.unique(labels.to_numpy(dtype=str), axis=0, return_inverse=True)
    means, _ = mean_by_group(
        screen.y, codes.ravel(), len(groups), target_sum=_TARGET_SUM if counts else None
    )
    X = pd.DataFrame(groups, columns=columns)
    control = (X[schema.perturbation] == "").to_numpy()
    context = X[schema.context] if schema.context else pd.Series("", X.index)
    if counts and not control.any():
        raise FileError(
            f"{path.name} holds counts, and no cell is a control to compare them with. "
            "Name the label of the controls in a schema."
        )
    if control.any():
        lacking = sorted(set(context) - set(context[control]))
        if lacking:
            raise FileError(
                f"{path.name} has no controls in {lacking[:3]}; remove these contexts."
            )
        place = pd.Series(np.flatnonzero(control), context[control])
        means = means - means[place[context].to_numpy()]
    keep = ~control
    return X[keep], means[keep], pd.Index(screen.target_names), schema


def _of_screen(path, X, y, genes, schema):
    """Return a source with the responses to single genes, centred in each context."""
    y = pd.DataFrame(np.asarray(y, dtype=np.float64), columns=genes)
    labels, context = X[schema.perturbation].to_numpy(), np.full(len(X), "")
    if schema.context is not None:
        context = each_label(X[schema.context].to_numpy(), as_text).astype(str)
    found = {
        level: profile_source(path.name, labels[rows], y[rows], schema)
        for level, rows in ((level, context == level) for level in np.unique(context))
    }
    found = {level: source for level, source in found.items() if source is not None}
    if not found:
        raise FileError(
            f"{path} has no perturbation of a single gene in "
            f"{schema.perturbation!r}; name the column in a schema."
        )
    profiles = {level: source.profiles[""] for level, source in found.items()}
    known = np.unique(np.concatenate([source.genes for source in found.values()]))
    known = known.astype(object)
    vectors = [p.reindex(known, fill_value=0.0).to_numpy() for p in profiles.values()]
    return GeneSource(path.name, known, np.hstack(vectors), profiles)


def profile_source(name, labels, y, schema):
    """Return the responses to single genes in one context as a source.

    Parameters
    ----------
    name : str
    labels : ndarray of shape (n_samples,)
        Perturbations.
    y : DataFrame of shape (n_samples, n_genes)
    schema : PerturbationSchema

    Returns
    -------
    source : GeneSource or None
        None where no row is of a single gene.
    """
    parts = [schema.split(label) for label in labels]
    single = np.array([len(part) == 1 for part in parts], dtype=bool)
    if not single.any():
        return None
    codes, genes = number_levels([part[0] for part in parts if len(part) == 1])
    means = level_means(codes, len(genes), y.to_numpy()[single])[0]
    means = means - means.mean(axis=0)
    profile = pd.DataFrame(means, genes, y.columns)
    return GeneSource(name, genes.astype(str).astype(object), means, {"": profile})


def fitted_source(source, X, y):
    """Return the `GeneSource` of what is given, embeddings fitted to the rows."""
    if isinstance(source, GeneEmbedding):
        fitted = clone(source).fit(X, y)
        return GeneSource(type(source).__name__, fitted.genes_, fitted.embedding_)
    return read_gene_source(source)


def unit_rows(vectors):
    """Return the rows at length one, so that products are cosines; zeros stay zeros."""
    if sparse.issparse(vectors):
        norms = sparse.linalg.norm(vectors, axis=1)
        scale = np.divide(1, norms, out=np.zeros_like(norms), where=norms > 0)
        return sparse.csr_array(sparse.diags_array(scale) @ vectors)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0)


class UnitVectors:
    """Vectors of genes, of length one."""

    def __init__(self, index, vectors):
        self.index, self.vectors = index, vectors

    @classmethod
    def of(cls, source, named):
        """Return those of a source; dense ones, centred on the perturbed genes."""
        genes = [as_text(gene) for gene in source.genes]
        vectors = source.vectors
        if sparse.issparse(vectors):
            vectors = unit_rows(vectors)
        else:
            vectors = np.asarray(vectors, dtype=np.float64)
            known = np.isin(np.array(genes, dtype=object).astype(str), sorted(named))
            # A vector of zeros says that nothing is known.
            told = vectors.any(axis=1)
            # Responses of a screen are centred on its own perturbations already, of
            # which there may be many more.
            if not source.profiles and (known & told).sum() > 1:
                vectors = vectors - vectors[known & told].mean(axis=0)
            vectors = unit_rows(np.where(told[:, None], vectors, 0.0))
        return cls({gene: i for i, gene in enumerate(genes)}, vectors)

    def for_products(self):
        """Return vectors of the same inner products, of no more numbers than genes.

        Those of a screen have one for each gene that it measured.
        """
        n_genes, n_dimensions = self.vectors.shape
        if sparse.issparse(self.vectors) or n_dimensions <= n_genes:
            return self
        coordinates = np.linalg.qr(self.vectors.T, mode="r").T
        return type(self)(self.index, np.ascontiguousarray(coordinates))

    def rows(self, parts):
        """Return the sum of the vectors of each row's genes."""
        return sum_of_parts(parts, self.index, self.vectors)


def sum_of_parts(parts, index, vectors):
    """Return for each row the sum of the vectors of those parts that have any."""
    pairs_of = [
        (row, index[gene])
        for row, genes in enumerate(parts)
        for gene in genes
        if gene in index
    ]
    rows, columns = np.array(pairs_of, dtype=np.intp).reshape(-1, 2).T
    member = sparse.csr_array(
        (np.ones(len(rows)), (rows, columns)), shape=(len(parts), vectors.shape[0])
    )
    return member @ vectors


def as_dense(product):
    """Return an array of a product, which of sparse vectors is sparse."""
    return product.toarray() if sparse.issparse(product) else np.asarray(product)


def holds_responses(profile, parts, y):
    """Whether a screen holds the very responses that are to be learnt.

    It does if, over the perturbations and genes of both, its responses are these but
    for a factor and what all have in common.

    Parameters
    ----------
    profile : DataFrame of shape (n_perturbed, n_there)
    parts : list of list of str
        Perturbed genes of each row of one context.
    y : DataFrame of shape (n_samples, n_genes)
    """
    alone = [row for row, genes in enumerate(parts) if len(genes) == 1]
    place = profile.index.get_indexer([parts[row][0] for row in alone])
    rows, place = np.array(alone, dtype=int)[place >= 0], place[place >= 0]
    genes = y.columns.intersection(profile.columns)
    if len(np.unique(place)) < _FEWEST_COMMON or len(genes) < _FEWEST_COMMON:
        return False
    here, there = y[genes].to_numpy()[rows], profile[genes].to_numpy()[place]
    here, there = (values - values.mean(axis=0) for values in (here, there))
    norm = np.linalg.norm(here) * np.linalg.norm(there)
    return norm > 0 and np.vdot(here, there) > _SAME * norm


def responses_elsewhere(name, profile, measured, edges):
    """Return the responses of another screen, by band of its own components.

    Parameters
    ----------
    name : str
    profile : DataFrame of shape (n_perturbed, n_there)
    measured : Index of str or None
        Names of the genes that are measured here.
    edges : sequence of int
        Where bands of components end.

    Returns
    -------
    bands : dict of {str: tuple}
        Places of the perturbed genes, scores (n_perturbed, n_components), and what
        turns these into the genes here. Empty without common genes.
    """
    genes = profile.columns.astype(str)
    common = [] if measured is None else measured.intersection(genes)
    if len(common) < 2 or len(profile) < 2:
        return {}
    check_unique_genes(measured, "y")
    check_unique_genes(genes, name)
    here = pd.Index(measured).get_indexer(common)
    responses = profile.set_axis(genes, axis=1)[common].to_numpy()
    components = axes(responses, edges[-1])
    scores = responses @ components.T
    projection = np.zeros((len(components), len(measured)))
    projection[:, here] = components
    index = {as_text(gene): i for i, gene in enumerate(profile.index)}
    starts = [0, *(e for e in edges if e < len(components))]
    ends = [*starts[1:], len(components)]
    return {
        f"{name} {a + 1}-{b}": (index, scores[:, a:b], projection[a:b])
        for a, b in zip(starts, ends, strict=True)
    }


def products_of_bands(bands, targets):
    """Return the inner products of bands of responses, and of them with the targets.

    Of scores and components, since responses of all rows, genes and bands at once may
    not fit in memory.
    """
    scores, components = zip(*bands, strict=True)
    starts = np.cumsum([0, *map(len, components[:-1])])
    scores, components = np.hstack(scores), np.vstack(components)
    between = (scores.T @ scores) * (components @ components.T)
    between = np.add.reduceat(np.add.reduceat(between, starts, axis=0), starts, axis=1)
    with_targets = np.einsum("ij,ij->i", scores.T @ targets, components)
    return between, np.add.reduceat(with_targets, starts)


def all_responses(sources, measured, edges):
    """Return the bands of responses of all screens among the sources."""
    bands, used = {}, {}
    for source in sources:
        for level, profile in getattr(source, "profiles", {}).items():
            name = f"{source.name}:{level}".rstrip(":")
            used[name] = used.get(name, 0) + 1
            name += f" {used[name]}" if used[name] > 1 else ""
            bands |= responses_elsewhere(name, profile, measured, edges)
    return bands


def warn_of_unknown(name, vectors, named, described):
    """Warn if a source, `UnitVectors` by name, has none of the genes that are named.

    Parameters
    ----------
    named : set of str
        Nothing is said if there are none.
    described : str
        What they are, in the plural.
    """
    if named and named.isdisjoint(vectors.index):
        near = near_misses(sorted(named), list(vectors.index))
        hint = f" Did you mean {pairs(near)}?" if near else ""
        warn(
            f"{name} knows none of the {len(named)} {described}, such as "
            f"{sorted(named)[:3]}; it has {list(vectors.index)[:3]}.{hint}"
        )


def distinct_names(names):
    """Return the names, those that occur again with a number."""
    counts = {}
    for place, name in enumerate(names):
        counts[name] = counts.get(name, 0) + 1
        if counts[name] > 1:
            names[place] = f"{name} {counts[name]}"
    return names
