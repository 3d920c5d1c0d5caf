import json

import anndata as ad
import numpy as np
import pandas as pd
import pytest


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(0)
    labels = np.repeat(["non-targeting", "G0", "G1", "G2"], 40)
    rate = np.full((160, 12), 2.0)
    for i in range(3):
        rate[labels == f"G{i}", 4 + i] = 8
    obs = pd.DataFrame({"target_gene": labels}, index=np.arange(160).astype(str))
    var = pd.DataFrame(index=[f"G{i}" for i in range(12)])
    for name in ("real", "pred"):
        values = np.log1p(rng.poisson(rate) / 3).astype(np.float32)
        ad.AnnData(values, obs, var).write_h5ad(tmp_path / f"{name}.h5ad")
    return tmp_path


def test_evaluate_writes_tables(cli, files):
    paths = ("--pred", files / "pred.h5ad", "--real", files / "real.h5ad")
    shown = cli("evaluate", *paths, "--output", files / "out").stdout
    assert "discrimination" in shown and "ceiling" in shown and "overall" in shown
    scores = pd.read_csv(files / "out" / "scores.csv", index_col="metric")
    content = json.loads((files / "out" / "evaluation.json").read_text())
    assert content["convention"] == "robust"
    score = content["scores"]["discrimination"]["score"]
    assert score == scores.loc["discrimination", "score"] > 0.9
    rows = pd.read_csv(files / "out" / "per_perturbation.csv")
    assert list(rows["perturbation"]) == ["G0", "G1", "G2"]
    assert len(list((files / "out").iterdir())) == 3


def test_evaluate_says_where_targets_are_no_genes(cli, files):
    paths = ("--pred", files / "pred.h5ad", "--real", files / "real.h5ad")
    first = cli("evaluate", *paths, "--no-anchors")
    assert "No target gene" not in first.stderr
    assert "Target genes are left out of discrimination" in first.stdout
    for name in ("real", "pred"):
        cells = ad.read_h5ad(files / f"{name}.h5ad")
        cells.var_names = [f"ENSG{i}" for i in range(12)]
        cells.write_h5ad(files / f"{name}.h5ad")
    second = cli("evaluate", *paths, "--no-anchors", "--output", files / "out")
    assert "No target gene is among the genes of real" in " ".join(
        second.stderr.split()
    )
    assert "Target genes are left out of no score." in second.stdout
    content = json.loads((files / "out" / "evaluation.json").read_text())
    assert not any(row["without_targets"] for row in content["scores"].values())


def test_evaluate_without_anchors(cli, files):
    paths = ("--pred", files / "pred.h5ad", "--real", files / "real.h5ad")
    options = ("--convention", "vcc2025", "--no-anchors")
    shown = cli("evaluate", *paths, *options).stdout
    assert "des" in shown and "ceiling" not in shown


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--convention", "vcc"], "'robust', 'vcc2025'"),
        (["--perturbation", "gene"], "--perturbation 'gene' is no column"),
        (["--control", "DMSO"], "--control 'DMSO' is no label of 'target_gene'"),
        (["--layer", "raw"], "no layer 'raw'"),
        (["--obsm", "X_state"], "no obsm 'X_state'"),
    ],
)
def test_evaluate_refuses(cli, files, options, message):
    paths = ("--pred", files / "pred.h5ad", "--real", files / "real.h5ad")
    assert message in cli("evaluate", *paths, *options, code=2).stderr


def test_evaluate_says_that_a_label_reads_like_a_control(cli, files):
    for name in ("real", "pred"):
        cells = ad.read_h5ad(files / f"{name}.h5ad")
        labels = cells.obs["target_gene"].astype(str)
        cells.obs["target_gene"] = labels.replace("G2", "NTC")
        cells.write_h5ad(files / f"{name}.h5ad")
    paths = ("--pred", files / "pred.h5ad", "--real", files / "real.h5ad")
    said = cli("evaluate", *paths, "--no-anchors").stderr
    assert "holds 'NTC' in 40 rows, which read like controls" in said
    assert "give them the label 'non-targeting' in the file" in said
    assert "schema=" not in said
