"""What dead runs leave behind, what is never deleted, and what a full disk says."""

import json
import os
import resource
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest

from sklperturb.files import _unfinished
from sklperturb.files._unfinished import (
    MARK,
    NoRoomError,
    is_ours,
    mark,
    remove,
    remove_dead,
    room_for,
    unfinished_folder,
)
from sklperturb.files._writing import check_output, check_output_folder, written_whole


def started(code, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
    )


WRITES = """
    import sys, time
    from pathlib import Path
    from sklperturb.files._writing import written_whole
    with written_whole(Path(sys.argv[1])) as unfinished:
        unfinished.write_text("half")
        print("writing", flush=True)
        time.sleep(60)
"""


def test_two_processes_that_tidy_up_the_same_place_do_not_fail(tmp_path, monkeypatch):
    deleted = []

    def after_another(delete):
        def both(folder):
            deleted.append(folder)
            remove_dead(tmp_path)  # as another process does at this moment
            delete(folder)

        return both

    for name in ("_empty", "_delete_empty"):
        deleting = after_another(getattr(_unfinished, name))
        monkeypatch.setattr(_unfinished, name, deleting)
    with written_whole(tmp_path / "a.txt") as unfinished:
        unfinished.write_text("whole")
    assert deleted
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_folders_without_a_mark_are_deleted_when_old_and_empty(tmp_path):
    names = ("empty", "cut", "full", "marked", "young")
    folders = {name: tmp_path / f".unfinished-{name}" for name in names}
    for folder in folders.values():
        folder.mkdir()
    (folders["cut"] / MARK).touch()  # killed before it said whose it is
    (folders["full"] / "precious.txt").touch()
    (folders["marked"] / MARK).write_text("of something else")
    for name in names[:-1]:
        os.utime(folders[name], times=(0, 0))
    with written_whole(tmp_path / "a.txt") as unfinished:
        unfinished.write_text("whole")
    left = {path.name.removeprefix(".unfinished-") for path in tmp_path.iterdir()}
    assert left == {"full", "marked", "young", "a.txt"}
    assert (folders["full"] / "precious.txt").exists()


def test_folders_of_dead_runs_are_deleted_and_no_others(tmp_path):
    path = tmp_path / "a.txt"
    foreign = tmp_path / ".unfinished-mine"
    foreign.mkdir()
    (foreign / "precious.txt").touch()
    link = tmp_path / ".unfinished-link"
    running = started(WRITES, path)
    assert running.stdout.readline() == "writing\n"
    (ours,) = set(tmp_path.glob(".unfinished-*")) - {foreign}
    link.symlink_to(ours)
    try:
        with written_whole(path) as unfinished:
            unfinished.write_text("whole")
        assert ours.is_dir(), "its process lives"
    finally:
        running.send_signal(signal.SIGKILL)
        running.wait()
    assert ours.is_dir()
    with written_whole(path) as unfinished:
        unfinished.write_text("whole")
    assert sorted(os.listdir(tmp_path)) == [".unfinished-link", foreign.name, "a.txt"]
    assert os.listdir(foreign) == ["precious.txt"]


def test_tidying_up_that_is_interrupted_is_ended_first(tmp_path, monkeypatch):
    unlink, interrupted = Path.unlink, []

    def once(path, **options):
        if path.name == "half.txt" and not interrupted:
            interrupted.append(path)
            raise KeyboardInterrupt
        unlink(path, **options)

    monkeypatch.setattr(Path, "unlink", once)
    with pytest.raises(KeyboardInterrupt), unfinished_folder(tmp_path) as folder:
        (folder / "half.txt").touch()
    assert interrupted
    assert not list(tmp_path.iterdir())


def test_folders_of_other_machines_are_left(tmp_path):
    folder = tmp_path / ".unfinished-x"
    folder.mkdir()
    mark(folder).close()
    content = json.loads((folder / MARK).read_text())
    (folder / MARK).write_text(json.dumps(content | {"host": "elsewhere"}))
    with unfinished_folder(tmp_path):
        pass
    assert is_ours(folder)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"made_by": "x"}', "[" * 5000])
def test_only_what_is_marked_is_removed(tmp_path, content):
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(FileExistsError, match="was not made by this program"):
        remove(folder)
    (folder / MARK).write_text(content)
    with pytest.raises(FileExistsError, match="was not made by this program"):
        remove(folder)
    (folder / MARK).unlink()
    mark(folder).close()
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(FileExistsError, match="link was not made"):
        remove(tmp_path / "link")
    (folder / "deep").mkdir()
    (folder / "deep" / "file").touch()
    remove(folder)
    assert os.listdir(tmp_path) == ["link"]


@pytest.fixture
def small_files():
    """Let no file be larger than 64 kB, as a quota would."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


NOISE = np.random.default_rng(0).normal(size=(200, 200))


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_bytes(NOISE.tobytes()),
        lambda path: np.savez(path.with_suffix(".npz"), NOISE),
        lambda path: pd.DataFrame(NOISE).to_csv(path),
        lambda path: pd.DataFrame(NOISE).add_prefix("g").to_parquet(path),
        lambda path: anndata.AnnData(NOISE).write_h5ad(path),
        lambda path: anndata.AnnData(NOISE).write_zarr(path),
    ],
    ids=["bytes", "npz", "csv", "parquet", "h5ad", "zarr"],
)
def test_no_room(tmp_path, small_files, write):
    path = tmp_path / "a.bin"
    path.write_text("before")
    with (
        pytest.raises(NoRoomError, match=r"no room for .*a\.bin.*Nothing was"),
        written_whole(path) as unfinished,
    ):
        write(unfinished)
    assert os.listdir(tmp_path) == ["a.bin"] and path.read_text() == "before"


def test_other_errors_are_not_about_room(tmp_path):
    for error in (ValueError("errno = 2"), OSError(2, "No such file"), RuntimeError()):
        with pytest.raises(type(error)) as caught, room_for(tmp_path):
            raise error
        assert caught.value is error


def test_what_is_no_file_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(FileExistsError, match="is a pipe"):
        check_output(tmp_path / "pipe.csv", (".csv",), overwrite=True)
    with pytest.raises(OSError, match="File name too long"):
        check_output(tmp_path / ("x" * 300 + ".csv"), (".csv",))
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "a.zarr" / "thesis.tex").touch()
    with pytest.raises(FileExistsError, match="other things than a zarr store"):
        check_output(tmp_path / "a.zarr", (".zarr",), overwrite=True)
    (tmp_path / "b.zarr").touch()
    with pytest.raises(NotADirectoryError, match="is a file"):
        check_output(tmp_path / "b.zarr", (".zarr",), overwrite=True)
    (tmp_path / "id_map.csv").mkdir()
    with pytest.raises(IsADirectoryError, match=r"id_map\.csv is a folder"):
        check_output_folder(tmp_path, ("id_map.csv",), overwrite=True)


def test_a_link_is_replaced_and_not_what_it_leads_to(tmp_path):
    (tmp_path / "target.csv").write_text("kept")
    (tmp_path / "a.csv").symlink_to(tmp_path / "target.csv")
    with written_whole(tmp_path / "a.csv") as unfinished:
        unfinished.write_text("new")
    assert (tmp_path / "target.csv").read_text() == "kept"
    assert (tmp_path / "a.csv").read_text() == "new"
    assert not (tmp_path / "a.csv").is_symlink()


def test_files_are_on_the_disk_before_they_have_their_name(tmp_path, monkeypatch):
    done = []
    fsync, replace = os.fsync, os.replace

    def recorded_fsync(descriptor):
        done.append(os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")))
        fsync(descriptor)

    def recorded_replace(source, target):
        done.append("renamed")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(os, "replace", recorded_replace)
    with written_whole(tmp_path / "a.txt") as unfinished:
        unfinished.write_text("whole")
    assert done == ["a.txt", "renamed", tmp_path.name]
