"""What a file of a fitted model may hold."""

import json
import os
import shutil
import warnings
import zipfile

import numpy as np
import pytest

from sklperturb.datasets import make_genetic_screen
from sklperturb.files._reading import FileError
from sklperturb.flow import CellScreenModel, FlowMatchingRegressor
from sklperturb.flow._screen_model import _FILE
from sklperturb.flow._state import _KINDS, read_state


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


@pytest.fixture(scope="module")
def path(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "whole.npz"
    model.save(path)
    return path


@pytest.fixture(scope="module")
def parts(path):
    with np.load(path) as file:
        return dict(file)


@pytest.fixture
def load(parts, tmp_path):
    """Return a function that loads the model with something in its file changed."""

    def load(place, value):
        arrays = dict(parts)
        state = json.loads(str(arrays.pop("state")))
        *places, last = place.split("/")
        holder = state
        for name in places:
            holder = holder[int(name) if isinstance(holder, list) else name]
        if callable(value):
            found = holder[last]
            if isinstance(found, dict) and "__array__" in found:
                name = found["__array__"]
                arrays[name] = value(arrays[name].copy())
            else:
                holder[last] = value(found)
        else:
            holder[last] = value
        path = tmp_path / "model.npz"
        np.savez(path, state=np.array(json.dumps(state)), **arrays)
        return CellScreenModel.load(path)

    return load


def put(value, place=0):
    def change(array):
        array[place] = value
        return array

    return change


SPACE, CELLS, FLOW = "learnt/space_", "learnt/cells_", "flow"
WRONG = {
    f"{SPACE}/top_genes_": [put(-1), put(64), lambda a: a[::-1] * 0, lambda a: a * 1.5],
    f"{SPACE}/mean_": [lambda a: a[1:], put(np.nan)],
    f"{SPACE}/components_": [lambda a: a[1:], lambda a: a.astype(str)],
    f"{SPACE}/decoder_": [lambda a: a[1:], lambda a: a[:, 1:], lambda a: a + 1j],
    f"{SPACE}/target_sum": [0, -1, "x", None, True, float("nan"), float("inf")],
    f"{SPACE}/n_features_in_": [63, 64.0, -1, 10**30],
    f"{SPACE}/genes_/data": [
        put("gene1", slice(2)),
        put("a\0b"),
        put("\ud800"),
        lambda a: a[1:],
    ],
    f"{SPACE}/genes_": [{"__kind__": "DataFrame", "data": {}}, [1], "x"],
    f"{SPACE}/transform": [1],
    f"{SPACE}/__kind__": ["LookupEmbedding", "Ridge", 1, ["x"], None],
    f"{CELLS}/places": [put(-1), put(40), put(0, slice(2)), lambda a: a[1:]],
    f"{CELLS}/data": [
        put(0),
        lambda a: a[1:],
        lambda a: a * 0.5,
        lambda a: a.astype(int) * 10**15,
    ],
    f"{CELLS}/indices": [put(-1), put(64), lambda a: a[1:]],
    f"{CELLS}/indptr": [put(1), lambda a: a[1:], lambda a: a[::-1], lambda a: a * 2],
    f"{CELLS}/n_genes": [63, 64.0],
    CELLS: [None, {"__kind__": "DataFrame", "data": {}}],
    "learnt/amplitude_": [0.5, float("nan"), 1e9, "1", None],
    "learnt/predict": [1],
    "learnt/controls_": [{"__array__": "state"}, {"__kind__": "DataFrame", "data": {}}],
    "learnt/_has_flags": [1, "true"],
    "learnt/_spelling/patterns": [{"1": ["a"]}, {"x": ["", ""]}, {"1": [1, 2]}],
    "learnt/_spelling/controls": ["control", [1], ["a\0"], ["\ud800"]],
    "learnt/_spelling/written": [{"\ud800": "a"}, {"a": 1}, []],
    f"{FLOW}/shape_weight": [float("nan"), 1e30, -0.1, "1", None],
    f"{FLOW}/mean_weight": [2, float("-inf")],
    f"{FLOW}/y_ndim": [3, 1.0],
    f"{FLOW}/n_cells": [put(0), lambda a: a[1:], lambda a: a * 1.0],
    f"{FLOW}/effects": [put(np.nan), lambda a: a[:, 1:], {"__array__": "none"}],
    f"{FLOW}/history": [{}, [1], [{"loss": "x"}]],
    f"{FLOW}/mean": [{"__kind__": "FittedFlow"}, {"__array__": "__array__0"}, 1],
    f"{FLOW}/mean/choice": ["custom", "x"],
    f"{FLOW}/mean/keys": [[], [[1]], lambda keys: keys[1:]],
    f"{FLOW}/mean/abroad": [{"__kind__": "MeanEffect"}, 1],
    f"{FLOW}/mean/alone": [1, None],
    f"{FLOW}/mean/cv_intervals": [{"a": [1]}, {"a": 1}, []],
    f"{FLOW}/mean/model/share": [-0.1, 2, float("nan"), "1"],
    f"{FLOW}/mean/model/kernels/scale": [lambda a: a * 0, lambda a: a[1:]],
    f"{FLOW}/mean/model/kernels/vectors": [put(np.nan), lambda a: a[1:]],
    f"{FLOW}/mean/model/kernels/coefs": [{"x": 1}, [], {"x": {"__array__": "none"}}],
    f"{FLOW}/mean/model/kernels/bandwidth": [-1, float("inf"), None],
    f"{FLOW}/mean/model/shift/contexts": [[], ["a", "b"], [1]],
    f"{FLOW}/coordinates/scale": [0, -1, float("nan"), 1e-300],
    f"{FLOW}/coordinates/centre": [lambda a: a[1:], put(np.inf)],
    f"{FLOW}/coordinates/basis": [None, lambda a: a[1:]],
    f"{FLOW}/pools/controls": [put(np.nan), lambda a: a[1:], put(3e38)],
    f"{FLOW}/pools/names": [lambda a: a[:, :0], lambda a: a.astype("S")],
    f"{FLOW}/pools/n_context": [2, 1, -1, 0.5],
    f"{FLOW}/pools/columns": [["absent"], [0], ["control"], []],
    f"{FLOW}/generator/n_steps": [0, 10**12, 1.5],
    f"{FLOW}/generator/guidance": [-1, float("nan"), 1e300],
    f"{FLOW}/generator/source": ["x", 1],
    f"{FLOW}/generator/device": ["x", None],
    f"{FLOW}/generator/seed": [-1, 1.5, 2**70],
    f"{FLOW}/generator/net/architecture/hidden_dim": [10**6, 99_999, 9, -1, "8"],
    f"{FLOW}/generator/net/architecture/n_layers": [200, 10**9, 0],
    f"{FLOW}/generator/net/architecture/population": ["x", "deep_sets"],
    f"{FLOW}/generator/net/weights": [{}, []],
    f"{FLOW}/generator/net/weights/head.bias": [put(np.nan), lambda a: a.astype("f8")],
    f"{FLOW}/generator/scaler/scale": [lambda a: a * 0, lambda a: a[1:]],
    f"{FLOW}/reader/parts": [["a", "a"], "ab"],
    f"{FLOW}/reader/dose": [[0.0], [0.0, 0.0], {}],
    f"{FLOW}/reader/schema/perturbation": ["absent", None, 1.5],
    f"{FLOW}/reader/embedding": [None, {"__kind__": "CountSpace"}],
    f"{FLOW}/reader/embedding/0/embedding_": [put(np.nan), lambda a: a[:, 1:]],
    f"{FLOW}/reader/embedding/0/genes_": [put("GENE00002"), lambda a: a[1:]],
    f"{FLOW}/conditions": [{"__kind__": "Index"}, {"__array__": "__array__0"}],
    "flow_parameters/max_steps": [0, [1]],
    "flow_parameters/predict": [1],
    "parameters/space": [None, "x"],
    "parameters/fit": [1],
    "extra": [1],
}


@pytest.mark.parametrize("place", WRONG)
def test_what_no_model_has_is_refused(load, place):
    for number, value in enumerate(WRONG[place]):
        with pytest.raises(FileError) as caught:
            load(place, value)
            pytest.fail(f"{place} may be as in case {number}")
        said = str(caught.value)
        assert "model.npz" in said and len(said) < 700, said


def test_what_models_have_is_taken(load, model):
    """Written again without a change, and at the ends of what is allowed."""
    again = load("parameters/obsm", "X_state")
    expected = model.predict(["GENE00001"], 4).X.toarray()
    assert np.array_equal(again.predict(["GENE00001"], 4).X.toarray(), expected)
    for place, value in {
        f"{FLOW}/shape_weight": 0,
        f"{FLOW}/history": [{"step": 1, "train_loss": float("nan")}],
        f"{CELLS}/data": put(7),
        f"{SPACE}/verbose": 1,
    }.items():
        assert load(place, value).predict(["GENE00001"], 4).shape == (4, 64)


def test_an_array_that_is_none_of_the_model(parts, tmp_path):
    np.savez(tmp_path / "more.npz", **parts, more=np.ones(2))
    with pytest.raises(FileError, match=r"more.npz .* holds \['more'\]"):
        CellScreenModel.load(tmp_path / "more.npz")


def test_a_file_that_unpacks_to_too_much(path, parts, tmp_path):
    bomb = tmp_path / "bomb.npz"
    shutil.copy(path, bomb)
    with zipfile.ZipFile(bomb, "a", zipfile.ZIP_DEFLATED) as file:
        with file.open("more.npy", "w", force_zip64=True) as member:
            for _ in range(300):
                member.write(bytes(2**20))
    with pytest.raises(FileError, match=r"bomb.npz unpacks to 0.3 GiB"):
        CellScreenModel.load(bomb)


def test_every_bit_counts(path, tmp_path):
    """Wherever a bit changes, the file is refused or reads as before."""
    whole, changed = path.read_bytes(), tmp_path / "changed.npz"
    expected = read_state(path, _FILE)
    rng = np.random.default_rng(0)
    for place in rng.integers(len(whole), size=150):
        data = bytearray(whole)
        data[place] ^= 1 << rng.integers(8)
        changed.write_bytes(data)
        try:
            found = read_state(changed, _FILE)
        except FileError as error:
            assert "changed.npz" in str(error)
        else:
            assert flat(found) == flat(expected)


def flat(state):
    """Return what a state writes, to compare it."""
    arrays = []

    def plain(value):
        if isinstance(value, np.ndarray):
            arrays.append((str(value.dtype), value.tolist()))
            return None
        return _KINDS[type(value).__name__].take(value)

    return json.dumps(state, default=plain), arrays


def test_other_files(tmp_path):
    os.mkfifo(tmp_path / "pipe.npz")
    with pytest.raises(FileError, match="is a pipe"):
        CellScreenModel.load(tmp_path / "pipe.npz")
    with pytest.raises(IsADirectoryError):
        CellScreenModel.load(tmp_path)
