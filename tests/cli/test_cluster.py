"""Commands that compute on a Dask cluster."""

import os
import signal
import subprocess
import sys
import time

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from sklperturb.datasets import make_chemical_screen, write_screen


@pytest.fixture
def address(dask_cluster):
    return dask_cluster.scheduler_address


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    """Two files of counts, of three drugs in two cell types and two donors."""
    rng = np.random.default_rng(0)
    index = pd.MultiIndex.from_product(
        [["B", "T"], ["DMSO", "d1", "d2"], ["1", "2"], range(15)],
        names=["cell_type", "drug", "donor", "cell"],
    )
    obs = index.to_frame(index=False).rename(index=str)
    obs = obs[(obs["cell_type"] == "B") | (obs["drug"] != "d2")]
    rate = rng.uniform(1, 5, 30) * np.ones((len(obs), 1))
    rate[obs["drug"] == "d1", :3] *= 4
    folder = tmp_path_factory.mktemp("cells")
    for name in ("real", "pred"):
        counts = rng.poisson(rate).astype(np.float32)
        ad.AnnData(counts, obs).write_h5ad(folder / f"{name}.h5ad")
    return folder


def outputs(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("how", ["jobs", "dask"])
def test_evaluate(cli, cells, address, how, tmp_path):
    files = ["--real", cells / "real.h5ad", "--pred", cells / "pred.h5ad"]
    columns = ["--perturbation", "drug", "--control", "DMSO"]
    where = {"jobs": ["--jobs", 2], "dask": ["--dask", address]}[how]
    cli("evaluate", *files, *columns, "--output", tmp_path / "here")
    cli("evaluate", *files, *columns, "--output", tmp_path / "there", *where)
    assert outputs(tmp_path / "here") == outputs(tmp_path / "there")


@pytest.mark.parametrize("how", ["jobs", "dask"])
def test_signatures(cli, cells, address, how, tmp_path):
    given = [cells / "real.h5ad", "--control", "DMSO", "--covariates", "donor"]
    where = {"jobs": ["--jobs", 2], "dask": ["--dask", address]}[how]
    cli("signatures", *given, "--output", tmp_path / "here")
    cli("signatures", *given, "--output", tmp_path / "there", *where)
    here, there = (
        ad.read_h5ad(tmp_path / name / "de_train.h5ad") for name in ("here", "there")
    )
    for name, layer in here.layers.items():
        np.testing.assert_array_equal(there.layers[name], layer)


def test_an_interrupt_leaves_finished_folds_and_nothing_half_written(
    cli, address, tmp_path
):
    screen = make_chemical_screen(4, 20, 30, random_state=0)
    data = write_screen(tmp_path / "screen", screen)
    output = tmp_path / "out"
    given = ["--data", data, "--models", "ridge,product_kernel", "--cv"]
    given += ["unseen-pair", "--n-splits", 12, "--output", output]
    command = [sys.executable, "-m", "sklperturb", "leaderboard", *given]
    process = subprocess.Popen(
        [*map(str, command), "--dask", address], stderr=subprocess.PIPE, text=True
    )
    limit = time.monotonic() + 300
    while len(list(output.glob("folds/*.json"))) < 5:
        assert process.poll() is None and time.monotonic() < limit
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=120)
    assert process.returncode == 130, told
    assert "finished folds are in" in told and "Traceback" not in told
    kept = {path: os.stat(path).st_mtime_ns for path in output.glob("folds/*")}
    assert all(path.suffix == ".json" for path in kept)
    assert [path.name for path in output.iterdir()] == ["folds"]
    cli("leaderboard", *given)
    assert all(os.stat(path).st_mtime_ns == then for path, then in kept.items())
    assert (output / "leaderboard.csv").exists()


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("tcp://127.0.0.1:9", "tcp://127.0.0.1:9"),
        ("tls://127.0.0.1:9", "certificates in distributed.comm.tls"),
        ("ftp://127.0.0.1:9", "Pass tcp://host:port"),
        ("host", "host"),
    ],
)
def test_a_cluster_that_is_not_there_is_told_at_once(
    cli, cells, monkeypatch, tmp_path, address, told
):
    pytest.importorskip("distributed")
    from sklperturb.cli import _choices

    monkeypatch.setattr(_choices, "_CONNECT", "0.2s")
    command = ["signatures", cells / "real.h5ad", "--output", tmp_path / "out"]
    done = cli(*command, "--dask", address, code=2)
    assert told in done.stderr.splitlines()[-1]
