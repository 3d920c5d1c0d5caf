"""Pseudobulks against a plain loop, however the cells are stored."""

import tracemalloc

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone

from sklperturb.signatures import Pseudobulk, pseudobulk


@pytest.fixture(scope="module")
def cells():
    rng = np.random.default_rng(0)
    n = 300
    counts = rng.poisson(0.6, size=(n, 20)).astype(np.float32)
    obs = pd.DataFrame(
        {
            "cell_type": pd.Categorical(
                rng.choice(["T", "B"], n), categories=["T", "B", "NK"]
            ),
            "drug": rng.choice(["x", "y", "z"], n),
            "barcode": np.arange(n),
        },
        index=[f"c{i}" for i in range(n)],
    )
    obs["dose"] = obs["drug"].map({"x": 1.0, "y": 1.0, "z": np.nan})
    data = ad.AnnData(sparse.csr_matrix(counts), obs=obs)
    data.layers["counts"] = sparse.csr_matrix(counts * 2)
    data.var["symbol"] = [f"G{i}" for i in range(20)]
    return data


def check(bulks, cells, factor=1):
    counts = cells.X.toarray().astype(np.float64) * factor
    assert list(bulks.obs[["cell_type", "drug"]].itertuples(index=False)) == [
        (c, d) for c in ("T", "B") for d in ("x", "y", "z")
    ]
    for i, row in enumerate(bulks.obs.itertuples()):
        inside = (cells.obs["cell_type"] == row.cell_type) & (
            cells.obs["drug"] == row.drug
        )
        np.testing.assert_array_equal(bulks.X[i], counts[inside].sum(axis=0))
        np.testing.assert_allclose(
            bulks.layers["mean"][i], counts[inside].mean(axis=0), rtol=1e-15
        )
        assert row.n_cells == inside.sum()


@pytest.mark.parametrize("chunk_size", [None, 7, 300, 1000])
@pytest.mark.parametrize("storage", ["csr", "csc", "dense"])
def test_equals_a_loop(cells, storage, chunk_size):
    stored = cells.copy()
    stored.X = {"csr": cells.X, "csc": cells.X.tocsc(), "dense": cells.X.toarray()}[
        storage
    ]
    bulks = pseudobulk(stored, ["cell_type", "drug"], chunk_size=chunk_size)
    check(bulks, cells)
    assert list(bulks.obs) == ["cell_type", "drug", "dose", "n_cells"]
    assert list(bulks.obs["cell_type"].cat.categories) == ["T", "B"]
    assert bulks.obs_names[0] == "T_x"
    pd.testing.assert_frame_equal(bulks.var, cells.var)


@pytest.mark.parametrize("storage", ["csr", "csc", "dense"])
def test_streams_from_files(cells, storage, tmp_path):
    stored = cells.copy()
    if storage != "csr":
        stored.X = stored.X.tocsc() if storage == "csc" else stored.X.toarray()
    path = tmp_path / "cells.h5ad"
    stored.write_h5ad(path)
    keys = ["cell_type", "drug"]
    check(pseudobulk(path, keys, chunk_size=11), cells)
    check(pseudobulk(str(path), keys, layer="counts", chunk_size=11), cells, 2)
    backed = ad.read_h5ad(path, backed="r")
    check(pseudobulk(backed, keys, chunk_size=11), cells)
    if storage != "csc":
        view = backed[50:200]
        check(pseudobulk(view, keys, chunk_size=11), cells[50:200])
    backed.file.close()


@pytest.mark.parametrize("storage", ["csr", "dense"])
def test_streams_from_zarr(cells, storage, tmp_path):
    stored = cells.copy()
    if storage == "dense":
        stored.X = stored.X.toarray()
    path = tmp_path / "cells.zarr"
    stored.write_zarr(path)
    check(pseudobulk(path, ["cell_type", "drug"], chunk_size=11), cells)


def test_memory_does_not_grow_with_the_cells(tmp_path):
    peaks = []
    for n in (2_000, 20_000):
        obs = pd.DataFrame({"g": np.arange(n) % 5}, index=np.arange(n).astype(str))
        path = tmp_path / f"{n}.h5ad"
        ad.AnnData(np.ones((n, 200), np.float32), obs=obs).write_h5ad(path)
        tracemalloc.start()
        pseudobulk(path, "g", chunk_size=500)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # The cells are 16 MB against 1.6; what may grow is the table of the cells.
    assert peaks[1] < peaks[0] + 6e6


def test_small_groups_are_left_out(cells):
    sizes = cells.obs.groupby(["cell_type", "drug"], observed=True).size()
    least = int(sizes.median())
    bulks = pseudobulk(cells, ["cell_type", "drug"], min_cells=least)
    assert sorted(bulks.obs["n_cells"]) == sorted(sizes[sizes >= least])
    total = cells[cells.obs["drug"] == "x"]
    assert pseudobulk(total, "drug").X.sum() == total.X.sum()


def test_sums_of_many_counts_are_exact():
    obs = pd.DataFrame({"g": ["a"] * 3}, index=list("xyz"))
    counts = np.array([[2**24], [1], [1]], dtype=np.float32)
    for X in (counts, sparse.csr_matrix(counts)):
        assert pseudobulk(ad.AnnData(X, obs=obs), "g").X[0, 0] == 2**24 + 2


def test_transformer(cells):
    named = Pseudobulk(["cell_type", "drug"], layer="counts")
    check(clone(named).fit_transform(cells), cells, 2)
    guessed = Pseudobulk().fit(cells)
    assert guessed.groupby_ == ["cell_type", "drug", "dose"]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"groupby": "donor"}, "must name columns of obs, which has"),
        ({"groupby": []}, "must name columns"),
        ({"groupby": ["drug", "drug"]}, "must name 'drug' once"),
        ({"groupby": "dose"}, "without a group .*dose"),
        ({"groupby": "drug", "layer": "raw"}, r"no layer 'raw'; it has \['counts'\]"),
        ({"groupby": "drug", "min_cells": 1000}, "No group has min_cells=1000"),
        ({"groupby": "drug", "min_cells": 0}, "'min_cells' .*Got 0"),
        ({"groupby": "drug", "chunk_size": 0.5}, "'chunk_size' .*Got 0.5"),
    ],
)
def test_bad_input(cells, arguments, message):
    with pytest.raises(ValueError, match=message):
        pseudobulk(cells, **arguments)


def test_bad_files(cells, tmp_path):
    with pytest.raises(TypeError, match="AnnData or the path"):
        pseudobulk(cells.to_df(), "drug")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        pseudobulk(tmp_path / "no.h5ad", "drug")
    broken = tmp_path / "broken.h5ad"
    broken.write_bytes(b"no h5ad")
    with pytest.raises(ValueError, match="cannot be read as AnnData"):
        pseudobulk(broken, "drug")


def test_doses_in_several_units_are_not_added_up():
    obs = pd.DataFrame(
        {
            "drug": ["DMSO", "DMSO", "a", "a", "a", "a"],
            "dose": [0.0, 0.0, 1.0, 1.0, 5.0, 5.0],
            "dose_unit": ["nM", "uM", "nM", "uM", "uM", "uM"],
        },
        index=[f"c{i}" for i in range(6)],
    )
    cells = ad.AnnData(np.ones((6, 2)), obs=obs)
    with pytest.raises(ValueError, match=r"one 'dose' have several units.*nM.*uM"):
        pseudobulk(cells, ["drug", "dose"])
    assert len(pseudobulk(cells, ["drug", "dose", "dose_unit"])) == 5
    assert len(pseudobulk(cells, "drug")) == 2
    assert len(pseudobulk(cells[cells.obs["dose_unit"] == "uM"], ["drug", "dose"])) == 3
