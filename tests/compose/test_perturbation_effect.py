"""Effects measured from controls, and the baselines that are made of them."""

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.dummy import DummyRegressor
from sklearn.model_selection import cross_val_score

from sklperturb.baseline import AdditiveCombinationRegressor, GroupStatisticRegressor
from sklperturb.comparison import compare
from sklperturb.compose import PerturbationEffectRegressor
from sklperturb.datasets import load_perturbseq, make_genetic_screen
from sklperturb.linear_model import BilinearGeneRegressor
from sklperturb.metrics import neg_mrrmse_scorer
from sklperturb.model_selection import UnseenPerturbationKFold
from sklperturb.models import make_genetic_baselines
from sklperturb.preprocessing import LookupEmbedding


@pytest.fixture(scope="module")
def cells():
    """Two contexts and two batches whose levels differ, and known effects."""
    rng = np.random.default_rng(0)
    n_cells = 4000
    X = pd.DataFrame(
        {
            "cell_type": rng.choice(["T", "B"], n_cells),
            "target_gene": rng.choice(["control", "K", "M", "K+M"], n_cells),
            "batch": rng.choice(["1", "2"], n_cells),
        }
    )
    # Perturbation M was mostly measured in batch 2.
    move = (X["target_gene"] == "M") & (rng.random(n_cells) < 0.8)
    X.loc[move, "batch"] = "2"
    X["control"] = X["target_gene"] == "control"
    level = {"T": [5.0, 1.0, 3.0], "B": [2.0, 4.0, 3.0]}
    effect = {"control": [0, 0, 0], "K": [1, 0, 0], "M": [0, 2, 0], "K+M": [1, 2, 1]}
    y = np.array([level[c] for c in X["cell_type"]])
    y = y + np.array([effect[p] for p in X["target_gene"]])
    y = y + 3.0 * (X["batch"] == "2").to_numpy()[:, None]
    return X, y + 0.1 * rng.standard_normal(y.shape)


def conditions(cell_type, target_gene, batch="1"):
    return pd.DataFrame(
        {
            "cell_type": [cell_type],
            "target_gene": [target_gene],
            "batch": [batch],
            "control": [target_gene == "control"],
        }
    )


def test_batches_confound_unless_matched(cells):
    X, y = cells
    by = GroupStatisticRegressor(by="perturbation")
    plain = PerturbationEffectRegressor(by, predicts="change").fit(X, y)
    matched = clone(plain).set_params(match_batch=True).fit(X, y)
    truth = [[0.0, 2.0, 0.0]]
    new = conditions("T", "M")
    np.testing.assert_allclose(matched.predict(new), truth, atol=0.05)
    assert np.abs(plain.predict(new) - truth).min() > 0.5
    assert matched.conditions_.shape[0] == matched.n_cells_.shape[0] == 6
    assert matched.n_cells_.sum() == (~X["control"]).sum()


def test_expression_is_that_of_the_rows_controls(cells):
    X, y = cells
    model = PerturbationEffectRegressor(
        GroupStatisticRegressor(by="perturbation"), match_batch=True
    ).fit(X, y)
    np.testing.assert_allclose(
        model.predict(conditions("B", "K", "2")), [[6.0, 7.0, 6.0]], atol=0.05
    )
    control = conditions("T", "control", "2")
    np.testing.assert_allclose(model.predict(control), [[8.0, 4.0, 6.0]], atol=0.05)
    change = clone(model).set_params(predicts="change").fit(X, y)
    np.testing.assert_array_equal(change.predict(control), 0)
    # A context without controls is given those of all contexts.
    new = model.predict(conditions("NK", "K"))
    expected = model.control_mean_ + [1, 0, 0]
    np.testing.assert_allclose(new, [expected], atol=0.05)


def test_additive_and_mean_shift(cells):
    X, y = cells
    single = (X["target_gene"] != "K+M").to_numpy()
    additive = PerturbationEffectRegressor(
        AdditiveCombinationRegressor(), predicts="change", match_batch=True
    ).fit(X[single], y[single])
    np.testing.assert_allclose(
        additive.predict(conditions("T", "M+K")), [[1, 2, 0]], atol=0.05
    )
    half = additive.predict(conditions("T", "K+NEW"))
    np.testing.assert_allclose(half, [[1.5, 1, 0]], atol=0.05)
    shift = clone(additive).set_params(regressor=None).fit(X[single], y[single])
    np.testing.assert_allclose(
        shift.predict(conditions("B", "NEW")), [[0.5, 1, 0]], atol=0.05
    )


@pytest.mark.parametrize("kind", ["anndata", "sparse", "backed", "frame"])
def test_expression_may_be_kept_anywhere(cells, kind, tmp_path):
    X, y = cells
    expected = PerturbationEffectRegressor().fit(X, y).predict(X[:20])
    if kind == "frame":
        given = pd.DataFrame(y, columns=list("abc"))
    else:
        values = y if kind == "anndata" else sparse.csr_matrix(y)
        given = anndata.AnnData(values, obs=X.set_axis(X.index.astype(str)))
        if kind == "backed":
            given.write_h5ad(tmp_path / "cells.h5ad")
            given = load_perturbseq(tmp_path / "cells.h5ad", backed=True).y
    found = PerturbationEffectRegressor().fit(X, given).predict(X[:20])
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_counts_are_normalised_cell_by_cell():
    screen = make_genetic_screen(
        5, 60, cells_per_perturbation=10, n_controls=30, embedding_dim=4, random_state=0
    )
    with pytest.warns(UserWarning, match="raw counts.*target_sum=10000"):
        PerturbationEffectRegressor().fit(screen.X, screen.y)
    model = PerturbationEffectRegressor(target_sum=1e4).fit(screen.X, screen.y)
    counts = screen.y.X.toarray()
    values = np.log1p(counts * (1e4 / counts.sum(axis=1, keepdims=True)))
    by_hand = PerturbationEffectRegressor().fit(screen.X, values)
    np.testing.assert_allclose(model.effects_, by_hand.effects_, rtol=1e-4, atol=1e-5)


def test_without_controls_y_is_a_change():
    X = pd.DataFrame({"target_gene": ["A", "B"]})
    model = PerturbationEffectRegressor().fit(X, [[1.0], [3.0]])
    np.testing.assert_array_equal(model.predict(X), [[2.0], [2.0]])
    with pytest.raises(ValueError, match="All rows are controls"):
        PerturbationEffectRegressor().fit(X.assign(control=True), [[1.0], [3.0]])
    with pytest.raises(ValueError, match=r"'predicts' .*Got 'delta'"):
        PerturbationEffectRegressor(predicts="delta").fit(X, [[1.0], [3.0]])
    with pytest.raises(ValueError, match="NaN or infinite"):
        cells = anndata.AnnData(np.array([[1.0], [np.nan]]))
        PerturbationEffectRegressor().fit(X, cells)


def test_regressor_may_ignore_conditions(cells):
    X, y = cells
    dummy = PerturbationEffectRegressor(DummyRegressor()).fit(X, y)
    default = PerturbationEffectRegressor().fit(X, y)
    np.testing.assert_allclose(dummy.predict(X[:9]), default.predict(X[:9]))


def test_a_combination_is_one_condition_however_it_is_written(cells):
    X, y = cells
    model = PerturbationEffectRegressor(AdditiveCombinationRegressor())
    expected = model.fit(X, y)
    n_cells = np.sort(expected.n_cells_)
    turned = (X["target_gene"] == "K+M") & (X.index % 2 == 0)
    found = model.fit(X.assign(target_gene=X["target_gene"].mask(turned, "M + K")), y)
    np.testing.assert_array_equal(np.sort(found.n_cells_), n_cells)


def test_bilinear_finds_a_bilinear_truth():
    rng = np.random.default_rng(0)
    genes = [f"g{i}" for i in range(80)]
    table = pd.DataFrame(rng.normal(size=(80, 5)), index=genes)
    loadings = rng.normal(size=(5, 80))
    Y = pd.DataFrame(1.0 + table.to_numpy() @ loadings, columns=genes)
    X = pd.DataFrame({"target_gene": genes})
    embedding = LookupEmbedding(table, add_indicator=False)
    model = BilinearGeneRegressor(embedding, n_components=5, alpha=1e-6)
    predicted = model.fit(X[:60], Y[:60]).predict(X[60:])
    np.testing.assert_allclose(predicted, Y[60:], atol=1e-3)
    scaled = LookupEmbedding(100 * table, add_indicator=False)
    loose = [
        BilinearGeneRegressor(e, alpha=0.3).fit(X[:60], Y[:60]).predict(X[60:])
        for e in (embedding, scaled)
    ]
    np.testing.assert_allclose(*loose, rtol=1e-6)
    with pytest.warns(UserWarning, match="no embedding for 1 of the 1"):
        unknown = model.predict(pd.DataFrame({"target_gene": ["new"]}))
    np.testing.assert_allclose(unknown[0], model.mean_effect_)


def test_baselines_rank_as_the_generator_makes_them():
    screen = make_genetic_screen(
        60, 300, cells_per_perturbation=30, n_controls=300, random_state=0
    )
    table = LookupEmbedding(screen.gene_embedding)
    models = make_genetic_baselines(table, target_sum=1e4, schema=screen.schema)
    counts = screen.y.X.toarray()
    y = np.log1p(counts * (1e4 / counts.sum(axis=1, keepdims=True)))
    models = {name: m.set_params(target_sum=None) for name, m in models.items()}
    means = pd.DataFrame(y, columns=screen.target_names)
    means = means.groupby(screen.X["target_gene"].to_numpy()).mean()
    X = pd.DataFrame({"target_gene": means.index})
    X["control"] = X["target_gene"] == "control"
    cv = UnseenPerturbationKFold(3, keep_controls=True, random_state=0)
    scores = {
        name: cross_val_score(
            model.set_params(schema=None), X, means, cv=cv, scoring=neg_mrrmse_scorer
        ).mean()
        for name, model in models.items()
    }
    assert scores["ridge"] > scores["mean_shift"] > scores["controls"]
    assert scores["bilinear_embedding"] > scores["mean_shift"]


def test_baselines_go_into_compare(cells):
    X, y = cells
    models = make_genetic_baselines()
    chosen = {name: models[name] for name in ("controls", "mean_shift")}
    comparison = compare(chosen, X, pd.DataFrame(y, columns=list("abc")), cv=2)
    assert set(chosen) <= set(comparison.summary["model"])


def test_norman_combinations(shared_data):
    path = shared_data("norman_mcfaline") / "devel.h5ad"
    screen = load_perturbseq(path)
    pair = screen.X["condition"].str.contains("+", regex=False).to_numpy()
    k562 = (screen.X["cell_type"] == "k562").to_numpy()
    train = k562 & ~pair
    models = make_genetic_baselines(schema=screen.schema)
    correlation = {}
    for name in ("mean_shift", "additive"):
        model = models[name].set_params(predicts="change")
        model.fit(screen.X[train], screen.y[train])
        singles = set(screen.X.loc[train, "condition"])
        found = []
        for label in screen.X.loc[pair, "condition"].unique():
            if not set(label.split("+")) <= singles:
                continue
            rows = (screen.X["condition"] == label).to_numpy() & k562
            truth = screen.y[rows].X.mean(axis=0).A1 - model.control_mean_
            row = model.predict(screen.X[rows].iloc[:1])[0]
            found.append(np.corrcoef(row, truth)[0, 1])
        correlation[name] = np.mean(found)
    assert len(found) == 5
    assert correlation["additive"] > correlation["mean_shift"] + 0.2
