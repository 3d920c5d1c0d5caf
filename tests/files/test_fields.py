"""What fields take, and what they say of the rest."""

import re

import numpy as np
import pytest

from sklperturb.files._fields import (
    Array,
    Either,
    Fields,
    Flag,
    Listed,
    Mapping,
    Maybe,
    Number,
    Plain,
    Row,
    Size,
    Source,
    Text,
)
from sklperturb.files._reading import FileError

ARRAYS = {
    "square": np.arange(4.0).reshape(2, 2),
    "three": np.array([0, 1, 2]),
    "nan": np.array([1.0, np.nan]),
    "text": np.array(["a", "b"]),
}


def array(name):
    return {"__array__": name}


TAKEN = [
    (Number(), 1.5),
    (Number(0, 1), 1),
    (Number(whole=True), -3),
    (Number(finite=False), float("inf")),
    (Size("n"), 0),
    (Flag(), False),
    (Text(), ""),
    (Text(("a", "b")), "b"),
    (Plain(), None),
    (Maybe(Flag()), None),
    (Either(lambda v: isinstance(v, str), Text(), Number()), 2),
    (Listed(Number(), "n", unique=True), [1, 2]),
    (Row((Text(), Number())), ["a", 1]),
    (Mapping(Flag()), {"a": True}),
    (Fields({"a": Flag(), "b": Flag()}, optional=("b",)), {"a": True}),
    (Fields({"n": Size("n"), "x": Listed(Flag(), "n")}), {"n": 1, "x": [True]}),
]
REFUSED = [
    (Number(), True, "a finite number"),
    (Number(), float("nan"), "a finite number"),
    (Number(0, 1), 2, "from 0 to 1"),
    (Number(whole=True), 1.0, "a whole number"),
    (Number(whole=True), 2**60, "a whole number"),
    (Number(), 10**400, "a finite number"),
    (Size("n"), -1, "a whole number"),
    (Flag(), 1, "true or false"),
    (Text(), 1, "must be text"),
    (Text(), "a\0", "text that other files can hold"),
    (Text(), "\ud800", "text that other files can hold"),
    (Text(("a",)), "b", "one of"),
    (Plain(), [], "a number or text"),
    (Listed(Flag()), "ab", "a list"),
    (Listed(Number(), unique=True), [1, 1], "without repetitions"),
    (Listed(Flag()), [True, 1], r"place\[1\] is 1"),
    (Row((Flag(),)), [], "a list of 1"),
    (Mapping(Flag()), {"a": 1}, r"place\['a'\] is 1"),
    (Fields({"a": Flag()}), {}, r"with \['a'\]"),
    (Fields({"a": Flag()}), {"a": True, "b": 1}, r"without \['b'\]"),
    (Fields({"n": Size("n"), "x": Listed(Flag(), "n")}), {"n": 2, "x": []}, "be 2"),
    (Array(("n",)), array("absent"), "an array"),
    (Array(("n",)), [1.0], "an array"),
    (Array(("n",)), array("square"), "of 1 dimensions"),
    (Array(("n", "n+1")), array("square"), "must be 3"),
    (Array(("n",)), array("three"), "of numbers"),
    (Array(("n",), "f"), array("nan"), "must be finite"),
    (Array(("n",), "i", high=1), array("three"), "from -1e\\+30 to 1"),
    (Array(("n",), "fi"), array("text"), "numbers or whole numbers"),
]


@pytest.mark.parametrize(("field", "value"), TAKEN)
def test_what_is_taken(field, value):
    assert field.read(value, "place", Source("file", ARRAYS)) == value


@pytest.mark.parametrize(("field", "value", "message"), REFUSED)
def test_what_is_refused(field, value, message):
    with pytest.raises(FileError, match=message) as caught:
        field.read(value, "place", Source("file", ARRAYS))
    assert re.match("file is damaged or was changed: .*place", str(caught.value))


def test_arrays_and_their_axes():
    source = Source("file", ARRAYS, {"m": 3})
    for field, name in (
        (Array(("n", "n")), "square"),
        (Array(("n+1",), "i", below="m", unique=True), "three"),
        (Array(("n",), "U", unique=True), "text"),
        (Array(None), "square"),
    ):
        assert field.read(array(name), "place", source) is ARRAYS[name]
    assert source.sizes["n"] == 2
