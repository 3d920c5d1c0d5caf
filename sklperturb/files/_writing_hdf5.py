"""Write HDF5 files such that a full disk is an error like any other."""

from contextlib import contextmanager, suppress

# Bytes of what HDF5 writes and may read again: its own notes, and not the values.
_LARGEST_NOTE = 2**16


@contextmanager
def created_hdf5(path):
    """Yield a new HDF5 file that is open for writing.

    Parameters
    ----------
    path : Path

    Raises
    ------
    OSError
        If it cannot be written whole; at the end of the block at the latest.
    """
    import h5py

    with open(path, "w+b", buffering=0) as raw:
        kept = _Patient(raw)
        with h5py.File(kept, "w") as file:
            yield file
        kept.check()


def write_h5ad(path, cells, compression=None):
    """Write an AnnData as an .h5ad file.

    Parameters
    ----------
    path : Path
    cells : AnnData
        As `AnnData.write_h5ad` does, its columns of text become categories.
    compression : {"gzip", "lzf"}, default=None
    """
    with created_hdf5(path) as file:
        put_cells(file, cells, compression)


def put_cells(file, cells, compression=None):
    """Write an AnnData into an empty file, as `AnnData.write_h5ad` does."""
    from anndata.io import write_elem

    cells.strings_to_categoricals()
    options = {} if compression is None else {"compression": compression}
    write_elem(file, "/", cells, dataset_kwargs=options)
    if cells.raw is None:
        del file["raw"]  # a mark of nothing, which older versions cannot read


class _Patient:
    """A file that takes what there is no room for, and tells at the end.

    HDF5 cannot go on from a write that fails: it tries again whenever the file or a
    part of it is let go, and ends the process. So it never hears of it.

    Parameters
    ----------
    raw : io.FileIO
    """

    def __init__(self, raw):
        self._raw = raw
        self._error = None
        self._at = 0
        self._lost = {}  # notes by their place

    def check(self):
        """Raise the first error that writing has met."""
        if self._error is not None:
            raise self._error

    def write(self, content):
        if self._error is None:
            try:
                self._raw.seek(self._at)
                left = memoryview(content)
                while len(left):
                    left = left[self._raw.write(left) :]
            except OSError as error:
                self._error = error
        if self._error is not None and len(content) <= _LARGEST_NOTE:
            self._lost[self._at] = bytes(content)
        self._at += len(content)
        return len(content)

    def read(self, size):
        content = self._lost.get(self._at, b"")[:size]
        if len(content) < size:
            self._raw.seek(self._at)
            content = self._raw.read(size).ljust(size, b"\0")
        self._at += size
        return content

    def seek(self, offset, whence=0):
        self._at = offset if whence == 0 else self._raw.seek(offset, whence)
        return self._at

    def tell(self):
        return self._at

    def truncate(self, size):
        if self._error is None:
            try:
                self._raw.truncate(size)
            except OSError as error:
                self._error = error
        return size

    def flush(self):
        with suppress(OSError):
            self._raw.flush()
