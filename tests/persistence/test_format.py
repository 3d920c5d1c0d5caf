"""What is in a file, and that files of earlier versions are read."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import InconsistentVersionWarning
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline, make_pipeline

import sklperturb
from sklperturb._version import __version__
from sklperturb.files._reading import FileError
from sklperturb.linear_model import ProductKernelRidge
from sklperturb.persistence import data_fingerprint, read_card, read_info
from sklperturb.persistence._manifest import VERSION

FORMATS = sorted(Path(__file__).parent.glob("format_*/"))
FILES = [path for folder in FORMATS for path in sorted(folder.glob("*.skpt"))]


def test_every_version_of_the_format_is_kept():
    assert [folder.name for folder in FORMATS] == [
        f"format_{version}" for version in range(1, VERSION + 1)
    ]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.InconsistentVersionWarning")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_files_of_all_versions_predict(path):
    if path.stem == "tanimoto":
        pytest.importorskip("rdkit", reason="fingerprints need rdkit")
    if path.stem == "boosting":
        pytest.importorskip("lightgbm", reason="its trees are those of lightgbm")
    expected = json.loads((path.parent / "expected.json").read_text(encoding="utf-8"))
    asked = pd.DataFrame(**expected["conditions"])
    found = sklperturb.load(path).predict(asked)
    np.testing.assert_allclose(found, expected[path.stem], rtol=1e-5, atol=1e-7)
    info = read_info(path)
    assert info.genes == [f"GENE{i}" for i in range(1, 5)] or len(info.genes) == 4
    assert info.columns == list(asked)


def test_parameters_of_later_versions_get_their_defaults(tmp_path, monkeypatch):
    model = Ridge(3.0).fit([[0.0], [1.0]], [0.0, 1.0])
    del model.copy_X
    monkeypatch.setattr(Ridge, "get_params", lambda self, deep=True: {})
    sklperturb.save(model, tmp_path / "m.skpt")
    monkeypatch.undo()
    again = sklperturb.load(tmp_path / "m.skpt")
    assert again.copy_X is True and again.alpha == 3
    pipeline = make_pipeline(Ridge())
    del pipeline.steps
    monkeypatch.setattr(Pipeline, "get_params", lambda self, deep=True: {})
    sklperturb.save(pipeline, tmp_path / "p.skpt")
    with pytest.raises(FileError, match="steps"):
        sklperturb.load(tmp_path / "p.skpt")


def test_info_and_card(screen, tmp_path):
    model, path = ProductKernelRidge().fit(screen.X, screen.y), tmp_path / "m.skpt"
    scores = pd.DataFrame(
        {"metric": ["mrrmse"], "score": [0.81234], "low": [0.7], "ceiling": [np.nan]}
    )
    card = {"Intended use": "To rank.", "Licence": "CC0"}
    sklperturb.save(model, path, X=screen.X, y=screen.y, scores=scores, card=card)
    info = read_info(path)
    assert info.written_by == __version__
    assert info.model_class == "sklperturb.linear_model.ProductKernelRidge"
    assert info.parameters["context_kernel"] == "'learned'"
    assert info.genes == list(screen.y)
    assert info.columns == list(screen.X)
    assert info.columns_read == ["cell_type", "sm_name"]
    assert info.contexts == sorted(screen.X["cell_type"].unique())
    assert info.schema["perturbation"] == "sm_name"
    assert info.n_samples == len(screen.X)
    assert info.fingerprint == data_fingerprint(screen.X, screen.y)
    assert info.scores[0]["score"] == 0.81234 and info.scores[0]["ceiling"] is None
    assert info.foreign == []
    text = read_card(path)
    assert text.startswith("# ProductKernelRidge\n")
    assert "| mrrmse | 0.8123 | 0.7 |  |" in text
    assert "To rank." in text and "## Licence\n\nCC0\n" in text
    assert "## Failure modes" in text
    assert info.fingerprint in text
    assert f"- contexts: {', '.join(info.contexts)}\n" in text
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["arrays.safetensors", "card.md", "manifest.json"]
        whole = b"".join(archive.read(name) for name in archive.namelist())
    assert b"\x80\x04" not in whole[:2]


def test_the_same_model_gives_the_same_bytes(screen, tmp_path):
    for name in ("a.skpt", "b.skpt"):
        model = ProductKernelRidge().fit(screen.X, screen.y)
        sklperturb.save(model, tmp_path / name, X=screen.X, y=screen.y)
    assert (tmp_path / "a.skpt").read_bytes() == (tmp_path / "b.skpt").read_bytes()


def test_nothing_is_known_without_data(tmp_path):
    sklperturb.save(Ridge().fit([[0.0], [1.0]], [0.0, 1.0]), tmp_path / "m.skpt")
    info = read_info(tmp_path / "m.skpt")
    assert info.genes is info.schema is info.fingerprint is info.n_samples is None
    assert info.columns_read is info.contexts is None
    assert "Not given" in read_card(tmp_path / "m.skpt")


def test_fingerprints():
    X = pd.DataFrame({"a": ["x", "y"], "b": [1, 2]})
    y = pd.DataFrame({"g": [0.5, 1.5]})
    same = data_fingerprint(X.copy(), y.copy())
    assert data_fingerprint(X, y) == same and len(same) == 64
    assert data_fingerprint(X.iloc[::-1], y) != same
    assert data_fingerprint(X.rename(columns={"a": "c"}), y) != same
    assert data_fingerprint(X, y + 1e-12) != same
    assert data_fingerprint(X, y.rename(columns={"g": "h"})) != same
    assert data_fingerprint(X, None) is None


def test_another_version_of_scikit_learn(tmp_path, monkeypatch):
    monkeypatch.setattr("sklperturb.persistence._save.library_versions", lambda: {})
    sklperturb.save(Ridge(), tmp_path / "m.skpt")
    with pytest.warns(InconsistentVersionWarning, match="Ridge"):
        sklperturb.load(tmp_path / "m.skpt")


def test_a_file_that_is_there_is_replaced_whole(tmp_path):
    path = tmp_path / "m.skpt"
    sklperturb.save(Ridge(1), path)
    model = Ridge(2)
    model.model_ = object()
    with pytest.raises(TypeError):
        sklperturb.save(model, path, overwrite=True)
    assert sklperturb.load(path).alpha == 1
    sklperturb.save(Ridge(2), path, overwrite=True)
    assert sklperturb.load(path).alpha == 2
    assert [p.name for p in tmp_path.iterdir()] == ["m.skpt"]


def test_more_parts_than_a_reader_takes_are_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr("sklperturb.persistence._encode.MOST_OBJECTS", 3)
    sklperturb.save(make_pipeline(Ridge(), Ridge()), tmp_path / "m.skpt")
    with pytest.raises(TypeError, match="more than 3 parts"):
        sklperturb.save(
            make_pipeline(*[Ridge()] * 2, make_pipeline(Ridge(), Ridge())),
            tmp_path / "n.skpt",
        )
    assert [p.name for p in tmp_path.iterdir()] == ["m.skpt"]
