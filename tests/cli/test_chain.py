"""The commands on cells, one after the other, with the defaults of all."""

import json
import logging

import anndata
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from sklperturb.cli import app
from sklperturb.datasets import make_genetic_screen


def run(*arguments):
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == 0, f"{done.output}{done.exception!r}"
    return done.stdout


@pytest.fixture(scope="module")
def screen():
    return make_genetic_screen(
        12, 80, cells_per_perturbation=30, n_controls=80, n_batches=1, random_state=0
    )


@pytest.fixture(scope="module")
def files(screen, tmp_path_factory):
    """Cells to fit on and cells held out, as a file of raw counts each."""
    folder = tmp_path_factory.mktemp("chain")
    labels = screen.X["target_gene"].replace("control", "non-targeting")
    names = sorted(set(labels) - {"non-targeting"})
    held_out = labels.isin(names[:4]).to_numpy()
    for name, rows in (
        ("train", ~held_out),
        ("real", held_out | screen.is_control),
    ):
        cells = screen.y[rows].copy()
        cells.obs["target_gene"] = labels[rows].to_numpy()
        cells.write_h5ad(folder / f"{name}.h5ad")
    screen.gene_embedding.to_parquet(folder / "genes.parquet")
    pd.DataFrame({"target_gene": names[:4], "n_cells": 25}).to_csv(
        folder / "wanted.csv", index=False
    )
    embedding = ("--embedding", folder / "genes.parquet", "--steps", 5)
    model = ("--output", folder / "model.npz")
    run("fit-cells", folder / "train.h5ad", *embedding, *model)
    return folder


@pytest.mark.parametrize("options", [(), ("--log1p",)])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_counts(files, tmp_path, caplog, options):
    pred, out = tmp_path / "pred.h5ad", tmp_path / "scores"
    wanted = ("--perturbations", files / "wanted.csv", "--output", pred)
    run("predict-cells", files / "model.npz", *wanted, *options)
    sides = ("--pred", pred, "--real", files / "real.h5ad")
    with caplog.at_level(logging.INFO, "sklperturb"):
        run("evaluate", *sides, "--output", out)
    assert "took log1p" in caplog.text
    content = json.loads((out / "evaluation.json").read_text())
    assert content["convention"] == "robust"
    assert np.isfinite(content["scores"]["discrimination"]["score"])
    rows = pd.read_csv(out / "per_perturbation.csv", index_col=0)
    assert len(rows) == 4 and np.isfinite(rows["de_agreement"]).all()
    # Logarithms that come from counts are scored as these, by a convention of counts.
    caplog.clear()
    with caplog.at_level(logging.INFO, "sklperturb"):
        run("evaluate", *sides, "--convention", "vcc2026", "--no-anchors")
    assert ("pred holds log1p of counts" in caplog.text) == bool(options)


def test_embeddings(tmp_path, caplog):
    """Files as embed writes them: a table of the cells, and no X."""
    labels = np.repeat(["non-targeting", "A", "B"], 40)
    rng = np.random.default_rng(0)
    for name in ("real", "pred"):
        cells = anndata.AnnData(
            obs=pd.DataFrame({"target_gene": labels}, np.arange(120).astype(str))
        )
        points = rng.normal(size=(120, 5)) + 3 * pd.get_dummies(labels).to_numpy() @ (
            np.eye(3, 5)
        )
        cells.obsm["X_state"] = points.astype(np.float32)
        cells.write_h5ad(tmp_path / f"{name}.h5ad")
    sides = ("--pred", tmp_path / "pred.h5ad", "--real", tmp_path / "real.h5ad")
    with caplog.at_level(logging.INFO, "sklperturb"):
        shown = run("evaluate", *sides)
    assert "obsm['X_state'] is scored" in caplog.text
    assert "energy" in shown and "sliced_wasserstein" in shown
    assert run("evaluate", *sides, "--obsm", "X_state") == shown
