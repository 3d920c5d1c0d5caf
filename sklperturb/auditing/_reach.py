"""What an estimator can reach after `clone`: what it brings along into every fold."""

import functools
import inspect
import types

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline

_DEEPEST, _MOST = 12, 20_000
# Code of these packages reaches no data of the user.
_LIBRARIES = (
    *("sklearn", "sklperturb", "numpy", "pandas", "scipy", "torch", "skorch"),
    *("builtins", "anndata", "lightgbm", "xgboost", "catboost", "rdkit", "optuna"),
)
_ATOMS = (str, bytes, bool, int, float, complex, type(None), np.generic)


def reach(estimator):
    """Yield what can be reached from an estimator: (path, object), each once.

    Attributes, the contents of lists and dicts, what functions close over, the global
    names that functions of the user mention, and what methods are bound to.

    Parameters
    ----------
    estimator : object

    Yields
    ------
    path : str
    found : object
        Estimators, arrays, frames, lists and dicts.
    by_function : bool
        Whether it is reached through a function, where a copy does not replace it.
    """
    seen, waiting = set(), [("", estimator, False, 0)]
    while waiting and len(seen) < _MOST:
        path, found, by_function, depth = waiting.pop()
        if isinstance(found, _ATOMS) or id(found) in seen:
            continue
        seen.add(id(found))
        yield path, found, by_function
        if depth < _DEEPEST:
            for step, part, function in _parts(found):
                waiting.append((path + step, part, by_function or function, depth + 1))


def _parts(found):
    """Yield (step, part, whether through a function) of an object."""
    if isinstance(found, np.ndarray | pd.DataFrame | pd.Series | pd.Index):
        if isinstance(found, np.ndarray) and found.dtype == object:
            yield from ((f"[{i}]", v, False) for i, v in enumerate(found.ravel()))
        return
    if isinstance(found, dict):
        yield from ((f"[{k!r}]"[:40], v, False) for k, v in list(found.items()))
        return
    if isinstance(found, list | tuple | set | frozenset):
        yield from ((f"[{i}]", v, False) for i, v in enumerate(found))
        return
    if isinstance(found, types.MethodType):
        yield ".__self__", found.__self__, False
        yield "", found.__func__, True
        return
    if isinstance(found, functools.partial):
        yield ".func", found.func, False
        yield ".args", found.args, False
        yield ".keywords", found.keywords, False
        return
    if isinstance(found, types.FunctionType):
        yield from _of_function(found)
        return
    if isinstance(found, type):
        return
    attributes = getattr(found, "__dict__", None)
    if isinstance(attributes, dict):
        yield from ((f".{k}", v, False) for k, v in list(attributes.items()))
    if not _is_library(type(found)):
        for cls in type(found).__mro__:
            if not _is_library(cls):
                yield from _of_class(cls)


def _of_class(cls):
    for name, value in list(vars(cls).items()):
        function = getattr(value, "__wrapped__", value)
        if isinstance(function, staticmethod | classmethod):
            function = function.__func__
        if isinstance(function, types.FunctionType):
            yield f".{name}", function, True
        elif not name.startswith("__") and not callable(value):
            yield f".{name}", value, True


def _of_function(function):
    """Yield what a function of the user closes over, defaults to, and calls global."""
    if _is_library(function):
        return
    try:
        named = inspect.getclosurevars(function)
        bound = {**named.nonlocals, **named.globals}
    except (TypeError, ValueError):  # a cell that is empty yet
        bound = {}
    for name, value in bound.items():
        if not isinstance(value, types.ModuleType | type):
            yield f" -> {name}", value, True
    for value in (
        *(function.__defaults__ or ()),
        *(function.__kwdefaults__ or {}).values(),
    ):
        yield " (default)", value, True


def _is_library(owner):
    module = getattr(owner, "__module__", None) or ""
    return module.partition(".")[0] in _LIBRARIES


def fitted_parts(estimator):
    """Yield (path, part, by_function) of estimators that `clone` leaves fitted.

    Of one inside another, the outer.
    """
    inside = set()
    for path, found, by_function in reach(estimator):
        if id(found) in inside or not isinstance(found, BaseEstimator):
            continue
        if fitted_state(found):
            inside.update(id(part) for _, part, _ in reach(found))
            yield path, found, by_function


def fitted_state(part):
    """Return what an estimator has learnt: its attributes that are no parameters.

    Returns
    -------
    state : dict of str to object
        Empty if none of them ends in "_", as those of a fitted estimator do.
    """
    if isinstance(part, Pipeline):
        fitted = any(fitted_state(s) for _, s in part.steps if hasattr(s, "__dict__"))
        return {"steps_": [step for _, step in part.steps]} if fitted else {}
    learnt = [name for name in vars(part) if name.endswith("_") and name[0] != "_"]
    if not learnt:
        return {}
    parameters = part.get_params(deep=False)
    return {k: v for k, v in vars(part).items() if k not in parameters}


def numbers_of(part):
    """Return the arrays of numbers that an estimator has learnt, by their path.

    Returns
    -------
    numbers : dict of str to ndarray
        In an order that does not depend on the values.
    """
    numbers = {}
    for name, value in sorted(fitted_state(part).items()):
        for path, found, _ in reach({"": value}):
            if isinstance(found, pd.DataFrame | pd.Series | pd.Index):
                found = found.to_numpy()
            if isinstance(found, np.ndarray) and found.dtype.kind in "fiu":
                numbers[name + path] = np.asarray(found, dtype=np.float64)
        if isinstance(value, float):
            numbers[name] = np.array([value])
    return numbers
