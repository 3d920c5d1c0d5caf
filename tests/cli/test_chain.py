"""The commands on cells, one after the other, with the defaults of all."""

import json
import shlex

import anndata
import numpy as np
import pandas as pd
import pytest

from sklperturb.datasets import make_genetic_screen
from sklperturb.embedding import SECheckpoint, SEConfig


@pytest.fixture(scope="module")
def screen():
    return make_genetic_screen(
        12, 80, cells_per_perturbation=30, n_controls=80, n_batches=1, random_state=0
    )


@pytest.fixture(scope="module")
def files(cli, screen, tmp_path_factory):
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
    embedding = ("--embedding", folder / "genes.parquet", "--max-steps", 5)
    model = ("--output", folder / "model.skpt")
    cli("fit-cells", folder / "train.h5ad", *embedding, *model)
    return folder


@pytest.mark.parametrize("options", [(), ("--log1p",)])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_counts(cli, files, tmp_path, options):
    pred, out = tmp_path / "pred.h5ad", tmp_path / "scores"
    wanted = ("--perturbations", files / "wanted.csv", "--output", pred)
    cli("predict-cells", files / "model.skpt", *wanted, *options)
    sides = ("--pred", pred, "--real", files / "real.h5ad")
    assert "took log1p" in cli("evaluate", *sides, "--output", out).stderr
    content = json.loads((out / "evaluation.json").read_text())
    assert content["convention"] == "robust"
    assert np.isfinite(content["scores"]["discrimination"]["score"])
    rows = pd.read_csv(out / "per_perturbation.csv", index_col=0)
    assert len(rows) == 4 and np.isfinite(rows["de_agreement"]).all()
    # Logarithms that come from counts are scored as these, by a convention of counts.
    done = cli("evaluate", *sides, "--convention", "vcc2026", "--no-anchors")
    assert ("pred (pred.h5ad) holds log1p of counts" in done.stderr) == bool(options)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_embeddings(cli, files, screen, tmp_path):
    """What embed writes is fitted, predicted and scored, without an option more."""
    checkpoint = SECheckpoint.create(
        tmp_path / "small.ckpt",
        config=SEConfig(length=12),
        genes=list(screen.y.var_names),
        random_state=0,
    )
    for name in ("train", "real"):
        output = ("--output", tmp_path / f"{name}.h5ad")
        cli("embed", files / f"{name}.h5ad", "--checkpoint", checkpoint.path, *output)
    model, pred = tmp_path / "model.skpt", tmp_path / "pred.h5ad"
    embedding = ("--embedding", files / "genes.parquet", "--max-steps", 5)
    done = cli("fit-cells", tmp_path / "train.h5ad", *embedding, "--output", model)
    assert "obsm['X_state']" in done.stderr
    wanted = ("--perturbations", files / "wanted.csv", "--output", pred)
    cli("predict-cells", model, *wanted)
    sides = ("--pred", pred, "--real", tmp_path / "real.h5ad")
    done = cli("evaluate", *sides)
    assert "obsm['X_state'] is scored" in done.stderr
    assert "energy" in done.stdout and "sliced_wasserstein" in done.stdout
    assert cli("evaluate", *sides, "--obsm", "X_state").stdout == done.stdout


@pytest.mark.parametrize("latent", ["se", "autoencoder"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_counts_through_a_latent_space(cli, files, screen, tmp_path, latent):
    """One command from counts to a model that generates counts."""
    options = ("--latent", latent, "--n-components", 8, "--max-steps", 5)
    if latent == "se":
        path = tmp_path / "small.ckpt"
        config = SEConfig(length=12)
        genes = list(screen.y.var_names)
        SECheckpoint.create(path, config=config, genes=genes, random_state=0)
        options = (*options, "--checkpoint", path)
    model, pred = tmp_path / "model.skpt", tmp_path / "pred.h5ad"
    table = ("--embedding", files / "genes.parquet", "--output", model)
    cli("fit-cells", files / "train.h5ad", *table, *options)
    wanted = ("--perturbations", files / "wanted.csv", "--output", pred)
    assert "80 genes" in cli("predict-cells", model, *wanted).stdout
    found = anndata.read_h5ad(pred)
    counts = found.X.toarray()
    assert np.array_equal(counts, np.round(counts)) and counts.any(axis=1).all()
    assert list(found.obsm) == (["X_state"] if latent == "se" else [])
    if latent == "se":  # of the embedding of the cell, and not that of the data set
        norms = np.linalg.norm(found.obsm["X_state"][:, : config.output_dim], axis=1)
        np.testing.assert_allclose(norms, 1, atol=1e-5)
    cli("evaluate", "--pred", pred, "--real", files / "real.h5ad", "--no-anchors")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--latent", "se"], "--latent 'se' and --checkpoint go together"),
        (["--latent", "pca", "--obsm", "X_state"], "is a space of counts"),
        (["--latent", "X_pca", "--obsm", "X_state"], "name two spaces"),
        (["--latent", "PCA"], "has no obsm 'PCA'"),
    ],
)
def test_latent_spaces_that_are_none(cli, files, tmp_path, words, message):
    model = ("--output", tmp_path / "model.skpt")
    table = ("--embedding", files / "genes.parquet")
    done = cli("fit-cells", files / "train.h5ad", *table, *model, *words, code=2)
    assert message in done.stderr


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_leaderboard_of_cells(cli, files, tmp_path):
    out = tmp_path / "results"
    data = ("leaderboard", "--data", files / "real.h5ad", "--n-splits", 2)
    embedding = ("--embedding", files / "genes.parquet")
    models = ("--models", "kernel,flow", "--max-steps", 5)
    done = cli(*data, *embedding, *models, "--output", out)
    table = pd.read_csv(out / "leaderboard.csv").set_index("model")
    assert set(table.index) == {"controls", "mean_shift", "kernel", "flow"}
    assert set(table["metric"]) == {"energy"} and set(table["n_units"]) == {4}
    assert table.loc["controls", "relative_to_zeros"] == pytest.approx(1)
    assert "rel. controls" in done.stdout and "of ceiling" in done.stdout
    assert "half of the measured cells" in done.stderr
    # What is said to be run next can be.
    line = next(x for x in done.stdout.splitlines() if "fit-cells" in x)
    words = line.split()[1:]
    words[words.index("model.skpt")] = tmp_path / "model.skpt"
    cli(*words, "--max-steps", 2)
    again = cli(*data, *embedding, *models, "--output", out, "--report")
    page = (out / "report.html").read_text("utf-8")
    assert "no predictions were kept" in page and "relative to controls" in page
    assert "Half of the measured cells have" in page
    assert again.stdout.splitlines()[1:3] == done.stdout.splitlines()[1:3]


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_leaderboard_of_embedded_cells(cli, screen, tmp_path):
    rng = np.random.default_rng(0)
    points = rng.normal(size=(screen.y.n_obs, 4)) + 3.0 * ~screen.is_control[:, None]
    cells = anndata.AnnData(obs=screen.y.obs.copy(), obsm={"X_state": points})
    cells.write_h5ad(tmp_path / "embedded.h5ad")
    data = ("leaderboard", "--data", tmp_path / "embedded.h5ad", "--n-splits", 2)
    done = cli(*data, "--max-steps", 2, "--scoring", "variance_error")
    assert "obsm['X_state']" in done.stderr and "bilinear" in done.stderr
    assert "--latent X_state" in done.stdout and "variance_error (95 %" in done.stdout


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_is_run_next_has_the_roles_that_were_given(cli, screen, tmp_path):
    rng = np.random.default_rng(0)
    points = rng.normal(size=(screen.y.n_obs, 4)) + 3.0 * ~screen.is_control[:, None]
    labels = screen.X["target_gene"].replace("control", "no guide")
    obs = pd.DataFrame({"the guide": labels.to_numpy()}, screen.y.obs_names)
    cells = anndata.AnnData(obs=obs, obsm={"X_state": points})
    source = tmp_path / "my cells.h5ad"
    cells.write_h5ad(source)
    roles = ("--perturbation", "the guide", "--control", "no guide")
    models = ("--models", "additive", "--n-splits", 2)
    done = cli("leaderboard", "--data", source, *roles, *models)
    line = next(x for x in done.stdout.splitlines() if "fit-cells" in x)
    words = shlex.split(line)[1:]
    model = tmp_path / "my model.skpt"
    words[words.index("model.skpt")] = model
    done = cli(*words, "--max-steps", 2)
    assert f"sklperturb predict-cells '{model}' --perturbations" in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--scoring", "mrrmse"], "'mrrmse' is no score of cells"),
        (["--models", "gan"], "'gan' is no model of cells"),
        (["--cv", "unseen-pair"], "is for signatures"),
        (["--cv", "unseen-context"], "--context to name it"),
        (["--clip", "3"], "--source and --with-audit are for signatures"),
    ],
)
def test_what_a_leaderboard_of_cells_refuses(cli, files, words, message):
    done = cli("leaderboard", "--data", files / "train.h5ad", *words, code=2)
    assert message in done.stderr
