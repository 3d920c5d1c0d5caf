"""What was fitted, as one file of numbers and text."""

import json
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pandas as pd

from sklperturb.files._arrays import read_npz
from sklperturb.files._documents import parse_json
from sklperturb.files._fields import ARRAY, Array, Fields, Mapping, Source
from sklperturb.files._reading import FileError, check_file, reading, short
from sklperturb.files._writing import written_whole

FORMAT = "sklperturb-cells-5"
MODEL = "a model that fit-cells wrote"
_KIND = "__kind__"
# By name, what a file may hold.
_KINDS = {}


@dataclass(frozen=True)
class _Kind:
    """How an object becomes a dictionary, and is made again of one."""

    take: object
    make: object
    fields: Fields


def stored(take=None, make=None, optional=(), **fields):
    """Let files hold objects of a class, a dataclass if nothing else is given.

    Parameters
    ----------
    take : callable, default=None
        Returns a dictionary for an object. None takes the fields of a dataclass.
    make : callable, default=None
        Returns the object; ``make(**dictionary)``. None calls the class.
    optional : tuple of str, default=()
        Fields that a file may lack.
    **fields
        What each of them may hold, from `files._fields`; see `Object`.

    Returns
    -------
    decorator : callable
        Takes the class and returns it.
    """

    def decorator(kind):
        allowed = Fields(fields, optional)
        _KINDS[kind.__name__] = _Kind(take or _fields, make or kind, allowed)
        return kind

    return decorator


def stored_estimator(kind, without=(), optional=(), finish=None, **fields):
    """Let files hold a fitted estimator, but for some of its attributes.

    ``finish(estimator)`` sets what these can be told from.
    """

    def take(estimator):
        return {k: v for k, v in vars(estimator).items() if k not in without}

    def make(**attributes):
        estimator = kind()
        vars(estimator).update(attributes)
        if finish is not None:
            finish(estimator)
        return estimator

    return stored(take, make, optional, **fields)(kind)


class Object:
    """A field that takes stored objects of some classes.

    Axes of one name have one length in all of an entry, or with `apart` in the object.
    """

    def __init__(self, *kinds, apart=False):
        self.names = [kind.__name__ for kind in kinds]
        self.apart = apart

    def read(self, value, where, source):
        if self.apart:
            source = Source(source.path, source.arrays, used=source.used)
        name = value.get(_KIND) if is_object(value) else None
        if name not in self.names:
            source.refuse(where, name or value, f"a {' or '.join(self.names)}")
        kind = _KINDS[name]
        found = {key: item for key, item in value.items() if key != _KIND}
        return kind.make(**kind.fields.read(found, where, source))


def is_object(value):
    """Whether a value of a file is one of the stored objects."""
    return isinstance(value, dict) and _KIND in value


def is_plain(value):
    """Whether a value can be in a file without being one of the stored objects."""
    return value is None or isinstance(value, bool | int | float | str | np.generic)


def write_state(path, state):
    """Write a dictionary of arrays, plain values and stored objects to an ``.npz``.

    Raises
    ------
    TypeError
        If something in it is none of these.
    """
    arrays = {}
    state = {"format": FORMAT} | state

    def plain(value):
        if isinstance(value, np.generic):
            return value.item()
        if isinstance(value, np.ndarray):
            name = f"{ARRAY}{len(arrays)}"
            arrays[name] = value.astype(str) if value.dtype == object else value
            return {ARRAY: name}
        kind = type(value).__name__
        if kind not in _KINDS:
            raise TypeError(f"A {kind} is neither numbers nor text.")
        return {_KIND: kind} | _KINDS[kind].take(value)

    arrays["state"] = np.array(json.dumps(state, default=plain))
    path = Path(path)
    with written_whole(path) as unfinished, open(unfinished, "wb") as file:
        np.savez_compressed(file, **arrays)


def read_state(path, fields):
    """Return what `write_state` wrote; nothing in the file is run.

    Parameters
    ----------
    path : str or path-like
    fields : dict of str to field
        What each entry may hold. The axes of one name have one length within an entry.

    Returns
    -------
    state : dict
        Tuples come back as lists.

    Raises
    ------
    FileError
        If the file is none of these, of another version, damaged (its arrays have
        checksums), or has anything but what `fields` allow.
    """
    path = check_file(path, "model")
    with open(path, "rb") as file:
        if file.read(4) != b"PK\x03\x04":
            raise FileError(f"{path} is not {MODEL}: it is no .npz.")
    with reading(path, MODEL):
        arrays = read_npz(path)
        state = parse_json(str(arrays.pop("state")), path, allow_nan=True)
        found = state.pop("format", None) if isinstance(state, dict) else None
        if found != FORMAT:
            raise FileError(
                f"{path} has the format {short(found)}; this version reads {FORMAT!r}. "
                "Fit the model again."
            )
        if state.keys() != fields.keys():
            raise FileError(
                f"{path} is not {MODEL}: it has {short(list(state))}, and must have "
                f"{list(fields)}."
            )
        sources = {name: Source(path, arrays) for name in fields}
        made = {
            name: field.read(state[name], name, sources[name])
            for name, field in fields.items()
        }
        unused = arrays.keys() - set().union(*(s.used for s in sources.values()))
        if unused:
            raise FileError(f"{path} is not {MODEL}: it holds {short(sorted(unused))}.")
        return made


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


def _fields(value):
    return {f.name: getattr(value, f.name) for f in fields(value) if f.init}


def _columns(table):
    return {"data": {name: table[name].to_numpy() for name in table}}


stored(_columns, data=Mapping(Array(("n_rows",), "fibU")))(pd.DataFrame)
stored(
    lambda index: {"data": index.to_numpy()},
    data=Array(("n_genes",), "iU", unique=True),
)(pd.Index)
