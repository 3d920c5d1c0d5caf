"""Read arrays from .npz and .safetensors, without objects and within memory."""

import math
import sys
import zipfile

import numpy as np

from sklperturb.files._reading import FileError, check_file, reading, short

_MAX_BYTES = 2**34
# Arrays of zeros shrink a thousandfold, but are not worth gigabytes.
_MAX_RATIO, _FREE_BYTES = 50, 2**28
_MAX_HEADER = 2**26


def read_npz(path, names=None, *, max_bytes=_MAX_BYTES):
    """Read the arrays of a ``.npz`` file.

    Parameters
    ----------
    path : str or path-like
    names : sequence of str, default=None
        Arrays to read, which must be there; nothing else is unpacked. None reads all.
    max_bytes : int, default=2**34
        The most that they may take in memory.

    Returns
    -------
    arrays : dict of str to ndarray

    Raises
    ------
    OSError
        If the file does not exist or may not be read.
    FileError
        If it is no ``.npz`` file, is damaged, lacks an array, names one twice, holds
        objects, or unpacks to too much.
    """
    path = check_file(path)
    with reading(path, ".npz"), zipfile.ZipFile(path) as archive:
        members = _members(archive, path)
        wanted = list(members) if names is None else list(names)
        if absent := [name for name in wanted if name not in members]:
            raise FileError(
                f"{path} lacks the arrays {absent[:5]}; it has {short(list(members))}."
            )
        size = sum(members[name].file_size for name in wanted)
        packed = path.stat().st_size
        if size > min(max_bytes, max(_FREE_BYTES, _MAX_RATIO * packed)):
            raise FileError(
                f"{path} unpacks to {size / 2**30:.1f} GiB, too much for a file of "
                f"{packed / 2**20:.1f} MiB. If it is meant, write it with numpy.savez."
            )
        return {name: _read_member(archive, members[name], path) for name in wanted}


def _members(archive, path):
    members = {}
    for info in archive.infolist():
        name = info.filename.removesuffix(".npy")
        if name == info.filename:
            raise FileError(
                f"{path} holds {short(info.filename)}, which is no array; write the "
                "file with numpy.savez."
            )
        if name in members:
            raise FileError(f"{path} holds two arrays called {short(name)}.")
        members[name] = info
    return members


def _read_member(archive, info, path):
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise FileError(
            f"{path} is compressed in a way that NumPy does not use; write it with "
            "numpy.savez."
        )
    # A header could promise an array of any size, for which NumPy would make room.
    with archive.open(info) as file:
        version = np.lib.format.read_magic(file)
        readers = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }
        if version not in readers:
            raise FileError(
                f"{path}: array {short(info.filename)} has the format {version}; "
                "allowed are 1.0 and 2.0."
            )
        shape, _, dtype = readers[version](file)
        promised, left = math.prod(shape) * dtype.itemsize, info.file_size - file.tell()
    if dtype.hasobject:
        raise FileError(
            f"{path}: array {short(info.filename)} holds pickled objects, which are "
            "never read, since that could run any code."
        )
    if min(shape, default=0) < 0 or promised != left:
        raise FileError(
            f"{path}: array {short(info.filename)} of shape {shape} takes {promised} "
            f"bytes and has {left}; the file is damaged."
        )
    with archive.open(info) as file:
        array = np.lib.format.read_array(file, allow_pickle=False)
    is_text = dtype.kind == "U" and array.nbytes
    if is_text and _code_points(array).max() > sys.maxunicode:
        raise FileError(
            f"{path}: array {short(info.filename)} holds text of characters that do "
            "not exist; the file is damaged."
        )
    return array


def _code_points(text):
    """Return the numbers of the characters of an array of text."""
    text = np.ascontiguousarray(text)
    return text.view(np.dtype(np.uint32).newbyteorder(text.dtype.byteorder))


def read_safetensors(path):
    """Read the tensors and the metadata of a ``.safetensors`` file.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    tensors : dict of str to torch.Tensor
        As they are stored, bfloat16 among them.
    metadata : dict of str to str

    Raises
    ------
    OSError
        If the file does not exist or may not be read.
    FileError
        If it is no such file, or damaged.
    """
    from safetensors import safe_open

    path = check_file(path)
    with reading(path, "safetensors"):
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
        if length > _MAX_HEADER:
            raise FileError(
                f"{path} has a header of {length} bytes; it is damaged or no "
                ".safetensors file."
            )
        with safe_open(path, framework="pt") as file:  # NumPy has no bfloat16
            tensors = {name: file.get_tensor(name) for name in file.keys()}
            return tensors, file.metadata() or {}
