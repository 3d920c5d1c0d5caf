"""Public screens from a server in the place of the real ones."""

import hashlib
from dataclasses import replace

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from sklperturb.cells import open_cells
from sklperturb.datasets import (
    fetch_kang_2018,
    fetch_norman_2019,
    fetch_op3,
    fetch_replogle_2022,
    fetch_sciplex3,
)
from sklperturb.downloads import _screens
from sklperturb.files._reading import FileError
from tests.server import Answer

COUNTS = np.random.default_rng(0).poisson(2.0, (6, 4)).astype(np.float32)
GENES = pd.DataFrame(index=["A", "B", "C", "D"])


@pytest.fixture
def publish(server, tmp_path, monkeypatch):
    """Return a function that puts files in the place of those of a screen."""

    def put(name, *contents):
        screen, files = _screens.SCREENS[name], []
        for remote, content in zip(screen.files, contents, strict=True):
            if not isinstance(content, bytes):
                content.write_h5ad(tmp_path / "made.h5ad")
                content = (tmp_path / "made.h5ad").read_bytes()
            server.answers[remote.name] = [Answer(content)]
            found = hashlib.sha256(content).hexdigest()
            changed = {
                "url": server.address(remote.name),
                "size": len(content),
                "sha256": found if remote.sha256 else None,
            }
            files.append(replace(remote, **changed))
        changed = replace(screen, files=tuple(files))
        monkeypatch.setitem(_screens.SCREENS, name, changed)

    monkeypatch.setenv("SKLPERTURB_DATA", str(tmp_path / "home"))
    return put


def cells(matrix=sparse.csr_matrix, **obs):
    index = [f"c{i}" for i in range(6)]
    return ad.AnnData(matrix(COUNTS), obs=pd.DataFrame(obs, index), var=GENES)


def check_terms(screen, name, folder):
    public = _screens.SCREENS[name]
    assert (screen.license, screen.citation) == (public.license, public.citation)
    assert public.license in screen.DESCR and public.citation in screen.DESCR
    names = [remote.name for remote in public.files]
    assert screen.paths == [folder / name / file for file in names]


def test_norman(publish, server, tmp_path):
    publish(
        "norman_2019",
        cells(
            sparse.csc_matrix,  # as the real file has it
            perturbation=["control", "KLF1", "CEBPE_KLF1", "control", "KLF1", "CEBPE"],
            nperts=[0, 1, 2, 0, 1, 1],
            perturbation_type="CRISPR",
            cell_line="K562",
        ),
    )
    for backed in (False, True):
        screen = fetch_norman_2019(backed=backed, delay=0)
        assert screen.layout == "scperturb"
        assert screen.X["perturbation"].tolist()[:3] == [
            "control",
            "KLF1",
            "CEBPE+KLF1",
        ]
        with open_cells(screen.y) as opened:
            np.testing.assert_array_equal(np.asarray(opened.genes), GENES.index)
        np.testing.assert_array_equal(screen.y[:2].to_memory().X.toarray(), COUNTS[:2])
        check_terms(screen, "norman_2019", tmp_path / "home")
    assert len(server.asked) == 1


@pytest.mark.parametrize("line", ["K562", "RPE1"])
def test_replogle(publish, server, tmp_path, line):
    name = f"replogle_2022_{line.lower()}"
    publish(
        name,
        cells(
            np.asarray,
            perturbation=["control", "AARS", "AAMP"] * 2,
            nperts=[0, 1, 1] * 2,
            perturbation_type="CRISPR",
            cell_line=line,
            batch="1",
        ),
    )
    screen = fetch_replogle_2022(line, data_home=tmp_path / "here")
    assert screen.y.shape == (6, 4) and screen.is_control.sum() == 2
    assert screen.X["cell_line"].unique().tolist() == [line]
    check_terms(screen, name, tmp_path / "here")
    assert not (tmp_path / "home").exists()


def test_sciplex(publish, server, tmp_path):
    publish(
        "sciplex3",
        cells(
            perturbation=["control", "Trametinib", "A + B", None, "control", "A + B"],
            nperts=[0, 1, 1, 1, 0, 1],
            perturbation_type="drug",
            cell_line="A549",
            dose_value=[0.0, 10.0, 1000.0, np.nan, 0.0, 10000.0],
            dose_unit="nM",
            replicate=["rep1", "rep1", "rep2", None, "rep2", "rep1"],
            celltype="alveolar basal epithelial cells",
        ),
    )
    screen = fetch_sciplex3()
    assert screen.X["perturbation"].tolist()[1:3] == ["Trametinib", "A + B"]
    assert (screen.schema.context, screen.schema.replicate) == (
        "cell_line",
        "replicate",
    )
    np.testing.assert_allclose(screen.X[screen.schema.dose], [0, 0.01, 1, 0, 10])
    check_terms(screen, "sciplex3", tmp_path / "home")


def test_kang(publish, server, tmp_path):
    publish(
        "kang_2018",
        cells(
            sparse.csc_matrix,
            label=["ctrl", "stim"] * 3,
            cell_type="B cells",
            replicate=["patient_1", "patient_2"] * 3,
        ),
    )
    screen = fetch_kang_2018()
    assert screen.X["label"].tolist()[:2] == ["control", "stim"]
    assert list(screen.X) == ["cell_type", "label", "replicate", "control"]
    check_terms(screen, "kang_2018", tmp_path / "home")


def test_op3(publish, server, tmp_path):
    def signatures(cell_type, split):
        obs = pd.DataFrame(
            {
                "cell_type": cell_type,
                "sm_name": ["X", "Y", "Z"],
                "sm_lincs_id": ["L1", "L2", "L3"],
                "SMILES": ["C", "CC", "CCC"],
                "split": split,
                "control": False,
            },
            index=["0", "1", "2"],
        )
        values = np.arange(12.0).reshape(3, 4) + len(split)
        layers = {"clipped_sign_log10_pval": values, "logFC": -values}
        return ad.AnnData(np.zeros((3, 4)), obs=obs, var=GENES, layers=layers)

    train = ad.concat(
        [signatures("T cells", "train"), signatures("B cells", "train")],
        index_unique="-",
    )
    ids = b"id,cell_type,sm_name\n0,B cells,X\n1,B cells,Y\n2,B cells,Z\n"
    publish("op3", train, signatures("B cells", "private_test"), ids)
    screen = fetch_op3()
    assert screen.y.shape == (6, 4) and screen.y_test.shape == (3, 4)
    check_terms(screen, "op3", tmp_path / "home")
    logs = fetch_op3(layer="logFC", download_if_missing=False)
    np.testing.assert_array_equal(logs.y, -screen.y)
    assert len(server.asked) == 3
    (screen.paths[2]).write_bytes(ids + b"3,T cells,X\n")
    with pytest.raises(FileError, match=r"id_map.csv.*what it had first"):
        fetch_op3()


def test_parameters(tmp_path):
    with pytest.raises(FileNotFoundError, match="download_if_missing=False"):
        fetch_kang_2018(data_home=tmp_path, download_if_missing=False)
    with pytest.raises(ValueError, match="'n_retries' parameter"):
        fetch_kang_2018(data_home=tmp_path, n_retries=-1)
    with pytest.raises(ValueError, match="'cell_line' parameter"):
        fetch_replogle_2022("HeLa", data_home=tmp_path)


def test_what_to_install_is_said(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "pooch", None)
    with pytest.raises(ImportError, match=r'pip install "sklperturb\[fetch\]"'):
        fetch_kang_2018(data_home=tmp_path)
    assert not list(tmp_path.iterdir())


def test_command_line(publish, server, tmp_path, cli):
    publish(
        "kang_2018",
        cells(label=["ctrl", "stim"] * 3, cell_type="B", replicate="1"),
    )
    listed = cli("fetch").stdout
    assert all(name in listed for name in _screens.SCREENS) and not server.asked
    done = cli("fetch", "kang_2018")
    lines = done.stdout.splitlines()
    assert lines[0] == str(tmp_path / "home" / "kang_2018" / "kang_2018.h5ad")
    assert lines[1].startswith("licence: ") and lines[2].startswith("cite: Kang et al.")
    again = cli("fetch", "kang_2018", "--data-home", tmp_path / "home")
    assert again.stdout == done.stdout and len(server.asked) == 1
    done = cli("fetch", "kang", code=2)
    assert "Did you mean 'kang_2018'?" in done.stderr
    server.answers["kang_2018.h5ad"] = [Answer(b"", 404)]
    done = cli("fetch", "kang_2018", "--data-home", tmp_path / "other", code=2)
    assert "404 (Not Found)" in done.stderr
