import json
import os
import signal
import subprocess
import sys
import time

import anndata
import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.base import clone

from sklperturb.embedding import _batches, _mapping, embed_file

pytestmark = pytest.mark.filterwarnings("ignore:.*were taken to hold counts")


def read(path):
    return (anndata.read_zarr if path.suffix == ".zarr" else anndata.read_h5ad)(path)


def check(path, cells, embedded):
    found = read(path)
    assert_allclose(found.obsm["X_state"], embedded, atol=1e-5)
    assert list(found.obs_names) == list(cells.obs_names)
    assert list(found.obs["batch"]) == list(cells.obs["batch"])
    about = json.loads(found.uns["state_embedding"]["description"])
    assert about["n_cells"] == 30
    assert sorted(os.listdir(path.parent)) == [path.name]


@pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
@pytest.mark.parametrize("chunk_size", [7, 30, 1000])
def test_file(model, path, cells, embedded, tmp_path, suffix, chunk_size):
    output = tmp_path / f"out{suffix}"
    assert embed_file(path, output, model, chunk_size=chunk_size) == (30, True)
    check(output, cells, embedded)


def test_the_cells_are_not_replaced_by_their_embedding(model, path, cells, tmp_path):
    for output in (path, tmp_path / "link.h5ad"):
        if output != path:
            output.symlink_to(path)
        with pytest.raises(ValueError, match="is the file of the cells"):
            embed_file(path, output, model, overwrite=True)
    assert (anndata.read_h5ad(path).X != cells.X).sum() == 0


def test_backed_zarr(model, cells, embedded, tmp_path):
    cells.write_zarr(tmp_path / "cells.zarr")
    (tmp_path / "out").mkdir()
    output = tmp_path / "out" / "out.zarr"
    embed_file(tmp_path / "cells.zarr", output, model, chunk_size=8)
    check(output, cells, embedded)


def test_shards_in_any_order(model, path, cells, embedded, tmp_path):
    output = tmp_path / "out.h5ad"
    for i in (3, 1, 2):
        n_cells, finished = embed_file(path, output, model, shard=(i, 3), chunk_size=4)
        assert finished == (i == 2)
        assert 8 <= n_cells <= 12
    check(output, cells, embedded)


def test_finished_chunks_are_not_computed_again(
    model, path, cells, embedded, tmp_path, monkeypatch
):
    output = tmp_path / "out.zarr"
    embed = _batches.embed_sentences
    calls = []

    def stops(embedding, tokens, counts):
        calls.append(len(tokens))
        if len(calls) == 4:
            raise KeyboardInterrupt
        return embed(embedding, tokens, counts)

    monkeypatch.setattr(_batches, "embed_sentences", stops)
    with pytest.raises(KeyboardInterrupt):
        embed_file(path, output, model, chunk_size=5)
    assert not output.exists()
    monkeypatch.setattr(_batches, "embed_sentences", embed)
    other = clone(model).set_params(count_scale="raw")
    with pytest.raises(ValueError, match="another parameters"):
        embed_file(path, output, other, chunk_size=5)
    with pytest.raises(ValueError, match="another chunk_size"):
        embed_file(path, output, model, chunk_size=6)
    assert embed_file(path, output, model, chunk_size=5) == (15, True)
    check(output, cells, embedded)


def test_resume_false_starts_anew(model, path, cells, embedded, tmp_path):
    output = tmp_path / "out.h5ad"
    embed_file(path, output, model, shard=(1, 2), chunk_size=5)
    assert embed_file(path, output, model, resume=False) == (30, True)
    check(output, cells, embedded)


def test_damaged_chunks_are_found(model, path, cells, embedded, tmp_path):
    import zarr

    output = tmp_path / "out.zarr"
    embed_file(path, output, model, shard=(1, 2), chunk_size=5)
    array = zarr.open_array(str(tmp_path / "out.zarr.unfinished/store/obsm/X_state"))
    array[7, 3] = 0.5
    with pytest.raises(OSError, match="1 chunks of"):
        embed_file(path, output, model, chunk_size=5)
    assert not output.exists()
    assert embed_file(path, output, model, chunk_size=5) == (5, True)
    check(output, cells, embedded)


def test_errors(model, path, tmp_path):
    output = tmp_path / "out.h5ad"
    output.touch()
    with pytest.raises(FileExistsError, match="overwrite"):
        embed_file(path, output, model)
    assert embed_file(path, output, model, overwrite=True) == (30, True)
    with pytest.raises(ValueError, match="must end in"):
        embed_file(path, tmp_path / "out.csv", model)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        embed_file(path, tmp_path / "absent" / "out.h5ad", model)
    with pytest.raises(ValueError, match="shard"):
        embed_file(path, tmp_path / "a.h5ad", model, shard=(3, 2))
    with pytest.raises(ValueError, match="chunk_size=0"):
        embed_file(path, tmp_path / "a.h5ad", model, chunk_size=0)
    assert os.listdir(tmp_path) == ["out.h5ad"]


def test_command(cli, path, cells, embedded, checkpoint, tmp_path):
    output = tmp_path / "out.zarr"
    base = ["embed", path, "--checkpoint", checkpoint.path, "--output", output]
    for shard in ("1/2", "2/2"):
        cli(*base, "--shard", shard, "--chunk-size", 8, "--device", "cpu")
    check(output, cells, embedded)
    for more, message in (
        (["--resume"], "exists"),
        (["--overwrite", "--shard", "3/2"], "must be i/n"),
        (["--overwrite", "--shard", "1/2", "--dask", "x:1"], "one of them"),
    ):
        assert message in cli(*base, *more, code=2).stderr


def test_a_killed_run_goes_on(cli, path, cells, embedded, checkpoint, tmp_path):
    output = tmp_path / "out.h5ad"
    slow = (
        "import sys, time\n"
        "from sklperturb.embedding._streaming import _Work\n"
        "write = _Work.write\n"
        "def slowly(self, *args):\n"
        "    write(self, *args)\n"
        "    time.sleep(0.5)\n"
        "_Work.write = slowly\n"
        "from sklperturb.cli import main\n"
        "main()\n"
    )
    arguments = ["embed", str(path), "--checkpoint", str(checkpoint.path)]
    arguments += ["--output", str(output), "--chunk-size", "2", "--device", "cpu"]
    running = subprocess.Popen([sys.executable, "-c", slow, *arguments])
    done = tmp_path / "out.h5ad.unfinished" / "done"
    limit = time.monotonic() + 300
    while not (done.is_dir() and len(list(done.glob("*.json"))) >= 3):
        assert running.poll() is None and time.monotonic() < limit
        time.sleep(0.02)
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert not output.exists()
    n_done = len(list(done.glob("*.json")))
    resumed = cli(*arguments, "--resume")
    assert f"{30 - 2 * n_done} cells in" in resumed.stderr
    check(output, cells, embedded)


def kill_this_worker_once(folder):
    """Patch a worker so that it dies in the middle of its first chunk."""
    import os
    import signal

    from sklperturb.embedding import _streaming

    write = _streaming._Work.write

    def dies(self, *args):
        try:
            (folder / "died").mkdir()
        except FileExistsError:
            return write(self, *args)
        os.kill(os.getpid(), signal.SIGKILL)

    _streaming._Work.write = dies


def test_dask_with_a_killed_worker(dask_client, model, path, cells, embedded, tmp_path):
    marks = tmp_path / "marks"
    marks.mkdir()
    (tmp_path / "out").mkdir()
    output = tmp_path / "out" / "out.zarr"
    dask_client.run(kill_this_worker_once, marks)
    done = embed_file(path, output, model, chunk_size=3, client=dask_client)
    assert done == (30, True)
    assert (marks / "died").exists()
    check(output, cells, embedded)


def test_memory_does_not_grow_with_cells(model, tmp_path):
    """Chunks are read, not the file."""
    from scipy import sparse

    read, read_rows = [], _batches.read_rows

    def recorded(cells, start, stop):
        read.append(stop - start)
        return read_rows(cells, start, stop)

    X = sparse.random(3000, 100, 0.2, "csr", random_state=0, dtype=np.float32)
    X.data = np.ceil(X.data * 50)
    cells = anndata.AnnData(X)
    cells.var_names = [f"GENE{i + 1}" for i in range(100)]
    cells.write_h5ad(tmp_path / "a.h5ad")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_batches, "read_rows", recorded)
        patch.setattr(_mapping, "read_rows", recorded)
        embed_file(tmp_path / "a.h5ad", tmp_path / "b.zarr", model)
    assert max(read) <= 512
    assert sum(read) == 3000 + 512
    rows = [0, 511, 512, 2999]
    found = anndata.read_zarr(tmp_path / "b.zarr").obsm["X_state"][rows]
    expected = clone(model).fit(cells).transform(cells[rows])
    assert_allclose(found, expected, atol=1e-5)
