"""What fields take, and what they say of the rest."""

import re

import numpy as np
import pandas as pd
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
from sklperturb.files._reading import FileError, short

SQUARE, THREE = np.arange(4.0).reshape(2, 2), np.array([0, 1, 2])
TEXT, OBJECTS = np.array(["a", "b"]), np.array(["a", "b"], dtype=object)


TAKEN = [
    (Number(), 1.5),
    (Number(0, 1), 1),
    (Number(whole=True), -3),
    (Number(finite=False), float("inf")),
    (Size("n"), 0),
    (Number(), np.float32(0.5)),
    (Number(whole=True), np.int64(3)),
    (Flag(), False),
    (Flag(), np.False_),
    (Text(), ""),
    (Text(("a", "b")), "b"),
    (Plain(), None),
    (Maybe(Flag()), None),
    (Either(lambda v: isinstance(v, str), Text(), Number()), 2),
    (Listed(Number(), "n", unique=True), [1, 2]),
    (Listed(Number()), (1, 2)),
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
    (Array(("n",)), [1.0], "an array"),
    (Array(("n",)), SQUARE, "of 1 dimensions"),
    (Array(("n", "n+1")), SQUARE, "must be 3"),
    (Array(("n",)), THREE, "of numbers"),
    (Array(("n",), "f"), np.array([1.0, np.nan]), "must be finite"),
    (Array(("n",), "i", high=1), THREE, "from -1e\\+30 to 1"),
    (Array(("n",), "fi"), TEXT, "numbers or whole numbers"),
    (Array(("n",), "U"), np.array(["a", 1], dtype=object), "of texts"),
    (Array(("n",), "U"), np.array(["a\ud800"], dtype=object), "text that other"),
]


@pytest.mark.parametrize(("field", "value"), TAKEN)
def test_what_is_taken(field, value):
    assert field.read(value, "place", Source("file")) == (
        list(value) if isinstance(value, tuple) else value
    )


@pytest.mark.parametrize(("field", "value", "message"), REFUSED)
def test_what_is_refused(field, value, message):
    with pytest.raises(FileError, match=message) as caught:
        field.read(value, "place", Source("file"))
    assert re.match("file is damaged or was changed: .*place", str(caught.value))


def test_who_opened_the_file_names_it():
    with pytest.raises(ValueError, match=r"^place is 1, and must be true or false$"):
        Flag().read(1, "place", Source())


def test_arrays_and_their_axes():
    source = Source("file", {"m": 3})
    for field, array in (
        (Array(("n", "n")), SQUARE),
        (Array(("n+1",), "i", below="m", unique=True), THREE),
        (Array(("n",), "U", unique=True), TEXT),
        (Array(("n",), "U", unique=True), OBJECTS),
        (Array(None), SQUARE),
    ):
        assert field.read(array, "place", source) is array
    assert source.sizes["n"] == 2


def test_values_in_messages_are_one_line():
    shown = short([["weight", np.arange(15) / 7]])
    assert "\n" not in shown and shown.startswith("[['weight', array([0.")
    assert short("a\nb  c") == r"'a\nb  c'"
    table = pd.DataFrame({"a": [1, 2, 3], "b": 0.5})
    assert short(table) == "<DataFrame of 3 rows and 2 columns>"
    assert short([table["a"]]) == "[<Series of 3 rows>]"
