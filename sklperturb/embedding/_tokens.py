"""Turn cells into sentences of genes, as Arc's State Embedding model reads them."""

import warnings
from itertools import pairwise

import numpy as np
import torch

# Cells that are tokenised together: few enough for the processor's cache; and values
# that PyTorch works on in the thread that asks for it.
_BLOCK, _ALONE = 128, 2**15
# Values are binned by their float32 bits without the last 18: 32 bins an octave.
_FINE, _BINS = 18, 512
# Of which entries, and in how many bins, to guess where the sentence of a cell ends.
_STRIDE, _SAMPLE_BINS = 16, 128
# A cell holds counts if a value is above the first, or if its values, taken for
# logarithms, stand for more counts than the second.
_MAX_LOG, _MAX_COUNTS = 35.0, 5e6
_TINY = np.float32(1e-45)  # the smallest positive one
_HUNDRED = np.float32(100.0)
_NEGATIVE = (
    "The expression holds negative values, which are taken for zeros, as the model's "
    "own program does. Scaled values tell the model little: name a layer of counts."
)


class Tokenizer:
    """Turn rows of expression into tokens and the counts beside them.

    Parameters
    ----------
    token_of : ndarray of int of shape (n_genes,)
        Token of each column, -1 for a gene that is not in the vocabulary.
    length : int
        Positions of a sentence; the first one stands for the cell (CLS).
    cls_gene : int
        The mapped gene, counted from 0, whose token and count the first position
        carries.
    count_scale : {"auto", "raw", "log1p"}
    target_sum : float or None
        Counts that each cell is scaled to; None leaves them.
    cls_count : "reference" or float
    seed : int
        Of the order in which genes that tie enter a sentence.

    Attributes
    ----------
    n_raw, n_log : int
        Cells so far that were taken to hold counts, and log1p of counts. Cells
        without any count are neither.
    """

    def __init__(
        self, token_of, length, cls_gene, *, count_scale, target_sum, cls_count, seed
    ):
        self.length = length
        self.count_scale = count_scale
        self.target_sum = target_sum
        self.cls_count = cls_count
        self.n_raw = self.n_log = 0
        is_mapped = token_of >= 0
        mapped = np.flatnonzero(is_mapped)
        self._all_mapped = is_mapped.all()
        self._is_mapped = is_mapped.astype(np.float32)
        self._token_of = token_of.astype(np.int32)
        self._gene_of = np.cumsum(is_mapped, dtype=np.int32) - np.int32(1)
        self._column_of = mapped.astype(np.int32)
        self._cls_column = mapped[cls_gene]
        # A cell walks through the shuffled genes from a place and with a step of its
        # own. The number of places is prime, so that no gene comes twice.
        rng = np.random.default_rng(seed)
        self._prime = _prime_from(len(mapped) + 2)
        self._shuffled = rng.permutation(self._prime)
        self._salt = rng.integers(2**64, dtype=np.uint64)

    def __call__(self, X):
        """Tokenise the rows of a CSR matrix.

        Parameters
        ----------
        X : csr_matrix or csr_array of shape (n_cells, n_genes)
            Sorted, no entry twice.

        Returns
        -------
        tokens : ndarray of shape (n_cells, length), int32
        counts : ndarray of shape (n_cells, length), float32

        Raises
        ------
        ValueError
            If a value is not finite.
        """
        tokens = np.empty((X.shape[0], self.length), np.int32)
        counts = np.empty((X.shape[0], self.length), np.float32)
        for start in range(0, X.shape[0], _BLOCK):
            pointers = X.indptr[start : start + _BLOCK + 1].astype(np.int64)
            entries = slice(pointers[0], pointers[-1])
            self._tokenize(
                X.data[entries].astype(np.float32, copy=False),
                X.indices[entries],
                pointers - pointers[0],
                tokens[start : start + _BLOCK],
                counts[start : start + _BLOCK],
            )
        return tokens, counts

    def _tokenize(self, values, columns, pointers, tokens, counts):
        """Fill `tokens` and `counts` of one block of rows."""
        n_rows, room = len(tokens), self.length - 1
        values, top = self._logarithms(values, columns, pointers)
        total = _per_row(np.add, values, pointers)[:, None]
        # The softmax of nothing but zeros: all genes alike.
        uniform = np.where(total > 0, 0.0, 100.0 / len(self._column_of))
        uniform = uniform.astype(np.float32)
        total = np.where(total > 0, total, np.float32(1.0))
        tokens[:, 0] = self._token_of[self._cls_column]
        counts[:, :1] = self._cls_values(values, columns, pointers) / total * _HUNDRED
        counts[:, :1] += uniform
        if self.cls_count != "reference":
            counts[:, 0] = self.cls_count

        values, columns, pointers, *bounds = _highest(
            values, columns, pointers, top, room
        )
        leaving, tied = _cut(values, pointers, *bounds, top, room)
        n_kept = np.diff(pointers - np.searchsorted(leaving, pointers))
        staying = np.ones(len(values), bool)
        staying[leaving] = False
        a, b = self._order(values, columns, pointers, leaving)
        surplus = np.maximum(n_kept - room, 0)
        if surplus.any():
            staying[_lost_ties(values, pointers, tied, surplus, a, b)] = False
            n_kept -= surplus
        kept = np.flatnonzero(staying)
        values, columns = values.take(kept), columns.take(kept)
        if n_kept.min() == room:
            tokens[:, 1:] = self._token_of.take(columns).reshape(n_rows, room)
            np.divide(values.reshape(n_rows, room), total, out=counts[:, 1:])
            counts[:, 1:] *= _HUNDRED
            return
        shares = values / np.repeat(total, n_kept) * _HUNDRED
        genes, rows = self._gene_of.take(columns), np.repeat(np.arange(n_rows), n_kept)
        if len(self._column_of) >= room:
            filler = self._draw_distinct(rows, genes, room - n_kept, a, b)
            filler_shares = np.repeat(uniform, room - n_kept)
        else:
            weights = np.repeat(uniform, len(self._column_of), axis=1)
            weights[rows, genes] = shares
            filler, rows = self._draw_repeated(weights, n_kept, a, b)
            filler_shares = weights[rows, filler]
        filler = self._column_of.take(filler)
        for whole, first, second in (
            (tokens, self._token_of.take(columns), self._token_of.take(filler)),
            (counts, shares, filler_shares),
        ):
            _join(whole[:, 1:], first, second, n_kept)

    def _logarithms(self, values, columns, pointers):
        """Return log1p of counts, zero for unmapped genes, and the largest of each row.

        Whether a cell holds counts is decided on all of its genes.
        """
        top = _per_row(np.maximum, values, pointers)
        finite = np.isfinite(top).all()
        if values.view(np.int32).min(initial=0) < 0:  # negative values, and -0.0
            finite &= np.isfinite(values).all()
            if finite and values.min() < 0:
                warnings.warn(_NEGATIVE, UserWarning, stacklevel=2)
            values = np.maximum(values, 0.0) + np.float32(0.0)
            top = np.maximum(top, 0.0)
        if not finite:
            raise ValueError(
                "The expression holds NaN or infinite values; replace them, for "
                "example by 0, or leave out those cells."
            )
        raw = holds_counts(values, pointers, top, self.count_scale)
        self.n_raw += int(np.count_nonzero(raw & (top > 0)))
        self.n_log += int(np.count_nonzero(~raw & (top > 0)))
        entry_raw = np.repeat(raw, np.diff(pointers))
        if self.target_sum is not None:
            # Rows of logarithms have none above 35: the bound is for the others.
            found = np.expm1(np.minimum(values, np.float32(_MAX_LOG)))
            found = np.where(entry_raw, values, found)
            depth = _per_row(np.add, found.astype(np.float64), pointers)
            scale = self.target_sum / np.where(depth > 0, depth, 1.0)
            found = found * np.repeat(scale, np.diff(pointers))
            values = np.log1p(found).astype(np.float32)
        elif raw.all():
            values = _log1p(values)
        elif raw.any():
            values = np.where(entry_raw, _log1p(values), values)
        if not self._all_mapped:
            mapped = self._is_mapped.take(columns)
            values = np.multiply(values, mapped, out=mapped)
        return values, _per_row(np.maximum, values, pointers)

    def _cls_values(self, values, columns, pointers):
        """Return the value of the gene whose count the first position carries."""
        found = np.zeros((len(pointers) - 1, 1), np.float32)
        gene = columns.dtype.type(self._cls_column)
        for row, (start, stop) in enumerate(pairwise(pointers.tolist())):
            entry = start + columns[start:stop].searchsorted(gene)
            if entry < stop and columns[entry] == gene:
                found[row] = values[entry]
        return found

    def _order(self, values, columns, pointers, leaving):
        """Return two numbers for each row, made from its content and the seed."""
        # An odd number for each column, without a look-up.
        marks = columns.astype(np.uint32)
        marks *= np.uint32(0x9E3779B2)
        marks |= np.uint32(1)
        marks *= values.view(np.uint32)
        marks[leaving] = 0
        content = _per_row(np.add, marks, pointers, np.uint32)
        mixed = _mix(content.astype(np.uint64) ^ self._salt)
        b = (_mix(mixed) >> np.uint64(33)).astype(np.int64)
        return (mixed >> np.uint64(33)).astype(np.int64), b

    def _draw_distinct(self, rows, genes, n_drawn, a, b):
        """Return genes that are not in the sentence, each once, row by row."""
        n_genes, prime = len(self._column_of), self._prime
        free = np.zeros((len(n_drawn), prime), bool)
        free[:, :n_genes] = True
        free.ravel()[rows * prime + genes] = False
        # Enough for what is taken and for the numbers that are no gene; mostly fewer
        # steps do.
        most = self.length - 1 + prime - n_genes
        n_free = n_genes - self.length + 1 + n_drawn
        few = int(1.2 * (n_drawn * prime / np.maximum(n_free, 1)).max()) + 32
        for n_steps in (min(few, most), most):
            step = np.arange(n_steps) * (1 + a % (prime - 1))[:, None] + b[:, None]
            tried = self._shuffled.take(step % prime)
            is_free = free.take(tried + np.arange(len(n_drawn))[:, None] * prime)
            number = np.cumsum(is_free, axis=1, dtype=np.int32)
            if (number[:, -1] >= n_drawn).all():
                break
        return tried[is_free & (number <= n_drawn[:, None])]

    def _draw_repeated(self, weights, n_kept, a, b):
        """Return genes without counts, or if there are none any, and their rows."""
        expressed = weights > 0
        expressed[n_kept == 0] = False
        order = np.argsort(expressed, axis=1, kind="stable")
        n_genes = weights.shape[1]
        n_choices = np.where(n_kept < n_genes, n_genes - n_kept, n_genes)
        n_drawn = self.length - 1 - n_kept
        rows = np.repeat(np.arange(len(n_kept)), n_drawn)
        place = np.arange(len(rows)) - np.repeat(np.cumsum(n_drawn) - n_drawn, n_drawn)
        place += (a << 32)[rows] + b[rows]
        drawn = _mix(_mix(place.view(np.uint64))) % n_choices[rows].astype(np.uint64)
        return order[rows, drawn.astype(np.int64)], rows


def holds_counts(values, pointers, top, count_scale):
    """Return, for each row, whether its values are counts and not log1p of counts.

    "auto" is the rule of the model's authors, which the embeddings depend on, and not
    that of `looks_like_counts`.

    Parameters
    ----------
    values : ndarray of shape (n_entries,), float32
        Not negative.
    pointers : ndarray of shape (n_rows + 1,)
        Where each row begins.
    top : ndarray of shape (n_rows,)
        The largest value of each row.
    count_scale : {"auto", "raw", "log1p"}

    Returns
    -------
    raw : ndarray of bool of shape (n_rows,)
    """
    if count_scale != "auto":
        return np.full(len(top), count_scale == "raw")
    raw = top > _MAX_LOG
    # A bound on what the values stand for spares most cells the exponentials.
    most = np.expm1(np.minimum(top, _MAX_LOG).astype(np.float64))
    for row in np.flatnonzero(~raw & (most * np.diff(pointers) > _MAX_COUNTS)):
        cell = values[pointers[row] : pointers[row + 1]].astype(np.float64)
        raw[row] = most[row] > _MAX_COUNTS or np.expm1(cell).sum() > _MAX_COUNTS
    return raw


def counts_of(block, count_scale):
    """Return the values of a CSR matrix as counts, whichever its rows hold."""
    values = np.maximum(block.data.astype(np.float32), 0.0)
    top = _per_row(np.maximum, values, block.indptr)
    raw = holds_counts(values, block.indptr, top, count_scale)
    raw = np.repeat(raw, np.diff(block.indptr))
    return np.where(raw, values, np.expm1(np.minimum(values, _MAX_LOG)))


def _highest(values, columns, pointers, top, room):
    """Leave out of each row entries that are surely too low for the sentence.

    Some entries tell where to cut; that is quicker than to look at all of them and
    exact, since a row with too few entries left is taken whole. Also returns two bounds
    for each row: its entries are not below the first, and those from the second on are
    likely to be high enough.
    """
    n_entries = np.diff(pointers)
    low = np.full(len(top), _TINY)
    high = np.where(n_entries > room, np.float32(np.inf), _TINY)
    if n_entries.max() < 1.5 * room:
        return values, columns, pointers, low, high
    n_sampled = np.diff((pointers + _STRIDE - 1) // _STRIDE)
    base = _bin(top) - (_SAMPLE_BINS - 1)
    above = _count_above(values[::_STRIDE], n_sampled, base, _SAMPLE_BINS)
    share, deviation = room / _STRIDE, (room / _STRIDE) ** 0.5
    low, _ = _edges(above, base, int(share + 3.5 * deviation))
    likely, _ = _edges(above, base, max(int(share - 3 * deviation), 1))
    for _ in range(2):
        kept = np.flatnonzero(values >= np.repeat(low, n_entries))
        starts = np.searchsorted(kept, pointers)
        few = (np.diff(starts) < room) & (low > _TINY)
        if not few.any():
            break
        low[few] = _TINY
    return values.take(kept), columns.take(kept), starts, low, np.minimum(high, likely)


def _cut(values, pointers, low, high, top, room):
    """Return the positions of entries that are too low, and of those that tie.

    What stays of a row are its positive entries, or enough for the sentence; what they
    are too many is among those that tie.
    """
    n_entries = np.diff(pointers)
    for _ in range(2):
        open_ = np.flatnonzero(values < np.repeat(high, n_entries))
        n_open = np.diff(np.searchsorted(open_, pointers))
        left = room - (n_entries - n_open)
        if left.min() >= 0:
            break
        high[left < 0] = np.inf
    values = values.take(open_)
    base = np.where(low > _TINY, _bin(low) - 1, _bin(top) - (_BINS - 1))
    base = np.where(n_entries > room, base, _bin(top) - 1)
    n_bins = max(int((np.minimum(_bin(high), _bin(top)) - base).max()) + 1, 2)
    above = _count_above(values, n_open, base, n_bins)
    low, high = _edges(above, base, left[:, None])
    leaving = values < np.repeat(low, n_open)
    tied = (values < np.repeat(high, n_open)) > leaving
    return open_.compress(leaving), open_.compress(tied)


def _count_above(values, n_entries, base, n_bins):
    """Return how many values of each row are in the last bin, the last two, and so on.

    The first bin, `base`, is left out. It has what is smaller, too.
    """
    bins = np.maximum(_bin(values), np.repeat(base, n_entries))
    shift = np.arange(len(base), dtype=np.int32) * np.int32(n_bins) - base
    bins += np.repeat(shift, n_entries)
    histogram = np.bincount(bins, minlength=len(base) * n_bins)
    return np.cumsum(histogram.reshape(-1, n_bins)[:, :0:-1], axis=1)


def _edges(above, base, room):
    """Return the bounds of the bin in which the room ends.

    Where there is room for all, these are the smallest number and the second bin.
    """
    full = above >= room
    ends = full[:, -1]
    last = base + np.where(ends, above.shape[1] - full.argmax(axis=1), 0)
    low = np.where(ends, _lower_edge(last), _TINY)
    return np.maximum(low, _TINY), _lower_edge(last + 1)


def _bin(values):
    return values.view(np.int32) >> _FINE


def _lost_ties(values, pointers, tied, surplus, a, b):
    """Return the positions of the `surplus` entries of each row that go.

    The `tied` entries compete: the larger ones stay, and of equal ones some, chosen by
    the numbers of the row.
    """
    starts = np.searchsorted(tied, pointers)
    n_tied = np.diff(starts)
    values = values.take(tied)
    # A prime above all counts of ties has no factor in common with any, so that
    # this numbers the ties of a row anew, from 0 to n_tied - 1.
    primes = _PRIMES[a % len(_PRIMES)]
    place = np.arange(len(tied)) - np.repeat(starts[:-1], n_tied)
    place *= np.repeat(primes, n_tied)
    place += np.repeat(b, n_tied)
    place %= np.repeat(n_tied, n_tied)
    highest = _per_row(np.maximum, values, starts)
    lowest = _per_row(np.minimum, values, starts)
    for row in np.flatnonzero((surplus > 0) & (highest > lowest)):
        entries = slice(starts[row], starts[row + 1])
        ranked = np.lexsort((place[entries], values[entries]))
        place[entries][ranked] = np.arange(n_tied[row])
    return tied.compress(place < np.repeat(surplus, n_tied))


def _join(whole, first, second, n_first):
    """Write the entries of each row that come first, and after them the others."""
    n_second = whole.shape[1] - n_first
    ends, others = np.cumsum(n_first).tolist(), np.cumsum(n_second).tolist()
    i = j = 0
    for row, n, end, other in zip(whole, n_first.tolist(), ends, others, strict=True):
        row[:n] = first[i:end]
        row[n:] = second[j:other]
        i, j = end, other


def _log1p(values):
    """Return log1p to the bits of the model's own program, which is PyTorch's."""
    logarithms = values.copy()  # which may be written to, as PyTorch asks for
    for start in range(0, len(values), _ALONE):
        torch.from_numpy(logarithms[start : start + _ALONE]).log1p_()
    return logarithms


def _lower_edge(bins):
    return (np.maximum(bins, 0).astype(np.int32) << _FINE).view(np.float32)


def _per_row(ufunc, values, pointers, dtype=None):
    """Reduce the values of each row; a row without entries gives 0."""
    rows = np.flatnonzero(np.diff(pointers))
    reduced = np.zeros(len(pointers) - 1, dtype or values.dtype)
    if len(rows):
        reduced[rows] = ufunc.reduceat(values, pointers[rows], dtype=dtype)
    return reduced


def _mix(x):
    """Scramble uint64: the finaliser of SplitMix64."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _prime_from(n):
    """Return the smallest prime that is at least `n`."""
    while any(n % divisor == 0 for divisor in range(2, int(n**0.5) + 1)):
        n += 1
    return n


# Steps that have no factor in common with a number of genes.
_PRIMES = np.array([_prime_from(10**6 + 10**4 * i) for i in range(512)])
