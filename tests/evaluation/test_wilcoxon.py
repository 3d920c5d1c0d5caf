import tracemalloc
import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse, stats

from sklperturb.cells import _blocks
from sklperturb.cells._blocks import LazyMatrix, iter_gene_blocks, to_dense
from sklperturb.evaluation import wilcoxon_de


def make_cells(values, labels):
    obs = pd.DataFrame({"target_gene": labels})
    obs.index = obs.index.astype(str)
    var = pd.DataFrame(index=[f"g{i}" for i in range(values.shape[1])])
    return ad.AnnData(values, obs=obs, var=var)


@pytest.fixture
def counts():
    rng = np.random.default_rng(0)
    values = rng.poisson(rng.gamma(1, 1, 12), (400, 12)).astype(np.float32)
    values[:, 3] = 0
    labels = rng.choice(["ctrl", "A", "B", "C"], 400, p=[0.4, 0.3, 0.2, 0.1])
    values[labels == "A", 5] += 3
    return make_cells(values, labels)


def by_scipy(cells, name):
    values = np.asarray(cells.X, dtype=np.float64)
    labels = cells.obs["target_gene"].to_numpy()
    found = stats.mannwhitneyu(
        values[labels == name], values[labels == "ctrl"], method="asymptotic"
    )
    return found.statistic, np.where(np.isnan(found.pvalue), 1.0, found.pvalue)


def transform(kind, values):
    rng = np.random.default_rng(1)
    if kind == "few ties":
        return np.log1p(values * rng.random((len(values), 1), dtype=np.float32))
    if kind == "double precision":
        return np.log1p(values / (0.1 + rng.random((len(values), 1))))
    if kind == "negative":
        return values - 2
    if kind == "constant":
        return np.ones_like(values)
    return values


@pytest.mark.parametrize(
    "kind", ["counts", "few ties", "double precision", "negative", "constant"]
)
@pytest.mark.parametrize("layout", [np.asarray, sparse.csr_matrix, sparse.csc_matrix])
def test_agrees_with_scipy(counts, kind, layout):
    dense = make_cells(transform(kind, counts.X), counts.obs["target_gene"].to_numpy())
    cells = dense.copy()
    cells.X = layout(dense.X)
    table = wilcoxon_de(cells, "target_gene", control="ctrl").set_index("perturbation")
    assert list(table.index.unique()) == ["A", "B", "C"]
    for name in "ABC":
        statistic, p = by_scipy(dense, name)
        np.testing.assert_array_equal(table.loc[name, "statistic"], statistic)
        np.testing.assert_allclose(table.loc[name, "p_value"], p, rtol=1e-10)
        adjusted = stats.false_discovery_control(p)
        np.testing.assert_allclose(table.loc[name, "p_adj"], adjusted, rtol=1e-10)


def test_extreme_p_values_keep_their_digits():
    x = (np.r_[:400, 500:900] / 100)[:, None].astype(np.float32)
    cells = make_cells(x, np.repeat(["ctrl", "A"], 400))
    p = wilcoxon_de(cells, "target_gene", control="ctrl")["p_value"][0]
    _, (expected,) = by_scipy(cells, "A")
    assert 0 < p < 1e-120
    assert p == pytest.approx(expected, rel=1e-10, abs=0)


def test_global_adjustment(counts):
    table = wilcoxon_de(counts, "target_gene", control="ctrl", fdr="global")
    expected = stats.false_discovery_control(table["p_value"])
    np.testing.assert_allclose(table["p_adj"], expected)


def test_fold_changes():
    x = np.log1p([[0.0, 4, 0, 3], [2, 4, 0, 3], [0.0, 8, 5, 0], [2, 8, 5, 0]])
    cells = make_cells(x, ["ctrl", "ctrl", "A", "A"])

    def lfc(convention):
        table = wilcoxon_de(
            cells, "target_gene", control="ctrl", fold_change=convention
        )
        return table["log2_fold_change"].to_numpy()

    np.testing.assert_allclose(lfc("geometric"), [0, 1, np.inf, -np.inf])
    clip = np.log2(20)
    np.testing.assert_allclose(lfc("geometric_clipped"), [0, 1, clip, -clip])
    large = np.log2([(5 + 1e-9) / 1e-9, 1e-9 / (3 + 1e-9)])
    np.testing.assert_allclose(lfc("arithmetic"), [0, 1, *large], atol=1e-9)


def test_counts_that_are_tested_as_logarithms_are_told(counts):
    logs = counts.copy()
    logs.X = np.log1p(to_dense(logs.X))
    for cells, values, right in (
        (counts, "log1p", "counts"),
        (logs, "counts", "log1p"),
    ):
        told = f"looks like {right}, and is tested as values='{values}'"
        with pytest.warns(UserWarning, match=told):
            wilcoxon_de(cells, "target_gene", control="ctrl", values=values)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            wilcoxon_de(cells, "target_gene", control="ctrl", values=right)


def test_counts_are_scaled_and_filtered_by_the_control(counts):
    total = counts.X.sum(axis=1, keepdims=True, dtype=np.float64)
    cpm = counts.X.astype(np.float64) / (np.where(total > 0, total, 1) / 1e6)
    labels = counts.obs["target_gene"].to_numpy()
    expected = wilcoxon_de(
        make_cells(np.log1p(cpm), labels),
        "target_gene",
        control="ctrl",
        fold_change="arithmetic",
    )
    options = {"control": "ctrl", "values": "counts", "fold_change": "arithmetic"}
    found = wilcoxon_de(counts, "target_gene", **options)
    pd.testing.assert_frame_equal(found, expected)
    threshold = np.median(cpm[labels == "ctrl"].mean(axis=0))
    kept = wilcoxon_de(counts, "target_gene", min_control_cpm=threshold, **options)
    tested = cpm[labels == "ctrl"].mean(axis=0) > threshold
    assert sorted(set(kept["gene"])) == sorted(counts.var_names[tested])
    p = kept.loc[kept["perturbation"] == "A", "p_value"]
    np.testing.assert_allclose(
        kept.loc[kept["perturbation"] == "A", "p_adj"], stats.false_discovery_control(p)
    )


def test_control_cells_of_another_file(counts, tmp_path):
    is_control = counts.obs["target_gene"] == "ctrl"
    moved = counts.copy()
    moved.X[is_control.to_numpy()] += 7
    counts.write_h5ad(tmp_path / "real.h5ad")
    found = wilcoxon_de(
        moved, "target_gene", control="ctrl", control_cells=tmp_path / "real.h5ad"
    )
    expected = wilcoxon_de(counts, "target_gene", control="ctrl")
    pd.testing.assert_frame_equal(found, expected)
    without = moved[~is_control.to_numpy()]
    found = wilcoxon_de(without, "target_gene", control="ctrl", control_cells=counts)
    pd.testing.assert_frame_equal(found, expected)


@pytest.mark.parametrize("layout", [np.asarray, sparse.csr_matrix, sparse.csc_matrix])
def test_files_are_read_in_passes(counts, tmp_path, layout):
    expected = wilcoxon_de(counts, "target_gene", control="ctrl")
    counts.X = layout(counts.X)
    path = tmp_path / "cells.h5ad"
    counts.write_h5ad(path)
    kept = np.ones(400, bool)
    kept[::3] = False
    blocks = list(iter_gene_blocks([counts.X], [kept], chunk_size=5))
    assert len(blocks) > 2
    together = sparse.hstack([block for _, block in blocks]).toarray()
    np.testing.assert_array_equal(together, to_dense(counts.X)[kept])
    for cells in (path, str(path), ad.read_h5ad(path, backed="r")):
        found = wilcoxon_de(cells, "target_gene", control="ctrl", chunk_size=5)
        pd.testing.assert_frame_equal(found, expected)


def test_a_pass_takes_little_more_than_its_values(monkeypatch):
    monkeypatch.setattr(_blocks, "_BLOCK_VALUES", 2**16)
    cells = sparse.random_array((40_000, 50), density=0.5, rng=0, dtype=np.float32)
    cells = cells.tocsr()
    kept = np.arange(40_000) % 5 > 0
    total, start = 0.0, 0
    tracemalloc.start()
    for genes, block in iter_gene_blocks([LazyMatrix(cells)] * 2, [kept, ~kept]):
        assert block.shape == (40_000, genes.stop - genes.start)
        assert genes.start == start
        start = genes.stop
        total += block.sum(dtype=np.float64)
        del block
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert start == 50
    assert total == pytest.approx(cells.sum(dtype=np.float64))
    assert peak < 1.8 * 8 * cells.nnz  # a value and its place


def test_input_is_left_as_it_is(counts):
    counts.X = sparse.csr_matrix(counts.X)
    before = counts.X.copy()
    options = {"control": "ctrl", "values": "counts"}
    wilcoxon_de(counts, "target_gene", **options)
    counts.X = counts.X.tocsc()
    wilcoxon_de(counts, "target_gene", **options)
    assert (counts.X != before).nnz == 0


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"control": "dmso"}, "No cell has the label 'dmso'"),
        ({"control": "ctrl", "fdr": "all"}, "'fdr' .* must be a str among"),
        ({"control": "ctrl", "min_control_cpm": 5}, "needs raw counts"),
        ({"control": "ctrl", "layer": "counts"}, "no layer 'counts'"),
        ({"control": "ctrl", "perturbation": "gene"}, "is no column of obs"),
    ],
)
def test_bad_options(counts, options, match):
    options = {"perturbation": "target_gene"} | options
    with pytest.raises(ValueError, match=match):
        wilcoxon_de(counts, **options)


def test_bad_cells(counts, tmp_path):
    options = {"perturbation": "target_gene", "control": "ctrl"}
    with pytest.raises(ValueError, match="genes of adata"):
        wilcoxon_de(counts, control_cells=counts[:, :5], **options)
    with pytest.raises(ValueError, match="control cells only"):
        wilcoxon_de(counts[counts.obs["target_gene"] == "ctrl"], **options)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        wilcoxon_de(tmp_path / "none.h5ad", **options)
    (tmp_path / "cut.h5ad").write_bytes(b"no hdf5")
    with pytest.raises(ValueError, match="cannot be read as AnnData"):
        wilcoxon_de(tmp_path / "cut.h5ad", **options)
    with pytest.raises(TypeError, match="AnnData or the path"):
        wilcoxon_de(counts.X, **options)
    negative = counts.copy()
    negative.X[0, 0] = -1
    with pytest.raises(ValueError, match="Negative values"):
        wilcoxon_de(negative, values="counts", **options)
    counts.X[3, 3] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        wilcoxon_de(counts, **options)
    counts.obs.loc["3", "target_gene"] = None
    with pytest.raises(ValueError, match="1 cells of adata have no label"):
        wilcoxon_de(counts, **options)
