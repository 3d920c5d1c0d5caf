"""Tests of genes in several processes, and on a Dask cluster: the same numbers."""

import os
import signal

import anndata as ad
import joblib
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from sklperturb.evaluation import evaluate_cells, wilcoxon_de
from sklperturb.signatures import DifferentialSignatures
from sklperturb.utils import _calls


def make_cells(seed=0, n_genes=23):
    rng = np.random.default_rng(seed)
    labels = np.repeat(["ctrl", "g1", "g2", "g3"], 60)
    rate = rng.gamma(1, 1, n_genes) * np.ones((240, 1))
    rate[60:120, 1] += 3
    obs = pd.DataFrame({"gene": labels}, index=[f"c{i}" for i in range(240)])
    var = pd.DataFrame(index=[f"g{i}" for i in range(n_genes)])
    return ad.AnnData(sparse.csr_matrix(rng.poisson(rate).astype("f4")), obs, var)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cells")
    for seed, name in enumerate(("real", "pred")):
        cells = make_cells(seed)
        cells.write_h5ad(folder / f"{name}.h5ad")
        cells.X = cells.X.tocsc()
        cells.write_zarr(folder / f"{name}.zarr")
    return folder


def ranked(cells, **options):
    return wilcoxon_de(cells, "gene", control="ctrl", values="counts", **options)


def cells_in(folder, kind):
    path = folder / f"real.{kind.removeprefix('backed ')}"
    if kind == "memory":
        return make_cells()
    if kind == "view":
        return make_cells()[np.arange(240)[::-1]]
    return ad.read_h5ad(path, backed="r") if kind.startswith("backed") else path


KINDS = ["memory", "view", "h5ad", "zarr", "backed h5ad"]


@pytest.mark.parametrize("kind", KINDS)
def test_processes_give_what_one_gives(folder, kind):
    expected = ranked(make_cells())
    found = ranked(cells_in(folder, kind), n_jobs=2)
    pd.testing.assert_frame_equal(found, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_a_cluster_gives_what_one_process_gives(dask_client, folder, kind):
    expected = ranked(make_cells())
    with joblib.parallel_config("dask", client=dask_client):
        found = ranked(cells_in(folder, kind))
    pd.testing.assert_frame_equal(found, expected)


def kill_this_worker_once(folder):
    """Patch a worker so that it dies when it is given genes."""
    from sklperturb.evaluation import _wilcoxon

    rank_sums = _wilcoxon.rank_sums

    def dies(*args):
        try:
            (folder / "died").mkdir()
        except FileExistsError:
            return rank_sums(*args)
        os.kill(os.getpid(), signal.SIGKILL)

    _wilcoxon.rank_sums = dies


@pytest.mark.parametrize("convention", ["vcc2026", "robust"])
def test_evaluation_on_a_cluster_with_a_killed_worker(
    dask_client, folder, convention, tmp_path
):
    sides = folder / "real.h5ad", folder / "pred.h5ad", "gene"
    options = {"control": "ctrl", "convention": convention}
    expected = evaluate_cells(*sides, **options)
    dask_client.run(kill_this_worker_once, tmp_path)
    with joblib.parallel_config("dask", client=dask_client):
        found = evaluate_cells(*sides, n_jobs=1, **options)
    assert (tmp_path / "died").exists()
    pd.testing.assert_frame_equal(found.scores, expected.scores)
    pd.testing.assert_frame_equal(found.per_perturbation, expected.per_perturbation)


def test_evaluation_in_processes(folder):
    sides = folder / "real.h5ad", folder / "pred.h5ad", "gene"
    expected = evaluate_cells(*sides, control="ctrl")
    found = evaluate_cells(*sides, control="ctrl", n_jobs=2)
    pd.testing.assert_frame_equal(found.scores, expected.scores)


def test_an_error_names_the_gene(dask_client):
    cells = make_cells()
    cells.X[3, 7] = np.nan
    options = {"control": "ctrl", "n_jobs": 2}
    with pytest.raises(ValueError, match="first of gene g7"):
        wilcoxon_de(cells, "gene", **options)
    with (
        joblib.parallel_config("dask", client=dask_client),
        pytest.raises(ValueError, match="first of gene g7"),
    ):
        wilcoxon_de(cells, "gene", **options)


@pytest.mark.parametrize("method", ["voom", "trend"])
def test_signatures_in_processes_and_on_a_cluster(dask_client, monkeypatch, method):
    monkeypatch.setattr(_calls, "_LARGE", 100)  # arrays go out by themselves
    rng = np.random.default_rng(0)
    obs = pd.DataFrame({"drug": ["DMSO", "A", "B"] * 4}).rename(index=str)
    obs["donor"] = np.repeat(list("1234"), 3)
    samples = ad.AnnData(rng.poisson(rng.uniform(50, 500, 90), (12, 90)), obs)
    model = DifferentialSignatures(
        control="DMSO", covariates=["donor"], method=method, chunk_size=20
    )
    expected = model.fit_transform(samples)
    found = [model.set_params(n_jobs=2).fit_transform(samples)]
    with joblib.parallel_config("dask", client=dask_client):
        found.append(model.fit_transform(samples))
    for signatures in found:
        for name, layer in expected.layers.items():
            np.testing.assert_array_equal(signatures.layers[name], layer)
