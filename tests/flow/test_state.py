"""What a file of a fitted model may hold."""

import copy
import json
import warnings
import zipfile
import zlib

import numpy as np
import pandas as pd
import pytest
import safetensors.numpy
import torch
from scipy import sparse
from sklearn.linear_model import Ridge

import sklperturb
from sklperturb.datasets import make_genetic_screen
from sklperturb.files._reading import FileError
from sklperturb.flow import CellScreenModel, FlowMatchingRegressor
from sklperturb.preprocessing import LookupEmbedding


@pytest.fixture(scope="module")
def model():
    screen = make_genetic_screen(
        12, 64, cells_per_perturbation=20, n_controls=40, random_state=0
    )
    flow = FlowMatchingRegressor(
        mean_estimator="kernel", n_components=3, max_steps=3, hidden_dim=8
    )
    model = CellScreenModel(screen.gene_embedding, n_components=4, flow=flow)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return model.fit(screen.X, screen.y)


@pytest.fixture
def load(model, tmp_path):
    """Return a function that loads the model, saved with something in it changed."""

    def load(place, value):
        changed = copy.deepcopy(model)
        *places, last = place.split("/")
        holder = changed
        for name in places:
            holder = get(holder, name)
        put_in(holder, last, value(get(holder, last)) if callable(value) else value)
        path = tmp_path / "model.skpt"
        sklperturb.save(changed, path, overwrite=True)
        return sklperturb.load(path)

    return load


def get(holder, name):
    if isinstance(holder, dict):
        return holder.get(name)
    return holder[int(name)] if name.isdigit() else getattr(holder, name)


def put_in(holder, name, value):
    if isinstance(holder, dict):
        holder[name] = value
    elif name.isdigit():
        holder[int(name)] = value
    elif isinstance(holder, torch.nn.Module):
        setattr(holder, name, value)
    else:
        object.__setattr__(holder, name, value)  # also where it is frozen


def put(value, place=0):
    def change(array):
        array = array.copy()
        array[place] = value
        return array

    return change


def of_counts(**changes):
    """Change the parts of the counts of controls, which are kept as they are."""

    def change(counts):
        changed = counts.copy()
        for name, function in changes.items():
            setattr(changed, name, function(getattr(changed, name)))
        return changed

    return change


def bias(function):
    def change(parameter):
        return torch.nn.Parameter(function(parameter.detach()))

    return change


SPACE, CELLS, FLOW = "space_", "cells_", "flow_/_flow"
LOOKUP = LookupEmbedding(pd.DataFrame({"a": [1.0]}, index=["g"]))
WRONG = {
    f"{SPACE}/top_genes_": [put(-1), put(64), lambda a: a[::-1] * 0, lambda a: a * 1.5],
    f"{SPACE}/mean_": [lambda a: a[1:], put(np.nan)],
    f"{SPACE}/components_": [lambda a: a[1:], lambda a: a.astype(str)],
    f"{SPACE}/decoder_": [lambda a: a[1:], lambda a: a[:, 1:], {"a": 1}, put(np.inf)],
    f"{SPACE}/target_sum": [0, -1, "x", None, True, float("nan"), float("inf")],
    f"{SPACE}/n_features_in_": [63, 64.0, -1, 10**30],
    f"{SPACE}/genes_": [
        lambda a: pd.Index(["gene1"] * 2 + list(a[2:])),
        lambda a: pd.Index(["a\0b", *a[1:]]),
        lambda a: pd.Index(["\ud800", *a[1:]], dtype=object),
        lambda a: a[1:],
        pd.RangeIndex(64),
        pd.RangeIndex(10**12),
        pd.DataFrame(),
        [1],
        "x",
    ],
    f"{SPACE}/more_": [1],
    SPACE: [None, LOOKUP, Ridge(), 1],
    f"{CELLS}/places": [put(-1), put(40), put(0, slice(2)), lambda a: a[1:]],
    f"{CELLS}/counts": [
        of_counts(data=put(0)),
        of_counts(data=lambda a: a * 0.5),
        of_counts(data=lambda a: a.astype(int) * 10**15),
        of_counts(indices=put(-1)),
        of_counts(indices=put(64)),
        of_counts(indices=lambda a: a[1:]),
        of_counts(indptr=put(1)),
        of_counts(indptr=lambda a: a[::-1]),
        of_counts(indptr=lambda a: a * 2),
        lambda a: a[1:],
        lambda a: a[:, :-1],
        lambda a: sparse.csr_array((a.data, a.indices, a.indptr), (a.shape[0], 2**30)),
        lambda a: a.tocsc(),
        lambda a: a.toarray(),
    ],
    f"{CELLS}/n_genes": [63, 64.0],
    CELLS: [None, pd.DataFrame()],
    "amplitude_": [0.5, float("nan"), 1e9, "1", None],
    "spread_": [-0.1, float("nan"), 3.0, "1", None],
    "context_spreads_": [{"a": -0.1}, {"a": float("inf")}, {1: 0.5}, [0.5], None],
    "more_": [1],
    "encoder_": [1, "x"],
    "decoder_": [Ridge(), 1],
    "controls_": [
        pd.DataFrame(),
        lambda table: table.drop(columns="target_gene"),
        lambda table: table.iloc[1:],
        lambda table: table.assign(target_gene="a\0"),
        [1],
    ],
    "_has_flags": [1, "true"],
    "_spelling/patterns": [{"1": ["a"]}, {"x": ["", ""]}, {"1": [1, 2]}],
    "_spelling/controls": ["control", [1], ["a\0"], ["\ud800"]],
    "_spelling/written": [{"\ud800": "a"}, {"a": 1}, []],
    f"{FLOW}/shape_weight": [float("nan"), 1e30, -0.1, "1", None],
    f"{FLOW}/mean_weight": [2, float("-inf")],
    f"{FLOW}/y_ndim": [3, 1.0],
    f"{FLOW}/n_cells": [put(0), lambda a: a[1:], lambda a: a * 1.0],
    f"{FLOW}/effects": [put(np.nan), lambda a: a[:, 1:], None],
    f"{FLOW}/history": [{}, [1], [{"loss": "x"}]],
    f"{FLOW}/mean": [FlowMatchingRegressor(), np.ones(2), 1],
    f"{FLOW}/mean/choice": ["x"],
    f"{FLOW}/mean/keys": [[], [[1]], lambda keys: keys[1:]],
    f"{FLOW}/mean/model": [Ridge(), 1, None],
    f"{FLOW}/mean/abroad": [Ridge(), 1],
    f"{FLOW}/mean/alone": [1, None],
    f"{FLOW}/mean/cv_intervals": [{"a": [1]}, {"a": 1}, []],
    f"{FLOW}/mean/model/share": [-0.1, 2, float("nan"), "1"],
    f"{FLOW}/mean/model/kernels/scale": [lambda a: a * 0, lambda a: a[1:]],
    f"{FLOW}/mean/model/kernels/vectors": [put(np.nan), lambda a: a[1:]],
    f"{FLOW}/mean/model/kernels/coefs": [{"x": 1}, [], {"x": np.ones(3)}],
    f"{FLOW}/mean/model/kernels/bandwidth": [-1, float("inf"), None],
    f"{FLOW}/mean/model/shift/contexts": [[], ["a", "b"], [1]],
    f"{FLOW}/coordinates/scale": [0, -1, float("nan"), 1e-300],
    f"{FLOW}/coordinates/centre": [lambda a: a[1:], put(np.inf)],
    f"{FLOW}/coordinates/basis": [None, lambda a: a[1:]],
    f"{FLOW}/pools/controls": [put(np.nan), lambda a: a[1:], put(3e38)],
    f"{FLOW}/pools/names": [lambda a: a[:, :0], lambda a: a.astype("S")],
    f"{FLOW}/pools/n_context": [2, 1, -1, 0.5],
    f"{FLOW}/pools/columns": [["absent"], [0], ["control"], [], list("abc") * 10**4],
    f"{FLOW}/generator/n_steps": [0, 10**12, 1.5],
    f"{FLOW}/generator/guidance": [-1, float("nan"), 1e300],
    f"{FLOW}/generator/source": ["x", 1],
    f"{FLOW}/generator/device": ["x", None],
    f"{FLOW}/generator/seed": [-1, 1.5, 2**70],
    f"{FLOW}/generator/net": [Ridge(), None],
    f"{FLOW}/generator/net/architecture/hidden_dim": [10**6, 99_999, 9, -1, "8"],
    f"{FLOW}/generator/net/architecture/n_layers": [200, 10**9, 0],
    f"{FLOW}/generator/net/architecture/population": ["x", "deep_sets"],
    f"{FLOW}/generator/net/head/bias": [
        bias(lambda v: v * float("nan")),
        bias(lambda v: v.double()),
        bias(lambda v: v[1:]),
    ],
    f"{FLOW}/generator/scaler/scale": [lambda a: a * 0, lambda a: a[1:]],
    f"{FLOW}/reader/parts": [["a", "a"], "ab"],
    f"{FLOW}/reader/dose": [[0.0], [0.0, 0.0], {}],
    f"{FLOW}/reader/schema/perturbation": ["absent", None, 1.5],
    f"{FLOW}/reader/embedding": [[LOOKUP], [Ridge()]],
    f"{FLOW}/reader/embedding/0/embedding_": [put(np.nan), lambda a: a[:, 1:]],
    f"{FLOW}/reader/embedding/0/genes_": [put("GENE00002"), lambda a: a[1:]],
    f"{FLOW}/conditions": [
        lambda table: table.drop(columns="target_gene"),
        lambda table: table.iloc[1:],
        np.ones((2, 2)),
        "x",
    ],
    "flow": [Ridge()],
    "flow/max_steps": [0, [1]],
    "space": [None, "x"],
    "n_components": [0, "x"],
}


@pytest.mark.parametrize("place", WRONG)
def test_what_no_model_has_is_refused(load, place):
    for number, value in enumerate(WRONG[place]):
        try:
            load(place, value)
        except FileError as caught:
            said = str(caught)
            assert "model.skpt" in said and len(said) < 700, said
        except TypeError as caught:  # none can be written, either
            assert "file cannot hold" in str(caught), (number, caught)
        else:
            pytest.fail(f"{place} may be as in case {number}")


def test_what_models_have_is_taken(load, model):
    """Written again without a change, and at the ends of what is allowed."""
    again = load("obsm", "X_state")
    expected = model.predict(["GENE00001"], 4).X.toarray()
    assert np.array_equal(again.predict(["GENE00001"], 4).X.toarray(), expected)
    for place, value in {
        f"{FLOW}/shape_weight": 0,
        f"{FLOW}/history": [{"step": 1, "train_loss": float("nan")}],
        f"{CELLS}/counts": of_counts(data=put(7)),
        f"{SPACE}/verbose": 1,
    }.items():
        assert load(place, value).predict(["GENE00001"], 4).shape == (4, 64)


def test_flows_on_their_own_are_checked_as_well(model, tmp_path):
    path, flow = tmp_path / "flow.skpt", copy.deepcopy(model.flow_)
    flow._flow.generator.n_steps = 10**12
    sklperturb.save(flow, path)
    with pytest.raises(FileError, match=r"flow.skpt.*\.n_steps is 1000000000000"):
        sklperturb.load(path)


def test_any_number_may_be_changed(model, tmp_path):
    """Whatever stands in an array, the file is refused, or predicts what it says."""
    path = tmp_path / "model.skpt"
    sklperturb.save(model, path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    manifest = json.loads(members.pop("manifest.json"))
    arrays = safetensors.numpy.load(members["arrays.safetensors"])
    rng, n_refused = np.random.default_rng(0), 0
    for _ in range(60):
        found = {name: array.copy() for name, array in arrays.items()}
        name = str(rng.choice([name for name in found if found[name].size]))
        array = found[name].reshape(-1).view(np.uint8)
        array[rng.integers(array.size)] ^= 1 << rng.integers(8)
        data = safetensors.numpy.save(found)
        known = {"crc32": zlib.crc32(data), "size": len(data)}
        manifest["members"]["arrays.safetensors"] = known
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("manifest.json", json.dumps(manifest))
            for each in members:
                archive.writestr(
                    each, data if each == "arrays.safetensors" else members[each]
                )
        try:
            cells = sklperturb.load(path).predict(["GENE00001"], 2)
        except FileError as error:
            assert "model.skpt" in str(error)
            n_refused += 1
        except ValueError:  # it says what it gives
            pass
        else:
            assert cells.shape == (2, 64)
    assert n_refused
