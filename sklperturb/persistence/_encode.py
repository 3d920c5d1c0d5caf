"""A fitted estimator as JSON, arrays and texts: what `_decode` makes it of again."""

import inspect
import math
import re
from dataclasses import fields, is_dataclass
from pathlib import PurePath

import numpy as np
import pandas as pd
import scipy.sparse as sp
from sklearn.metrics import _scorer
from sklearn.utils import Bunch

from sklperturb.files._reading import short
from sklperturb.persistence._boosters import booster_text
from sklperturb.persistence._checks import MOST_OBJECTS
from sklperturb.persistence._classes import (
    LEFT_OUT,
    RESET,
    functions_of,
    name_of,
    name_of_function,
)
from sklperturb.persistence._trees import tree_parts
from sklperturb.utils._callbacks import CALLBACK_ATTRIBUTES

KIND = "$"  # the key that tells what a JSON object stands for
ATTRIBUTE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LARGE = 2**20  # bytes of an array that is worth a look for copies of it
_RANDOM = (np.random.RandomState, np.random.Generator)


class Encoder:
    """Turn an object into JSON, and put aside what JSON cannot hold.

    Attributes
    ----------
    arrays : dict of str to ndarray
        Numbers and true and false, each array once, contiguous.
    texts : dict of str to str
        Boosted trees in the format of their library.
    classes : set of str
    foreign : set of str
        Of these, the names of classes that a reader has to trust.
    """

    def __init__(self):
        self.arrays, self.texts = {}, {}
        self.classes, self.foreign = set(), set()
        self._known = {}  # by id, what stands for an object in JSON
        self._large = {}  # names of large arrays that begin alike
        self._alive = []  # no id is given to another object meanwhile
        self._open = set()
        self._n_objects = 0

    def encode(self, value, where):
        """Return what stands for a value in JSON.

        Parameters
        ----------
        value : object
        where : str
            Its place in the estimator, for messages.

        Raises
        ------
        TypeError
            If a file cannot hold it.
        """
        if value is None or type(value) in (bool, str):
            return value
        if type(value) is int:
            return value
        if type(value) is float:
            return value if math.isfinite(value) else {KIND: "float", "is": str(value)}
        if isinstance(value, str | PurePath):  # a path, an enumeration, or NumPy's
            return str(value)
        if id(value) in self._open:
            raise TypeError(f"{where} holds itself, which a file cannot.")
        if type(value) is list:
            self._open.add(id(value))
            made = [self.encode(v, f"{where}[{i}]") for i, v in enumerate(value)]
            self._open.discard(id(value))
            return made
        known = self._known.get(id(value))
        if known is None:
            self._alive.append(value)
            self._open.add(id(value))
            known = self._encode_object(value, where)
            self._open.discard(id(value))
            again = {KIND: "again", "id": known["id"]} if "id" in known else known
            self._known[id(value)] = again
        return known

    def _encode_object(self, value, where):
        for kinds, name in _METHODS:
            if isinstance(value, kinds):
                return getattr(self, name)(value, where)
        if isinstance(value, type):
            return self._class(value, where)
        if isinstance(value, _scorer._PassthroughScorer):
            return {KIND: "own_scorer", "of": self.encode(value._estimator, where)}
        if (name := name_of_function(value)) is not None:
            return {KIND: "named", "name": name}
        if isinstance(value, _scorer._Scorer):
            return self._scorer(value, where)
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        if kind == "lightgbm.basic.Booster":
            return self._booster(value, where)
        if kind == "sklearn.tree._tree.Tree":
            return self._tree(value, where)
        return self._instance(value, where)

    def _instance(self, value, where):
        kind = type(value)
        name, is_known = name_of(kind)
        is_estimator = hasattr(value, "get_params") and hasattr(value, "__dict__")
        if not is_known and not is_estimator:
            raise TypeError(
                f"{where} is {_described(value)}, which a model file cannot hold: it "
                "takes numbers, text, arrays, frames, estimators and what those of "
                "sklperturb and scikit-learn are made of."
            )
        if "<locals>" in name or kind.__module__ == "__main__":
            raise TypeError(
                f"{where} is {_described(value)}, whose class cannot be imported "
                "later; move it to a module."
            )
        self.classes.add(name)
        if not is_known:
            self.foreign.add(name)
        state = {
            key: self.encode(item, f"{where}.{key}")
            for key, item in state_of(value, name).items()
            if key not in CALLBACK_ATTRIBUTES
        }
        self._n_objects += 1
        if self._n_objects > MOST_OBJECTS:  # no reader would take it
            raise TypeError(
                f"The model has more than {MOST_OBJECTS} parts, which is what a file "
                "can hold; fit fewer or smaller estimators, such as one for all genes."
            )
        made = {KIND: "object", "id": self._n_objects, "class": name}
        return made | {"state": state}

    def _tuple(self, value, where):
        if type(value) is not tuple:
            return self._refuse(value, where)
        items = [self.encode(v, f"{where}[{i}]") for i, v in enumerate(value)]
        return {KIND: "tuple", "items": items}

    def _set(self, value, where):
        items = [self.encode(v, where) for v in sorted(value, key=repr)]
        return {KIND: type(value).__name__, "items": items}

    def _dict(self, value, where):
        if type(value) not in (dict, Bunch):
            return self._refuse(value, where)
        pairs = [
            [self.encode(key, f"a key of {where}"), self.encode(v, f"{where}[{key!r}]")]
            for key, v in value.items()
        ]
        made = {KIND: "dict", "items": pairs}
        return made if type(value) is dict else made | {"is": "Bunch"}

    def _slice(self, value, where):
        parts = (value.start, value.stop, value.step)
        return {KIND: "slice", "items": [self.encode(v, where) for v in parts]}

    def _scalar(self, value, where):
        array = np.asarray(value)
        if array.dtype.kind not in "biufMm":
            return self._refuse(value, where)
        item = array.view(np.int64).item() if array.dtype.kind in "Mm" else value.item()
        return {
            KIND: "scalar",
            "dtype": array.dtype.str,
            "is": self.encode(item, where),
        }

    def _dtype(self, value, where):
        if (value.hasobject and value.kind != "O") or value.fields:
            return self._refuse(value, where)
        return {KIND: "dtype", "is": value.str}

    def _class(self, value, where):
        if issubclass(value, np.generic) or value in (float, int, bool, str, object):
            return {KIND: "type", "is": value.__name__}
        if (name := name_of_function(value)) is not None:
            return {KIND: "named", "name": name}
        return self._refuse(value, where)

    def _masked(self, value, where):
        mask = np.ma.getmaskarray(value)
        data = np.array(value.data)
        if data.dtype == object:
            data[mask] = None  # what stands there means nothing
        return {
            KIND: "masked",
            "data": self.encode(data, where),
            "mask": self.encode(np.array(mask), where),
            "fill": self.encode(value.fill_value, where),
        }

    def _array(self, value, where):
        if type(value) is not np.ndarray:
            return self._refuse(value, where)
        kind = value.dtype.kind
        if kind == "U":
            return self._text(value, str(value.dtype.str))
        if kind == "O":
            flat = value.ravel().tolist()
            if set(map(type, flat)) == {str}:
                return self._text(value, "O")
            items = [self.encode(v, f"{where}[{i}]") for i, v in enumerate(flat)]
            return {KIND: "objects", "shape": list(value.shape), "items": items}
        if kind not in "biufMm" or value.dtype.itemsize > 8:
            return self._refuse(value, where)
        made = {KIND: "array"}
        if kind in "Mm":
            made["dtype"] = value.dtype.str
            value = value.view(np.int64)
        if value.ndim > 1 and not value.flags.c_contiguous:
            if abs(value.strides[0]) < abs(value.strides[-1]):
                made["order"], value = "F", value.T  # decides on last digits
        value = (
            np.ascontiguousarray(value)
            .astype(value.dtype.newbyteorder("="), copy=False)
            .reshape(value.shape)
        )
        return made | {"name": self._keep(value)}

    def _text(self, value, dtype):
        texts = value.ravel().tolist()
        whole = "".join(texts).encode("utf-8", "surrogatepass")
        if not whole.isascii():  # some characters take several bytes
            texts = [text.encode("utf-8", "surrogatepass") for text in texts]
        ends = np.cumsum(list(map(len, texts)), dtype=np.int64)
        if not len(ends) or ends[-1] < 2**32:
            ends = ends.astype(np.uint32)
        characters = np.frombuffer(whole, np.uint8)
        return {
            KIND: "text",
            "dtype": dtype,
            "shape": list(value.shape),
            "name": self._keep(characters),
            "ends": self._keep(ends),
        }

    def _keep(self, array):
        alike = []
        if array.nbytes >= _LARGE:  # cloned models hold copies of what is large
            beginning = array.ravel()[:64].tobytes()
            key = array.dtype.str, array.shape, beginning
            alike = self._large.setdefault(key, [])
        for name in alike:
            if array.data.cast("B") == self.arrays[name].data.cast("B"):
                return name
        name = str(len(self.arrays))
        self.arrays[name] = array
        alike.append(name)
        return name

    def _sparse(self, value, where):
        if value.format not in ("csr", "csc"):
            return self._refuse(value, where)
        parts = {
            key: self.encode(getattr(value, key), f"{where}.{key}")
            for key in ("data", "indices", "indptr")
        }
        kind = type(value).__name__
        return {KIND: "sparse", "is": kind, "shape": list(value.shape)} | parts

    def _frame(self, value, where):
        dtypes = set(value.dtypes)
        made = {
            KIND: "frame",
            "columns": self.encode(value.columns, f"{where}.columns"),
            "index": self.encode(value.index, f"{where}.index"),
        }
        first = next(iter(dtypes), None)
        if len(dtypes) == 1 and isinstance(first, np.dtype) and first.kind in "biuf":
            return made | {"values": self.encode(value.to_numpy(), where)}
        columns = [
            self._column(value.iloc[:, i], f"{where}[{label!r}]")
            for i, label in enumerate(value.columns)
        ]
        return made | {"data": columns}

    def _series(self, value, where):
        return {
            KIND: "series",
            "data": self._column(value, where),
            "index": self.encode(value.index, f"{where}.index"),
            "name": self.encode(value.name, f"{where}.name"),
        }

    def _column(self, values, where):
        if isinstance(values.dtype, pd.CategoricalDtype):
            return self.encode(pd.Categorical(values), where)
        if not isinstance(values.dtype, np.dtype):
            if not isinstance(values.dtype, pd.StringDtype):
                raise TypeError(
                    f"{where} is a column of the type {values.dtype}, which a model "
                    "file cannot hold; convert it with astype."
                )
            values = values.to_numpy(dtype=object)
        return self.encode(np.asarray(values), where)

    def _categorical(self, value, where):
        return {
            KIND: "categorical",
            "codes": self.encode(np.asarray(value.codes), where),
            "categories": self.encode(value.categories, where),
            "ordered": bool(value.ordered),
        }

    def _index(self, value, where):
        names = [self.encode(name, where) for name in value.names]
        if isinstance(value, pd.RangeIndex):
            span = [value.start, value.stop, value.step]
            return {KIND: "range", "items": span, "names": names}
        levels = [value]
        if isinstance(value, pd.MultiIndex):
            levels = [value.get_level_values(i) for i in range(value.nlevels)]
        data = [self._column(level, where) for level in levels]
        kind = "levels" if isinstance(value, pd.MultiIndex) else "index"
        return {KIND: kind, "data": data, "names": names}

    def _random(self, value, where):
        if isinstance(value, np.random.Generator):
            bits, kind = value.bit_generator, "Generator"
            state = bits.state
        else:
            state, kind = value.get_state(legacy=False), "RandomState"
        return {KIND: "random", "is": kind, "state": self.encode(state, where)}

    def _scorer(self, value, where):
        return {
            KIND: "scorer",
            "function": self.encode(value._score_func, where),
            "greater": value._sign > 0,
            "of": self.encode(value._response_method, where),
            "options": self.encode(dict(value._kwargs), where),
        }

    def _booster(self, value, where):
        name = f"boosters/{len(self.texts)}.txt"
        self.texts[name] = booster_text(value)
        return {KIND: "booster", "name": name, "best": int(value.best_iteration)}

    def _tree(self, value, where):
        parts = tree_parts(value)
        nodes = {n: self.encode(a, where) for n, a in parts["nodes"].items()}
        self._alive.append(parts)
        return {
            KIND: "tree",
            "sizes": self.encode(parts["sizes"], where),
            "depth": parts["depth"],
            "nodes": nodes,
            "values": self.encode(parts["values"], where),
        }

    def _refuse(self, value, where):
        raise TypeError(f"{where} is {_described(value)}, which a file cannot hold.")


_METHODS = (
    (tuple, "_tuple"),
    ((set, frozenset), "_set"),
    (dict, "_dict"),
    (slice, "_slice"),
    (np.ma.MaskedArray, "_masked"),
    (np.generic, "_scalar"),
    (np.dtype, "_dtype"),
    (np.ndarray, "_array"),
    ((sp.spmatrix, sp.sparray), "_sparse"),
    (pd.DataFrame, "_frame"),
    (pd.Series, "_series"),
    (pd.Categorical, "_categorical"),
    (pd.Index, "_index"),
    (_RANDOM, "_random"),
)


def state_of(value, name):
    """Return what a file keeps of an object whose class has a name."""
    functions = functions_of(name)
    if functions is not None:
        return functions[0](value)
    if hasattr(value, "_to_file"):
        return value._to_file()
    if is_dataclass(value):
        return {f.name: getattr(value, f.name) for f in fields(value) if f.init}
    state = {k: v for k, v in vars(value).items() if k not in LEFT_OUT.get(name, ())}
    defaults = inspect.signature(type(value)).parameters
    return state | {key: defaults[key].default for key in RESET.get(name, ())}


def _described(value):
    kind = type(value)
    return f"{short(value)} of the class {kind.__module__}.{kind.__qualname__}"
