"""What a file may hold under each name: kinds of values, shapes and ranges.

A field says what it takes and how it is read: ``field.read(value, where, source)``
returns the value, or raises an error that names the place in it, and the file.
"""

import math
import sys
from dataclasses import dataclass, field

import numpy as np

from sklperturb.files._reading import FileError, short

LARGEST = 1e30  # in an array, by default: sums and squares overflow beyond
# Whole numbers beyond are not exact, and others not numbers of Python.
_MOST_OF = {int: 2**53, int | float: sys.float_info.max}


@dataclass
class Source:
    """A file that is read, and what is known of it so far.

    Attributes
    ----------
    path : Path or None
        None where whoever opened the file adds its name to errors.
    sizes : dict of str to int
        By name, the lengths of axes; the first array with the name decides.
    """

    path: object = None
    sizes: dict = field(default_factory=dict)

    def refuse(self, where, value, allowed):
        """Raise the error that something else is allowed."""
        said = f"{where} is {short(value)}, and must be {allowed}"
        if self.path is None:
            raise ValueError(said)
        raise FileError(
            f"{self.path} is damaged or was changed: {said}. Get the file again, or "
            "make it again."
        )

    def check_size(self, name, size, where):
        """Raise unless `size` is the length that the file gives to `name`."""
        base, _, more = name.partition("+")
        expected = self.sizes.setdefault(base, size - int(more or 0)) + int(more or 0)
        if size != expected:
            self.refuse(f"{name} of {where}", size, f"{expected}, as before")


@dataclass(frozen=True)
class Number:
    """A number from `low` to `high`; a NaN only where `finite` is false."""

    low: float = -math.inf
    high: float = math.inf
    whole: bool = False
    finite: bool = True

    def read(self, value, where, source):
        kinds = int if self.whole else int | float
        value = _plain(value)
        fits = isinstance(value, kinds) and not isinstance(value, bool)
        if fits and (isinstance(value, int) or math.isfinite(value)):
            fits = self.low <= value <= self.high and abs(value) <= _MOST_OF[kinds]
        elif fits:
            fits = not self.finite
        if not fits:
            kind = "a whole number" if self.whole else "a finite number"
            source.refuse(where, value, f"{kind} from {self.low} to {self.high}")
        return value


@dataclass(frozen=True)
class Size:
    """A whole number that is the length of an axis."""

    name: str

    def read(self, value, where, source):
        Number(0, whole=True).read(value, where, source)
        source.check_size(self.name, value, where)
        return value


@dataclass(frozen=True)
class Flag:
    """True or false."""

    def read(self, value, where, source):
        if not isinstance(_plain(value), bool):
            source.refuse(where, value, "true or false")
        return value


@dataclass(frozen=True)
class Text:
    """A text, one of `choices` where these are given."""

    choices: tuple = ()

    def read(self, value, where, source):
        if isinstance(value, str) and not _can_be_written(value):
            source.refuse(where, value, "text that other files can hold")
        if not isinstance(value, str) or (self.choices and value not in self.choices):
            allowed = f"one of {self.choices}" if self.choices else "text"
            source.refuse(where, value, allowed)
        return value


def _plain(value):
    """Return a number of NumPy as one of Python."""
    return value.item() if isinstance(value, np.generic) else value


def _can_be_written(text):
    """Whether text is without halves of characters and without null characters."""
    return "\0" not in text and text.encode(errors="ignore").decode() == text


@dataclass(frozen=True)
class Maybe:
    """Nothing, or what a field takes."""

    field: object

    def read(self, value, where, source):
        return None if value is None else self.field.read(value, where, source)


@dataclass(frozen=True)
class Plain:
    """Nothing, true or false, a number or a text."""

    def read(self, value, where, source):
        if not (value is None or isinstance(value, bool | int | float | str)):
            source.refuse(where, value, "a number or text")
        return value


@dataclass(frozen=True)
class Either:
    """What the first field takes where a test of the value holds, else the second."""

    test: object
    first: object
    second: object

    def read(self, value, where, source):
        chosen = self.first if self.test(value) else self.second
        return chosen.read(value, where, source)


@dataclass(frozen=True)
class Listed:
    """A list or tuple of values of one field, each once if `unique`."""

    field: object
    size: str | None = None
    unique: bool = False

    def read(self, value, where, source):
        if not isinstance(value, list | tuple):
            source.refuse(where, value, "a list")
        if self.size is not None:
            source.check_size(self.size, len(value), where)
        made = [
            self.field.read(item, f"{where}[{i}]", source)
            for i, item in enumerate(value)
        ]
        if self.unique and len(set(made)) < len(made):
            source.refuse(where, value, "a list without repetitions")
        return made


@dataclass(frozen=True)
class Row:
    """A list or tuple of fixed length, each place with its own field."""

    fields: tuple

    def read(self, value, where, source):
        if not isinstance(value, list | tuple) or len(value) != len(self.fields):
            source.refuse(where, value, f"a list of {len(self.fields)}")
        pairs = zip(self.fields, value, strict=True)
        return [
            field.read(item, f"{where}[{i}]", source)
            for i, (field, item) in enumerate(pairs)
        ]


@dataclass(frozen=True)
class Mapping:
    """A dictionary with any names and values of one field."""

    field: object

    def read(self, value, where, source):
        if not isinstance(value, dict):
            source.refuse(where, value, "a dictionary")
        return {
            Text().read(name, where, source): self.field.read(
                item, f"{where}[{short(name)}]", source
            )
            for name, item in value.items()
        }


@dataclass(frozen=True)
class Fields:
    """A dictionary with a field for each name, all of which must be there."""

    fields: dict
    optional: tuple = ()

    def read(self, value, where, source):
        if not isinstance(value, dict):
            source.refuse(where, value, "a dictionary")
        needed = self.fields.keys() - set(self.optional)
        if missing := sorted(needed - value.keys()):
            source.refuse(where, list(value), f"a dictionary with {short(missing)}")
        if foreign := sorted(value.keys() - self.fields.keys()):
            source.refuse(where, list(value), f"a dictionary without {short(foreign)}")
        return {
            name: field.read(value[name], f"{where}.{name}", source)
            for name, field in self.fields.items()
            if name in value
        }


_KINDS = {"f": "numbers", "i": "whole numbers", "b": "true and false", "U": "texts"}


@dataclass(frozen=True)
class Array:
    """An array.

    Attributes
    ----------
    shape : tuple of str, or None
        Names of the axes: those of one name have one length, ``"n+1"`` is one more.
        None is any shape.
    kind : {"f", "i", "b", "U"}, default="f"
        Floating point, whole numbers, true and false, or text; several are allowed.
    low, high : float
        Range of numbers, all of which are finite.
    below : str or None, default=None
        The name of an axis, than whose length all numbers are less.
    unique : bool, default=False
        Whether each value occurs once.
    """

    shape: tuple | None
    kind: str = "f"
    low: float = -LARGEST
    high: float = LARGEST
    below: str | None = None
    unique: bool = False

    def read(self, value, where, source):
        if type(value) is not np.ndarray:
            source.refuse(where, value, "an array")
        found = value.dtype.kind.replace("u", "i")
        if found == "O" and all(isinstance(item, str) for item in value.flat):
            found = "U"
        kinds = " or ".join(_KINDS[kind] for kind in self.kind)
        if found not in self.kind:
            source.refuse(where, value.dtype, f"of {kinds}")
        shape = value.shape if self.shape is None else self.shape
        if value.ndim != len(shape):
            source.refuse(where, value.shape, f"of {len(shape)} dimensions")
        if self.shape is not None:
            for axis, size in zip(shape, value.shape, strict=True):
                source.check_size(axis, size, where)
        if found in "fi" and value.size:
            high = self.high if self.below is None else source.sizes[self.below] - 1
            least, most = float(value.min()), float(value.max())  # NaN if there is one
            finite = math.isfinite(least) and math.isfinite(most)
            if not (finite and self.low <= least and most <= high):
                span = f"finite and from {self.low} to {high}"
                source.refuse(where, f"from {least} to {most}", span)
        if found == "U" and not all(map(_can_be_written, value.flat)):
            source.refuse(where, value.tolist(), "text that other files can hold")
        if self.unique and len(np.unique(value)) < value.size:
            source.refuse(where, value.tolist(), "without repetitions")
        return value
