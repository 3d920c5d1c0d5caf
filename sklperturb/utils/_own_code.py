"""The user's own code in an estimator, so that what is kept of it knows of edits."""

import functools
import hashlib
import inspect
import sys
import sysconfig
import types
from pathlib import Path

from sklearn.base import BaseEstimator

_LIBRARIES = {"site-packages", "dist-packages"}
_STANDARD = {Path(sysconfig.get_path(n)).resolve() for n in ("stdlib", "platstdlib")}
_ATOMS = (str, bytes, bool, int, float, complex, type(None), types.ModuleType)


def own_code(estimator, *, files=True):
    """Return what changes with the user's own code in an estimator.

    That is of the estimator's class and its bases, of estimators, classes and functions
    among its parameters, and of those inside them. Code is the user's own unless it
    belongs to this toolkit, the standard library, or an installed package.

    Of a module that is a file the whole file counts, and what was loaded from it: an
    edited one may not have been loaded anew. A class or a function that was typed in,
    as in a notebook, counts by itself. What such code calls in other modules does not
    count.

    Parameters
    ----------
    estimator : estimator, or list of estimators and functions
    files : bool, default=True
        False counts classes and functions by themselves wherever they are: a script
        that asks for more of the same is edited too.

    Returns
    -------
    digests : list of str
        Sorted; empty without such code.

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> from sklperturb.utils._own_code import own_code
    >>> own_code(Ridge())
    []
    """
    digests = {}
    for found in _owners(estimator):
        name, path = found.__module__, _path_of(found.__module__)
        if path is None or not files:
            digests[name, found.__qualname__] = _code_of(found)
        elif (name, "") not in digests:
            digests[name, ""] = path.read_bytes(), _loaded_from(name)
    return sorted(
        hashlib.sha256(repr(each).encode()).hexdigest() for each in digests.items()
    )


def _owners(estimator):
    """Yield the user's own classes and functions that an estimator is made of."""
    # Keeps what it has seen, so that no other object gets its identity.
    seen, waiting = {}, [estimator]
    while waiting:
        found = waiting.pop()
        if isinstance(found, _ATOMS) or id(found) in seen:
            continue
        seen[id(found)] = found
        if isinstance(found, type):
            yield from filter(_is_own, found.__mro__)
        elif isinstance(found, types.FunctionType):
            if _is_own(found):
                yield found
        else:
            waiting += [type(found), *_parts(found)]


def _parts(found):
    if isinstance(found, dict):
        return [*found, *found.values()]
    if isinstance(found, list | tuple | set | frozenset):
        return list(found)
    if isinstance(found, types.MethodType):
        return [found.__self__, found.__func__]
    if isinstance(found, functools.partial):
        return [found.func, found.args, found.keywords]
    if isinstance(found, BaseEstimator):
        return list(found.get_params(deep=False).values())
    return list(getattr(found, "__dict__", {}).values())


def _is_own(found):
    name = found.__module__
    if not isinstance(name, str) or name.partition(".")[0] == "sklperturb":
        return False
    path = _path_of(name)
    if path is None:  # typed in, or built into the interpreter
        return name.partition(".")[0] not in sys.stdlib_module_names
    return not _is_installed(path)


@functools.cache
def _is_installed(path):
    # A file of a package may be a link to a cache elsewhere.
    target = path.resolve()
    in_package = _LIBRARIES.intersection((*path.parts, *target.parts))
    return bool(in_package) or not _STANDARD.isdisjoint(target.parents)


def _path_of(name):
    """Return the file of a module, None if it has none."""
    file = getattr(sys.modules.get(name), "__file__", None)
    return Path(file).absolute() if file and Path(file).is_file() else None


def _loaded_from(name):
    """Return the code of all classes and functions of a module, as it was loaded."""
    members = vars(sys.modules[name]).items()
    kinds = (type, types.FunctionType)
    return sorted(
        (key, _code_of(member))
        for key, member in members
        if isinstance(member, kinds) and member.__module__ == name
    )


def _code_of(found):
    """Return the code of a class or a function as text, wherever its lines are."""
    if isinstance(found, property):
        return repr([_code_of(part) for part in (found.fget, found.fset, found.fdel)])
    if isinstance(found, staticmethod | classmethod | types.MethodType):
        return _code_of(found.__func__)
    if isinstance(found, functools.cached_property | functools.partialmethod):
        return _code_of(found.func)
    if isinstance(found, types.FunctionType):
        found = inspect.unwrap(found)
    if isinstance(found, types.FunctionType):
        preset = found.__defaults__, found.__kwdefaults__
        return repr((_constant(found.__code__), _constant(preset)))
    if isinstance(found, type):
        return repr(sorted(_members(found)))
    return repr(_constant(found))


def _members(owner):
    """Yield the name and the code of what a class defines."""
    for name, member in vars(owner).items():
        if isinstance(member, type):
            # Others have code of their own, and may hold this one.
            inside = member.__qualname__.startswith(f"{owner.__qualname__}.")
            yield name, _code_of(member) if inside else member.__qualname__
        elif callable(member) or not name.startswith("__"):
            # Python sets the others, such as lines, some when a class is first pickled.
            yield name, _code_of(member)


def _constant(value):
    """Return a constant as what prints alike in every process."""
    if isinstance(value, types.CodeType):
        inside = [_constant(each) for each in value.co_consts]
        return value.co_code, value.co_names, value.co_varnames, inside
    if isinstance(value, list | tuple):
        return [_constant(each) for each in value]
    if isinstance(value, set | frozenset):
        return sorted(repr(_constant(each)) for each in value)
    if isinstance(value, dict):
        return [(repr(k), _constant(v)) for k, v in value.items()]
    if isinstance(value, _ATOMS) and not isinstance(value, types.ModuleType):
        return repr(value)
    return type(value).__qualname__  # its repr may hold an address
