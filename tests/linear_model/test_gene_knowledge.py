"""Genes that were never perturbed, from what is known of them."""

import warnings

import anndata
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

import sklperturb
from sklperturb.baseline import GroupStatisticRegressor
from sklperturb.datasets import PerturbationSchema, make_genetic_screen
from sklperturb.linear_model import GeneKnowledgeRidge
from sklperturb.linear_model._knowledge import FittedKnowledge
from sklperturb.linear_model._latent import Within, bands_in
from sklperturb.metrics import mrrmse
from sklperturb.preprocessing import (
    ExpressionGeneEmbedding,
    GeneSource,
    TargetReducer,
    read_gene_source,
)
from sklperturb.preprocessing._gene_sources import (
    UnitVectors,
    products_of_bands,
    profile_source,
)

GENES = [f"G{i}" for i in range(60)]
MEASURED = [f"M{i}" for i in range(40)]
SCHEMA = PerturbationSchema("target_gene", "cell_type")


def _effects(seed=0):
    """Return vectors of genes, and effects in two lines that follow them."""
    rng = np.random.RandomState(seed)
    table = pd.DataFrame(rng.normal(size=(60, 4)), GENES)
    common = table.to_numpy() @ rng.normal(size=(4, 40))
    own = rng.normal(size=(60, 40))
    lines = {
        line: pd.DataFrame(
            common + own + 0.5 * rng.normal(size=own.shape) + rng.normal(size=40),
            GENES,
            MEASURED,
        )
        for line in "AB"
    }
    return table, lines


def _screen(lines):
    """Return conditions and responses of the given lines."""
    y = pd.concat(lines)
    X = pd.DataFrame({"cell_type": y.index.get_level_values(0)})
    X["target_gene"] = y.index.get_level_values(1)
    return X, y.reset_index(drop=True)


def _errors(X, y, train, test, sources, **given):
    model = GeneKnowledgeRidge(sources, **given).fit(X[train], y[train])
    mean = GroupStatisticRegressor(by="context").fit(X[train], y[train])
    return mrrmse(y[test], model.predict(X[test])), mrrmse(
        y[test], mean.predict(X[test])
    )


def test_a_table_tells_of_new_genes_and_a_shuffled_one_does_not():
    table, lines = _effects()
    X, y = _screen(lines)
    test = X["target_gene"].isin(GENES[40:])
    error, typical = _errors(X, y, ~test, test, [table])
    assert error < 0.85 * typical
    shuffled = table.set_axis(np.random.RandomState(1).permutation(GENES))
    error, typical = _errors(X, y, ~test, test, [shuffled])
    assert 0.98 * typical < error < 1.05 * typical


def test_another_screen_tells_of_new_genes_by_the_names_it_shares(tmp_path):
    _, lines = _effects()
    X, y = _screen({"B": lines["B"]})
    # Another order, genes that are not measured here, and one that is perturbed only
    # there.
    other = lines["A"].iloc[::-1, ::-1].rename(columns={"M0": "other"})
    obs = pd.DataFrame({"target_gene": other.index}).set_axis(other.index.astype(str))
    path = tmp_path / "other.h5ad"
    anndata.AnnData(other.to_numpy(), obs, pd.DataFrame(index=other.columns)).write(
        path
    )
    source = read_gene_source(path)
    assert list(source.profiles) == [""]
    np.testing.assert_allclose(source.profiles[""].mean(axis=0), 0, atol=1e-12)
    for n_train in (10, 40):
        train = X["target_gene"].isin(GENES[:n_train])
        test = X["target_gene"].isin(GENES[40:])
        error, typical = _errors(X, y, train, test, [path])
        assert error < 0.75 * typical
        # By position the genes of the two do not match.
        wrong = other.set_axis(MEASURED, axis=1)
        profiles = {"": wrong - wrong.mean(axis=0)}
        wrong = type(source)("wrong", source.genes, 0 * source.vectors, profiles)
        wrong_error, _ = _errors(X, y, train, test, [wrong])
        assert wrong_error > 1.2 * error


def test_perturbations_seen_in_the_other_line_use_their_own_response():
    table, lines = _effects()
    X, y = _screen(lines)
    test = (X["cell_type"] == "B") & X["target_gene"].isin(GENES[40:])
    seen, typical = _errors(X, y, ~test, test, [table])
    assert seen < 0.7 * typical
    unseen, _ = _errors(X, y, ~X["target_gene"].isin(GENES[40:]), test, [table])
    assert seen < 0.85 * unseen


def test_what_is_asked_of_is_not_learnt_from():
    """A leak would let the answers of held-out rows change predictions."""
    table, lines = _effects()
    X, y = _screen(lines)
    test = X["target_gene"].isin(GENES[40:])
    model = GeneKnowledgeRidge([table]).fit(X[~test], y[~test])
    alone = model.predict(X[test][:1])
    np.testing.assert_allclose(model.predict(X[test])[:1], alone, atol=1e-9)
    # Honest left-out predictions: with noise for responses nothing is explained.
    noise = pd.DataFrame(np.random.RandomState(0).normal(size=y.shape), y.index)
    error, _ = _errors(X, noise, ~test, test, [table])
    assert error > 0.99 * mrrmse(noise[test], 0 * noise[test])


def test_a_source_that_is_the_screen_itself_is_told():
    table, lines = _effects()
    X, y = _screen(lines)
    column = X["target_gene"].to_numpy()
    schema = PerturbationSchema("target_gene", context="cell_type")
    train = ~X["target_gene"].isin(GENES[40:])
    own, other = (
        profile_source(line, column[rows], y[rows], schema)
        for line, rows in ((line, X["cell_type"] == line) for line in "AB")
    )
    # At another strength, in another order, and with a mean of its own.
    profile = 3 * own.profiles[""].iloc[::-1, ::-1] + 1
    copied = GeneSource("copy", own.genes, own.vectors, {"": profile})
    with pytest.warns(UserWarning, match="copy holds the responses that are to be"):
        rows = train & (X["cell_type"] == "A")
        GeneKnowledgeRidge([copied]).fit(X[rows], y[rows])
    with pytest.warns(UserWarning, match="copy holds the responses of A that are"):
        GeneKnowledgeRidge([copied]).fit(X[train], y[train])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rows = train & (X["cell_type"] == "A")
        GeneKnowledgeRidge([other]).fit(X[rows], y[rows])
        # Two contexts of the screen may be the same.
        twice = X[rows].assign(cell_type="B")
        model = GeneKnowledgeRidge([table])
        model.fit(pd.concat([X[rows], twice]), pd.concat([y[rows], y[rows]]))
        assert len(model.models_) == 2


def test_sources_are_shared_by_clones_and_not_copied():
    table, _ = _effects()
    source = read_gene_source(table)
    model = GeneKnowledgeRidge([source, table])
    assert clone(model).sources[0] is source


def test_genes_that_occur_twice_are_named():
    _, lines = _effects()
    X, y = _screen({"A": lines["A"]})
    schema = PerturbationSchema("target_gene")
    column = X["target_gene"].to_numpy()
    twice = y.set_axis(["M1", *y.columns[1:]], axis=1)
    source = profile_source("twice", column, twice, schema)
    with pytest.raises(ValueError, match="twice has 1 genes that occur more than once"):
        GeneKnowledgeRidge([source]).fit(X, y)
    source = profile_source("once", column, y, schema)
    with pytest.raises(ValueError, match="y has 1 genes that occur more than once"):
        GeneKnowledgeRidge([source]).fit(X, twice)


def test_a_gene_that_a_source_lacks_uses_the_others():
    table, lines = _effects()
    X, y = _screen({"A": lines["A"]})
    test = X["target_gene"].isin(GENES[40:])
    first, second = table.copy(), table.copy()
    model = GeneKnowledgeRidge([first.iloc[:50], second.iloc[:40]])
    model.fit(X[~test], y[~test])
    y_pred = model.predict(X[test])
    assert mrrmse(y[test][:10], y_pred[:10]) < 0.95 * mrrmse(y[test][:10], y_pred[10:])
    # Known nowhere: the mean, for all alike.
    assert np.ptp(y_pred[10:], axis=0).max() < 1e-9


def test_combinations_are_sums_of_their_parts():
    rng = np.random.RandomState(0)
    effects = pd.DataFrame(rng.normal(size=(30, 40)), GENES[:30])
    pairs = [f"G{i}+G{i + 1}" for i in range(0, 28, 2)]
    both = [effects.loc[pair.split("+")].sum() for pair in pairs]
    X = pd.DataFrame({"target_gene": [*effects.index, *pairs]})
    y = np.vstack([effects, both])
    train = np.arange(len(X)) < 36
    model = GeneKnowledgeRidge().fit(X[train], y[train])
    missed = y[~train] - model.predict(X[~train])
    assert np.square(missed).mean() < 0.5 * np.square(y[~train]).mean()


def test_penalties_are_those_of_genes_that_are_left_out(monkeypatch):
    """Of pairs with a common gene, one tells of the other; of new genes none does."""
    monkeypatch.setattr(FittedKnowledge, "for_predictions", lambda self: self)
    rng = np.random.RandomState(0)
    table = pd.DataFrame(rng.normal(size=(60, 3)), GENES)  # tells nothing
    effects = pd.DataFrame(rng.normal(size=(60, 40)), GENES)
    pairs = [f"G{i}+G{j}" for i in range(8) for j in range(i + 1, 16)]
    y = np.vstack([effects.loc[pair.split("+")].sum() for pair in pairs])
    X = pd.DataFrame({"target_gene": pairs})
    model = GeneKnowledgeRidge([table]).fit(X, y)
    assert set(model.shares_) == {"unseen", "parts"}
    held_out = model._heads["unseen"].left_out, model._heads["parts"].left_out
    scale = np.square(y - y.mean(axis=0)).sum()
    z = model.reducer_.transform(y / model.context_scales_[0])
    new, known = (np.square(z - found).sum() / scale for found in held_out)
    assert known < 0.5 * new
    # What is asked for decides: a pair of seen genes, and one of others.
    asked = pd.DataFrame({"target_gene": ["G14+G15", "G40+G41"]})
    one, other = model.predict(asked)
    truth = effects.loc[["G14", "G15"]].sum().to_numpy()
    assert np.square(one - truth).sum() < 0.6 * np.square(y.mean(axis=0) - truth).sum()
    spread = np.square(y - y.mean(axis=0)).sum(axis=1).mean()
    assert np.square(other - y.mean(axis=0)).sum() < 0.1 * spread


def test_a_file_holds_the_responses_once(tmp_path, monkeypatch):
    rng = np.random.RandomState(0)
    measured = [f"M{i}" for i in range(2000)]
    common = rng.normal(size=(60, 2000))
    lines = {
        line: pd.DataFrame(common + rng.normal(size=common.shape), GENES, measured)
        for line in "AB"
    }
    X, y = _screen(lines)
    train = np.arange(len(X)) % 7 != 0
    table = pd.DataFrame(rng.normal(size=(60, 4)), GENES)
    model = GeneKnowledgeRidge([table], max_iter=5)
    small = clone(model).fit(X[train], y[train])
    assert set(small.models_) == {0, 1}
    sklperturb.save(small, tmp_path / "m.skpt")
    size = (tmp_path / "m.skpt").stat().st_size
    # The basis once, and little else.
    assert size < 1.7 * y[train].to_numpy().nbytes
    # What is left out changes nothing.
    monkeypatch.setattr(FittedKnowledge, "for_predictions", lambda self: self)
    monkeypatch.setattr(UnitVectors, "for_products", lambda self: self)
    monkeypatch.setattr(GeneKnowledgeRidge, "_share_basis", lambda self, shared: None)
    large = clone(model).fit(X[train], y[train])
    expected = large.predict(X)
    np.testing.assert_allclose(small.predict(X), expected, atol=1e-9)
    again = sklperturb.load(tmp_path / "m.skpt")
    np.testing.assert_array_equal(again.predict(X), small.predict(X))
    sklperturb.save(large, tmp_path / "l.skpt")
    assert (tmp_path / "l.skpt").stat().st_size > 3 * size


def test_vectors_of_a_screen_are_kept_as_their_products():
    rng = np.random.RandomState(0)
    frame = pd.DataFrame(rng.normal(size=(60, 90)), GENES)
    other = profile_source("other", np.array(GENES), frame, SCHEMA)
    y = other.vectors @ rng.normal(size=(90, 10))
    X = pd.DataFrame({"target_gene": GENES})
    model = GeneKnowledgeRidge([other], max_iter=5).fit(X[:50], y[:50])
    assert model._vectors["other"].vectors.shape == (60, 60)
    vectors = UnitVectors.of(other, set(GENES[:50])).vectors
    kept = model._vectors["other"].vectors
    np.testing.assert_allclose(kept @ kept.T, vectors @ vectors.T, atol=1e-12)


def test_a_basis_is_only_shared_where_it_is_inside():
    rng = np.random.RandomState(0)
    y = rng.normal(size=(20, 50))
    shared = TargetReducer().fit(y).components_
    inside, outside = TargetReducer().fit(y[:8]), TargetReducer().fit(y[:8] ** 2)
    within = Within.of(inside, shared)
    assert isinstance(within, Within) and within.shared is shared
    latent = rng.normal(size=(3, 7))
    expected = inside.inverse_transform(latent)
    np.testing.assert_allclose(within.inverse_transform(latent), expected, atol=1e-10)
    assert Within.of(outside, shared) is outside
    # Of what has no scores it does not matter.
    index, scores = {}, np.array([[1.0, 0.0], [2.0, 1e-9]])
    rows = np.vstack([inside.components_[0], np.eye(50)[0]])
    found = bands_in(shared, {"other 1-2": (index, scores, rows)})
    np.testing.assert_allclose(
        scores @ found["other 1-2"][2] @ shared, scores @ rows, atol=1e-8
    )
    assert bands_in(shared, {"other 1-2": (index, scores + 1, rows)}) is None
    # Nor is one shared that is as large as the genes are many.
    square = TargetReducer().fit(rng.normal(size=(60, 50))).components_
    assert Within.of(inside, square) is inside


def test_without_anything_known_it_is_said():
    _, lines = _effects()
    X, y = _screen({"A": lines["A"]})
    with pytest.warns(UserWarning, match="no sources, .*Pass sources="):
        model = GeneKnowledgeRidge().fit(X[:40], y[:40])
    np.testing.assert_allclose(
        model.predict(X[40:]), model.predict(X[41:42])[0] + 0 * y[40:]
    )
    both = _screen(lines)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        GeneKnowledgeRidge().fit(*both)  # the other line tells


def test_cells_with_controls_are_a_source(tmp_path):
    screen = make_genetic_screen(
        40,
        200,
        cells_per_perturbation=40,
        n_controls=400,
        n_contexts=2,
        path=tmp_path / "cells.h5ad",
        random_state=0,
    )
    source = read_gene_source(tmp_path / "cells.h5ad")
    assert len(source.profiles) == 2
    # The truth of the generator, and what was measured of it.
    line = next(iter(source.profiles))
    truth = screen.effects.loc[line]
    profile = source.profiles[line].loc[truth.index]
    common = (truth - truth.mean()).to_numpy().ravel()
    assert np.corrcoef(common, profile.to_numpy().ravel())[0, 1] > 0.4
    X, y = _screen({"B": source.profiles[line]})
    test = X["target_gene"].isin(truth.index[30:])
    table = screen.gene_embedding
    embedded, typical = _errors(X, y, ~test, test, [table])
    assert embedded < typical
    _errors(X, y, ~test, test, [ExpressionGeneEmbedding(5, random_state=0)])


def test_bad_sources_say_what_is_wrong(tmp_path):
    table, lines = _effects()
    X, y = _screen({"A": lines["A"]})
    with pytest.warns(UserWarning, match="knows none of the 60 perturbed genes"):
        GeneKnowledgeRidge([table.set_axis([f"X{i}" for i in range(60)])]).fit(X, y)
    counts = anndata.AnnData(
        np.random.RandomState(0).poisson(3.0, (30, 10)).astype(float),
        pd.DataFrame({"target_gene": GENES[:30]}).set_axis(GENES[:30]),
    )
    counts.write(tmp_path / "counts.h5ad")
    with pytest.raises(ValueError, match="no cell is a control to compare them with"):
        read_gene_source(tmp_path / "counts.h5ad")
    (tmp_path / "sets").write_text("A")
    with pytest.raises(ValueError, match="no end that says what it is"):
        read_gene_source(tmp_path / "sets")
    with pytest.raises(ValueError, match="'sources' parameter"):
        GeneKnowledgeRidge(table).fit(X, y)


def test_products_of_bands_are_those_of_their_responses():
    rng = np.random.RandomState(0)
    bands = [(rng.normal(size=(20, n)), rng.normal(size=(n, 15))) for n in (3, 1, 6)]
    targets = rng.normal(size=(20, 15))
    between, with_targets = products_of_bands(bands, targets)
    full = [scores @ components for scores, components in bands]
    np.testing.assert_allclose(between, [[np.vdot(a, b) for b in full] for a in full])
    np.testing.assert_allclose(with_targets, [np.vdot(a, targets) for a in full])
