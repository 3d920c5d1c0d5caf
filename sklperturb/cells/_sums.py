"""Add up the rows of each group, a block of the matrix at a time."""

import numpy as np
from scipy import sparse

from sklperturb.utils._progress import ProgressBar

# Values of a block that is read at once: 32 MiB of float64.
_BLOCK_VALUES = 2**22
# A block of sparse rows holds about this share of values.
_DENSITY = 0.25


def sum_by_group(matrix, codes, n_groups, chunk_size=None):
    """Return the (n_groups, n_genes) sums of rows with the same code.

    Parameters
    ----------
    matrix : sparse matrix, ndarray, or one of these in a file
    codes : ndarray of shape (n_cells,)
        -1 for rows that are left out.
    n_groups : int
    chunk_size : int, default=None
        Rows to read at once (columns, if the matrix is stored by column). By default
        as many as need some 100 MB.
    """
    n_cells, n_genes = matrix.shape
    sums = np.zeros((n_groups, n_genes))
    by_column = getattr(matrix, "format", None) == "csc"
    length, width = (n_genes, n_cells) if by_column else (n_cells, n_genes)
    if chunk_size is None:
        is_sparse = hasattr(matrix, "format")
        values = _BLOCK_VALUES / (_DENSITY if is_sparse else 1)
        chunk_size = max(1, int(values // max(width, 1)))
    order = None
    if sparse.issparse(matrix) and not by_column:
        # In memory, rows may be taken group by group: a block then has few groups.
        order = np.argsort(codes, kind="stable")
    starts = range(0, length, chunk_size)
    with ProgressBar(len(starts) if len(starts) > 1 else 0, "Pseudobulk") as progress:
        for start in starts:
            part = slice(start, start + chunk_size)
            if by_column:
                groups, added = _add_up(matrix[:, part], codes)
                sums[groups, part] = added
            else:
                rows = part if order is None else order[part]
                groups, added = _add_up(matrix[rows], codes[rows])
                sums[groups] += added
            progress.advance()
    return sums


def _add_up(block, codes):
    """Return the codes that are present, and the sums of their rows."""
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
