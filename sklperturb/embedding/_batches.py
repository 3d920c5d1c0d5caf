"""Embed cells batch by batch, reading ahead of the model."""

import itertools
import warnings
from collections import deque
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from scipy import sparse

from sklperturb.embedding._runner import runner_of
from sklperturb.embedding._tokens import Tokenizer
from sklperturb.utils._progress import ProgressBar

# Cells that are read and tokenised at once, and how often that is done ahead of the
# model.
_CHUNK, _AHEAD = 512, 2


def read_rows(cells, start, stop):
    """Return rows of `Cells` as a CSR matrix; no entry of theirs is repeated."""
    return sparse.csr_matrix(cells.rows(slice(start, stop)))


def make_tokenizer(embedding):
    """Return the `Tokenizer` that a fitted SEEmbedding describes."""
    config = embedding.checkpoint_.config
    return Tokenizer(
        embedding.tokens_,
        config.length,
        config.cls_gene,
        count_scale=embedding.count_scale,
        target_sum=embedding.target_sum,
        cls_count=embedding.cls_count,
        seed=embedding.seed_,
    )


def embed_sentences(embedding, tokens, counts):
    """Yield the embeddings of sentences of tokens, batch by batch."""
    runner = runner_of(embedding)
    n_rows = embedding.batch_size or runner.batch_size()
    n_out = len(embedding.get_feature_names_out())
    for i in range(0, len(tokens), n_rows):
        batch = slice(i, i + n_rows)
        yield runner.embed(tokens[batch], counts[batch])[:, :n_out]


def embedded_batches(embedding, cells, ranges):
    """Yield embeddings of ranges of cells, batch by batch.

    While the model works, a thread reads and tokenises what comes next.

    Parameters
    ----------
    embedding : SEEmbedding
        Fitted.
    cells : Cells
    ranges : list of (int, int)

    Yields
    ------
    number : int
        Of the range that the cells are of.
    batch : ndarray of shape (n_cells, n_features_out)
    scales : ndarray of shape (2,)
        How many more cells were taken to hold counts, and log1p of counts.
    """
    tokenizer = make_tokenizer(embedding)
    pieces = (
        (number, i, min(i + _CHUNK, stop))
        for number, (start, stop) in enumerate(ranges)
        for i in range(start, stop, _CHUNK)
    )

    def prepare(number, start, stop):
        before = np.array([tokenizer.n_raw, tokenizer.n_log])
        sentences = tokenizer(read_rows(cells, start, stop))
        return number, sentences, [tokenizer.n_raw, tokenizer.n_log] - before

    with ThreadPoolExecutor(1) as reader:
        ahead = (reader.submit(prepare, *piece) for piece in pieces)
        waiting = deque(itertools.islice(ahead, _AHEAD))
        while waiting:
            number, sentences, scales = waiting.popleft().result()
            waiting.extend(itertools.islice(ahead, 1))
            for batch in embed_sentences(embedding, *sentences):
                yield number, batch, scales
                scales = np.zeros_like(scales)


def embed_all(embedding, cells):
    """Return the embeddings of all cells, and how many held counts and log1p."""
    n_cells = cells.shape[0]
    values = np.empty((n_cells, len(embedding.get_feature_names_out())), np.float32)
    scales, done = np.zeros(2, int), 0
    with ProgressBar(n_cells, "Cells") as bar:
        for _, batch, more in embedded_batches(embedding, cells, [(0, n_cells)]):
            scales += more
            values[done : done + len(batch)] = batch
            done += len(batch)
            bar.advance(steps=len(batch))
    return values, scales


def tokenize_all(embedding, cells):
    """Return the sentences of all cells, tokens and the counts beside them."""
    tokenizer, n_cells = make_tokenizer(embedding), cells.shape[0]
    parts = [
        tokenizer(read_rows(cells, i, min(i + _CHUNK, n_cells)))
        for i in range(0, n_cells, _CHUNK)
    ]
    return tuple(np.concatenate(part) for part in zip(*parts, strict=True))


def warn_of_both_scales(n_raw, n_log, stacklevel):
    """Warn if a data set seems to hold both counts and logarithms."""
    if n_raw and n_log:
        warnings.warn(
            f"{n_raw} cells were taken to hold counts, and {n_log} log1p of counts, "
            "which is decided for each cell by its largest values. If all are of one "
            "kind, pass count_scale='raw' or 'log1p'.",
            UserWarning,
            stacklevel=stacklevel,
        )
