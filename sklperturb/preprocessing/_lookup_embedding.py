"""Embeddings of genes from a table that the user has."""

import json
import zipfile
from collections.abc import Mapping
from numbers import Integral
from pathlib import Path

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype
from sklearn.base import _fit_context
from sklearn.utils._param_validation import Interval

from sklperturb.conditions._frames import as_pandas
from sklperturb.preprocessing._gene_embedding import GeneEmbedding, scores

_KINDS = "a DataFrame indexed by gene, a mapping, or a .parquet, .npz or .safetensors"


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
    - ``.npz``: arrays ``genes`` (text) and ``embeddings`` of shape (n_genes,
      n_dimensions); or one vector for each gene, under its name.
    - ``.safetensors``: a matrix ``embeddings`` with the genes as a JSON list under
      ``genes`` in the metadata; or one vector for each gene, under its name. Needs
      safetensors.

    Of a gene that a table names twice, the first vector is taken.

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
        path = Path(table)
        source = path.name
        if not path.is_file():
            raise FileNotFoundError(f"The table {path} does not exist.")
        if path.suffix not in _READERS:
            raise ValueError(
                f"{path.name} ends in {path.suffix!r}; allowed is {_KINDS} file."
            )
        try:
            table = _READERS[path.suffix](path)
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            raise ValueError(
                f"{path} cannot be read as {path.suffix}; it may be truncated or hold "
                f"pickled objects, which are never read. The reader said: {error}"
            ) from error
    if isinstance(table, pd.DataFrame):
        genes, vectors = _named_by_text(table, source)
    elif not isinstance(table, Mapping):
        raise ValueError(f"table is {type(table).__name__}; pass {_KINDS} file.")
    elif {"genes", "embeddings"} <= table.keys():
        genes, vectors = table["genes"], table["embeddings"]
    else:
        genes, vectors = list(table), _stack(table, source)
    return _check(pd.Index(genes).astype(str), vectors, source)


def _check(genes, vectors, source):
    try:
        vectors = np.asarray(vectors, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{source} holds values that are no numbers: {error}"
        ) from error
    if vectors.ndim != 2 or 0 in vectors.shape or len(vectors) != len(genes):
        raise ValueError(
            f"{source} has {len(genes)} genes and vectors of shape {vectors.shape}; "
            "needed is (n_genes, n_dimensions)."
        )
    bad = ~np.isfinite(vectors).all(axis=1)
    if bad.any():
        raise ValueError(
            f"{source} holds NaN or infinite values for {int(bad.sum())} genes, such "
            f"as {genes[bad][:3].tolist()}. Correct or remove them."
        )
    first = ~genes.duplicated()
    return genes[first].to_numpy(dtype=object), vectors[first]


def _stack(vectors, source):
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
    if isinstance(frame.index, pd.RangeIndex):
        text = [name for name in frame if not is_numeric_dtype(frame[name])]
        if not text:
            raise ValueError(
                f"{source} has no index and no column of text, so nothing names "
                f"the genes; its columns are {list(frame.columns)[:5]}."
            )
        frame = frame.set_index(text[0])
    return frame.index, frame.to_numpy()


def _read_npz(path):
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def _read_safetensors(path):
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise ImportError(
            f"Reading {path.name} needs safetensors; run: "
            'pip install "sklperturb[embed]"'
        ) from error
    try:
        with safe_open(path, framework="pt") as file:  # NumPy has no bfloat16
            metadata = file.metadata() or {}
            arrays = {
                name: file.get_tensor(name).float().numpy() for name in file.keys()
            }
    except SafetensorError as error:
        raise ValueError(error) from error
    if "genes" in metadata and "embeddings" in arrays:
        arrays["genes"] = json.loads(metadata["genes"])
    return arrays


_READERS = {
    ".parquet": pd.read_parquet,
    ".npz": _read_npz,
    ".safetensors": _read_safetensors,
}
