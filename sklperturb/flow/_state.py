"""What was fitted, as one file of numbers and text."""

import json
import zipfile
import zlib
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd

from sklperturb.files._writing import written_whole

FORMAT = "sklperturb-cells-3"
_ARRAY, _KIND = "__array__", "__kind__"
_DAMAGE = (AttributeError, LookupError, RuntimeError, TypeError, ValueError)
_DAMAGE += (EOFError, zipfile.BadZipFile, zlib.error)
# By name, what a file may hold: how it becomes a dictionary, and how it is made again.
_KINDS = {}


def stored(kind, take=None, make=None):
    """Let files hold objects of a class, a dataclass if nothing else is given.

    Parameters
    ----------
    kind : type
    take : callable, default=None
        Returns a dictionary for an object. None takes the fields of a dataclass.
    make : callable, default=None
        Returns the object; ``make(**dictionary)``. None calls the class.

    Returns
    -------
    kind : type
    """
    _KINDS[kind.__name__] = take or _fields, make or kind
    return kind


def stored_estimator(kind, without=()):
    """Let files hold a fitted estimator, but for some of its parameters."""

    def take(estimator):
        return {k: v for k, v in vars(estimator).items() if k not in without}

    def make(**attributes):
        estimator = kind()
        vars(estimator).update(attributes)
        return estimator

    return stored(kind, take, make)


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
            name = f"{_ARRAY}{len(arrays)}"
            arrays[name] = value.astype(str) if value.dtype == object else value
            return {_ARRAY: name}
        kind = type(value).__name__
        if kind not in _KINDS:
            raise TypeError(f"A {kind} is neither numbers nor text.")
        return {_KIND: kind} | _KINDS[kind][0](value)

    arrays["state"] = np.array(json.dumps(state, default=plain))
    path = Path(path)
    with written_whole(path) as unfinished, open(unfinished, "wb") as file:
        np.savez_compressed(file, **arrays)


def read_state(path):
    """Return what `write_state` wrote; nothing in the file is run.

    Tuples come back as lists.

    Raises
    ------
    ValueError
        If the file is none of these, or of another version.
    """

    def made(found):
        if _ARRAY in found:
            return arrays[found[_ARRAY]]
        if _KIND in found:
            return _KINDS[found.pop(_KIND)][1](**found)
        return found

    with open(path, "rb") as file:
        if file.read(4) != b"PK\x03\x04":
            raise ValueError(f"{path} is no model that fit-cells wrote: it is no .npz.")
    with damage(path), np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
        state = json.loads(str(arrays["state"]), object_hook=made)
    found = state.get("format") if isinstance(state, dict) else None
    if found != FORMAT:
        raise ValueError(
            f"{path} has the format {found!r}; this version reads {FORMAT!r}. Fit the "
            "model again."
        )
    return state


@contextmanager
def damage(path):
    """Raise an error that names the file where the block finds it incomplete."""
    try:
        yield
    except _DAMAGE as error:
        raise ValueError(
            f"{path} is no model that fit-cells wrote, or it is damaged: {error}"
        ) from error


def _fields(value):
    return {f.name: getattr(value, f.name) for f in fields(value) if f.init}


def _columns(table):
    return {"data": {name: table[name].to_numpy() for name in table}}


stored(pd.DataFrame, _columns)
stored(pd.Index, lambda index: {"data": index.to_numpy()})
