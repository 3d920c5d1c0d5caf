"""Read tensors and plain values from torch files without running what they ask for."""

import re
import sys
import threading
import zipfile
from collections import Counter

import torch

# What training programs leave in a checkpoint beside the weights. Nothing of it is
# imported: an inert stand-in takes the place of each class and function.
_INERT = re.compile(
    r"(lightning|lightning_fabric|omegaconf|pytorch_lightning|torchmetrics)\..+"
    r"|(state|typing|vci)\..+"
    r"|torch\.optim\..+"
    r"|builtins\.(bool|dict|float|frozenset|int|list|object|slice|str|tuple)"
    r"|collections\.(defaultdict|deque)"
    r"|copyreg\._reconstructor"
    r"|datetime\.(datetime|timedelta)"
    r"|numpy\.(dtype|ndarray)"
    r"|numpy\._?core\.multiarray\.(_reconstruct|scalar)"
    r"|pathlib\.(Path|PosixPath|PurePosixPath|WindowsPath)"
)
# Torch fills nothing but plain containers.
_CONTAINERS = {
    "AttributeDict": dict,
    "defaultdict": lambda *_: {},
    "deque": lambda *_: [],
}
# The names that torch accepts are those of the process.
_lock = threading.Lock()


class Inert:
    """Stands for an object of a pickled class that is not there; does nothing.

    Attributes
    ----------
    state : object
        What the pickle wanted to restore.
    """

    state = None

    def __init__(self, *args):
        pass

    def __setstate__(self, state):
        self.state = state


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
        # Where torch refuses, it advises to run what the file asks for.
        reason = error.__context__ or error
        raise ValueError(
            f"{path} cannot be read as a checkpoint of torch 1.6 or later: {reason!r}. "
            "It may be damaged or incomplete; download or copy it again."
        ) from reason


def _read(path):
    sizes = _record_sizes(path)
    with _lock:
        stand_ins = [(Inert, "inert")]
        for name in torch.serialization.get_unsafe_globals_in_checkpoint(path):
            if not _INERT.fullmatch(name):
                raise ValueError(
                    f"{path} asks for {name}, which no checkpoint needs. Nothing of it "
                    "was run. Do not open this file with other programs."
                )
            stand_ins.append((_CONTAINERS.get(name.rpartition(".")[2], Inert), name))
        with torch.serialization.safe_globals(stand_ins):
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    storages = {s.data_ptr(): s.nbytes() for s in _storages(content)}
    if Counter(storages.values()) - sizes:
        raise ValueError("a tensor has another size than its record")
    return content


def _record_sizes(path):
    """Return the sizes of the records, which torch maps without looking at them."""
    with zipfile.ZipFile(path) as archive:
        records = archive.infolist()
        if any(record.compress_type != zipfile.ZIP_STORED for record in records):
            raise ValueError("its tensors are compressed")
        for record in records:
            if record.filename.endswith("/byteorder"):
                if archive.read(record) != sys.byteorder.encode():
                    raise ValueError("it has another byte order than this machine")
        return Counter(record.file_size for record in records)


def _storages(content):
    """Yield the storages of the tensors in dictionaries."""
    if isinstance(content, torch.Tensor):
        yield content.untyped_storage()
    elif isinstance(content, dict):
        for value in content.values():
            yield from _storages(value)
