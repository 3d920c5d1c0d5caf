import shutil
import tarfile

import anndata as ad
import numpy as np
import pytest
from scipy import sparse

from sklperturb.datasets import write_cells

LABELS = ["A", "B", "non-targeting"]
VALUES = np.array([[0.0, 1.5], [0.7, 0.2], [0.1, 0.0]])


def test_cell_eval(tmp_path):
    path = tmp_path / "pred.h5ad"
    cells = ad.AnnData(sparse.csr_matrix(VALUES))
    cells.var_names = ["A", "B"]
    write_cells(path, cells, LABELS, genes=["B", "A"], contexts=["x"] * 3)
    found = ad.read_h5ad(path)
    np.testing.assert_allclose(found.X.toarray(), VALUES[:, ::-1], rtol=1e-6)
    assert found.X.dtype == np.float32
    assert list(found.var_names) == ["B", "A"]
    assert list(found.obs.columns) == ["target_gene", "celltype"]
    assert list(tmp_path.iterdir()) == [path]


def test_cell_eval2(tmp_path):
    path = tmp_path / "pred.h5ad"
    options = {"genes": ["A", "B"], "layout": "cell-eval2"}
    counts = np.array([[3, 0], [0, 7]])
    write_cells(path, counts, ["A", "B"], contexts=["c", "d"], **options)
    found = ad.read_h5ad(path)
    np.testing.assert_array_equal(found.X.toarray(), counts)
    assert list(found.obs.columns) == ["target_gene", "context"]
    with pytest.raises(ValueError, match="must not hold control"):
        write_cells(path, counts, LABELS[1:], contexts=["c", "d"], **options)
    with pytest.raises(ValueError, match="needs contexts"):
        write_cells(path, counts, ["A", "B"], **options)
    with pytest.raises(ValueError, match="whole counts"):
        write_cells(path, counts + 0.5, ["A", "B"], contexts=["c", "d"], **options)


@pytest.mark.skipif(shutil.which("zstd") is None, reason="zstd is not installed")
def test_archive(tmp_path):
    write_cells(tmp_path / "pred.vcc", VALUES, LABELS, genes=["A", "B"])
    with tarfile.open(tmp_path / "pred.vcc") as archive:
        assert archive.getnames() == ["pred.h5ad.zst", "watermark.txt"]
        assert archive.extractfile("watermark.txt").read() == b"vcc-prep"


def test_archive_without_zstd(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(FileNotFoundError, match="zstd is not installed"):
        write_cells(tmp_path / "pred.vcc", VALUES, LABELS, genes=["A", "B"])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("values", "labels", "options", "match"),
    [
        (VALUES, LABELS, {"genes": ["A"]}, "2 columns and there are 1"),
        (VALUES, LABELS, {}, "Pass genes="),
        (VALUES, LABELS[:2], {"genes": ["A", "B"]}, "each of 3 cells"),
        (VALUES, ["A", "B", "C"], {"genes": ["A", "B"]}, "must hold control"),
        (-VALUES, LABELS, {"genes": ["A", "B"]}, "negative"),
        (10 * VALUES, LABELS, {"genes": ["A", "B"]}, "look like counts"),
        (
            VALUES,
            LABELS,
            {"genes": ["A", "B"], "layout": "vcc"},
            "'layout' .*Got 'vcc'",
        ),
    ],
)
def test_bad_cells(tmp_path, values, labels, options, match):
    with pytest.raises(ValueError, match=match):
        write_cells(tmp_path / "pred.h5ad", values, labels, **options)
    assert not list(tmp_path.iterdir())
