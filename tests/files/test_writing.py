"""Where output may go, and that it is whole."""

import os

import pytest

from sklperturb.files._writing import check_output, check_output_folder, written_whole


def test_a_free_path_is_returned(tmp_path):
    assert check_output(str(tmp_path / "a.csv"), (".csv",)) == tmp_path / "a.csv"
    assert check_output_folder(f"{tmp_path}/new/deep") == tmp_path / "new" / "deep"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("a.txt", ValueError, "a.txt must end in .csv or .zarr"),
        ("a.csv.gz", ValueError, "must end in .csv or .zarr"),
        ("there.csv", FileExistsError, "there.csv exists. Pass overwrite=True"),
        ("folder.csv", IsADirectoryError, "folder.csv is a folder"),
        ("none/a.csv", FileNotFoundError, "none does not exist"),
        ("there.csv/a.csv", FileNotFoundError, "there.csv does not exist"),
    ],
)
def test_paths_that_cannot_be_written(tmp_path, name, error, message):
    (tmp_path / "there.csv").touch()
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(error, match=message):
        check_output(tmp_path / name, (".csv", ".zarr"))


def test_overwriting(tmp_path):
    (tmp_path / "a.csv").touch()
    (tmp_path / "a.zarr").mkdir()
    for name in ("a.csv", "a.zarr"):
        check_output(tmp_path / name, (".csv", ".zarr"), overwrite=True)
    with pytest.raises(FileExistsError, match=r"holds \['a.csv'\]. Pass overwrite"):
        check_output_folder(tmp_path, ("a.csv", "b.csv"))
    check_output_folder(tmp_path, ("a.csv", "b.csv"), overwrite=True)


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "deep"):
        with pytest.raises(NotADirectoryError, match="file is a file"):
            check_output_folder(folder)


def test_permission_is_asked_for_before(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(PermissionError, match="may not write"):
        check_output(tmp_path / "a.csv", (".csv",))
    with pytest.raises(PermissionError, match="may not write"):
        check_output_folder(tmp_path / "new")


def test_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a.txt"
    with pytest.raises(RuntimeError), written_whole(path) as unfinished:
        unfinished.write_text("half")
        raise RuntimeError
    assert not list(tmp_path.iterdir())
    with written_whole(path) as unfinished:
        unfinished.write_text("whole")
    assert path.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [path]
