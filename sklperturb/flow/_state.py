"""What the parts of a fitted flow may hold when they come from a file.

A model file is checked when it is read: its reader knows which classes it may name and
that what they hold is numbers and text. Which numbers stands here, since a stranger's
file must neither fill the memory nor take for ever when the model predicts.
"""

from dataclasses import dataclass, fields

import numpy as np
import pandas as pd

from sklperturb.files._fields import Array, Either, Fields, Listed, Number, Source, Text

# By class, what an object of it may hold.
_KINDS = {}


@dataclass(frozen=True)
class _Kind:
    """How an object is taken apart, and what its parts may be."""

    take: object
    fields: Fields


def stored(take=None, optional=(), **fields):
    """Say what a file may hold in objects of a class.

    Parameters
    ----------
    take : callable, default=None
        Returns a dictionary for an object. None is for a dataclass of this room: takes
        its fields, and lets files make no object of it that has others.
    optional : tuple of str, default=()
        Fields that it may lack.
    **fields
        What each of them may hold, from `files._fields`; see `Object`.

    Returns
    -------
    decorator : callable
        Takes the class and returns it.
    """

    def decorator(kind):
        _KINDS[kind] = _Kind(take or _fields_of, Fields(fields, optional))
        if take is None:
            kind._from_file = classmethod(_from_file)
        return kind

    return decorator


def _from_file(cls, state):
    """Return an object of what an untrusted file says that it holds."""
    _KINDS[cls].fields.read(state, cls.__name__, Source())
    return cls(**state)


def _fields_of(value):
    return {f.name: getattr(value, f.name) for f in fields(value) if f.init}


def attributes(*without):
    """Return a function that takes the attributes of an object, but for some."""

    def take(value):
        return {k: v for k, v in vars(value).items() if k not in without}

    return take


class Object:
    """A field that takes objects of some classes.

    Axes of one name have one length in all of an entry, or with `apart` in the object.
    """

    def __init__(self, *kinds, apart=False):
        self.kinds = kinds
        self.apart = apart

    def read(self, value, where, source):
        if type(value) not in self.kinds:
            names = " or ".join(kind.__name__ for kind in self.kinds)
            source.refuse(where, value, f"a {names}")
        kind = _KINDS[type(value)]
        source = Source(source.path) if self.apart else source
        kind.fields.read(kind.take(value), where, source)
        return value


class Having:
    """A field that takes any object with a method, whose kind the reader knows."""

    def __init__(self, method):
        self.method = method

    def read(self, value, where, source):
        if not callable(getattr(value, self.method, None)):
            source.refuse(where, value, f"something to {self.method} with")
        return value


class Labels:
    """A field that takes an array of labels, which may be missing, or any numbers."""

    def __init__(self, *shape):
        self.shape = shape

    def read(self, value, where, source):
        if type(value) is not np.ndarray or value.ndim != len(self.shape):
            source.refuse(where, value, f"an array of {len(self.shape)} dimensions")
        for axis, size in zip(self.shape, value.shape, strict=True):
            source.check_size(axis, size, where)
        if value.dtype.kind in "UO":
            for item in value.flat:
                if isinstance(item, str):
                    Text().read(item, where, source)
        return value


# The name of a column, or its number.
COLUMN = Either(lambda value: isinstance(value, str), Text(), Number(0, whole=True))


def _take_table(table):
    return {
        "names": list(table.columns),
        "columns": [table.iloc[:, i].to_numpy() for i in range(table.shape[1])],
    }


stored(
    _take_table,
    names=Listed(COLUMN, "n_labels", unique=True),
    columns=Listed(Labels("n_rows"), "n_labels"),
)(pd.DataFrame)
stored(
    lambda index: {"data": index.to_numpy()},
    data=Array(("n_genes",), "iU", unique=True),
)(pd.Index)


def check_parts(model):
    """Raise unless the conditions, spaces and spellings of a model fit each other."""
    roles = "perturbation", "context", "control", "dose", "batch"
    for role in (r for r in roles if getattr(model.flow_.schema_, r) is not None):
        model.flow_.schema_.require(model.controls_, role)
    width = len(model.flow_._flow.coordinates.centre)
    widths = [width]
    if model.decoder_ is not None:
        widths = model.decoder_.widths
    if (model.space is None) != (model.space_ is None) or (
        model.space_ is not None
        and (widths[0], widths[-1]) != (width, len(model.space_.components_))
    ):
        raise ValueError("the flow is of another space than the model")
    has_counts = model.cells_ is not None and len(model.cells_.places) > 0
    n_points = len(model.flow_._flow.pools.controls)
    if (
        n_points not in (0, len(model.controls_))
        or not len(model.controls_)
        or ((model.space_ is not None) != has_counts)
    ):
        raise ValueError("there are no cells to be like")
    for number, pieces in model._spelling.patterns.items():
        if number != str(len(pieces) - 1):
            raise ValueError(f"a label of {number} names is spelled {pieces}")
