"""Find every estimator of the toolkit, for checks and for documentation."""

import importlib
import inspect
import pkgutil
from contextlib import contextmanager

from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    ClusterMixin,
    RegressorMixin,
    TransformerMixin,
)

import sklperturb
from sklperturb.utils._choices import one_of

_KINDS = {
    "classifier": ClassifierMixin,
    "cluster": ClusterMixin,
    "regressor": RegressorMixin,
    "transformer": TransformerMixin,
}


def all_estimators(type_filter=None):
    """List the public estimators of the toolkit.

    Parameters
    ----------
    type_filter : {"classifier", "cluster", "regressor", "transformer"}, list of \
            these, or None, default=None
        Kinds to list: an estimator of any of them is listed. None lists all.

    Returns
    -------
    estimators : list of tuple (str, type)
        Names and classes, sorted by name. Those of a subpackage whose optional
        dependency is not installed are left out.

    Raises
    ------
    ValueError
        If a kind is not one of those above.

    See Also
    --------
    sklearn.utils.discovery.all_estimators : The same for scikit-learn.
    sklperturb.testing.perturbation_checks : What to do with them.

    Examples
    --------
    >>> from sklperturb.testing import all_estimators
    >>> dict(all_estimators("regressor"))["NoChangeRegressor"]
    <class 'sklperturb.baseline._no_change.NoChangeRegressor'>
    """
    kinds = [type_filter] if isinstance(type_filter, str) else type_filter
    if kinds is None:
        mixins = (BaseEstimator,)
    elif not kinds:
        raise ValueError(
            f"type_filter=[] lists nothing; pass some of {list(_KINDS)}, or None for "
            "all estimators."
        )
    else:
        mixins = tuple(_KINDS[one_of(k, _KINDS, "kind of estimator")] for k in kinds)
    found = {
        (name, member)
        for package in public_packages()
        for name, member in public_members(package)
        if inspect.isclass(member)
        and issubclass(member, BaseEstimator)
        and issubclass(member, mixins)
        and not inspect.isabstract(member)
    }
    return sorted(found, key=lambda pair: pair[0])


def public_packages():
    """Import the public subpackages and return them.

    Returns
    -------
    packages : list of module
        Without those whose optional dependency is not installed.

    Examples
    --------
    >>> from sklperturb.testing import public_packages
    >>> "sklperturb.metrics" in [package.__name__ for package in public_packages()]
    True
    """
    packages = []
    for module in pkgutil.iter_modules(sklperturb.__path__):
        if not module.ispkg or module.name not in sklperturb.__all__:
            continue
        with _absent_extras_suppressed():
            packages.append(importlib.import_module(f"sklperturb.{module.name}"))
    return packages


def public_members(package):
    """Return what `package` names in ``__all__`` and defines in the toolkit.

    Parameters
    ----------
    package : module

    Returns
    -------
    members : list of tuple (str, object)
        Without those whose optional dependency is not installed.

    Examples
    --------
    >>> from sklperturb import metrics
    >>> from sklperturb.testing import public_members
    >>> "mrrmse" in dict(public_members(metrics))
    True
    """
    members = []
    for name in getattr(package, "__all__", ()):
        with _absent_extras_suppressed():
            member = getattr(package, name)  # may be loaded only now
            if (getattr(member, "__module__", None) or "").startswith("sklperturb."):
                members.append((name, member))
    return members


@contextmanager
def _absent_extras_suppressed():
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "sklperturb":
            raise  # a mistake of ours, not an extra that is absent
