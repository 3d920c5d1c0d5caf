"""Attributes that other code believes, and compiled code without a look."""

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import Ridge
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder

import sklperturb
from sklperturb.files._reading import FileError
from sklperturb.models import get_entry
from sklperturb.persistence import _archive
from sklperturb.preprocessing import _condition_encoder
from tests.persistence.test_hostile import Parts

X = np.random.default_rng(0).normal(size=(30, 3))
Y = X @ np.ones((3, 2))


@pytest.fixture
def parts_of(tmp_path):
    """Return a function that gives the parts of a saved model."""

    def parts(model):
        sklperturb.save(model, tmp_path / "m.skpt", overwrite=True)
        return Parts(tmp_path / "m.skpt")

    return parts


def load(parts, folder):
    used = repr(parts.model)
    parts.arrays = {k: v for k, v in parts.arrays.items() if f"'{k}'" in used}
    path = folder / "changed.skpt"
    path.write_bytes(parts.bytes())
    return sklperturb.load(path)


def everywhere(value, key, new):
    """Change an entry, or the second of a pair, wherever it is."""
    if isinstance(value, dict):
        if key in value:
            value[key] = new
        value = list(value.values())
    if isinstance(value, list):
        if len(value) == 2 and value[0] == key:
            value[1] = new
        for item in value:
            everywhere(item, key, new)


def test_rows_are_as_wide_as_trees_believe(parts_of, tmp_path):
    parts = parts_of(RandomForestRegressor(2, max_depth=3, random_state=0).fit(X, Y))
    parts.arrays |= {"data": np.array(1), "mask": np.array(True)}
    # A masked number is neither like nor unlike any other.
    named = {k: {"$": "array", "name": k} for k in ("data", "mask")}
    everywhere(parts.model, "n_features_in_", {"$": "masked", "fill": 0, **named})
    with pytest.raises(FileError, match="width"):
        load(parts, tmp_path)


def test_random_numbers_within_their_buffer(parts_of, tmp_path):
    model = Ridge().fit(X, Y)
    model.first_ = np.random.RandomState(0)
    model.second_ = np.random.Generator(np.random.Philox(0))
    parts = parts_of(model)
    assert load(parts, tmp_path).first_.randint(9) == model.first_.randint(9)
    for key in ("pos", "buffer_pos"):
        for place in (10**6, -1, None, 1.0):
            parts = parts_of(model)
            everywhere(parts.model, key, place)
            with pytest.raises(FileError, match="random numbers"):
                load(parts, tmp_path)


ONE_HOT = {
    "fewer columns": {"_n_features_outs": [1, 2]},
    "columns of one feature": {"_n_features_outs": [5]},
    "more columns": {"_n_features_outs": [4, 2]},
    "columns of a float": {"_n_features_outs": [3.0, 2]},
    "unsorted numbers": {"categories_": [{"$": "array", "name": "unsorted"}] * 2},
    "a group of what is not grouped": {
        "_infrequent_enabled": True,
        "_infrequent_indices": [{"$": "array", "name": "far"}, None],
        "_default_to_infrequent_mappings": [None, None],
    },
    "a group far away": {
        "_infrequent_enabled": True,
        "_infrequent_indices": [{"$": "array", "name": "far"}, None],
        "_default_to_infrequent_mappings": [{"$": "array", "name": "far"}, None],
    },
    "a category to drop": {"_drop_idx_after_grouping": {"$": "array", "name": "far"}},
}


@pytest.mark.parametrize("kind", [OneHotEncoder, _condition_encoder.OneHotEncoder])
@pytest.mark.parametrize("name", ONE_HOT)
def test_categories_have_columns(parts_of, tmp_path, name, kind):
    rows = np.array([["a", "x"], ["b", "y"], ["c", "y"]], dtype=object)
    parts = parts_of(kind(sparse_output=False).fit(rows))
    parts.arrays |= {"unsorted": np.array([3.0, 1.0, 2.0]), "far": np.array([9, 9, 9])}
    parts.state.update(ONE_HOT[name])
    with pytest.raises(FileError):
        load(parts, tmp_path)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"drop": "first"},
        {"drop": "if_binary"},
        {"min_frequency": 2, "handle_unknown": "infrequent_if_exist"},
        {"max_categories": 2, "drop": "first"},
    ],
)
def test_one_hot_encoders_as_they_are(tmp_path, options):
    numbers = pd.DataFrame({"a": [1.0, 2.0, 2.0, 3.0, np.nan], "b": list("xyyzy")})
    encoder = OneHotEncoder(**options).fit(numbers)
    sklperturb.save(encoder, tmp_path / "m.skpt")
    again = sklperturb.load(tmp_path / "m.skpt").transform(numbers).toarray()
    assert np.array_equal(again, encoder.transform(numbers).toarray())


def test_functions_write_nowhere(parts_of, tmp_path):
    parts = parts_of(FunctionTransformer(np.abs, kw_args={"out": 1}))
    assert load(parts, tmp_path).kw_args == {"out": 1}
    parts.arrays["place"] = np.zeros(3)
    everywhere(parts.model, "out", {"$": "array", "name": "place"})
    with pytest.raises(FileError, match="FunctionTransformer"):
        load(parts, tmp_path)


def test_an_entry_of_the_table_imports_what_it_names(tmp_path):
    """A selection of features looks up what `importance_getter` says, such as this."""
    model = Ridge().fit(X, Y)
    model.entry_ = get_entry("ridge")
    with pytest.raises(TypeError, match="cannot hold"):
        sklperturb.save(model, tmp_path / "m.skpt")
    model.entry_ = model.n_features_in_
    sklperturb.save(model, tmp_path / "m.skpt")
    parts = Parts(tmp_path / "m.skpt")
    state = {"name": "a", "kind": "b", "summary": "c", "path": "antigravity:x"}
    parts.state["entry_"] = {
        "$": "object",
        "id": 9,
        "class": "sklperturb.models.ModelEntry",
        "state": state,
    }
    with pytest.raises(FileError, match="not imported"):
        load(parts, tmp_path)


def test_no_more_processes_than_make_sense(parts_of, tmp_path):
    parts = parts_of(MultiOutputRegressor(Ridge()).fit(X, Y).set_params(n_jobs=3))
    assert load(parts, tmp_path).n_jobs == 3
    parts.state["n_jobs"] = 100_000
    assert load(parts, tmp_path).n_jobs == -1


def again(number):
    return {"$": "again", "id": number}


def doubled(parts, n):
    """Let each of n pipelines have the one before it twice."""
    items = [
        {"$": "object", "id": 100, "class": "sklearn.linear_model.Ridge", "state": {}}
    ]
    for i in range(101, 101 + n):
        steps = [{"$": "tuple", "items": [k, again(i - 1)]} for k in "ab"]
        state = {"memory": None, "verbose": False, "steps": steps}
        made = {"$": "object", "id": i, "class": "sklearn.pipeline.Pipeline"}
        items.append({**made, "state": state})
    parts.state["more_"] = items


def test_parts_that_double(parts_of, tmp_path):
    parts = parts_of(Ridge().fit(X, Y))
    doubled(parts, 5)
    assert len(load(parts, tmp_path).more_) == 6
    doubled(parts, 40)
    with pytest.raises(FileError, match="parts"):
        load(parts, tmp_path)


def test_memory_in_proportion(parts_of, tmp_path):
    model = Ridge().fit(X, Y)
    model.words_, model.numbers_ = np.array(["a", "b"]), np.zeros(10**5)
    parts = parts_of(model)
    [text] = parts.find("text")
    [name] = [k for k, v in parts.arrays.items() if v.shape == (10**5,)]
    for item in ({**text, "dtype": "<U4000000"}, {"$": "array", "name": name}):
        parts.state["more_"] = [item] * 5
        assert len(load(parts, tmp_path).more_) == 5
        parts.state["more_"] = [item] * 2000
        with pytest.raises(FileError, match="memory"):
            load(parts, tmp_path)


def test_keys_of_one_hash(parts_of, tmp_path):
    parts = parts_of(Ridge().fit(X, Y))
    keys = [k * (2**61 - 1) for k in range(1000)]
    for item in (
        {"$": "dict", "items": [[key, 1] for key in keys]},
        {"$": "set", "items": keys},
        {"$": "frozenset", "items": keys},
    ):
        parts.state["more_"] = item
        with pytest.raises(FileError, match="hashes"):
            load(parts, tmp_path)


@pytest.mark.parametrize("kind", ["index", "levels", "categorical"])
def test_ranges_without_end(parts_of, tmp_path, kind):
    parts = parts_of(Ridge().fit(X, Y))
    parts.arrays["codes"] = np.zeros(2, np.int64)
    span = {"$": "range", "items": [0, 2**40, 1], "names": [None]}
    parts.state["more_"] = {
        "index": {"$": "index", "data": [span], "names": [None]},
        "levels": {"$": "levels", "data": [span], "names": [None]},
        "categorical": {
            "$": "categorical",
            "codes": {"$": "array", "name": "codes"},
            "categories": span,
            "ordered": False,
        },
    }[kind]
    with pytest.raises(FileError):
        load(parts, tmp_path)


def test_a_long_list_that_only_the_large_end_tells_of(tmp_path, monkeypatch):
    entry = b"PK\x01\x02" + bytes(42)
    members, start = entry * 50_000, b"PK\x03\x04" + bytes(26)
    large = b"PK\x06\x06" + (44).to_bytes(8, "little") + bytes(12)
    large += (3).to_bytes(8, "little") * 2  # which nobody reads
    large += len(members).to_bytes(8, "little") + len(start).to_bytes(8, "little")
    place = b"PK\x06\x07" + bytes(4)
    place += (len(start) + len(members)).to_bytes(8, "little") + bytes([1, 0, 0, 0])
    end = b"PK\x05\x06" + bytes(4) + bytes([3, 0, 3, 0]) + bytes(10)
    path = tmp_path / "m.skpt"
    path.write_bytes(start + members + large + place + end)
    monkeypatch.setattr(_archive.zipfile, "ZipFile", None)  # is not even asked
    with pytest.raises(FileError, match="members"):
        sklperturb.load(path)


def test_a_model_too_large_for_a_file_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setitem(_archive._MOST_BYTES, "manifest.json", 1000)
    model = make_pipeline(RandomForestRegressor(3, random_state=0)).fit(X, Y)
    with pytest.raises(ValueError, match="cannot hold this model"):
        sklperturb.save(model, tmp_path / "m.skpt")
    assert not list(tmp_path.iterdir())
