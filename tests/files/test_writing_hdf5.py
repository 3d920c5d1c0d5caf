"""HDF5 files on a disk that is full, in a process of their own: HDF5 may end it."""

import subprocess
import sys

import anndata
import numpy as np
import pandas as pd
import pytest

from sklperturb.files._writing_hdf5 import write_h5ad

FULL = """
import resource
from pathlib import Path
import anndata, numpy
from sklperturb.files._unfinished import NoRoomError
from sklperturb.files._writing import written_whole
from sklperturb.files._writing_hdf5 import write_h5ad

resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
values = numpy.random.default_rng(0).random((300, 400), numpy.float32)
cells = anndata.AnnData(values, obsm={{"also": values}})
try:
    with written_whole(Path("cells.h5ad")) as unfinished:
        write_h5ad(unfinished, cells, {compression!r})
except NoRoomError as error:
    print(error)
del cells
"""


@pytest.mark.parametrize("compression", [None, "gzip"])
@pytest.mark.parametrize("limit", [1000, 300_000, 600_000])
def test_no_room(tmp_path, limit, compression):
    pytest.importorskip("resource")
    code = FULL.format(limit=limit, compression=compression)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("There is no room for cells.h5ad: File too large.")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_the_file_is_that_of_anndata(tmp_path, compression):
    values = np.arange(12.0).reshape(4, 3)
    obs = pd.DataFrame({"gene": list("abab")}, index=list("wxyz"))
    cells = anndata.AnnData(values, obs=obs, obsm={"X_state": values})
    write_h5ad(tmp_path / "ours.h5ad", cells, compression)
    cells.write_h5ad(tmp_path / "theirs.h5ad", compression=compression)
    ours, theirs = (
        anndata.read_h5ad(tmp_path / f"{name}.h5ad") for name in ("ours", "theirs")
    )
    np.testing.assert_array_equal(ours.X, theirs.X)
    np.testing.assert_array_equal(ours.obsm["X_state"], values)
    pd.testing.assert_frame_equal(ours.obs, theirs.obs)
