"""Generated knock-downs have the structure that they promise."""

import tracemalloc

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest

from sklperturb.datasets import load_perturbseq, make_genetic_screen

SMALL = {
    "n_perturbations": 20,
    "n_genes": 200,
    "cells_per_perturbation": 60,
    "n_controls": 400,
    "embedding_dim": 16,
    "random_state": 0,
}


@pytest.fixture(scope="module")
def genetic():
    return make_genetic_screen(**SMALL)


def log_normalised(screen):
    counts = screen.y.X.toarray()
    return np.log1p(counts * (1e4 / counts.sum(axis=1, keepdims=True)))


def test_counts_are_raw_and_skewed(genetic):
    counts = genetic.y.X
    assert (counts.data == np.floor(counts.data)).all() and counts.data.min() > 0
    assert counts.dtype == np.float32
    totals = np.asarray(counts.sum(axis=1)).ravel()
    assert 4000 < np.median(totals) < 5500
    assert 0.25 < np.log(totals).std() < 0.5
    assert len(genetic.X) == 20 * 60 + 400
    assert genetic.is_control.sum() == 400
    sizes = genetic.X["target_gene"].value_counts()
    assert sizes.drop("control").std() > 5


def test_targets_go_down_by_the_efficiency_except_in_escapers(genetic):
    counts = genetic.y.to_df()
    counts = counts.div(counts.sum(axis=1), axis=0)
    control = counts[genetic.is_control].mean()
    ratios = {True: [], False: []}
    for gene in genetic.effects.index:
        own = (genetic.X["target_gene"] == gene).to_numpy()
        for escaped, found in ratios.items():
            rows = own & (genetic.escaped == escaped)
            # Without the shift by the programmes.
            rest = genetic.effects.loc[gene, gene] - np.log1p(-0.8)
            scale = 1.0 if escaped else np.exp(rest)
            found.append(counts.loc[rows, gene].mean() / (control[gene] * scale))
    assert np.median(ratios[False]) < 0.4
    assert 0.8 < np.median(ratios[True]) < 1.2
    share = genetic.escaped[~genetic.is_control].mean()
    assert share == pytest.approx(0.2, abs=0.04)
    assert not genetic.escaped[genetic.is_control].any()


def test_true_effects_are_those_of_the_counts(genetic):
    values = log_normalised(genetic)
    control = values[genetic.is_control].mean(axis=0)
    strength = genetic.effects.pow(2).mean(axis=1).pow(0.5)
    expressed = control > np.median(control)
    for gene in strength.nlargest(5).index:
        rows = (genetic.X["target_gene"] == gene).to_numpy() & ~genetic.escaped
        change = values[rows].mean(axis=0) - control
        truth = genetic.effects.loc[gene].to_numpy()
        assert np.corrcoef(change[expressed], truth[expressed])[0, 1] > 0.8
    # Few are strong.
    assert 0.8 < strength.max() < 2.0
    assert strength.max() / strength.median() > 1.5


def test_linked_genes_act_alike_and_have_close_embeddings():
    screen = make_genetic_screen(
        **SMALL | {"n_perturbations": 100, "cells_per_perturbation": 1}
    )
    effects = screen.effects.to_numpy()
    links = screen.gene_graph.toarray()
    where = pd.Index(screen.target_names).get_indexer(screen.effects.index)
    linked = links[np.ix_(where, where)] > 0
    others = ~linked & ~np.eye(len(where), dtype=bool)
    alike = np.corrcoef(effects)
    assert alike[linked].mean() > alike[others].mean() + 0.3
    close = np.corrcoef(screen.gene_embedding.to_numpy()[where])
    assert close[linked].mean() > close[others].mean() + 0.3
    assert (links == links.T).all()


def test_an_unrelated_response_cannot_be_predicted():
    screens = [
        make_genetic_screen(
            **SMALL
            | {
                "n_perturbations": 100,
                "cells_per_perturbation": 1,
                "predictability": share,
            }
        )
        for share in (0.0, 1.0)
    ]
    shares = []
    for screen in screens:
        features = screen.gene_embedding.loc[screen.effects.index].to_numpy()
        features = np.column_stack([features, np.ones(len(features))])
        effects = screen.effects.to_numpy()
        train, test = slice(70), slice(70, None)
        fit = np.linalg.lstsq(features[train], effects[train], rcond=None)[0]
        pairs = zip(features[test] @ fit, effects[test], strict=True)
        shares.append(np.mean([np.corrcoef(*pair)[0, 1] for pair in pairs]))
    assert shares[1] > shares[0] + 0.3


def test_combinations_and_contexts():
    screen = make_genetic_screen(
        **SMALL | {"n_combinations": 6, "n_contexts": 2, "interaction": 0.0}
    )
    assert screen.X["cell_line"].unique().tolist() in (
        ["line1", "line2"],
        ["line2", "line1"],
    )
    pairs = [name for name in screen.effects.loc["line1"].index if "+" in name]
    assert len(pairs) == 6
    assert not screen.effects.loc["line1"].equals(screen.effects.loc["line2"])
    alone = make_genetic_screen(**SMALL | {"n_combinations": 6, "interaction": 0.0})
    for pair in [name for name in alone.effects.index if "+" in name]:
        first, second = pair.split("+")
        total = alone.effects.loc[first] + alone.effects.loc[second]
        np.testing.assert_allclose(alone.effects.loc[pair], total, atol=1e-5)


def test_the_seed_decides_and_a_file_holds_the_same_bits(genetic, tmp_path):
    path = tmp_path / "screen.h5ad"
    filed = make_genetic_screen(**SMALL, path=path)
    assert filed.y.isbacked
    assert list(tmp_path.iterdir()) == [path]
    filed.y.file.close()
    loaded = load_perturbseq(path)
    assert loaded.layout == "vcc"
    np.testing.assert_array_equal(loaded.y.X.toarray(), genetic.y.X.toarray())
    pd.testing.assert_frame_equal(loaded.X, genetic.X[list(loaded.X)])
    np.testing.assert_array_equal(
        loaded.y.varm["embedding"], genetic.gene_embedding.to_numpy()
    )
    other = make_genetic_screen(**SMALL | {"random_state": 1})
    assert (other.y.X[:50] != genetic.y.X[:50]).nnz > 0
    with pytest.raises(FileExistsError, match="overwrite=True"):
        make_genetic_screen(**SMALL, path=path)


def test_a_screen_that_fails_leaves_no_file(tmp_path, monkeypatch):
    from sklperturb.datasets import _genetic_screen

    def fail(self, block, cells):
        raise RuntimeError("stopped")

    monkeypatch.setattr(_genetic_screen.CellModel, "draw", fail)
    with pytest.raises(RuntimeError, match="stopped"):
        make_genetic_screen(**SMALL, path=tmp_path / "screen.h5ad")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"n_perturbations": 150}, "exceeds half of n_genes=200"),
        ({"n_combinations": 191}, "exceeds the 190 pairs"),
        ({"embedding_dim": 201}, "exceeds n_genes=200"),
        ({"dropout": 1.5}, "'dropout' .* Got 1.5"),
        ({"path": "screen.csv"}, "must end in .h5ad"),
    ],
)
def test_impossible_requests(changed, message):
    with pytest.raises(ValueError, match=message):
        make_genetic_screen(**SMALL | changed)
    with pytest.raises(TypeError, match=r"'n_genes' .* Got 2\.5"):
        make_genetic_screen(**SMALL | {"n_genes": 2.5})


def test_blocks_of_cells_do_not_need_memory_for_all(tmp_path):
    def make(path):
        tracemalloc.start()
        screen = make_genetic_screen(
            **SMALL | {"cells_per_perturbation": 480, "path": path}
        )
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return screen, peak

    screen, peak = make(tmp_path / "s.h5ad")
    assert peak < 0.5 * make(None)[1]
    assert screen.y.shape == (10000, 200)
    assert screen.escaped.shape == (10000,)
    screen.y.file.close()
    cells = anndata.read_h5ad(tmp_path / "s.h5ad")
    totals = np.asarray(cells.X.sum(axis=1)).ravel()
    assert (totals > 500).all()
    with h5py.File(tmp_path / "s.h5ad") as file:
        assert file["X/indptr"].dtype == np.int64
