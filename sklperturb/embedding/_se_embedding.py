"""Arc's State Embedding model as a transformer."""

from collections.abc import Mapping
from numbers import Integral, Real
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin, _fit_context
from sklearn.utils import check_array, check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils._set_output import _get_output_config
from sklearn.utils.validation import check_is_fitted

from sklperturb.cells import open_cells
from sklperturb.cells._files import check_unique_genes
from sklperturb.conditions._documented import DocumentedMixin
from sklperturb.embedding._batches import (
    embed_all,
    embed_sentences,
    tokenize_all,
    warn_of_both_scales,
)
from sklperturb.embedding._checkpoint import SECheckpoint
from sklperturb.embedding._genes import Vocabulary, choose_names
from sklperturb.embedding._kept import KeptCheckpointMixin
from sklperturb.embedding._mapping import (
    check_mapped,
    check_same_genes,
    tokens_to_decode,
)
from sklperturb.embedding._runner import runner_of
from sklperturb.utils._choices import CountScale, Precision


class SEEmbedding(
    DocumentedMixin, KeptCheckpointMixin, TransformerMixin, BaseEstimator
):
    """Embed cells with Arc's pretrained State Embedding model (SE), and decode them.

    A cell becomes a sentence of its most expressed genes, each with its share of the
    cell's expression, which a transformer reads [1]_. `transform` gives the embedding
    of the cell, of length one, and beside it a short one of its data set;
    `inverse_transform` predicts expression from both. Nothing is trained.

    The weights are not part of this package, and their licence is non-commercial; the
    guide says where to get them.

    Parameters
    ----------
    checkpoint : str, Path or SECheckpoint
        Where the weights are; see `SECheckpoint` for the layouts.
    gene_names : "auto", str or array-like of str, default="auto"
        Names of the genes: a column of the genes' table (`var`), or one name for each
        column of `X`. "auto" takes the names of `X`; if none of them is in the
        vocabulary, it takes the column of `var` with the most that are.
    layer : str, default=None
        Layer of an AnnData that holds the expression; None is its `X`.
    batch_size : int, default=None
        Cells that the model reads at once. None takes as many as fit into 256 MB, on
        a GPU 2 GB. It changes no embedding.
    device : str, default="auto"
        Device of torch, such as "cpu" or "cuda:1". "auto" is a GPU if there is one.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Of the transformer and of `inverse_transform`. "auto" is bfloat16 on a GPU,
        float32 otherwise.
    random_state : int, RandomState instance or None, default=0
        Settles ties: a cell with fewer expressed genes than its sentence has room for
        gets others, and which depends on this and on its own expression.
    include_dataset_token : bool, default=True
        Whether to add the embedding of the data set, which decoding needs.
    gene_map : mapping, Series, DataFrame or path of a table, default=None
        From other names, such as Ensembl ids or aliases, to those of the vocabulary.
        A table has two columns, separated by commas in a .csv file and by tabs in any
        other, as .gz too; lines that begin with # are comments. Versions of Ensembl
        ids do not matter.
    ignore_case : bool, default=False
        Whether names that are not found may be found in another case.
    on_unmapped : {"warn", "error", "ignore"}, default="warn"
        What to do about genes that are not in the vocabulary, and take no part: warn
        if they hold more than a fifth of the counts, refuse any, or nothing.
    min_mapped : float, default=0.1
        Share of the counts on genes of the vocabulary below which `fit` refuses.
    count_scale : {"auto", "raw", "log1p"}, default="auto"
        Whether `X` holds counts, or log1p of counts. "auto" decides for each cell, as
        the model's authors do: counts have a value above 35, or would as logarithms
        stand for more than five million.
    target_sum : float, default=None
        Counts that each cell is scaled to before the logarithm. None does not scale,
        as the model was trained.
    cls_count : "reference" or float, default="reference"
        Count beside the first position, which stands for the cell. "reference" is, as
        in the authors' program, that of the gene that comes fourth among the mapped
        ones of `X`: an accident, but the model was trained and is used with it.
    read_depth : float, default=4.0
        Mean log1p count, over genes with counts, of the cells that `inverse_transform`
        predicts.

    Attributes
    ----------
    checkpoint_ : SECheckpoint
    genes_ : ndarray of str of shape (n_genes,)
        Names that were looked up.
    gene_origin_ : str
        Where the names were found.
    tokens_ : ndarray of int of shape (n_genes,)
        Token of each gene, -1 for those that are not in the vocabulary.
    n_mapped_ : int
        Genes in the vocabulary.
    mapped_share_ : float
        Share of the counts on them, in up to 512 cells.
    seed_ : int
        Drawn from `random_state`; settles ties.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Only if `X` has names.

    See Also
    --------
    SECheckpoint : Checks what a file holds, and makes small ones for tests.
    embed_file : Embeds a file of any size.
    sklperturb.compose.LatentTargetRegressor : Predict responses in this space.

    Notes
    -----
    `X` is an AnnData, in memory or backed, the path of an .h5ad file or .zarr folder, a
    DataFrame, or with `gene_names` an array or sparse matrix. Cells are read some at a
    time. Negative values count as 0. A cell without counts on genes of the vocabulary
    gets the share 1 / n_mapped for all genes.

    The embedding of a cell depends neither on the cells it comes with nor on their
    number or order. The order of genes matters, through `cls_count`.

    A fitted estimator holds the path of the weights, not the weights. They are loaded
    when first needed, and shared by the estimators in a process that use them.

    References
    ----------
    .. [1] Adduri et al., "Predicting cellular responses to perturbation across diverse
       contexts with State", 2025.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> import pandas as pd
    >>> from sklperturb.embedding import SECheckpoint, SEEmbedding
    >>> counts = np.random.default_rng(0).poisson(20, size=(4, 50))
    >>> cells = pd.DataFrame(counts).rename(columns=lambda i: f"GENE{i + 1}")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     checkpoint = SECheckpoint.create(f"{folder}/small.ckpt", random_state=0)
    ...     embedding = SEEmbedding(checkpoint, device="cpu").fit(cells)
    ...     latent = embedding.transform(cells)
    ...     decoded = embedding.inverse_transform(latent)
    >>> latent.shape, decoded.shape
    ((4, 34), (4, 50))
    """

    _parameter_constraints = {
        "checkpoint": [str, Path, SECheckpoint, None],
        "gene_names": [str, "array-like"],
        "layer": [str, None],
        "batch_size": [Interval(Integral, 1, None, closed="left"), None],
        "device": [str],
        "precision": [StrOptions(set(Precision))],
        "random_state": ["random_state"],
        "include_dataset_token": ["boolean"],
        "gene_map": [Mapping, pd.Series, pd.DataFrame, str, Path, None],
        "ignore_case": ["boolean"],
        "on_unmapped": [StrOptions({"warn", "error", "ignore"})],
        "min_mapped": [Interval(Real, 0, 1, closed="both")],
        "count_scale": [StrOptions(set(CountScale))],
        "target_sum": [Interval(Real, 0, None, closed="neither"), None],
        "cls_count": [
            StrOptions({"reference"}),
            Interval(Real, 0, None, closed="left"),
        ],
        "read_depth": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        checkpoint=None,
        *,
        gene_names="auto",
        layer=None,
        batch_size=None,
        device="auto",
        precision="auto",
        random_state=0,
        include_dataset_token=True,
        gene_map=None,
        ignore_case=False,
        on_unmapped="warn",
        min_mapped=0.1,
        count_scale="auto",
        target_sum=None,
        cls_count="reference",
        read_depth=4.0,
    ):
        self.checkpoint = checkpoint
        self.gene_names = gene_names
        self.layer = layer
        self.batch_size = batch_size
        self.device = device
        self.precision = precision
        self.random_state = random_state
        self.include_dataset_token = include_dataset_token
        self.gene_map = gene_map
        self.ignore_case = ignore_case
        self.on_unmapped = on_unmapped
        self.min_mapped = min_mapped
        self.count_scale = count_scale
        self.target_sum = target_sum
        self.cls_count = cls_count
        self.read_depth = read_depth

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Find the genes of `X` in the vocabulary of the model.

        Parameters
        ----------
        X : AnnData, DataFrame, str, Path, Cells, array-like or sparse matrix of \
                shape (n_cells, n_genes)
            Of the cells, 512 are read.
        y : None
            Ignored.

        Returns
        -------
        self : SEEmbedding

        Raises
        ------
        ValueError
            If the genes have no names, too few of them are in the vocabulary, or the
            checkpoint cannot be used.

        Warns
        -----
        UserWarning
            See `on_unmapped`; and if several columns are one gene of the vocabulary.
        """
        if self.checkpoint is None:
            raise ValueError(
                "checkpoint is None; pass the path of a State Embedding checkpoint, "
                "such as a folder with model.safetensors, config.yaml and "
                "protein_embeddings.pt."
            )
        self.checkpoint_ = (
            self.checkpoint
            if isinstance(self.checkpoint, SECheckpoint)
            else SECheckpoint(self.checkpoint)
        )
        self.seed_ = int(check_random_state(self.random_state).randint(2**31 - 1))
        with open_cells(X, layer=self.layer, needs="finite") as cells:
            if not cells.shape[0]:
                raise ValueError(
                    f"Found array with 0 sample(s) (shape={(0, cells.shape[1])}) while "
                    "a minimum of 1 is required by SEEmbedding."
                )
            if self.gene_names == "auto" and cells.genes is not None:
                check_unique_genes(cells.genes, cells.source)
            vocabulary = self._vocabulary()
            self.genes_, self.gene_origin_ = choose_names(
                cells, self.gene_names, vocabulary
            )
            self.tokens_ = vocabulary.tokens(self.genes_)
            self.n_mapped_, self.mapped_share_ = check_mapped(cells, self)
        self.n_features_in_ = cells.shape[1]
        if cells.genes is not None and all(isinstance(g, str) for g in cells.genes):
            self.feature_names_in_ = np.asarray(cells.genes, dtype=object)
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_
        return self

    def transform(self, X):
        """Embed cells.

        Parameters
        ----------
        X : AnnData, DataFrame, str, Path, array-like or sparse matrix of shape \
                (n_cells, n_genes)
            With the genes of `fit`, in their order.

        Returns
        -------
        embedding : ndarray of shape (n_cells, n_features_out), float32

        Raises
        ------
        ValueError
            If the genes are others than in `fit`, or a value is not finite.

        Warns
        -----
        UserWarning
            If some cells were taken to hold counts and others log1p of counts, or
            values are negative.
        """
        check_is_fitted(self)
        with open_cells(X, layer=self.layer, needs="finite") as cells:
            check_same_genes(cells, self)
            embedding, scales = embed_all(self, cells)
        warn_of_both_scales(*scales, stacklevel=4)
        if _get_output_config("transform", self)["dense"] == "pandas":
            # scikit-learn knows the names of a DataFrame's rows, not of an AnnData's.
            return pd.DataFrame(embedding, index=cells.obs_names)
        return embedding

    def tokenize(self, X):
        """Return what the model reads of each cell.

        Parameters
        ----------
        X : AnnData, DataFrame, str, Path, array-like or sparse matrix of shape \
                (n_cells, n_genes)

        Returns
        -------
        tokens : ndarray of shape (n_cells, length), int32
            Places in the vocabulary, ``checkpoint_.genes``. The first stands for the
            cell, the others are in falling order of their counts.
        counts : ndarray of shape (n_cells, length), float32
            Percent of the cell's expression.
        """
        check_is_fitted(self)
        with open_cells(X, layer=self.layer, needs="finite") as cells:
            check_same_genes(cells, self)
            tokens, counts = tokenize_all(self, cells)
        order = np.argsort(-counts[:, 1:], axis=1, kind="stable") + 1
        order = np.hstack([np.zeros((len(order), 1), order.dtype), order])
        return tuple(np.take_along_axis(a, order, axis=1) for a in (tokens, counts))

    def embed_tokens(self, tokens, counts):
        """Embed cells that are sentences of tokens already.

        Parameters
        ----------
        tokens : array-like of int of shape (n_cells, length)
        counts : array-like of shape (n_cells, length)
            As `tokenize` returns them.

        Returns
        -------
        embedding : ndarray of shape (n_cells, n_features_out), float32
        """
        check_is_fitted(self)
        tokens = check_array(tokens, dtype=np.int64, input_name="tokens")
        counts = check_array(counts, dtype=np.float32, input_name="counts")
        n_tokens = len(self.checkpoint_.genes)
        if tokens.shape != counts.shape or tokens.shape[1] < 1:
            raise ValueError(
                f"tokens has shape {tokens.shape} and counts {counts.shape}; they must "
                "be the same."
            )
        if tokens.min() < 0 or tokens.max() >= n_tokens:
            raise ValueError(f"tokens must be from 0 to {n_tokens - 1}.")
        return np.concatenate(list(embed_sentences(self, tokens, counts)))

    def inverse_transform(self, X, genes=None, read_depth=None):
        """Predict the expression of genes from embeddings.

        Parameters
        ----------
        X : array-like of shape (n_cells, n_features_out)
            Embeddings of cells and of their data sets.
        genes : array-like of str, default=None
            Genes to predict, by names as in `fit`; None is the genes of `fit`. All
            that are not in the vocabulary get one prediction, made without knowing
            the gene.
        read_depth : float or array-like of shape (n_cells,), default=None
            Depth of the predicted cells; None is `read_depth` of the estimator.

        Returns
        -------
        log_counts : ndarray of shape (n_cells, n_genes), float32
            Expected log1p counts. The model is linear at its end, so that values may be
            a little below 0.

        Raises
        ------
        ValueError
            If `X` lacks the embedding of the data set.
        """
        check_is_fitted(self)
        X = check_array(X, dtype=np.float32, input_name="X")
        config = self.checkpoint_.config
        if X.shape[1] != config.output_dim + config.dataset_dim:
            raise ValueError(
                f"X has {X.shape[1]} columns; decoding needs the {config.output_dim} "
                f"of the cell and the {config.dataset_dim} of the data set. Set "
                "include_dataset_token=True."
            )
        depth = self.read_depth if read_depth is None else read_depth
        depth = np.asarray(depth, dtype=np.float32)
        if depth.shape not in [(), (len(X),)] or not np.isfinite(depth).all():
            raise ValueError(
                f"read_depth must be a number, or one for each of {len(X)} cells."
            )
        tokens = self.tokens_
        if genes is not None:
            names = [str(gene) for gene in np.asarray(genes, dtype=object).ravel()]
            tokens = tokens_to_decode(names, self, self._vocabulary())
        known = [*self.checkpoint_.genes, None]
        return runner_of(self).decode(
            tuple(known[token] for token in tokens),
            X,
            np.broadcast_to(depth, len(X)),
        )

    def get_feature_names_out(self, input_features=None):
        """Return names such as ``"se0"``, and last ``"se_dataset9"``.

        Parameters
        ----------
        input_features : None
            Ignored.

        Returns
        -------
        names : ndarray of str of shape (n_features_out,)
        """
        check_is_fitted(self)
        config = self.checkpoint_.config
        names = [f"se{i}" for i in range(config.output_dim)]
        if self.include_dataset_token:
            names += [f"se_dataset{i}" for i in range(config.dataset_dim)]
        return np.array(names, dtype=object)

    def _vocabulary(self):
        return Vocabulary(self.checkpoint_.genes, self.gene_map, self.ignore_case)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        # Without names, the columns of an array are no genes.
        tags.input_tags.two_d_array = not (
            isinstance(self.gene_names, str) and self.gene_names == "auto"
        )
        tags.transformer_tags.preserves_dtype = []
        return tags
