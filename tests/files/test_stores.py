"""Files of cells that lead elsewhere, or are broken: one line that names the file."""

import os
import shutil
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import zarr
from scipy import sparse

from sklperturb.cells import open_cells
from sklperturb.datasets import describe_perturbseq, load_perturbseq
from sklperturb.datasets._files import read_layer
from sklperturb.files._reading import FileError
from sklperturb.files._stores import open_store, read_part

pytestmark = pytest.mark.filterwarnings("ignore:Writing zarr")
VALUES = np.array([[0, 2, 0, 1], [3, 0, 0, 0], [0, 0, 4, 5]], np.float32)


def cells(x=None):
    labels = pd.Categorical(["non-targeting", "A", "B"])
    obs = pd.DataFrame({"target_gene": labels}, list("xyz"))
    var = pd.DataFrame(index=list("ghij"))
    x = sparse.csr_matrix(VALUES) if x is None else x
    return ad.AnnData(x, obs, var)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Write the cells once: to write a store of zarr takes most of a second."""
    folder = tmp_path_factory.mktemp("written")
    data = cells()
    data.layers["dense"] = VALUES
    data.layers["csc"] = sparse.csc_matrix(VALUES)
    data.write_h5ad(folder / "cells.h5ad")
    data.write_zarr(folder / "cells.zarr")
    return folder


@pytest.fixture(params=["h5ad", "zarr"])
def path(request, written, tmp_path):
    name = f"cells.{request.param}"
    copy = shutil.copytree if request.param == "zarr" else shutil.copy
    return Path(copy(written / name, tmp_path / name))


def edit(path, change):
    if path.suffix == ".zarr":
        change(zarr.open_group(str(path), mode="r+", use_consolidated=False))
        os.remove(path / ".zmetadata")
    else:
        with h5py.File(path, "r+") as file:
            change(file)


def put(group, name, values):
    attributes = dict(group[name].attrs)
    del group[name]
    if isinstance(group, zarr.Group):
        array = group.create_array(name, data=np.asarray(values))
    else:
        array = group.create_dataset(name, data=np.asarray(values))
    array.attrs.update(attributes)


def read_all(path, layer=None):
    with open_cells(path, layer=layer) as opened:
        return [np.asarray(block.sum()) for _, block in opened.blocks(2)]


def refused(path, *words, layer=None):
    """Assert that every reader names the file, and `describe` the fault."""
    for read in (
        lambda: read_all(path, layer),
        lambda: load_perturbseq(path, layer=layer),
        lambda: read_all(load_perturbseq(path, layer=layer, backed=True).y),
    ):
        with pytest.raises(FileError) as caught:
            read()
        message = str(caught.value)
        assert path.name in message and "\n" not in message
        # scipy has words of its own for what is in memory.
        known = "cannot be one" in message or all(word in message for word in words)
        assert known, message


SPARSE = {
    "too large an index": ("indices", [1, 2, 0, 1, 9], "index 9"),
    "negative index": ("indices", [1, 2, 0, 1, -1], "index -1"),
    "huge index": ("indices", np.array([1, 2, 0, 1, 2**40]), "index 1099511627776"),
    "unsigned index": ("indices", np.array([1, 2, 0, 1, 2**63 + 3], "u8"), "index "),
    "float indices": ("indices", [1.0, 2.0, 0.0, 1.0, 2.0], "float64"),
    "boolean indices": ("indices", [True, False, True, False, True], "bool"),
    "few indices": ("indices", [1, 2, 0, 1], "4 indices for 5 values"),
    "falling pointers": ("indptr", [0, 5, 2, 5], "does not rise"),
    "not from 0": ("indptr", [1, 2, 3, 5], "does not rise"),
    "past the end": ("indptr", [0, 2, 3, 9], "does not rise"),
    "short of the end": ("indptr", [0, 2, 3, 4], "does not rise"),
    "too few rows": ("indptr", [0, 2, 5], "3 entries for 3 lines"),
    "two dimensions": ("indptr", [[0, 2], [3, 5]], "one dimension"),
    "float pointers": ("indptr", [0.0, 2.0, 3.0, 5.0], "float64"),
}


@pytest.mark.parametrize(
    ("fault", "layer"),
    [
        *((fault, None) for fault in SPARSE),
        # That has pointers of its own.
        *((fault, "csc") for fault in SPARSE if SPARSE[fault][0] == "indices"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*stored by columns", "ignore:indices array has")
def test_sparse_matrices_that_cannot_be(path, fault, layer):
    part, values, words = SPARSE[fault]
    edit(path, lambda f: put(f[f"layers/{layer}" if layer else "X"], part, values))
    if layer == "csc":
        with pytest.raises(FileError, match=words):
            read_all(path, layer)
    else:
        refused(path, words)
    problems = describe_perturbseq(path, layer=layer).problems
    assert any(words in problem for problem in problems)


def test_entries_that_are_stored_twice_are_added(path):
    edit(path, lambda f: put(f["X"], "indices", [1, 1, 0, 2, 2]))
    with open_cells(path) as opened:
        found = opened.rows(slice(None))
    assert found.has_canonical_format
    np.testing.assert_array_equal(found.toarray()[[0, 2]], [[0, 3, 0, 0], [0, 0, 9, 0]])


@pytest.mark.parametrize("shape", [(4, 4), (3, 5), (3,), (-3, 4)])
def test_shapes_fit_the_tables(path, shape):
    def change(file):
        file["X"].attrs["shape"] = shape

    edit(path, change)
    refused(path)


def test_dense_shapes_fit_the_tables(path):
    edit(path, lambda file: put(file["layers"], "dense", np.ones((3, 5))))
    with pytest.raises(FileError, match="5 columns for 4 genes"):
        read_all(path, "dense")


@pytest.mark.filterwarnings("ignore:.*does not have a Zarr")  # text of fixed length
@pytest.mark.parametrize("values", [VALUES.astype(complex), VALUES.astype("S3")])
def test_values_are_real_numbers(path, values):
    edit(path, lambda file: put(file["layers"], "dense", values))
    with pytest.raises(ValueError, match=r"cells.*real numbers.*dtype"):
        read_all(path, "dense")
    assert "real numbers" in str(describe_perturbseq(path, layer="dense").problems)


def test_encodings_that_are_not_known(path):
    def change(file):
        file["X"].attrs["encoding-type"] = "awkward-array"

    edit(path, change)
    with pytest.raises(FileError, match=r"cells.*'awkward-array'.*CSR or CSC"):
        read_all(path)


def test_nothing_is_taken_from_other_files(tmp_path):
    other, path = tmp_path / "other.h5ad", tmp_path / "cells.h5ad"
    cells().write_h5ad(other)

    def external(file):
        file["X"] = h5py.ExternalLink(str(other), "X")

    def external_below(file):
        file["X/data"] = h5py.ExternalLink(str(other), "X/data")

    def external_in_uns(file):
        file["uns/far"] = h5py.ExternalLink(str(other), "X")

    def by_way_of(file):
        file["far"] = h5py.ExternalLink(str(other), "/")
        file["X"] = h5py.SoftLink("/far/X")

    def dangling(file):
        file["X"] = h5py.SoftLink("/nowhere")

    def virtual(file):
        layout = h5py.VirtualLayout((5,), "f4")
        layout[:] = h5py.VirtualSource(str(other), "X/data", (5,))
        file["X"].create_virtual_dataset("data", layout)

    def raw(file):
        file["X"].create_dataset(
            "data", (5,), "f4", external=[(str(other), 0, h5py.h5f.UNLIMITED)]
        )

    for change, gone, word in (
        (external, "X", "link"),
        (external_below, "X/data", "link"),
        (external_in_uns, None, "link"),
        (by_way_of, "X", "link"),
        (dangling, "X", "does not exist"),
        (virtual, "X/data", "in other files"),
        (raw, "X/data", "in other files"),
    ):
        cells().write_h5ad(path)
        with h5py.File(path, "r+") as file:
            if gone:
                del file[gone]
            change(file)
        refused(path, word)
        with pytest.raises(FileError, match=word):
            describe_perturbseq(path)


def test_links_inside_a_file_are_followed(tmp_path):
    path = tmp_path / "cells.h5ad"
    data = cells()
    data.layers["counts"] = VALUES
    data.write_h5ad(path)
    with h5py.File(path, "r+") as file:
        del file["X"]
        file["X"] = h5py.SoftLink("/layers/counts")
        file["uns/again"] = file["uns"]  # a circle
    assert sum(read_all(path)) == VALUES.sum()


def test_links_out_of_a_folder(tmp_path):
    path, other = tmp_path / "cells.zarr", tmp_path / "other.zarr"
    for folder in (path, other):
        cells().write_zarr(folder)
    data = path / "X" / "data" / "0"
    data.rename(path / "moved")
    data.symlink_to(path / "moved")
    assert sum(read_all(path)) == VALUES.sum()
    data.unlink()
    data.symlink_to(other / "X" / "data" / "0")
    refused(path, "link out of the folder")


def test_pickles_are_refused(tmp_path):
    path = tmp_path / "cells.zarr"
    cells().write_zarr(path)
    about = path / "X" / "data" / ".zarray"
    text = about.read_text().replace('"filters": null', '"filters": [{"id":"pickle"}]')
    assert "pickle" in text
    about.write_text(text)
    refused(path, "pickles")


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.filterwarnings("ignore:Consolidated metadata")
def test_chunks_that_are_absent(tmp_path, zarr_format):
    path = tmp_path / "cells.zarr"
    data = cells()
    data.layers["dense"] = VALUES
    with ad.settings.override(zarr_write_format=zarr_format):
        data.write_zarr(path)
    chunk = "c/0" if zarr_format == 3 else "0"
    first = "c/0/0" if zarr_format == 3 else "0.0"
    (path / "layers" / "dense" / first).unlink()
    with pytest.warns(UserWarning, match="1 chunks of 'layers/dense' are absent"):
        read_all(path, "dense")
    for part in ("indices", "data"):
        (path / "X" / part / chunk).unlink()
        refused(path, "are absent")


def test_zeros_that_zarr_leaves_out_are_no_damage(tmp_path):
    path = tmp_path / "cells.zarr"
    first = np.zeros((3, 4), np.float32)
    first[:, 0] = [1, 2, 3]
    cells(sparse.csr_matrix(first)).write_zarr(path)
    assert not (path / "X" / "indices" / "0").exists()
    assert sum(read_all(path)) == 6


@pytest.mark.parametrize("n_bytes", [0, 7, 100, 3000])
def test_truncated_files(tmp_path, n_bytes):
    path = tmp_path / "cells.h5ad"
    cells().write_h5ad(path)
    path.write_bytes(path.read_bytes()[:n_bytes])
    refused(path)


def test_names_that_are_no_files_of_cells(tmp_path):
    packed = tmp_path / "cells.zarr.zip"
    packed.write_bytes(b"PK")
    folder = tmp_path / "folder.h5ad"
    folder.mkdir()
    file = tmp_path / "file.zarr"
    file.write_bytes(b"PK")
    for path, error, words in (
        (packed, FileError, "unpack it first"),
        (folder, IsADirectoryError, "is a folder"),
        (file, FileError, "a .zarr is a folder"),
        (tmp_path / "no.h5ad", FileNotFoundError, "does not exist"),
    ):
        with pytest.raises(error, match=words):
            open_store(path)
    os.mkfifo(tmp_path / "pipe.h5ad")
    with pytest.raises(FileError, match="is a pipe"):
        open_store(tmp_path / "pipe.h5ad")


def test_tables_of_records_are_old(tmp_path):
    path = tmp_path / "old.h5ad"
    with h5py.File(path, "w") as file:
        file["X"] = VALUES
        for table, n in (("obs", 3), ("var", 4)):
            file[table] = np.zeros(n, [("index", "S5"), ("g", "S2")])
    refused(path, "anndata 0.7")
    with pytest.raises(FileError, match=r"anndata 0\.7"):
        describe_perturbseq(path)


def test_text_that_is_kept_as_bytes(tmp_path):
    path = tmp_path / "cells.h5ad"
    cells().write_h5ad(path)

    def fixed(group, name, values):
        if name in group:
            del group[name]
        group[name] = np.array(values)
        group[name].attrs["encoding-type"] = "array"
        group[name].attrs["encoding-version"] = "0.2.0"

    with h5py.File(path, "r+") as file:
        fixed(file["obs"], "_index", [b"x", b"y", "\u00e9".encode()])
        fixed(file["var"], "_index", [b"g", b"h", b"i", b"j"])
        fixed(file, "obs/target_gene/categories", [b"A", b"B", b"non-targeting"])
        fixed(file["obs"], "batch", [b"1", b"1", b"2"])
        file["obs"].attrs["column-order"] = ["target_gene", "batch"]
    with open_cells(path) as opened:
        assert opened.genes.tolist() == list("ghij")
        assert opened.obs_names.tolist() == ["x", "y", "\u00e9"]
        assert opened.obs["batch"].tolist() == ["1", "1", "2"]
    for screen in (
        load_perturbseq(path),
        load_perturbseq(path, backed=True),
        load_perturbseq(ad.read_h5ad(path)),
    ):
        assert screen.X["target_gene"].tolist() == ["control", "A", "B"]
        assert screen.X["batch"].tolist() == ["1", "1", "2"]
        assert screen.y.obs["batch"].tolist() == ["1", "1", "2"]
        assert screen.target_names == list("ghij")
    with h5py.File(path, "r+") as file:
        file["obs/batch"][0] = b"\xff"
    with pytest.raises(FileError, match="'batch' holds bytes that are no text"):
        load_perturbseq(path)


def test_integer_categories_with_missing_values(tmp_path):
    path = tmp_path / "cells.h5ad"
    data = cells()
    data.obs["plate"] = pd.Categorical([1, None, 2])
    data.write_h5ad(path)
    store = open_store(path)
    assert read_part(store, "obs")["plate"].isna().tolist() == [False, True, False]
    store.close()
    for backed in (False, True):
        found = load_perturbseq(path, backed=backed).y.obs["plate"]
        assert found.isna().tolist() == [False, True, False]


def test_a_file_of_signatures_without_layers(tmp_path):
    path = tmp_path / "de_train.h5ad"
    data = cells()
    data.layers.clear()
    data.write_h5ad(path)
    with pytest.raises(ValueError, match=r"has no layers, .* X is not read. Keep them"):
        read_layer(path, None)


def test_signatures_are_read_as_cells_are(tmp_path):
    path = tmp_path / "de_train.h5ad"
    data = cells()
    data.layers["clipped_sign_log10_pval"] = sparse.csr_matrix(VALUES)
    data.write_h5ad(path)
    obs, y = read_layer(path, None)
    assert obs["target_gene"].tolist() == ["non-targeting", "A", "B"]
    np.testing.assert_array_equal(y, VALUES)
    with h5py.File(path, "r+") as file:
        put(file["layers/clipped_sign_log10_pval"], "indices", [1, 2, 0, 1, -1])
    with pytest.raises(FileError, match="index -1"):
        read_layer(path, None)


@pytest.mark.parametrize("change", ["kind", "shape", "length"])
def test_a_column_has_a_value_for_each_row(path, change):
    def damage(file):
        codes = file["obs/target_gene"]
        if change == "kind":
            codes.attrs["encoding-type"] = "csr_matrix"
        else:
            put(codes, "codes", np.zeros((3, 1) if change == "shape" else 4, np.int8))

    edit(path, damage)
    with pytest.raises(FileError, match="'obs/target_gene' is no column of a table"):
        load_perturbseq(path)
