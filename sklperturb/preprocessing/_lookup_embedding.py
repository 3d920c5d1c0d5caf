"""Embeddings of genes from a table that the user has."""

import warnings
from collections.abc import Mapping
from numbers import Integral
from pathlib import Path

import numpy as np
import pandas as pd
from pandas.api.types import is_integer_dtype, is_numeric_dtype
from sklearn.base import _fit_context
from sklearn.utils._param_validation import Interval

from sklperturb.conditions._frames import as_pandas
from sklperturb.files._arrays import read_npz, read_safetensors
from sklperturb.files._documents import parse_json
from sklperturb.files._identifiers import as_identifiers
from sklperturb.files._reading import one_line, short
from sklperturb.files._tables import read_header, read_indexed_parquet, read_table
from sklperturb.files._text import text_suffix
from sklperturb.preprocessing._gene_embedding import GeneEmbedding, scores

_KINDS = ".parquet, .csv, .tsv, .npz or .safetensors file"


class LookupEmbedding(GeneEmbedding):
    """Look up the embedding of each row's perturbed genes in a table.

    For embeddings that were computed elsewhere: of protein sequences (ESM2, and the
    tables that come with State Embedding models), of descriptions (GenePT), or the
    responses to the same perturbations in another screen, which tell most.

    Parameters
    ----------
    table : DataFrame, mapping, str or path-like, default=None
        One vector for each gene: a frame indexed by gene, or with the genes in its
        first column of text; a mapping from gene to vector; or a file, see Notes.
        There is no default, and `fit` needs it.
    n_components : int, default=None
        Keep this many principal components of the table. A wide table invites a
        model to learn 150 training genes by heart; 16 to 64 are plenty.
    combine : {"sum", "mean"}, default="sum"
        How the vectors of a combination ``"A+B"`` become one. With a sum, a linear
        model has additive effects.
    add_indicator : bool, default=True
        Append the share of a row's genes that the table lacks.
    schema : PerturbationSchema, default=None
        Roles of the columns. None infers them from the column names.

    Attributes
    ----------
    genes_ : ndarray of str of shape (n_genes,)
    embedding_ : ndarray of shape (n_genes, n_components_)
    n_components_ : int
    schema_ : PerturbationSchema
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)

    See Also
    --------
    GeneSetEncoder : From gene sets, without any pretrained model.
    ExpressionGeneEmbedding : From the training data alone.

    Notes
    -----
    Files are read without unpickling anything:

    - ``.parquet``: the index, or else the first column of text, names the genes; all
      other columns are numbers.
    - ``.csv`` and ``.tsv``, also as ``.gz``: the first column names the genes.
    - ``.npz``: arrays ``genes`` (text) and ``embeddings`` of shape (n_genes,
      n_dimensions); or one vector for each gene, under its name.
    - ``.safetensors``: a matrix ``embeddings`` with the genes as a JSON list under
      ``genes`` in the metadata; or one vector for each gene, under its name. Needs
      safetensors.

    Of a gene that a table names twice, the first vector is taken, with a warning if
    the others differ.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklperturb.preprocessing import LookupEmbedding
    >>> table = pd.DataFrame([[1.0, 0.0], [0.0, 2.0]], index=["KLF1", "MYC"])
    >>> X = pd.DataFrame({"target_gene": ["MYC", "KLF1+MYC", "non-targeting"]})
    >>> LookupEmbedding(table, add_indicator=False).fit_transform(X)
    array([[0., 2.],
           [1., 2.],
           [0., 0.]])
    """

    _parameter_constraints = {
        **GeneEmbedding._parameter_constraints,
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
    }

    def __init__(
        self,
        table=None,
        *,
        n_components=None,
        combine="sum",
        add_indicator=True,
        schema=None,
    ):
        self.table = table
        self.n_components = n_components
        self.combine = combine
        self.add_indicator = add_indicator
        self.schema = schema

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Read the table.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_columns)
            Conditions.
        y : None
            Ignored.

        Returns
        -------
        self : LookupEmbedding

        Raises
        ------
        ValueError
            If the table cannot be read as vectors of numbers.
        """
        self._start_fit(X)
        genes, vectors = read_gene_table(self.table)
        if self.n_components is not None:
            vectors = scores(vectors - vectors.mean(axis=0), self.n_components)
        return self._finish_fit(genes, vectors)


def read_gene_table(table):
    """Return the names, (n_genes,), and the vectors, (n_genes, n_dimensions)."""
    table, source = as_pandas(table), "The table"
    if isinstance(table, str | Path):
        source = Path(table)
        suffix = text_suffix(source)
        if suffix not in _READERS:
            raise ValueError(
                f"{source.name} ends in {suffix!r}; allowed is a {_KINDS}."
            )
        table = _READERS[suffix](source)
    if isinstance(table, pd.DataFrame):
        genes, vectors = _named_by_text(table, source)
    elif not isinstance(table, Mapping):
        raise ValueError(
            f"table is {type(table).__name__}; pass a DataFrame indexed by gene, a "
            f"mapping, or a {_KINDS}."
        )
    elif {"genes", "embeddings"} <= table.keys():
        genes, vectors = np.ravel(table["genes"]), table["embeddings"]
    else:
        genes, vectors = list(table), _stack(table, source)
    return _check(as_identifiers(genes), vectors, source)


def _check(genes, vectors, source):
    try:
        if np.iscomplexobj(vectors):
            raise ValueError("they are complex")
        vectors = np.asarray(vectors, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{source} holds values that are no numbers: {one_line(error)}"
        ) from error
    if vectors.ndim != 2 or 0 in vectors.shape or len(vectors) != len(genes):
        raise ValueError(
            f"{source} has {len(genes)} genes and vectors of shape {vectors.shape}; "
            "needed is (n_genes, n_dimensions)."
        )
    if genes.hasnans:
        raise ValueError(
            f"{source} has {int(genes.isna().sum())} rows without a gene, first row "
            f"{genes.isna().argmax() + 1}. Name or remove them."
        )
    bad = ~np.isfinite(vectors).all(axis=1)
    if bad.any():
        raise ValueError(
            f"{source} holds NaN or infinite values for {int(bad.sum())} genes, such "
            f"as {genes[bad][:3].tolist()}. Correct or remove them."
        )
    first = ~genes.duplicated()
    kept = vectors[first][pd.Index(genes[first]).get_indexer(genes)]
    differ = genes[(kept != vectors).any(axis=1)].unique()
    if len(differ):
        warnings.warn(
            f"{source} has other vectors for {len(differ)} genes that it names again, "
            f"such as {differ[:3].tolist()}; the first of each is taken. Remove the "
            "others to silence this.",
            UserWarning,
            stacklevel=5,  # past the wrapper of fit
        )
    return genes[first].to_numpy(dtype=object), vectors[first]


def _stack(vectors, source):
    if not vectors:
        raise ValueError(f"{source} holds no vectors.")
    lengths = {gene: np.size(vector) for gene, vector in vectors.items()}
    if len(set(lengths.values())) > 1:
        gene = next(g for g in lengths if lengths[g] != lengths[next(iter(lengths))])
        raise ValueError(
            f"{source} holds vectors of different lengths: {lengths[gene]} for "
            f"{gene!r}, and {lengths[next(iter(lengths))]} for the first gene."
        )
    return np.array([np.ravel(vector) for vector in vectors.values()])


def _named_by_text(frame, source):
    """Return the names of the genes, in the index or a column, and the vectors."""
    text = [name for name in frame if not is_numeric_dtype(frame[name])]
    unnamed = isinstance(frame.index, pd.RangeIndex)
    # Integers are Entrez ids, or what is left of the index after filtering or sorting.
    if unnamed or (is_integer_dtype(frame.index) and _holds_text(frame[text])):
        if not text:
            raise ValueError(
                f"{source} has no index and no column of text, so nothing names "
                f"the genes; its columns are {list(frame.columns)[:5]}."
            )
        frame = frame.set_index(text.pop(0))
    numbers = frame[text].apply(pd.to_numeric, errors="coerce")
    wrong = numbers.columns[(numbers.isna() & frame[text].notna()).any()].tolist()
    if wrong:
        raise ValueError(
            f"{source} has columns that are no numbers, such as {short(wrong[:3])}. "
            "Correct or remove them."
        )
    return frame.index, frame.to_numpy()


def _holds_text(frame):
    return any(isinstance(v, str | bytes) for name in frame for v in frame[name])


def _read_text(path):
    """Read a .csv or .tsv, of which the first column names the genes."""
    table = read_table(path, text=[read_header(path)[0].strip()])
    return table.set_index(table.columns[0])


def _read_safetensors(path):
    tensors, metadata = read_safetensors(path)
    arrays = {name: tensor.double().numpy() for name, tensor in tensors.items()}
    if "genes" in metadata and "embeddings" in arrays:
        arrays["genes"] = parse_json(metadata["genes"], path)
    return arrays


_READERS = {
    ".parquet": read_indexed_parquet,
    ".csv": _read_text,
    ".tsv": _read_text,
    ".npz": read_npz,
    ".safetensors": _read_safetensors,
}
