import json

import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyRegressor
from sklearn.model_selection import cross_val_score

from sklperturb.conditions import PerturbationSchema
from sklperturb.model_selection import NamedSplit, RowSplit, load_split


@pytest.fixture
def X():
    contexts = np.repeat(["K562", "RPE1", "HepG2"], 4)
    genes = ["A", "B", "C", "control"] * 3
    return pd.DataFrame({"cell_type": contexts, "target_gene": genes})


def held_out(splitter, X):
    [(train, test)] = splitter.split(X)
    assert not set(train) & set(test)
    pairs = [list(zip(*X.iloc[r].to_numpy().T, strict=True)) for r in (train, test)]
    return [[f"{c}/{g}" for c, g in side] for side in pairs]


def test_cell_load(X, tmp_path):
    path = tmp_path / "split.toml"
    path.write_text(
        "[datasets]\nreplogle = '/data'\n[training]\nreplogle = 'train'\n"
        "[zeroshot]\n'replogle.RPE1' = 'test'\n"
        "[fewshot.'replogle.HepG2']\ntest = ['B']\nval = ['A']\n"
    )
    train, test = held_out(load_split(path), X)
    assert test == ["RPE1/A", "RPE1/B", "RPE1/C", "RPE1/control", "HepG2/B"]
    assert "HepG2/A" not in train and len(train) == 6
    train, test = held_out(load_split(path, fold="val"), X)
    assert test == ["HepG2/A"] and len(train) == 6


def test_gears(X, tmp_path):
    path = tmp_path / "split.json"
    path.write_text(json.dumps({"train": ["A"], "val": ["B"], "test": ["C"]}))
    train, test = held_out(load_split(path), X)
    assert test == ["K562/C", "RPE1/C", "HepG2/C"]
    assert not any(name.endswith("/B") for name in train)
    assert any(name.endswith("/control") for name in train)


@pytest.mark.parametrize("header", ["", ",transfer_split\n"])
def test_perturbench(X, tmp_path, header):
    path = tmp_path / "split.csv"
    parts = ["train", "test", "val"] * 4
    rows = "".join(f"cell{i},{part}\n" for i, part in enumerate(parts))
    path.write_text(header + rows)
    [(train, test)] = load_split(path).split(X)
    np.testing.assert_array_equal(train, [0, 3, 6, 9])
    np.testing.assert_array_equal(test, [1, 4, 7, 10])
    [(_, test)] = load_split(path, fold="val").split(X)
    np.testing.assert_array_equal(test, [2, 5, 8, 11])
    order = [f"cell{i}" for i in reversed(range(12))]
    [(_, test)] = load_split(path, cells=order).split(X)
    np.testing.assert_array_equal(test, [1, 4, 7, 10])
    with pytest.raises(ValueError, match=r"1 cells are not in split\.csv"):
        load_split(path, cells=["cell99"])
    with pytest.raises(ValueError, match="lists 12 rows and X has 3"):
        next(load_split(path).split(X[:3]))


def test_is_a_cross_validator(X):
    splitter = NamedSplit(["C"])
    y = np.arange(12.0)
    assert splitter.get_n_splits() == 1
    assert cross_val_score(DummyRegressor(), X, y, cv=splitter).shape == (1,)
    assert repr(splitter) == "NamedSplit(exclude=(), schema=None, test=['C'])"


def test_bad_splits(X, tmp_path):
    with pytest.raises(ValueError, match="No row of X is named"):
        next(NamedSplit(["Z"]).split(X))
    with pytest.raises(ValueError, match="no row of X to train on"):
        next(NamedSplit(["A", "B"], exclude=["C", "control"]).split(X))
    with pytest.raises(ValueError, match="0 to test on"):
        next(RowSplit(["train"] * 12).split(X))
    with pytest.raises(ValueError, match="pickled dictionary as JSON"):
        load_split(tmp_path / "split.pkl")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        load_split(tmp_path / "split.json")
    with pytest.raises(ValueError, match="'fold' parameter"):
        load_split(tmp_path / "split.json", fold="train")
    for name, text, match in [
        ("a.json", "[]", "no split of GEARS"),
        ("a.toml", "x = ", "a.toml cannot be read as TOML"),
        ("b.toml", "[training]\nx = 'train'\n", "holds out nothing"),
        ("c.toml", "[zeroshot]\n'x.y' = 'all'\n", "is put into 'all'"),
        ("a.csv", "cell,train\ncell2,all\n", "no split of PerturBench"),
        ("b.csv", "cell,train\ncell,test\n", "more than once"),
    ]:
        (tmp_path / name).write_text(text)
        with pytest.raises(ValueError, match=match):
            load_split(tmp_path / name)


def test_a_string_is_no_list_of_letters(X):
    with pytest.raises(TypeError, match=r"test='ABC' is a string; .* test=\['ABC'\]"):
        next(NamedSplit("ABC").split(X))
    with pytest.raises(TypeError, match="exclude='B' is a string; give a list"):
        next(NamedSplit(["A"], exclude="B").split(X))


def test_names_are_found_under_any_of_their_spellings():
    labels = ["control", "A", "B", "A+B", "C+D", "CTRL"]
    X = pd.DataFrame({"condition": labels})
    schema = PerturbationSchema("condition", control_labels="control")
    wanted = ["ctrl", "A+ctrl", "ctrl+B", "B+A", "D+C", "CTRL+ctrl"]
    for row, name in enumerate(wanted):
        [(_, test)] = NamedSplit([name], schema=schema).split(X)
        assert test.tolist() == [row], name
    # Without a schema, the last is a control by its spelling.
    [(_, test)] = NamedSplit(["ctrl"]).split(X)
    assert test.tolist() == [0, 5]


def test_compounds_of_a_split_keep_their_plus_signs():
    X = pd.DataFrame({"sm_name": ["control", "B + HCl", "B", "(+)-JQ1"]})
    for name, row in (("DMSO_TF", 0), ("B + HCl", 1), ("(+)-JQ1", 3)):
        [(_, test)] = NamedSplit([name]).split(X)
        assert test.tolist() == [row]


def test_names_that_are_nearly_in_X(X):
    with pytest.warns(UserWarning, match="2 names .* 'HepG2' for 'hepg2', 'A' for 'a'"):
        list(NamedSplit([("hepg2", "A"), ("K562", "a"), ("K562", "B")]).split(X))


@pytest.mark.parametrize(
    ("name", "text", "match"),
    [
        ("a.json", '{"train": ["A"], "test": [1]}', "no split of GEARS"),
        ("a.json", '{"train": ["A"], "test": []}', "holds out nothing"),
        ("a.json", '{"train": ["A"], "test": ["B", "A"]}', "'A' in 'train' and in 'te"),
        ("a.json", '{"train": [], "test": ["A"], "test": []}', "'test' twice"),
        ("a.json", "[" * 99_999, "recursion"),
        ("a.csv", "cell1,train,x\n", "no split of PerturBench"),
        ("a.csv", "cell1,train\n1,test\n1.0,train\n", "names a cell more than once"),
        ("a.csv", 'cell1,"train\n', "cannot be read"),
        ("a.toml", "zeroshot = 1\n", "'zeroshot' is 1; it must be a table"),
        ("a.toml", "[zeroshot]\nx = ['test']\n", r"put into \['test'\]"),
        ("a.toml", "[fewshot]\nx = 'test'\n", "'x' is 'test'; it must be a table"),
        ("a.toml", "[fewshot.x]\ntest = 'A'\n", "holds out 'A' as 'test'; a list"),
        ("a.toml", "[fewshot.x]\ntest = [1.5]\n", r"holds out \[1.5\]"),
    ],
)
def test_files_that_are_no_splits(tmp_path, name, text, match):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=match) as error:
        load_split(tmp_path / name)
    assert str(tmp_path / name) in str(error.value)


def test_splits_as_spreadsheets_write_them(tmp_path):
    (tmp_path / "a.csv").write_bytes(
        "\ufeffcell,split\r\n1, train\r\nNA,test\r\n007,val\r\n".encode("utf-16")
    )
    assert load_split(tmp_path / "a.csv").parts == ["train", "test", "val"]
    found = load_split(tmp_path / "a.csv", cells=["007", 1.0, "NA"])
    assert found.parts == ["val", "train", "test"]
