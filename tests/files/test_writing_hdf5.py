"""HDF5 files on a disk that is full, in a process of their own: HDF5 may end it."""

import subprocess
import sys

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest

from sklperturb.files._writing_hdf5 import write_h5ad

LIMITS = (1000, 300_000, 600_000)
COMPRESSIONS = (None, "gzip")
FULL = f"""
import resource
from pathlib import Path
import anndata, numpy
from sklperturb.files._unfinished import NoRoomError
from sklperturb.files._writing import written_whole
from sklperturb.files._writing_hdf5 import write_h5ad

_, most = resource.getrlimit(resource.RLIMIT_FSIZE)
values = numpy.random.default_rng(0).random((300, 400), numpy.float32)
for limit in {LIMITS}:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, most))
    for compression in {COMPRESSIONS}:
        cells = anndata.AnnData(values, obsm={{"also": values}})
        try:
            with written_whole(Path("cells.h5ad")) as unfinished:
                write_h5ad(unfinished, cells, compression)
        except NoRoomError as error:
            print(limit, compression, error, flush=True)
        del cells
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What a process says that tries every limit, and the folder that it wrote to."""
    pytest.importorskip("resource")
    folder = tmp_path_factory.mktemp("full")
    done = subprocess.run(
        [sys.executable, "-c", FULL], cwd=folder, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    return done.stdout.splitlines(), folder


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("limit", LIMITS)
def test_no_room(told, limit, compression):
    lines, folder = told
    said = f"{limit} {compression} There is no room for cells.h5ad: File too large."
    assert len([line for line in lines if line.startswith(said)]) == 1
    assert not list(folder.iterdir())


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_the_file_is_that_of_anndata(tmp_path, compression):
    values = np.arange(12.0).reshape(4, 3)
    obs = pd.DataFrame({"gene": list("abab")}, index=list("wxyz"))
    cells = anndata.AnnData(values, obs=obs, obsm={"X_state": values})
    write_h5ad(tmp_path / "ours.h5ad", cells, compression)
    cells.write_h5ad(tmp_path / "theirs.h5ad", compression=compression)
    with (
        h5py.File(tmp_path / "ours.h5ad") as a,
        h5py.File(tmp_path / "theirs.h5ad") as b,
    ):
        assert (sorted(a), dict(a.attrs)) == (sorted(b), dict(b.attrs))
    ours, theirs = (
        anndata.read_h5ad(tmp_path / f"{name}.h5ad") for name in ("ours", "theirs")
    )
    np.testing.assert_array_equal(ours.X, theirs.X)
    np.testing.assert_array_equal(ours.obsm["X_state"], values)
    pd.testing.assert_frame_equal(ours.obs, theirs.obs)
