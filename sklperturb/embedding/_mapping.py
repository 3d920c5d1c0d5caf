"""Check which genes of a data set a model knows, and warn of the others."""

import warnings

import numpy as np
import pandas as pd

from sklperturb.embedding._batches import read_rows
from sklperturb.embedding._tokens import counts_of

# Cells that tell which share of the counts is mapped: blocks of them, evenly spread.
_SAMPLE_BLOCKS, _SAMPLE_ROWS = 8, 64
# Share of the counts that may be on unmapped genes before that is worth a warning.
_UNMAPPED = 0.2


def check_mapped(cells, embedding):
    """Return how many genes are in the vocabulary, and their share of the counts.

    Parameters
    ----------
    cells : Cells
    embedding : SEEmbedding
        With the names and the tokens of their genes.

    Returns
    -------
    n_mapped : int
    share : float
        In a sample of the cells.

    Raises
    ------
    ValueError
        If there are too few, or `on_unmapped` asks for all.

    Warns
    -----
    UserWarning
        If much of the counts takes no part, and `on_unmapped` asks for that; or
        several columns are one gene of the vocabulary.
    """
    genes, is_mapped = embedding.genes_, embedding.tokens_ >= 0
    n_mapped = int(np.count_nonzero(is_mapped))
    if not n_mapped:
        known = embedding.checkpoint_.genes
        raise ValueError(
            f"None of the {len(genes)} genes of X ({', '.join(genes[:3])}, ...) is in "
            f"the vocabulary ({', '.join(known[:3])}, ...). Name a column with such "
            "names as gene_names, or pass gene_map for Ensembl ids or aliases, or "
            "ignore_case=True."
        )
    needed = embedding.checkpoint_.config.cls_gene + 1
    if n_mapped < needed:
        raise ValueError(
            f"Only {n_mapped} genes of X are in the vocabulary; the model needs "
            f"{needed} at least."
        )
    share = _share_of_counts(cells, is_mapped, embedding.count_scale)
    text = (
        f"{n_mapped} of {len(genes)} genes, with {100 * share:.1f} % of the counts, "
        "are in the vocabulary"
    )
    examples = f"Missing are, for example, {', '.join(genes[~is_mapped][:5])}."
    if share < embedding.min_mapped:
        raise ValueError(
            f"{text}; min_mapped={embedding.min_mapped} asks for more. {examples} Pass "
            "gene_names or gene_map."
        )
    if n_mapped < len(genes) and embedding.on_unmapped == "error":
        raise ValueError(f"{text}, and on_unmapped='error'. {examples}")
    if share < 1 - _UNMAPPED and embedding.on_unmapped == "warn":
        warnings.warn(
            f"{text}; the others take no part. {examples} Pass gene_names or gene_map, "
            "or on_unmapped='ignore'.",
            UserWarning,
            stacklevel=5,
        )
    _warn_of_shared_tokens(embedding)
    return n_mapped, share


def _warn_of_shared_tokens(embedding):
    """Tell that sentences will hold a gene twice, with a part of its counts each."""
    tokens = pd.Series(embedding.tokens_)
    shared = (tokens >= 0) & tokens.duplicated(keep=False)
    if shared.any():
        examples = embedding.genes_[shared.to_numpy()][:4]
        warnings.warn(
            f"{int(shared.sum())} columns of X are {tokens[shared].nunique()} genes of "
            f"the vocabulary, such as {', '.join(map(str, examples))}. The model reads "
            "each of them by itself, with a part of the gene's counts. Add them up "
            "first, or leave out all but one.",
            UserWarning,
            stacklevel=6,
        )


def _share_of_counts(cells, is_mapped, count_scale):
    """Return the share of the counts on mapped genes, 1 if there are no counts."""
    n_cells = cells.shape[0]
    n_rows = min(_SAMPLE_ROWS, -(-n_cells // _SAMPLE_BLOCKS))
    starts = np.linspace(0, n_cells - n_rows, _SAMPLE_BLOCKS, dtype=int)
    mapped = total = 0.0
    for start in dict.fromkeys(starts.tolist()):
        block = read_rows(cells, start, start + n_rows)
        counts = counts_of(block, count_scale)
        mapped += float(counts[is_mapped[block.indices]].sum(dtype=np.float64))
        total += float(counts.sum(dtype=np.float64))
    return mapped / total if total > 0 else 1.0


def check_same_genes(cells, embedding):
    """Raise an error if the genes are not those that `embedding` was fitted to."""
    if cells.shape[1] != embedding.n_features_in_:
        raise ValueError(
            f"X has {cells.shape[1]} features, but SEEmbedding is expecting "
            f"{embedding.n_features_in_} features as input: the genes of fit."
        )
    names = getattr(embedding, "feature_names_in_", None)
    if names is None or cells.genes is None:
        return
    differing = np.flatnonzero(np.asarray(cells.genes, dtype=object) != names)
    if len(differing):
        first = differing[0]
        raise ValueError(
            f"X has other genes than in fit, or another order: column {first} is "
            f"{cells.genes[first]!r} and was {names[first]!r}. Fit again, which only "
            "looks up the genes."
        )


def tokens_to_decode(genes, embedding, vocabulary):
    """Return the token of each gene to predict, -1 where there is none.

    What `fit` knows of its genes comes first: they may be named by a list.
    """
    fitted = dict(zip(embedding.genes_, embedding.tokens_.tolist(), strict=True))
    known = np.array([fitted.get(gene, -1) for gene in genes], dtype=np.int64)
    tokens = np.where(known >= 0, known, vocabulary.tokens(genes))
    unknown = [gene for gene, token in zip(genes, tokens, strict=True) if token < 0]
    if unknown and embedding.on_unmapped != "ignore":
        text = (
            f"{len(unknown)} of {len(genes)} genes are not in the vocabulary, such as "
            f"{', '.join(unknown[:5])}"
        )
        if embedding.on_unmapped == "error":
            raise ValueError(f"{text}, and on_unmapped='error'.")
        warnings.warn(
            f"{text}; all of them get the same prediction.", UserWarning, stacklevel=3
        )
    return tokens
