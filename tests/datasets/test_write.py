import numpy as np
import pandas as pd
import pytest

from sklperturb.datasets import (
    load_op2,
    make_chemical_screen,
    write_screen,
    write_submission,
)


@pytest.fixture
def screen():
    return make_chemical_screen(4, 20, 30, random_state=0)


def _assert_same(loaded, screen):
    for field in ("X", "y", "X_test", "y_test", "id_map"):
        pd.testing.assert_frame_equal(loaded[field], screen[field], check_exact=True)
    assert loaded.schema == screen.schema
    assert loaded.target_names == screen.target_names


def test_screen_round_trip(tmp_path, screen):
    folder = write_screen(tmp_path / "new" / "screen", screen)
    _assert_same(load_op2(folder), screen)
    assert sorted(path.name for path in folder.iterdir()) == [
        "de_test.parquet",
        "de_train.parquet",
        "id_map.csv",
        "sample_submission.csv",
    ]


def test_screen_refuses_to_overwrite(tmp_path, screen):
    write_screen(tmp_path, screen)
    with pytest.raises(FileExistsError, match="Pass overwrite=True"):
        write_screen(tmp_path, screen)
    other = make_chemical_screen(4, 20, 30, random_state=1)
    _assert_same(load_op2(write_screen(tmp_path, other, overwrite=True)), other)


def test_overwriting_removes_answers_of_the_old_screen(tmp_path, screen):
    write_screen(tmp_path, screen)
    screen.y_test = None
    assert load_op2(write_screen(tmp_path, screen, overwrite=True)).y_test is None


def test_failed_screen_leaves_nothing(tmp_path, screen):
    screen.target_names = [*screen.target_names[:-1], screen.target_names[0]]
    with pytest.raises(ValueError, match="more than once"):
        write_screen(tmp_path, screen)
    assert list(tmp_path.iterdir()) == []


def test_csv_submission_is_lossless_and_ordered(tmp_path):
    rng = np.random.default_rng(0)
    values = rng.standard_normal((50, 40)) * 10.0 ** rng.integers(-20, 20, (50, 40))
    id_map = pd.DataFrame({"sm_name": "a", "id": np.arange(50)[::-1]})
    genes = [f"G{i}" for i in range(40)]
    path = write_submission(tmp_path / "s.csv", values, id_map, genes)
    read = pd.read_csv(path, float_precision="round_trip")
    assert list(read.columns) == ["id", *genes]
    assert read["id"].tolist() == id_map["id"].tolist()
    assert np.array_equal(read[genes].to_numpy(), values)
    assert path.read_text().startswith("id,G0,G1")


def test_h5ad_submission_is_what_the_benchmark_reads(tmp_path):
    anndata = pytest.importorskip("anndata")
    id_map = pd.DataFrame({"id": [5, 7]})
    path = write_submission(
        tmp_path / "s.h5ad",
        np.array([[1.0, 2.0], [3.0, 4.0]]),
        id_map,
        ["B", "A"],
        dataset_id="op3",
        method_id="mine",
    )
    read = anndata.read_h5ad(path)
    assert read.obs_names.tolist() == ["5", "7"]
    assert read.var_names.tolist() == ["B", "A"]
    assert read.layers["prediction"].tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert dict(read.uns) == {"dataset_id": "op3", "method_id": "mine"}


def test_frames_are_put_in_order(tmp_path):
    X_test = pd.DataFrame({"sm_name": ["a", "b"]}, index=pd.Index([0, 1], name="id"))
    y_pred = pd.DataFrame(
        {"G2": [4.0, 2.0], "G1": [3.0, 1.0]}, index=pd.Index([1, 0], name="id")
    )
    path = write_submission(tmp_path / "s.csv", y_pred, X_test, ["G1", "G2"])
    assert path.read_text() == "id,G1,G2\n0,1,2\n1,3,4\n"


def test_an_index_of_another_name_is_taken_by_position(tmp_path):
    y_pred = pd.DataFrame({"G": [1.5, 2.5]}, index=[8, 9])
    id_map = pd.DataFrame({"id": ["x", "y"]})
    path = write_submission(tmp_path / "s.csv", y_pred, id_map, ["G"])
    assert pd.read_csv(path).to_dict("list") == {"id": ["x", "y"], "G": [1.5, 2.5]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"path": "s.txt"}, r"s.txt must end in .csv or .h5ad"),
        ({"y_pred": np.zeros((2, 3))}, r"shape \(2, 3\), but 2 ids and 2 target"),
        ({"y_pred": np.array([[0, np.nan], [0, 0]])}, "1 values that are NaN .* 'B'"),
        ({"y_pred": np.array([[0, 0], [-np.inf, 0]])}, "first for id 1 and 'A'"),
        ({"y_pred": pd.DataFrame(np.zeros((2, 2)), columns=["A", "C"])}, "columns of"),
        (
            {
                "y_pred": pd.DataFrame(
                    np.zeros((2, 2)), pd.Index([0, 2], name="id"), ["A", "B"]
                )
            },
            "index of y_pred is not the same set as the ids",
        ),
        ({"id_map": pd.DataFrame({"id": [1, 1]})}, "1 repeated ids, such as 1"),
        ({"id_map": pd.DataFrame({"a": [1, 2]})}, "neither a column nor an index"),
        ({"target_names": ["A", "A"]}, "target_names names 'A' more than once"),
        ({"method_id": "m"}, r"\['method_id'\] can be stored in an .h5ad file only"),
    ],
)
def test_wrong_submissions_write_nothing(tmp_path, changes, message):
    arguments = {
        "path": "s.csv",
        "y_pred": np.zeros((2, 2)),
        "id_map": pd.DataFrame({"id": [0, 1]}),
        "target_names": ["A", "B"],
    } | changes
    arguments["path"] = tmp_path / arguments["path"]
    with pytest.raises(ValueError, match=message):
        write_submission(**arguments)
    assert list(tmp_path.iterdir()) == []


def test_interrupted_submission_keeps_the_old_file(tmp_path, monkeypatch):
    def fail(*args):
        args[0].write_text("half")
        raise OSError("disk full")

    id_map = pd.DataFrame({"id": [0]})
    path = write_submission(tmp_path / "s.csv", [[1.0]], id_map, ["A"])
    before = path.read_text()
    monkeypatch.setattr("sklperturb.datasets._write._write_csv", fail)
    with pytest.raises(OSError, match="disk full"):
        write_submission(path, [[2.0]], id_map, ["A"])
    assert path.read_text() == before
    assert list(tmp_path.iterdir()) == [path]


def test_missing_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist; make it first"):
        write_submission(
            tmp_path / "no" / "s.csv", [[1.0]], pd.DataFrame({"id": [0]}), ["A"]
        )
