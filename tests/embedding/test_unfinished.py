"""What embed_file makes of unfinished work that is damaged, in use, or not its own."""

import json
import os
from contextlib import ExitStack
from types import SimpleNamespace

import anndata
import numpy as np
import pytest
from numpy.testing import assert_allclose

from sklperturb.embedding import _streaming, embed_file

pytestmark = pytest.mark.filterwarnings("ignore:.*were taken to hold counts")


def check(output, embedded):
    found = anndata.read_h5ad(output).obsm["X_state"]
    assert_allclose(found, embedded, atol=1e-5)
    assert os.listdir(output.parent) == [output.name]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"crc": null}', "[" * 100_000])
def test_a_damaged_note_is_written_again(model, path, embedded, tmp_path, content):
    output = tmp_path / "out.h5ad"
    embed_file(path, output, model, shard=(1, 2), chunk_size=5)
    (tmp_path / "out.h5ad.unfinished" / "done" / "1.json").write_text(content)
    with pytest.warns(UserWarning, match=r"done/1\.json cannot be read"):
        assert embed_file(path, output, model, chunk_size=5) == (20, True)
    check(output, embedded)


@pytest.mark.parametrize("name", ["manifest.json", "store/obsm/X_state/.zarray"])
def test_without_what_it_is_all_is_computed_again(
    model, path, embedded, tmp_path, name
):
    output = tmp_path / "out.h5ad"
    embed_file(path, output, model, shard=(1, 2), chunk_size=5)
    (tmp_path / "out.h5ad.unfinished" / name).write_text("[[")
    with pytest.warns(UserWarning, match=r"out\.h5ad\.unfinished cannot be read"):
        assert embed_file(path, output, model, chunk_size=5) == (30, True)
    check(output, embedded)


@pytest.mark.parametrize("resume", [True, False])
def test_a_folder_of_somebody_else_is_left(model, path, tmp_path, resume):
    folder = tmp_path / "out.h5ad.unfinished"
    folder.mkdir()
    (folder / "thesis.tex").touch()
    (folder / "manifest.json").write_text("{}")
    with pytest.raises(FileExistsError, match="was not made by an earlier run"):
        embed_file(path, tmp_path / "out.h5ad", model, resume=resume)
    assert sorted(os.listdir(folder)) == ["manifest.json", "thesis.tex"]


def test_a_zarr_output_that_is_none_is_not_replaced(model, path, tmp_path):
    folder = tmp_path / "out.zarr"
    folder.mkdir()
    (folder / "thesis.tex").touch()
    with pytest.raises(FileExistsError, match="other things than a zarr store"):
        embed_file(path, folder, model, overwrite=True)
    assert os.listdir(folder) == ["thesis.tex"]
    (folder / "thesis.tex").unlink()
    for _ in range(2):  # an empty folder, and a store
        embed_file(path, folder, model, overwrite=True)
        assert os.listdir(tmp_path) == ["out.zarr"]


@pytest.mark.parametrize("theirs", [None, (2, 2)])
def test_two_runs_at_the_same_work(model, path, embedded, tmp_path, theirs):
    output = tmp_path / "out.h5ad"
    embed_file(path, output, model, shard=(1, 2), chunk_size=5)
    other = SimpleNamespace(folder=tmp_path / "out.h5ad.unfinished", output=output)
    with ExitStack() as held:
        _streaming._Work._hold(other, held, theirs)
        for shard in (None, (2, 2)):
            for resume in (True, False):
                with pytest.raises(BlockingIOError, match="Another run is writing"):
                    embed_file(path, output, model, shard=shard, resume=resume)
        if theirs is not None:  # other parts can be done meanwhile
            n_cells = embed_file(path, output, model, shard=(1, 2), chunk_size=5)
            assert n_cells == (0, False)
    assert embed_file(path, output, model, chunk_size=5) == (15, True)
    check(output, embedded)


def test_embeddings_that_are_not_finite_are_not_written(
    model, path, tmp_path, monkeypatch
):
    def broken(*arguments):
        yield 0, np.full((30, 34), np.nan), np.zeros(2, int)

    monkeypatch.setattr(_streaming, "embedded_batches", broken)
    with pytest.raises(ValueError, match="embeddings of 30 cells are not finite"):
        embed_file(path, tmp_path / "out.h5ad", model)
    assert not (tmp_path / "out.h5ad").exists()


def test_a_run_that_was_killed_when_its_output_was_there(model, path, tmp_path):
    output = tmp_path / "out.h5ad"
    embed_file(path, output, model, shard=(1, 2), chunk_size=5)
    os.rename(f"{output}.unfinished/store", tmp_path / "published.zarr")
    assert embed_file(path, output, model, chunk_size=5) == (30, True)
    about = anndata.read_h5ad(output).uns["state_embedding"]["description"]
    assert json.loads(about)["n_cells"] == 30
