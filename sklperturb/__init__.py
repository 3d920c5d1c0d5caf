"""Predict how cells respond to a perturbation, the scikit-learn way.

Submodules are loaded when first touched, so that ``import sklperturb`` stays
instant and pulls in neither torch nor matplotlib nor anndata.
"""

import importlib as _importlib
import logging as _logging

from sklperturb._version import __version__

_logging.getLogger(__name__).addHandler(_logging.NullHandler())

_SUBMODULES = (
    "baseline",
    "cells",
    "comparison",
    "compose",
    "conditions",
    "datasets",
    "embedding",
    "ensemble",
    "evaluation",
    "flow",
    "inspection",
    "linear_model",
    "metrics",
    "model_selection",
    "models",
    "modules",
    "neural_network",
    "persistence",
    "preprocessing",
    "report",
    "signatures",
    "testing",
    "tuning",
)

# Functions that are as near as the package, and loaded no earlier than submodules.
_FUNCTIONS = {
    "config_context": "conditions",
    "get_config": "conditions",
    "load": "persistence",
    "save": "persistence",
    "set_config": "conditions",
}

__all__ = ["__version__", *_FUNCTIONS, *_SUBMODULES]


def __dir__():
    return list(__all__)


def __getattr__(name):
    if name in _SUBMODULES:
        return _importlib.import_module(f"sklperturb.{name}")
    if name in _FUNCTIONS:
        module = _importlib.import_module(f"sklperturb.{_FUNCTIONS[name]}")
        return getattr(module, name)
    raise AttributeError(f"module 'sklperturb' has no attribute {name!r}")
