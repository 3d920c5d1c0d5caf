"""Embed cells batch by batch, reading ahead of the model."""

import itertools
import warnings
from collections import deque
from concurrent.futures import ThreadPoolExecutor

import numpy as np

# Cells that are read and tokenised at once, and how often that is done ahead of the
# model.
CHUNK, _AHEAD = 512, 2


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
    tokenizer = embedding._tokenizer()
    pieces = iter(
        [
            (number, i, min(i + CHUNK, stop))
            for number, (start, stop) in enumerate(ranges)
            for i in range(start, stop, CHUNK)
        ]
    )

    def prepare(number, start, stop):
        before = np.array([tokenizer.n_raw, tokenizer.n_log])
        sentences = tokenizer(cells.read(start, stop))
        return number, sentences, [tokenizer.n_raw, tokenizer.n_log] - before

    with ThreadPoolExecutor(1) as reader:
        ahead = (reader.submit(prepare, *piece) for piece in pieces)
        waiting = deque(itertools.islice(ahead, _AHEAD))
        while waiting:
            number, sentences, scales = waiting.popleft().result()
            waiting.extend(itertools.islice(ahead, 1))
            for batch in embedding._embed(*sentences):
                yield number, batch, scales
                scales = np.zeros_like(scales)


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
