"""Turn cells into sentences of genes, as Arc's State Embedding model reads them."""

import numpy as np

# Cells that are tokenised together: few enough for the processor's cache.
_BLOCK = 64
# Values are binned by their float32 bits without the last 18: 32 bins an octave.
_FINE, _BINS = 18, 512
# A cell holds counts if a value is above the first, or if its values, taken for
# logarithms, stand for more counts than the second.
_MAX_LOG, _MAX_COUNTS = 35.0, 5e6
_TINY = np.float32(1e-45)  # the smallest positive one
_HUNDRED = np.float32(100.0)


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
            No entry twice.

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

        values, columns, pointers = _highest(values, columns, pointers, top, room)
        low, high = _cut(values, pointers, top, room)
        staying = values >= np.repeat(low, np.diff(pointers))
        a, b = self._order(values, columns, pointers, staying)
        n_kept = _per_row(np.add, staying.view(np.int8), pointers, np.int64)
        surplus = np.maximum(n_kept - room, 0)
        if surplus.any():
            lost = self._lost_ties(values, staying, pointers, high, surplus, a, b)
            staying[lost] = False
            n_kept -= surplus
        values, columns = np.compress(staying, values), np.compress(staying, columns)
        if n_kept.min() == room:
            tokens[:, 1:] = self._token_of.take(columns).reshape(n_rows, room)
            counts[:, 1:] = values.reshape(n_rows, room) / total * _HUNDRED
            return
        filled = np.arange(room) < n_kept[:, None]
        tokens[:, 1:][filled] = self._token_of[columns]
        shares = values / np.repeat(total, n_kept) * _HUNDRED
        counts[:, 1:][filled] = shares
        genes, rows = self._gene_of[columns], np.repeat(np.arange(n_rows), n_kept)
        if len(self._column_of) >= room:
            filler = self._draw_distinct(rows, genes, room - n_kept, a, b)
            counts[:, 1:][~filled] = np.repeat(uniform, room - n_kept)
        else:
            weights = np.repeat(uniform, len(self._column_of), axis=1)
            weights[rows, genes] = shares
            filler, rows = self._draw_repeated(weights, n_kept, a, b)
            counts[:, 1:][~filled] = weights[rows, filler]
        tokens[:, 1:][~filled] = self._token_of[self._column_of[filler]]

    def _logarithms(self, values, columns, pointers):
        """Return log1p of counts, zero for unmapped genes, and the largest of each row.

        Whether a cell holds counts is decided on all of its genes.
        """
        top = _per_row(np.maximum, values, pointers)
        finite = np.isfinite(top).all()
        if values.view(np.int32).min(initial=0) < 0:  # negative values, and -0.0
            finite &= np.isfinite(values).all()
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
            values = np.log1p(values)
        elif raw.any():
            values = np.where(entry_raw, np.log1p(values), values)
        if not self._all_mapped:
            values = values * self._is_mapped.take(columns)
        return values, _per_row(np.maximum, values, pointers)

    def _cls_values(self, values, columns, pointers):
        """Return the value of the gene whose count the first position carries."""
        found = np.zeros((len(pointers) - 1, 1), np.float32)
        entries = np.flatnonzero(columns == self._cls_column)
        found[np.searchsorted(pointers, entries, "right") - 1, 0] = values[entries]
        return found

    def _order(self, values, columns, pointers, staying):
        """Return two numbers for each row, made from its content and the seed."""
        # An odd number for each column, without a look-up.
        marks = columns.astype(np.uint32) * np.uint32(0x9E3779B2) | np.uint32(1)
        marks *= values.view(np.uint32)
        marks *= staying
        content = _per_row(np.add, marks, pointers, np.uint32)
        mixed = _mix(content.astype(np.uint64) ^ self._salt)
        b = (_mix(mixed) >> np.uint64(33)).astype(np.int64)
        return (mixed >> np.uint64(33)).astype(np.int64), b

    def _lost_ties(self, values, staying, pointers, high, surplus, a, b):
        """Return the positions of the `surplus` entries of each row that go.

        The entries below `high` compete: the larger ones stay, and of equal ones some,
        chosen by the numbers of the row.
        """
        high = np.where(surplus > 0, high, 0.0).astype(np.float32)
        tied = np.flatnonzero(staying & (values < np.repeat(high, np.diff(pointers))))
        starts = np.searchsorted(tied, pointers)
        n_tied, starts = np.diff(starts), starts[:-1]
        values = values[tied]
        # A prime above all counts of ties has no factor in common with any, so that
        # this numbers the ties of a row anew, from 0 to n_tied - 1.
        primes = _PRIMES[a % len(_PRIMES)]
        place = np.arange(len(tied)) - np.repeat(starts, n_tied)
        place *= np.repeat(primes, n_tied)
        place += np.repeat(b, n_tied)
        place %= np.repeat(n_tied, n_tied)
        rows = np.flatnonzero(surplus)
        spread = np.maximum.reduceat(values, starts[rows]) > np.minimum.reduceat(
            values, starts[rows]
        )
        for row in rows[spread]:
            entries = slice(starts[row], starts[row] + n_tied[row])
            ranked = np.lexsort((place[entries], values[entries]))
            place[entries][ranked] = np.arange(n_tied[row])
        return tied[place < np.repeat(surplus, n_tied)]

    def _draw_distinct(self, rows, genes, n_drawn, a, b):
        """Return genes that are not in the sentence, each once, row by row."""
        free = np.zeros((len(n_drawn), self._prime), bool)
        free[:, : len(self._column_of)] = True
        free[rows, genes] = False
        # Enough for what is taken and for the numbers that are no gene.
        step = np.arange(self.length - 1 + self._prime - len(self._column_of))
        step = step * (1 + a % (self._prime - 1))[:, None] + b[:, None]
        tried = self._shuffled[step % self._prime]
        free = np.take_along_axis(free, tried, axis=1)
        return tried[free & (np.cumsum(free, axis=1) <= n_drawn[:, None])]

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
    """Tell, for each row, whether its values are counts and not log1p of counts.

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


def share_mapped(blocks, is_mapped, count_scale):
    """Return the share of the counts on mapped genes, 1 if there are no counts.

    Parameters
    ----------
    blocks : list of csr_matrix of shape (n_cells, n_genes)
    is_mapped : ndarray of bool of shape (n_genes,)
    count_scale : {"auto", "raw", "log1p"}

    Returns
    -------
    share : float
    """
    mapped = total = 0.0
    for block in blocks:
        values = np.maximum(block.data.astype(np.float32), 0.0)
        top = _per_row(np.maximum, values, block.indptr)
        raw = holds_counts(values, block.indptr, top, count_scale)
        raw = np.repeat(raw, np.diff(block.indptr))
        counts = np.where(raw, values, np.expm1(np.minimum(values, _MAX_LOG)))
        mapped += float(counts[is_mapped[block.indices]].sum(dtype=np.float64))
        total += float(counts.sum(dtype=np.float64))
    return mapped / total if total > 0 else 1.0


def _highest(values, columns, pointers, top, room):
    """Leave out of each row entries that are surely too low for the sentence.

    Each eighth entry tells where to cut; that is quicker than to look at all of them
    and exact, since a row with too few entries left is taken whole.
    """
    sampled = (pointers + 7) // 8
    enough = int(1.1 * room / 8 + 3 * (room / 8) ** 0.5)
    low, _ = _cut(values[::8], sampled, top, enough)
    for _ in range(2):
        kept = np.flatnonzero(values >= np.repeat(low, np.diff(pointers)))
        starts = np.searchsorted(kept, pointers)
        few = (np.diff(starts) < room) & (low > _TINY)
        if not few.any():
            break
        low[few] = _TINY
    return values.take(kept), columns.take(kept), starts


def _cut(values, pointers, top, room):
    """Return two bounds of where the sentence of each row ends.

    The entries from `low` on are all positive ones, or enough for the sentence; what
    they are too many is among those below `high`.
    """
    n_entries = np.diff(pointers)
    n_rows = len(n_entries)
    base = (top.view(np.int32) >> _FINE) - (_BINS - 1)
    bins = values.view(np.int32) >> _FINE
    bins -= np.repeat(base, n_entries)
    np.maximum(bins, 0, out=bins)
    bins += np.repeat(np.arange(n_rows, dtype=np.int32) * _BINS, n_entries)
    histogram = np.bincount(bins, minlength=n_rows * _BINS).reshape(n_rows, _BINS)
    above = np.cumsum(histogram[:, :0:-1], axis=1) >= room
    ends = above[:, -1]
    last = np.where(ends, _BINS - 1 - above.argmax(axis=1), 0)
    low = _lower_edge(base + last)
    # The lowest bin also has what is smaller, and zeros.
    low[~ends] = _TINY
    return np.maximum(low, _TINY), _lower_edge(base + last + 1)


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
