"""Add up or average the rows of each group, a block of the matrix at a time."""

import numpy as np
from scipy import sparse

from sklperturb.cells._blocks import by_row, columns_of, rows_of
from sklperturb.cells._cells import open_cells
from sklperturb.cells._checks import sums_allowed
from sklperturb.cells._counts import log_normalise
from sklperturb.utils._progress import ProgressBar

# Values of a block that is read at once: 32 MiB of float64. Rows that are gathered in
# memory are worked on several times, and stay in the cache if they are fewer.
_BLOCK_VALUES, _CACHED_VALUES = 2**22, 2**18
# A block of sparse rows holds about this share of values.
_DENSITY = 0.25


def sum_by_group(cells, codes, n_groups, *, target_sum=None, chunk_size=None):
    """Add up the cells of each group, in one pass.

    Parameters
    ----------
    cells : AnnData, DataFrame, array-like, sparse matrix, str or path-like
        Cells by genes, in memory or in a file.
    codes : ndarray of int of shape (n_cells,)
        Group of each cell, from 0; -1 for cells that are left out.
    n_groups : int
    target_sum : float, default=None
        Scale each cell to this sum and take log(1 + x) first.
    chunk_size : int, default=None
        Cells to read at once (genes, if the matrix is stored by column). By default as
        many as need some 100 MB.

    Returns
    -------
    sums : ndarray of shape (n_groups, n_genes)

    Raises
    ------
    ValueError
        If a value is not finite or, where cells are scaled, negative.

    See Also
    --------
    mean_by_group : Their means.
    sklperturb.signatures.pseudobulk : Groups by columns of `obs`.

    Examples
    --------
    >>> import numpy as np
    >>> from sklperturb.cells import sum_by_group
    >>> cells = [[1, 0], [2, 5], [3, 1]]
    >>> sum_by_group(cells, np.array([0, 1, 0]), 2).tolist()
    [[4.0, 1.0], [2.0, 5.0]]
    """
    with open_cells(cells) as opened:
        opened.needs = opened.needs or _needed(target_sum)
        matrix = opened.matrix
        by_column = getattr(matrix, "format", None) == "csc" and target_sum is None
        if not by_column:
            matrix = by_row(matrix, opened.source)
        length, width = matrix.shape[::-1] if by_column else matrix.shape
        order, size = None, _BLOCK_VALUES
        if sparse.issparse(matrix) and not by_column:
            # In memory, rows may be taken group by group: a block then has few groups.
            order, size = np.argsort(codes, kind="stable"), _CACHED_VALUES
        if chunk_size is None:
            density = _DENSITY if hasattr(matrix, "format") else 1
            chunk_size = max(1, int(size / density // max(width, 1)))
        sums = np.zeros((n_groups, matrix.shape[1]))
        starts = range(0, length, chunk_size)
        with ProgressBar(len(starts) if len(starts) > 1 else 0, "Sums") as progress:
            for start in starts:
                part = slice(start, start + chunk_size)
                if by_column:
                    block = columns_of(matrix, part)
                    opened.check(block, columns=part)
                    groups, added = add_up(block, codes)
                    sums[groups, part] = added
                else:
                    rows = part if order is None else order[part]
                    block, kinds = rows_of(matrix, rows), codes[rows]
                    if target_sum is not None:
                        opened.check(block, rows)
                    groups, added = add_up(log_normalise(block, target_sum), kinds)
                    if target_sum is None and not (
                        kinds.min(initial=0) >= 0
                        and sums_allowed(block, added, opened.needs)
                    ):
                        opened.check(block, rows)
                    del block  # which would live while the next is read
                    sums[groups] += added
                progress.advance()
    return sums


def mean_by_group(cells, codes, n_groups, *, target_sum=None):
    """Average the cells of each group, in one pass.

    Parameters
    ----------
    cells : AnnData, DataFrame, array-like, sparse matrix, str or path-like
        Cells by genes, in memory or in a file.
    codes : ndarray of int of shape (n_cells,)
        Group of each cell, from 0; -1 for cells that are left out.
    n_groups : int
    target_sum : float, default=None
        Scale each cell to this sum and take log(1 + x) first.

    Returns
    -------
    means : ndarray of shape (n_groups, n_genes)
        Zero for a group without cells.
    sizes : ndarray of int of shape (n_groups,)
        Cells of each group.

    Raises
    ------
    ValueError
        If a value is not finite or, where cells are scaled, negative.

    Examples
    --------
    >>> import numpy as np
    >>> from sklperturb.cells import mean_by_group
    >>> means, sizes = mean_by_group([[1, 0], [2, 5], [3, 1]], np.array([0, 1, 0]), 2)
    >>> means.tolist(), sizes.tolist()
    ([[2.0, 0.5], [2.0, 5.0]], [2, 1])
    """
    sums = sum_by_group(cells, codes, n_groups, target_sum=target_sum)
    sizes = np.bincount(codes[codes >= 0], minlength=n_groups)
    return sums / np.maximum(sizes, 1)[:, None], sizes


def _needed(target_sum):
    """Return what values must be; only counts are scaled to a depth."""
    return "finite" if target_sum is None else "counts"


def add_up(block, codes):
    """Return the codes that are present, -1 aside, and the sums of their rows."""
    rows = np.argsort(codes, kind="stable")
    rows = rows[codes[rows] >= 0]
    groups, sizes = np.unique(codes[rows], return_counts=True)
    ends = np.concatenate([[0], np.cumsum(sizes)])
    if not sparse.issparse(block):
        member = sparse.csr_array(
            (np.ones(len(rows)), rows, ends), shape=(len(groups), len(codes))
        )
        return groups, member @ np.asarray(block)
    block = block.tocsr()
    if not np.array_equal(rows, np.arange(len(codes))):
        block = block[rows]
    # Rows of one group, joined to a single row, hold a gene several times; making it
    # dense adds these up. Twice as fast as a product, which looks for the genes first.
    data = block.data.astype(np.float64)
    joined = sparse.csr_array(
        (data, block.indices, block.indptr[ends]), shape=(len(groups), block.shape[1])
    )
    return groups, joined.toarray()
