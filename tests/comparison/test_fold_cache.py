"""What of the kept folds is used."""

import functools
import importlib
import json
import sys

import joblib
import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from sklperturb.baseline import NoChangeRegressor
from sklperturb.comparison import compare
from sklperturb.comparison._fold_cache import FoldCache
from sklperturb.files._unfinished import mark

X, Y = np.zeros((6, 2)), np.arange(18.0).reshape(6, 3)


def run(cache):
    return compare(
        {"zeros": NoChangeRegressor()}, X, Y, cv=2, cache=cache, baselines=None
    )


def damage(**changed):
    return lambda kept: json.dumps(kept | changed)


@pytest.mark.parametrize(
    "damaged",
    [
        lambda kept: "",
        lambda kept: json.dumps(kept)[:-5],
        lambda kept: "\x00" * 500,
        lambda kept: "[" * 100_000,
        lambda kept: "[]",
        damage(rows={}),
        damage(rows={"mrrmse": [0.5]}),
        damage(rows={"mrrmse": [0.5, 0.5, float("nan")]}),
        damage(rows={"mrrmse": [0.5, 0.5, "0.5"]}),
        damage(rows={"mrrmse": [0.5, 0.5, [0.5]]}),
        damage(rows=None),
        damage(seconds=None),
        damage(memory=True, seconds="1"),
    ],
)
def test_a_damaged_fold_is_fitted_again(tmp_path, damaged):
    expected = run(tmp_path).folds
    path = sorted(tmp_path.iterdir())[0]
    kept = path.read_text()
    path.write_text(damaged(json.loads(kept)))
    with pytest.warns(UserWarning, match=rf"{path.name}.*The fold is fitted again"):
        found = run(tmp_path).folds
    assert found["value"].tolist() == expected["value"].tolist()
    assert json.loads(path.read_text())["rows"] == json.loads(kept)["rows"]


@pytest.mark.skipif(sys.platform == "win32", reason="no locks, by which it is known")
def test_what_a_killed_run_left_goes_though_nothing_is_to_be_written(tmp_path):
    run(tmp_path)
    before = sorted(tmp_path.iterdir())
    left = tmp_path / ".unfinished-x"
    left.mkdir()
    mark(left).close()  # as by a process that has ended
    run(tmp_path)
    assert sorted(tmp_path.iterdir()) == before


def test_folds_of_former_formats_are_not_used(tmp_path, monkeypatch):
    from sklperturb.comparison import _fold_cache

    with monkeypatch.context() as patch:
        patch.setattr(_fold_cache, "_FORMAT", 1)
        run(tmp_path)
    before = set(tmp_path.iterdir())
    for path in before:
        kept = json.loads(path.read_text())
        path.write_text(json.dumps(kept | {"rows": {"mrrmse": [99.0] * 3}}))
    assert run(tmp_path).folds["value"].max() < 99
    assert len(set(tmp_path.iterdir()) - before) == 2


BASE = """
import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin

class OwnBase(RegressorMixin, BaseEstimator):
    def fit(self, X, y):
        self.n_outputs_ = np.shape(y)[1]
        with open({log!r}, "a") as log:
            log.write("fit ")
        return self

    def predict(self, X):
        return np.full((len(X), self.n_outputs_), level())

def level():
    return {value}
"""
CHILD = """
from own_base_of_a_model import OwnBase

class Own(OwnBase):
    pass

def scale(X):
    return X * {value}
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Return a function that writes and loads two modules, one with the base class."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    names = "own_base_of_a_model", "own_model"

    def load(base=0.0, child=1.0, reload=True):
        texts = (
            BASE.format(log=str(tmp_path / "log"), value=base),
            CHILD.format(value=child),
        )
        for name, text in zip(names, texts, strict=True):
            (tmp_path / f"{name}.py").write_text(text)
            if reload:
                importlib.invalidate_caches()
                sys.modules.pop(name, None)
                importlib.import_module(name)
        return sys.modules["own_model"]

    yield load
    for name in names:
        sys.modules.pop(name, None)


def test_own_code_that_was_edited_is_fitted_again(own, tmp_path):
    def mean(model):
        log.write_text("")
        options = {"cv": 2, "cache": tmp_path / "folds", "baselines": None}
        found = compare({"own": model}, X, Y, **options).summary["mean"].item()
        return found, len(log.read_text().split())

    log = tmp_path / "log"
    first, n_fits = mean(own().Own())
    assert n_fits == 2
    assert mean(own().Own()) == (first, 0)
    # In the file of a base class, in a function that the class calls.
    edited, n_fits = mean(own(base=100.0).Own())
    assert n_fits == 2 and edited > first + 50
    assert mean(own(base=100.0).Own()) == (edited, 0)
    assert mean(own().Own()) == (first, 0)
    # An edit that was not loaded is not taken for what runs.
    stale = own(base=200.0, reload=False).Own()
    assert mean(stale)[0] == first
    assert mean(own(base=200.0).Own())[0] > edited + 50


def test_own_code_is_noticed_wherever_it_is(own, tmp_path):
    cache = FoldCache(tmp_path, ["mrrmse"], X, Y)

    def keys(module):
        models = [
            make_pipeline(FunctionTransformer(module.scale), Ridge()),
            FunctionTransformer(kw_args={"a": [module.Own]}),
            FunctionTransformer(functools.partial(module.scale)),
            make_pipeline(FunctionTransformer(), module.Own()),
        ]
        return [cache.key(model, np.arange(3), np.arange(3, 6)) for model in models]

    before = keys(own())
    assert keys(own()) == before
    edited = keys(own(child=2.0))
    assert not set(before) & set(edited)
    assert not set(keys(own(base=1.0))[1::2]) & set(before)


def test_models_without_own_code_are_kept_under_the_same_name(tmp_path):
    cache = FoldCache(tmp_path, ["mrrmse"], X, Y)
    for model in (
        NoChangeRegressor(),
        make_pipeline(FunctionTransformer(np.log), Ridge()),
    ):
        expected = joblib.hash((cache._common, model, [0], [1]))
        assert cache.key(model, [0], [1]) == expected
