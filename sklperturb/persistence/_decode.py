"""An estimator of what `_encode` made of it; nothing that a file says is run."""

import copy
import inspect
import math
import re
from dataclasses import fields, is_dataclass
from functools import cache
from itertools import pairwise

import numpy as np
from sklearn.metrics import check_scoring, make_scorer
from sklearn.utils import Bunch

from sklperturb.files._reading import FileError, short
from sklperturb.persistence._boosters import make_booster
from sklperturb.persistence._checks import (
    Budget,
    check_fitted,
    check_keys,
    check_position,
    fewer_jobs,
)
from sklperturb.persistence._classes import (
    LEFT_OUT,
    RESET,
    class_of,
    function_of,
    functions_of,
)
from sklperturb.persistence._encode import ATTRIBUTE, KIND
from sklperturb.persistence._tables import TableDecoder
from sklperturb.persistence._trees import check_widths, make_tree

_DEEPEST = 150  # objects within objects
# NumPy would parse more, some of it as Python.
_DTYPE = re.compile(r"[<>|=]?[a-zA-Z][0-9]{0,2}(\[[0-9]{0,4}[a-zA-Z]{1,2}\])?")
_TEXT_DTYPE = re.compile(r"[<>|=]?U[0-9]{1,9}")
_TYPES = {"float": float, "int": int, "bool": bool, "str": str, "object": object}
_BITS = ("MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64")


class Decoder(TableDecoder):
    """Make the objects of a file.

    Parameters
    ----------
    path : Path
        For messages.
    arrays : dict of str to ndarray
    texts : dict of str to str
        Boosted trees, by name.
    trusted : collection of str
        Names of foreign classes that may be imported.

    Attributes
    ----------
    used : set of str
        Names of arrays and texts that something was made of.
    """

    def __init__(self, path, arrays, texts, trusted):
        self.path, self.trusted = path, trusted
        self._arrays, self._texts = arrays, texts
        self.used = set()
        size = sum(array.nbytes for array in arrays.values())
        self._budget = Budget(path, size + sum(map(len, texts.values())))
        self._made, self._parts, self._numbers = {}, {}, set()
        self._texts_read = {}
        self._depth = 0

    def decode(self, value):
        """Return what a JSON value stands for.

        Raises
        ------
        FileError
            If it stands for nothing that a model may hold.
        """
        if not isinstance(value, list | dict):
            return value
        self._depth += 1
        if self._depth > _DEEPEST:
            self.refuse(value, f"nested at most {_DEEPEST} deep")
        if isinstance(value, list):
            made = [self.decode(item) for item in value]
        else:
            made = self._decode_dict(value)
        self._depth -= 1
        return made

    def refuse(self, found, allowed):
        """Raise the error that something else is allowed."""
        raise FileError(
            f"{self.path} is damaged or was changed: it has {short(found)}, and must "
            f"have what is {allowed}. Get the file again, or make it again."
        )

    def _decode_dict(self, value):
        kind = value.get(KIND)
        keys = _KEYS.get(kind) if isinstance(kind, str) else None
        if keys is None:
            self.refuse(kind, f"one of {list(_KEYS)}")
        given = value.keys() - {KIND}
        needed, optional = keys
        if not (set(needed) <= given <= {*needed, *optional}):
            self.refuse(list(given), f"{needed} for {kind}")
        return getattr(self, f"_{kind}")(value)

    def _float(self, value):
        if value["is"] not in ("nan", "inf", "-inf"):
            self.refuse(value["is"], "nan, inf or -inf")
        return float(value["is"])

    def _items(self, value):
        if not isinstance(value["items"], list):
            self.refuse(value["items"], "a list")
        return [self.decode(item) for item in value["items"]]

    def _tuple(self, value):
        return tuple(self._items(value))

    def _set(self, value):
        items = self._items(value)
        check_keys(items, self.path)
        return set(items)

    def _frozenset(self, value):
        return frozenset(self._set(value))

    def _dict(self, value):
        pairs = self._items(value)
        kind = Bunch if value.get("is") == "Bunch" else dict
        if not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
            self.refuse(pairs, "pairs")
        check_keys([key for key, _ in pairs], self.path)
        made = dict(pairs) if kind is dict else Bunch(**dict(pairs))
        if len(made) < len(pairs):
            self.refuse([key for key, _ in pairs], "without repetitions")
        return made

    def _slice(self, value):
        parts = self._items(value)
        if len(parts) != 3:
            self.refuse(parts, "a start, a stop and a step")
        return slice(*parts)

    def _dtype_of(self, text, kinds="biufMm"):
        if not isinstance(text, str) or not _DTYPE.fullmatch(text):
            self.refuse(text, "a type of numbers")
        dtype = np.dtype(text)
        if dtype.kind not in kinds or dtype.itemsize > 8:
            self.refuse(text, "a type of numbers")
        return dtype

    def _scalar(self, value):
        dtype, item = self._dtype_of(value["dtype"]), self.decode(value["is"])
        if not isinstance(item, bool | int | float):
            self.refuse(item, "a number")
        if dtype.kind in "Mm":
            return np.array(item, np.int64).view(dtype)[()]
        return np.array(item).astype(dtype)[()]

    def _dtype(self, value):
        return np.dtype("O") if value["is"] == "|O" else self._dtype_of(value["is"])

    def _type(self, value):
        name = value["is"]
        if isinstance(name, str) and name in _TYPES:
            return _TYPES[name]
        kind = getattr(np, name, None) if isinstance(name, str) else None
        if not (inspect.isclass(kind) and issubclass(kind, np.number | np.bool_)):
            self.refuse(name, "a type of numbers")
        return kind

    def _shape(self, value, size):
        shape = value["shape"]
        fits = isinstance(shape, list) and len(shape) <= 8
        if not fits or not all(type(n) is int and 0 <= n <= 2**40 for n in shape):
            self.refuse(shape, "a shape")
        if math.prod(shape) != size:
            self.refuse(shape, f"a shape of {size} elements")
        return tuple(shape)

    def _take(self, name, kinds):
        if not isinstance(name, str) or name not in self._arrays:
            self.refuse(name, "the name of an array")
        array = self._arrays[name]
        if array.dtype.kind not in kinds:
            self.refuse(array.dtype, f"of one of the kinds {kinds}")
        self.used.add(name)
        self._budget.take_bytes(array.nbytes)
        return array

    def _array(self, value):
        array = self._take(value["name"], "biuf")
        if "dtype" in value:
            dtype = self._dtype_of(value["dtype"], "Mm")
            if array.dtype != np.int64:
                self.refuse(array.dtype, "int64, for times")
            array = array.view(dtype)
        if "order" in value:
            if value["order"] != "F":
                self.refuse(value["order"], "F")
            array = array.T
        return array

    def _text_of(self, value):
        name = (value["name"], value["ends"])
        if name not in self._texts_read:
            self._texts_read[name] = self._read_text(*name)
        return self._texts_read[name]

    def _read_text(self, name, ends):
        characters, ends = self._take(name, "u"), self._take(ends, "iu")
        if characters.dtype != np.uint8 or characters.ndim != 1 or ends.ndim != 1:
            self.refuse(characters.dtype, "bytes of text")
        bounds = np.concatenate([[0], ends.astype(np.int64)])
        if (np.diff(bounds) < 0).any() or bounds[-1] != len(characters):
            self.refuse("texts", "one after the other")
        whole, places = characters.tobytes(), pairwise(bounds.tolist())
        if whole.isascii():
            text = whole.decode("ascii")
            return [text[start:stop] for start, stop in places]
        return [
            whole[start:stop].decode("utf-8", "surrogatepass") for start, stop in places
        ]

    def _text(self, value):
        texts, dtype = self._text_of(value), value["dtype"]
        shape = self._shape(value, len(texts))
        if dtype == "O":
            self._budget.take_bytes(8 * len(texts))
            array = np.empty(len(texts), dtype=object)
            array[:] = texts
            return array.reshape(shape)
        if not isinstance(dtype, str) or not _TEXT_DTYPE.fullmatch(dtype):
            self.refuse(dtype, "O, or a type of text")
        self._budget.take_bytes(np.dtype(dtype).itemsize * len(texts))
        if max(map(len, texts), default=0) * 4 > np.dtype(dtype).itemsize:
            self.refuse(dtype, "a type as long as the text")
        return np.array(texts, dtype=dtype).reshape(shape)

    def _objects(self, value):
        items = self._items(value)
        array = np.empty(len(items), dtype=object)
        for i, item in enumerate(items):
            array[i] = item
        return array.reshape(self._shape(value, len(items)))

    def _arrays_of(self, value, *keys):
        found = [self.decode(value[key]) for key in keys]
        for array in found:
            if type(array) is not np.ndarray:
                self.refuse(array, "an array")
        return found

    def _masked(self, value):
        data, mask = self._arrays_of(value, "data", "mask")
        if mask.dtype != bool or mask.shape != data.shape:
            self.refuse(mask.dtype, "a mask of the array's shape")
        return np.ma.MaskedArray(data, mask, fill_value=self.decode(value["fill"]))

    def _random(self, value):
        state = self.decode(value["state"])
        name = state.get("bit_generator") if isinstance(state, dict) else None
        if name not in _BITS or value["is"] not in ("Generator", "RandomState"):
            self.refuse(name, f"one of {_BITS}")
        check_position(state, self.path)
        if value["is"] == "RandomState":
            made = np.random.RandomState(getattr(np.random, name)())
            made.set_state(state)
            return made
        bits = getattr(np.random, name)()
        bits.state = state
        return np.random.Generator(bits)

    def _named(self, value):
        return function_of(value["name"], self.path)

    def _scorer(self, value):
        function, of = self.decode(value["function"]), self.decode(value["of"])
        options = self.decode(value["options"])
        if not inspect.isfunction(function) or not isinstance(options, dict):
            self.refuse(function, "a score")
        greater = bool(value["greater"])
        return make_scorer(
            function, response_method=of, greater_is_better=greater, **options
        )

    def _own_scorer(self, value):
        return check_scoring(self.decode(value["of"]))

    def _booster(self, value):
        name = value["name"]
        if not isinstance(name, str) or name not in self._texts:
            self.refuse(name, "the name of boosted trees")
        self.used.add(name)
        self._budget.take_bytes(len(self._texts[name]))
        return make_booster(self._texts[name], value["best"], self.path)

    def _tree(self, value):
        nodes = value["nodes"]
        if not isinstance(nodes, dict):
            self.refuse(nodes, "the nodes of a tree")
        nodes = {name: self.decode(nodes[name]) for name in nodes}
        sizes, values = self.decode(value["sizes"]), self.decode(value["values"])
        return make_tree(sizes, value["depth"], nodes, values, self.path)

    def _again(self, value):
        number = value["id"]
        if type(number) is not int or number not in self._made:
            self.refuse(number, "an object that comes before")
        self._budget.take_objects(self._parts[number])
        return self._made[number]

    def _object(self, value):
        name, number, state = value["class"], value["id"], value["state"]
        if type(number) is not int or number in self._numbers:
            self.refuse(number, "a number of its own for each object")
        self._numbers.add(number)
        before = self._budget.n_objects
        self._budget.take_objects(1)
        if not isinstance(state, dict):
            self.refuse(state, "a dictionary")
        kind = class_of(name, self.trusted, self.path)
        for key in state:
            if not ATTRIBUTE.fullmatch(key) or key.startswith("__"):
                self.refuse(key, "the name of an attribute")
        state = {key: self.decode(item) for key, item in state.items()}
        if state.keys() - set(_parameters_of(kind)):  # it is fitted
            older = copy.deepcopy(getattr(kind, "_learnt_since", {}))
            state = older | state
        fewer_jobs(state)
        made = self._instance(kind, name, state)
        self._made[number] = made
        self._parts[number] = self._budget.n_objects - before
        return made

    def _instance(self, kind, name, state):
        functions = functions_of(name)
        if functions is not None:
            return functions[1](**state)
        if hasattr(kind, "_from_file"):
            self._check_names(kind, name, state, _parameters_of(kind))
            return kind._from_file(state)
        if is_dataclass(kind):
            names = {f.name for f in fields(kind) if f.init}
            if foreign := state.keys() - names:
                self.refuse(sorted(foreign), f"a field of {name}")
            return kind(**state)
        self._check_names(kind, name, state, _parameters_of(kind))
        made = kind.__new__(kind)
        vars(made).update(state)
        if hasattr(kind, "_parameter_constraints"):
            made._validate_params()
        check_widths(made, self.path)
        check_fitted(name, made, self.path)
        return made

    def _check_names(self, kind, name, state, parameters):
        """Refuse attributes that hide methods; give new parameters their defaults."""
        absent = object()
        for key in state:
            is_parameter = key in parameters
            shadowed = inspect.getattr_static(kind, key, absent)
            if shadowed is not absent and not is_parameter and not _is_plain(shadowed):
                self.refuse(key, f"an attribute of {name}")
            if key in LEFT_OUT.get(name, ()):
                self.refuse(key, f"an attribute of {name}")
        for key in RESET.get(name, ()):
            if key not in state or state[key] != parameters[key].default:
                self.refuse(state.get(key), f"the default of {key} of {name}")
        if hasattr(kind, "_get_param_names"):
            for key in _names_of(kind) - state.keys():
                # Later versions have more parameters, whose defaults change nothing.
                if parameters[key].default is inspect.Parameter.empty:
                    self.refuse(sorted(state), f"a model with {key}")
                state[key] = parameters[key].default


@cache
def _parameters_of(kind):
    """Return what a class is called with; nothing where it says nothing of it."""
    if kind.__init__ is object.__init__:
        return {}
    return inspect.signature(kind).parameters


@cache
def _names_of(kind):
    """Return the parameters of an estimator, which takes long to ask for."""
    return frozenset(kind._get_param_names())


def _is_plain(value):
    return value is None or isinstance(value, bool | int | float | str)


_KEYS = {
    "again": (("id",), ()),
    "array": (("name",), ("dtype", "order")),
    "booster": (("name", "best"), ()),
    "categorical": (("codes", "categories", "ordered"), ()),
    "dict": (("items",), ("is",)),
    "dtype": (("is",), ()),
    "float": (("is",), ()),
    "frame": (("columns", "index"), ("data", "values")),
    "frozenset": (("items",), ()),
    "index": (("data", "names"), ()),
    "levels": (("data", "names"), ()),
    "masked": (("data", "mask", "fill"), ()),
    "named": (("name",), ()),
    "object": (("id", "class", "state"), ()),
    "objects": (("shape", "items"), ()),
    "own_scorer": (("of",), ()),
    "random": (("is", "state"), ()),
    "range": (("items", "names"), ()),
    "scalar": (("dtype", "is"), ()),
    "scorer": (("function", "greater", "of", "options"), ()),
    "series": (("data", "index", "name"), ()),
    "set": (("items",), ()),
    "slice": (("items",), ()),
    "sparse": (("is", "shape", "data", "indices", "indptr"), ()),
    "text": (("dtype", "shape", "name", "ends"), ()),
    "tree": (("sizes", "depth", "nodes", "values"), ()),
    "tuple": (("items",), ()),
    "type": (("is",), ()),
}
