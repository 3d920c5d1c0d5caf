"""The arrays of a model file, in the layout of safetensors.

They are written from where they are and read to where they stay. The functions of
safetensors make a whole member of them first, and each such copy of a model takes
longer than its file does.
"""

import json
import math

import numpy as np

from sklperturb.files._documents import parse_json
from sklperturb.files._reading import FileError, short

# Bytes that are written or read at once: they are still near when they are hashed.
BLOCK = 2**20
# The lowest byte comes first, on whatever machine.
_DTYPES = {
    "BOOL": np.dtype("?"),
    "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
    "I16": np.dtype("<i2"),
    "U16": np.dtype("<u2"),
    "F16": np.dtype("<f2"),
    "I32": np.dtype("<i4"),
    "U32": np.dtype("<u4"),
    "F32": np.dtype("<f4"),
    "I64": np.dtype("<i8"),
    "U64": np.dtype("<u8"),
    "F64": np.dtype("<f8"),
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_HEADER_BYTES = 8  # of the number of bytes that the header has
_MOST_HEADER = 2**26


class StoredArrays:
    """Arrays as they are written.

    Parameters
    ----------
    arrays : dict of str to ndarray
        Contiguous numbers, or true and false.
    """

    def __init__(self, arrays):
        # Wide ones first, so that each begins at a multiple of its width.
        found = sorted(arrays.items(), key=lambda item: -item[1].itemsize)
        self._arrays, described, stop = [], {}, 0
        for name, array in found:
            array = array.astype(array.dtype.newbyteorder("<"), copy=False)
            self._arrays.append(array)
            start, stop = stop, stop + array.nbytes
            described[name] = {
                "dtype": _NAMES[array.dtype],
                "shape": list(array.shape),
                "data_offsets": [start, stop],
            }
        header = json.dumps(described, separators=(",", ":")).encode("ascii")
        header += b" " * (-len(header) % 8)
        self._header = len(header).to_bytes(_HEADER_BYTES, "little") + header
        self._size = len(self._header) + stop

    def __len__(self):
        return self._size

    def blocks(self):
        """Yield the bytes, some at a time."""
        yield self._header
        for array in self._arrays:
            data = _bytes_of(array)
            for start in range(0, len(data), BLOCK):
                yield data[start : start + BLOCK]


def read_arrays(file, size, path):
    """Read arrays from an open member.

    Parameters
    ----------
    file : object with ``readinto``
    size : int
        Bytes of the member.
    path : Path
        Of the model file, for messages.

    Returns
    -------
    arrays : dict of str to ndarray
        Each with memory of its own.

    Raises
    ------
    FileError
        If what is said of the arrays is not what is there.
    """
    length = int.from_bytes(_read(file, min(size, _HEADER_BYTES)), "little")
    if length > min(size - _HEADER_BYTES, _MOST_HEADER):
        _refuse(path, f"a header of {length} bytes in {size}")
    described = parse_json(_read(file, length).decode("utf-8"), path)
    if not isinstance(described, dict):
        _refuse(path, f"{short(described)} where arrays are described")
    arrays, stop = {}, 0
    for name, about in described.items():
        array, stop = _empty(name, about, stop, size - _HEADER_BYTES - length, path)
        _fill(file, array)
        if array.dtype == bool and (array.view(np.uint8) > 1).any():
            _refuse(path, f"array {short(name)} of other values than true and false")
        arrays[name] = array
    if stop != size - _HEADER_BYTES - length:
        _refuse(path, f"{size - _HEADER_BYTES - length - stop} bytes of no array")
    return arrays


def _empty(name, about, start, end, path):
    """Return an array to fill, and where it ends; `start` is where the last one did."""
    if not isinstance(about, dict) or about.keys() != {
        "dtype",
        "shape",
        "data_offsets",
    }:
        _refuse(path, f"array {short(name)} that is described by {short(about)}")
    kind, shape, offsets = about["dtype"], about["shape"], about["data_offsets"]
    fits = isinstance(kind, str) and kind in _DTYPES and isinstance(shape, list)
    if not fits or not all(type(n) is int and n >= 0 for n in shape):
        _refuse(path, f"array {short(name)} of {short(kind)} and shape {short(shape)}")
    stop = start + math.prod(shape) * _DTYPES[kind].itemsize
    if offsets != [start, stop] or stop > end:
        _refuse(path, f"array {short(name)} at {short(offsets)}, not {[start, stop]}")
    return np.empty(shape, _DTYPES[kind]), stop


def _bytes_of(array):
    return memoryview(array.reshape(-1).view(np.uint8))


def _fill(file, array):
    data = _bytes_of(array)
    for start in range(0, len(data), BLOCK):
        block = data[start : start + BLOCK]
        if file.readinto(block) != len(block):
            raise EOFError("it ends within an array")


def _read(file, size):
    data = np.empty(size, np.uint8)
    _fill(file, data)
    return data.tobytes()


def _refuse(path, what):
    raise FileError(
        f"{path} is damaged or was changed: it has {what}. Get the file again, or make "
        "it again."
    )
