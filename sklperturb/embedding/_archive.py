"""Read tensors and plain values from torch files without running what they ask for."""

import math
import sys
import zipfile
import zlib

import torch

from sklperturb.embedding._program import Inert, Name, follow
from sklperturb.files._reading import FileError, check_file, reading
from sklperturb.files._stored import member_places

_MOST_BYTES = 2**26  # of the pickle
_MOST_RECORDS = 500_000
_MOST_DIMENSIONS = 16
# How files of torch before 1.6 begin.
_OLD = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_DTYPES = {
    "BFloat16Storage": torch.bfloat16,
    "BoolStorage": torch.bool,
    "ByteStorage": torch.uint8,
    "CharStorage": torch.int8,
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "IntStorage": torch.int32,
    "LongStorage": torch.int64,
    "ShortStorage": torch.int16,
}


class Archive:
    """A file that `torch.save` wrote, its tensors mapped from the disk.

    Parameters
    ----------
    path : Path

    Attributes
    ----------
    content : object
        Tensors, containers and plain values; `Inert` objects in the place of others.

    Raises
    ------
    OSError
        If the file cannot be opened.
    FileError
        If it is not such a file, is damaged, or asks for a function or class that a
        checkpoint does not need. None of these is ever called.
    """

    def __init__(self, path):
        self.path = check_file(path, "checkpoint")
        self._storages, self._checksums = {}, {}
        with reading(path, "a checkpoint of torch 1.6 or later"):
            _refuse_old(path)
            self._records, program = _read_records(path)
            size = path.stat().st_size
            self._mapped = torch.UntypedStorage.from_file(str(path), False, size)
            self.content = follow(program, path, self._storage, _tensor)

    def check(self, tensors):
        """Compare the values of tensors with their checksums; others are passed over.

        Each record is read once. Opening does not do this: it reads no values.

        Raises
        ------
        FileError
            If values changed since they were written.
        """
        for tensor in tensors:
            storage = tensor.untyped_storage()
            expected = self._checksums.pop(storage.data_ptr(), None)
            if expected is not None:
                data = torch.empty(0, dtype=torch.uint8).set_(storage)
                if zlib.crc32(data.numpy()) != expected:
                    raise FileError(
                        f"{self.path} is damaged: values in it are not those that were "
                        "written (their checksum differs). Get the file again."
                    )

    def _storage(self, what, kind, key, _, length):
        """Return the values of a record, its data type and how many there are."""
        if what != "storage" or not (isinstance(kind, Name) and isinstance(key, str)):
            raise TypeError("a storage is of no known kind")
        if key in self._storages:
            return self._storages[key]
        dtype = _DTYPES.get(kind.removeprefix("torch."))
        if dtype is None:
            return Inert()
        start, stop, checksum = self._records[key]
        if length * dtype.itemsize != stop - start:
            raise ValueError("a tensor has another size than its record")
        values = self._mapped[start:stop]
        if length:
            self._checksums[values.data_ptr()] = checksum
        self._storages[key] = values, dtype, length
        return self._storages[key]


def _tensor(storage, offset, size, stride):
    """Return a view of a storage in which no value occurs twice."""
    if isinstance(storage, Inert):
        return storage
    values, dtype, length = storage
    numbers = offset, *size, *stride
    if any(type(number) is not int or number < 0 for number in numbers):
        raise ValueError("a tensor has a shape that is not of whole numbers")
    if len(size) > _MOST_DIMENSIONS:
        raise ValueError(f"a tensor has {len(size)} dimensions")
    last = sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    count = math.prod(size)
    if count > length or (count and offset + last >= length):
        raise ValueError("a tensor is larger than its record")
    if not count:  # no value, whatever the offset
        return torch.empty(size, dtype=dtype)
    return torch.empty(0, dtype=dtype).set_(values, offset, size, stride)


def _refuse_old(path):
    with open(path, "rb") as file:
        if file.read(len(_OLD)) == _OLD:
            raise FileError(
                f"{path} was written by torch before 1.6, as a pickle of another kind. "
                "If you trust it, open and save it again with a later torch."
            )


def _read_records(path):
    """Return where the tensors are and their checksums, by key, and the pickle."""
    with zipfile.ZipFile(path) as archive:
        infos = archive.infolist()
        if archive.comment or len(infos) > _MOST_RECORDS:
            raise ValueError("torch writes no such archive")
        places = member_places(path, infos, archive.start_dir)
        by_name = {info.filename: info for info in infos}
        programs = [name for name in by_name if name.endswith("/data.pkl")]
        if len(programs) != 1 or len(by_name) < len(infos):
            raise ValueError("it must have one data.pkl, and each record once")
        folder = programs[0].removesuffix("data.pkl")
        if f"{folder}constants.pkl" in by_name:
            raise ValueError("it is a program (TorchScript), not a checkpoint")
        order = f"{folder}byteorder"
        if order in by_name and archive.read(order) != sys.byteorder.encode():
            raise ValueError("it has another byte order than this machine")
        if by_name[programs[0]].file_size > _MOST_BYTES:
            raise ValueError(f"its data.pkl is larger than {_MOST_BYTES} bytes")
        program = archive.read(programs[0])
    folder = f"{folder}data/"
    records = {
        name.removeprefix(folder): (*places[name], info.CRC)
        for name, info in by_name.items()
        if name.startswith(folder)
    }
    return records, program
