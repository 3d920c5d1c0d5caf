"""Counts: into a latent space, back, and through files and commands."""

import anndata
import numpy as np
import pytest
from scipy import sparse
from sklearn.decomposition import PCA
from typer.testing import CliRunner

from sklperturb.cli import app
from sklperturb.datasets import load_perturbseq, make_genetic_screen
from sklperturb.flow import CellScreenModel, CountSpace


@pytest.fixture(scope="module")
def counts():
    return make_genetic_screen(
        12, 150, cells_per_perturbation=60, n_controls=200, depth=2000, random_state=0
    )


@pytest.fixture(scope="module")
def space(counts):
    return CountSpace(10, n_top_genes=100).fit(counts.y)


def dense(matrix):
    return matrix.toarray() if sparse.issparse(matrix) else np.asarray(matrix)


def test_components_are_those_of_pca(counts):
    space = CountSpace(5).fit(counts.y)
    values = dense(counts.y.X).astype(float)
    logs = np.log1p(values / values.sum(axis=1, keepdims=True) * 1e4)
    expected = PCA(5, svd_solver="full").fit(logs)
    np.testing.assert_allclose(
        np.abs(np.sum(space.components_ * expected.components_, axis=1)), 1, atol=1e-6
    )
    latent = space.transform(counts.y)
    np.testing.assert_allclose(
        space.inverse_transform(latent),
        np.clip(expected.inverse_transform(expected.transform(logs)), 0, 12),
        atol=1e-6,
    )


def test_drawn_counts_are_like_the_measured_ones(counts, space):
    measured = dense(counts.y.X)
    latent = space.transform(counts.y)
    drawn = dense(space.sample_counts(latent, space.library_sizes_, random_state=0))
    assert np.array_equal(drawn, np.round(drawn)) and drawn.min() >= 0
    high = measured.mean(axis=0) > 0.1
    means = drawn.mean(axis=0)[high] / measured.mean(axis=0)[high]
    assert 0.95 < np.median(means) < 1.05
    spread = drawn.var(axis=0)[high] / measured.var(axis=0)[high]
    assert 0.8 < np.median(spread) < 1.25
    zeros = (drawn == 0).mean(axis=0), (measured == 0).mean(axis=0)
    assert np.abs(zeros[0] - zeros[1]).mean() < 0.03
    totals = drawn.sum(axis=1) / space.library_sizes_
    assert 0.95 < np.median(totals) < 1.05


def test_storage_makes_no_difference(counts, space):
    rows = dense(counts.y.X)
    again = CountSpace(10, n_top_genes=100).fit(rows)
    np.testing.assert_allclose(
        again.transform(sparse.csr_array(rows)), space.transform(counts.y), atol=1e-6
    )


def test_bad_counts(counts, space):
    with pytest.raises(ValueError, match="must hold raw counts"):
        CountSpace(5).fit(np.log1p(dense(counts.y.X)))
    with pytest.raises(ValueError, match="n_components=500 must be"):
        CountSpace(500).fit(counts.y)
    with pytest.raises(ValueError, match="has 20 genes"):
        space.transform(counts.y[:, :20])
    with pytest.raises(ValueError, match="library_sizes has shape"):
        space.sample_counts(np.zeros((3, 10)), [1.0])


def test_a_saved_model_predicts_the_same(counts, tmp_path):
    model = CellScreenModel(
        counts.gene_embedding, n_components=6, max_steps=30, random_state=0
    ).fit(counts.X, counts.y)
    model.save(tmp_path / "model.npz")
    again = CellScreenModel.load(tmp_path / "model.npz")
    names = [str(counts.effects.index[0]), str(counts.gene_embedding.index[-1])]
    first, second = (m.predict(names, 20, n_controls=10) for m in (model, again))
    assert np.array_equal(dense(first.X), dense(second.X))
    assert first.obs["target_gene"].value_counts().to_dict() == {
        names[0]: 20,
        names[1]: 20,
        "non-targeting": 10,
    }
    (tmp_path / "other.npz").write_bytes(b"not a zip")
    with pytest.raises(ValueError, match="no model that fit-cells wrote"):
        CellScreenModel.load(tmp_path / "other.npz")


def test_commands(counts, tmp_path):
    source, model = tmp_path / "cells.h5ad", tmp_path / "model.npz"
    cells = counts.y.copy()
    cells.obs["target_gene"] = counts.X["target_gene"].to_numpy()
    cells.write_h5ad(source)
    table = tmp_path / "table.parquet"
    counts.gene_embedding.to_parquet(table)
    run = CliRunner().invoke
    fit = ["fit-cells", str(source), "--embedding", str(table), "--output", str(model)]
    done = run(app, [*fit, "--components", "5", "--steps", "20"])
    assert done.exit_code == 0, done.output
    wanted = tmp_path / "genes.csv"
    unseen = counts.gene_embedding.index.difference(counts.effects.index)[:2]
    wanted.write_text(f"target_gene,n_cells\n{unseen[0]},15\n{unseen[1]},25\n")
    output = tmp_path / "predicted.h5ad"
    predict = ["predict-cells", str(model), "--perturbations", str(wanted)]
    predict += ["--output", str(output)]
    done = run(app, [*predict, "--controls", "10"])
    assert done.exit_code == 0, done.output
    found = anndata.read_h5ad(output)
    assert found.shape == (50, 150)
    assert list(found.var_names) == list(counts.y.var_names)
    assert np.array_equal(dense(found.X), np.round(dense(found.X)))
    assert load_perturbseq(output).is_control.sum() == 10
    assert run(app, predict).exit_code == 2
    done = run(app, [*predict, "--overwrite", "--log1p"])
    assert done.exit_code == 0, done.output
    sums = np.expm1(dense(anndata.read_h5ad(output).X)).sum(axis=1)
    np.testing.assert_allclose(sums, 1e4, rtol=1e-3)
