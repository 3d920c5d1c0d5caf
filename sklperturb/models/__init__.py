"""Ready recipes: every model under a name, the recommended one, and baselines."""

import importlib as _importlib

from sklperturb.models._entry import KINDS, ModelEntry
from sklperturb.models._registry import (
    get_entry,
    list_models,
    make_model,
    select_models,
)

# Loaded when first touched: they need torch, and the table of names does not.
_LAZY = {
    "BestCellsRegressor": "_best_cells",
    "BestRegressor": "_best",
    "make_cell_models": "_cell_models",
    "make_genetic_baselines": "_genetic_baselines",
}

__all__ = [
    "BestCellsRegressor",
    "BestRegressor",
    "KINDS",
    "ModelEntry",
    "get_entry",
    "list_models",
    "make_cell_models",
    "make_genetic_baselines",
    "make_model",
    "select_models",
]


def __dir__():
    return list(__all__)


def __getattr__(name):
    if name in _LAZY:
        module = _importlib.import_module(f"sklperturb.models.{_LAZY[name]}")
        return getattr(module, name)
    raise AttributeError(f"module 'sklperturb.models' has no attribute {name!r}")
