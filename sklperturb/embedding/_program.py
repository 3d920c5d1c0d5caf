"""Follow the few instructions of a checkpoint's pickle, without calling anything.

Torch's own restricted unpickler runs no code either, but does as it is told: it makes a
bytearray of any size, hashes keys of any depth, and repeats a text without end. Here
each instruction makes at most one object, and what is made takes memory in proportion
to the file.
"""

import pickletools
import re
from itertools import islice

from sklperturb.files._reading import FileError, short

_MOST_INSTRUCTIONS = 4_000_000  # a vocabulary of 20,000 genes takes 700,000
# What training programs leave in a checkpoint beside the weights. Nothing of it is
# imported: an inert stand-in takes the place of each class and function.
_KNOWN = re.compile(
    r"(lightning|lightning_fabric|omegaconf|pytorch_lightning|torchmetrics)\..+"
    r"|(state|typing|vci)\..+"
    r"|torch\.(_utils\._rebuild_\w+|_tensor\._rebuild_from_type_v2|optim\..+)"
    r"|torch\.(nn\.parameter\.Parameter|serialization\._get_layout)"
    r"|torch\.(cuda\.|storage\.)?\w*(Storage|Tensor)"
    r"|torch\.(Size|device|dtype|(b?float|complex|u?int)\d\w*|bool)"
    r"|_codecs\.encode"
    r"|builtins\.(bool|complex|dict|float|frozenset|int|list|object|set|slice)"
    r"|builtins\.(str|tuple)"
    r"|collections\.(Counter|OrderedDict|defaultdict|deque)"
    r"|copyreg\._reconstructor"
    r"|datetime\.(datetime|timedelta)"
    r"|numpy\.(dtype|ndarray)"
    r"|numpy\._?core\.multiarray\.(_reconstruct|scalar)"
    r"|pathlib\.(Path|PosixPath|PurePosixPath|WindowsPath)"
)
_OLD_MODULES = {"__builtin__": "builtins", "copy_reg": "copyreg"}
_CONTAINERS = {
    "AttributeDict": dict,
    "Counter": dict,
    "OrderedDict": dict,
    "defaultdict": dict,
    "deque": list,
}
_VALUES = {"BINFLOAT", "BININT", "BININT1", "BININT2", "BINUNICODE", "LONG1"}
_CONSTANTS = {"EMPTY_TUPLE": (), "NEWFALSE": False, "NEWTRUE": True, "NONE": None}
_EMPTY = {"EMPTY_DICT": dict, "EMPTY_LIST": list}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class Inert:
    """Stands for an object of a pickled class that is not there; does nothing.

    Attributes
    ----------
    state : object
        What the pickle wanted to restore.
    """

    state = None


class Name(str):
    """The name of a class or function, as distinct from a text."""


def follow(data, path, storage, tensor):
    """Return what a pickle describes, of protocol 2, which torch writes.

    Parameters
    ----------
    data : bytes
    path : Path
        Where it is from, for messages.
    storage : callable
        ``storage(*key)`` returns what the pickle knows by this key.
    tensor : callable
        ``tensor(storage, offset, size, stride)`` returns a tensor.

    Returns
    -------
    content : object
        Tensors, dictionaries, lists, tuples and plain values; `Inert` objects in the
        place of others.

    Raises
    ------
    FileError
        If it asks for a function or class that no checkpoint needs.
    ValueError
        If it has other instructions or too many, or names something twice.
    LookupError, TypeError
        If its instructions make no sense.
    """
    stack, marks, memo, names = [], [], {}, {}

    def pop_marked():
        start = marks.pop()
        items = stack[start:]
        del stack[start:]
        return items

    for code, arg, _ in islice(pickletools.genops(data), _MOST_INSTRUCTIONS):
        code = code.name
        if code in _VALUES:
            if code == "BINUNICODE" and not arg.isascii():
                arg.encode()  # raises where it is half of a character
            stack.append(arg)
        elif code in ("BINPUT", "LONG_BINPUT"):
            memo[arg] = stack[-1]
        elif code in ("BINGET", "LONG_BINGET"):
            stack.append(memo[arg])
        elif code in _CONSTANTS:
            stack.append(_CONSTANTS[code])
        elif code in _EMPTY:
            stack.append(_EMPTY[code]())
        elif code == "MARK":
            marks.append(len(stack))
        elif code == "TUPLE":
            stack.append(tuple(pop_marked()))
        elif code in _TUPLES:
            stack[-_TUPLES[code] :] = [tuple(stack[-_TUPLES[code] :])]
        elif code in ("REDUCE", "NEWOBJ"):
            args = stack.pop()
            stack[-1] = _make(stack[-1], args, tensor)
        elif code == "BINPERSID":
            stack[-1] = storage(*stack[-1])
        elif code == "GLOBAL":
            if arg not in names:
                names[arg] = _known(arg, path)
            stack.append(names[arg])
        elif code == "SETITEM":
            value, key = stack.pop(), stack.pop()
            _fill(stack[-1], [key], [value])
        elif code == "SETITEMS":
            items = pop_marked()
            _fill(stack[-1], items[::2], items[1::2])
        elif code in ("APPEND", "APPENDS"):
            items = [stack.pop()] if code == "APPEND" else pop_marked()
            if isinstance(stack[-1], list):
                stack[-1].extend(items)
        elif code == "BUILD":
            state = stack.pop()
            if isinstance(stack[-1], Inert):
                stack[-1].state = state
        elif code == "STOP":
            return stack.pop()
        elif code != "PROTO":
            raise ValueError(f"it has the instruction {code}, which torch never writes")
    raise ValueError(f"it has more than {_MOST_INSTRUCTIONS} instructions")


def _known(arg, path):
    """Return the name of a class or function, if a checkpoint may have it."""
    module, _, attribute = arg.partition(" ")
    name = f"{_OLD_MODULES.get(module, module)}.{attribute}"
    if not _KNOWN.fullmatch(name):
        raise FileError(
            f"{path} asks for {short(name)}, which no checkpoint needs. Nothing of it "
            "was run. Do not open this file with other programs."
        )
    return Name(name)


def _make(name, args, tensor):
    """Return a tensor, an empty container, or the stand-in of anything else."""
    if not isinstance(name, Name):
        raise TypeError(f"{short(name)} is called")
    function = name.rpartition(".")[2]
    if function == "_rebuild_tensor_v2":
        return tensor(*args[:4])
    if function in ("_rebuild_parameter", "_rebuild_parameter_with_state"):
        return args[0]
    return _CONTAINERS.get(function, Inert)()


def _fill(target, keys, values):
    """Put items into a dictionary; those of a stand-in are of no interest."""
    if isinstance(target, Inert):
        return
    if not isinstance(target, dict):
        raise TypeError(f"{type(target).__name__} is filled")
    for key, value in zip(keys, values, strict=True):
        if isinstance(key, str):
            if key in target:
                raise ValueError(f"it names {short(key)} twice")
        elif not (isinstance(key, int) and abs(key) < 2**31):
            key = Inert()  # a tuple of tuples, or numbers of one hash, take forever
        target[key] = value
