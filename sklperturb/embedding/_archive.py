"""Read tensors and plain values from torch files without running what they ask for."""

import collections
import io
import mmap
import pickle
import sys
import zipfile

import numpy as np

_STORAGES = {
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}
# What training programs leave in a checkpoint beside the weights. Of these modules
# nothing is imported: an inert stand-in takes the place of each class and function.
_INERT_MODULES = {
    "lightning",
    "lightning_fabric",
    "omegaconf",
    "pytorch_lightning",
    "state",
    "typing",
    "vci",
}
_INERT = {
    ("_codecs", "encode"),
    ("collections", "Counter"),
    ("collections", "defaultdict"),
    ("collections", "deque"),
    ("copyreg", "_reconstructor"),
    ("datetime", "datetime"),
    ("datetime", "timedelta"),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("pathlib", "Path"),
    ("pathlib", "PosixPath"),
    ("pathlib", "PurePosixPath"),
    ("pathlib", "WindowsPath"),
    ("torch", "Size"),
    ("torch", "device"),
    ("torch.serialization", "_get_layout"),
    *(
        (module, name)
        for module in ("numpy.core.multiarray", "numpy._core.multiarray")
        for name in ("_reconstruct", "scalar")
    ),
}
_INERT_PACKAGES = ("torch.optim.", "torchmetrics.")
_PLAIN_BUILTINS = {
    "bool": bool,
    "bytearray": bytearray,
    "complex": complex,
    "dict": dict,
    "float": float,
    "frozenset": frozenset,
    "int": int,
    "list": list,
    "object": None,
    "set": set,
    "slice": None,
    "str": str,
    "tuple": tuple,
}


class Inert:
    """Stands for an object of a pickled class that is not there; does nothing.

    Attributes
    ----------
    asked_for : str
        Name of the class or function.
    state : object
        What the pickle wanted to restore.
    """

    asked_for = ""
    state = None

    def __new__(cls, *args, **kwargs):
        return object.__new__(cls)

    def __init__(self, *args, **kwargs):
        pass

    def __setstate__(self, state):
        self.state = state

    def __setitem__(self, key, value):
        pass

    def append(self, item):
        pass

    def extend(self, items):
        pass

    def add(self, item):
        pass


def read_archive(path):
    """Read a file that `torch.save` wrote, its tensors mapped from the disk.

    Parameters
    ----------
    path : Path

    Returns
    -------
    content : object
        Tensors, containers and plain values; `Inert` objects in the place of others.

    Raises
    ------
    ValueError
        If the file is not such a file, is damaged, or asks for a function or class
        that a checkpoint does not need. None of these is ever called.
    """
    try:
        return _read(path)
    except OSError:
        raise
    except Exception as error:
        if isinstance(error, ValueError) and str(path) in str(error):
            raise
        raise ValueError(
            f"{path} cannot be read as a torch checkpoint: {error}. It may be "
            "damaged or incomplete; download or copy it again."
        ) from error


def _read(path):
    if not zipfile.is_zipfile(path):
        raise ValueError(
            f"{path} is not a file of torch.save, or its end is missing. A checkpoint "
            "is a .ckpt, .pt or .safetensors file, or a folder with one; files of "
            "torch before 1.6 have to be saved again."
        )
    with zipfile.ZipFile(path) as archive:
        records = {info.filename: info for info in archive.infolist()}
        pickles = [name for name in records if name.endswith("/data.pkl")]
        if len(pickles) != 1 or pickles[0].count("/") != 1:
            raise ValueError(f"{path} is a zip file, but not one of torch.save.")
        folder = pickles[0].removesuffix("data.pkl")
        if folder + "constants.pkl" in records:
            raise ValueError(f"{path} holds a TorchScript program, not weights.")
        order = folder + "byteorder"
        if order in records and archive.read(order).decode("ascii") != sys.byteorder:
            raise ValueError(f"{path} has another byte order than this machine.")
        program = archive.read(pickles[0])
    with path.open("rb") as file:
        # Private: a program may write to its copy, and the file stays as it is.
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    return _Unpickler(path, program, _Storages(data, records, folder)).load()


class _Storages:
    """Flat tensors over the records of an uncompressed zip file."""

    def __init__(self, data, records, folder):
        self._data, self._records, self._folder = data, records, folder
        self._made = {}

    def __getitem__(self, identity):
        import torch

        kind, storage, key, _, n_items = identity
        if kind != "storage" or not isinstance(storage, _StorageType):
            raise ValueError("it refers to something else than tensors")
        if key not in self._made:
            info = self._records[f"{self._folder}data/{key}"]
            if info.compress_type != zipfile.ZIP_STORED:
                raise ValueError("its tensors are compressed")
            header = info.header_offset
            name_size, extra_size = np.frombuffer(self._data, "<u2", 2, header + 26)
            start = header + 30 + int(name_size) + int(extra_size)
            dtype = getattr(torch, storage.dtype)
            if start + info.file_size > len(self._data):
                raise ValueError("a tensor goes beyond the end of the file")
            if n_items * dtype.itemsize != info.file_size:
                raise ValueError("a tensor has another size than its record")
            self._made[key] = (
                torch.frombuffer(self._data, dtype=dtype, count=n_items, offset=start)
                if n_items
                else torch.empty(0, dtype=dtype)
            )
        return self._made[key]


class _StorageType:
    def __init__(self, dtype):
        self.dtype = dtype


class _Unpickler(pickle.Unpickler):
    """Knows tensors and plain containers, and refuses or stubs all else."""

    def __init__(self, path, program, storages):
        super().__init__(io.BytesIO(program))
        self._path, self._storages = path, storages
        self._inert = {}

    def persistent_load(self, identity):
        return self._storages[identity]

    def find_class(self, module, name):
        if module == "torch" and name in _STORAGES:
            return _StorageType(_STORAGES[name])
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild_tensor
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return _rebuild_parameter
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if module in ("builtins", "__builtin__") and _PLAIN_BUILTINS.get(name):
            return _PLAIN_BUILTINS[name]
        harmless = (
            module.partition(".")[0] in _INERT_MODULES
            or (module, name) in _INERT
            or module.startswith(_INERT_PACKAGES)
            or (module in ("builtins", "__builtin__") and name in _PLAIN_BUILTINS)
            or (module == "torch" and "." not in name and name in _DTYPES)
        )
        if not harmless:
            raise ValueError(
                f"{self._path} asks for {module}.{name}, which no checkpoint needs. "
                "Nothing of it was run. Do not open this file with other programs."
            )
        asked_for = f"{module}.{name}"
        if asked_for not in self._inert:
            self._inert[asked_for] = type("Inert", (Inert,), {"asked_for": asked_for})
        return self._inert[asked_for]


_DTYPES = {*_STORAGES.values(), "half", "float", "double", "long", "int"}


def _rebuild_tensor(storage, offset, size, stride, *_):
    return storage.as_strided(size, stride, offset)


def _rebuild_parameter(tensor, *_):
    return tensor
