"""Send a matrix of cells to another process: what is on disk is opened there again."""

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sklperturb.cells._blocks import LazyMatrix, on_disk
from sklperturb.files._store_checks import path_of
from sklperturb.files._stores import close_store, open_store, stored_element


@dataclass(frozen=True)
class _Place:
    """Where a matrix is on disk."""

    path: Path
    name: str


def portable(matrix):
    """Return a matrix as it can be sent: of what is on disk, where it is.

    Parameters
    ----------
    matrix : ndarray, sparse matrix, LazyMatrix or data set on disk
    """
    if isinstance(matrix, LazyMatrix):
        return matrix.of(portable(matrix.stored))
    if not on_disk(matrix):
        return matrix
    name = getattr(matrix, "group", matrix).name
    return _Place(path_of(matrix).resolve(), name.strip("/"))


@contextmanager
def opened_again(matrices):
    """Open what `portable` gave, for a with statement.

    Yields
    ------
    matrices : list
    """
    with ExitStack() as files:
        yield [_open(matrix, files) for matrix in matrices]


def _open(matrix, files):
    if isinstance(matrix, LazyMatrix):
        return matrix.of(_open(matrix.stored, files))
    if not isinstance(matrix, _Place):
        return matrix
    store = open_store(matrix.path)
    files.callback(close_store, store)
    return stored_element(store[matrix.name])
