"""Rows of which each is compared with each: what is said before it takes long."""

import warnings
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from sklperturb.conditions import PerturbationSchema
from sklperturb.linear_model import (
    ContextTransferRidge,
    GeneKnowledgeRidge,
    ProductKernelRidge,
    ResponseKernelRidge,
    TanimotoKernelRidge,
    _kernel,
)

SCHEMA = PerturbationSchema(perturbation="sm_name", context="cell_type")
MODELS = (
    ContextTransferRidge(schema=SCHEMA),
    ProductKernelRidge(schema=SCHEMA),
    ResponseKernelRidge(schema=SCHEMA),
    GeneKnowledgeRidge(schema=SCHEMA),
    TanimotoKernelRidge(schema=SCHEMA),
)


@pytest.fixture
def rows():
    codes = np.arange(60)
    X = pd.DataFrame({"cell_type": codes % 3, "sm_name": codes // 3}).astype(str)
    return "c" + X, np.random.default_rng(0).normal(size=(60, 5))


def leave(monkeypatch, n_bytes):
    free = SimpleNamespace(available=n_bytes)
    monkeypatch.setattr(_kernel.psutil, "virtual_memory", lambda: free)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_rows_whose_pairs_do_not_fit_are_refused(model, rows, monkeypatch):
    leave(monkeypatch, 20_000)
    with pytest.raises(ValueError, match=r"each of [26]0 .*GB are free.*token_mlp"):
        model.fit(*rows)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_hours_are_told_beforehand(model, rows, monkeypatch):
    with warnings.catch_warnings():
        warnings.filterwarnings("error", ".*hours")
        model.fit(*rows)
    monkeypatch.setattr(_kernel, "_LONG", 1e-6)
    with pytest.warns(UserWarning, match=r"each of [26]0 .*hours.*additive_joint"):
        model.fit(*rows)


def test_what_is_told_grows_with_the_square_and_the_cube_of_the_rows(monkeypatch):
    leave(monkeypatch, 1e11)
    with pytest.warns(UserWarning, match=r"20,000.*about 13.3 hours.* 32.0 GB"):
        _kernel.check_pairs(None, 20_000, n_matrices=10, n_kernels=12)
