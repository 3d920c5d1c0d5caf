"""What a scorer of cells takes a model's values and their columns for."""

import re
import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from sklperturb.baseline import GroupStatisticRegressor
from sklperturb.cells import log_normalise
from sklperturb.compose import DisplacedControlsRegressor, PerturbationEffectRegressor
from sklperturb.datasets import make_genetic_screen
from sklperturb.evaluation import CellScorer, evaluate_cells

NAMES = ["control", "A", "B", "C"]


def logarithms(n_cells=20, n_genes=10):
    """Return conditions, and cells whose perturbations differ in all genes."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"gene": np.repeat(NAMES, n_cells)})
    means = rng.uniform(0, 4, (len(NAMES), n_genes))
    values = np.repeat(means, n_cells, axis=0) + rng.normal(0, 0.2, (len(X), n_genes))
    genes = [f"g{i:02d}" for i in range(n_genes)]
    return X, pd.DataFrame(np.maximum(values, 0), columns=genes)


class Gives:
    """Predicts what it is made of."""

    def __init__(self, cells):
        self.cells = cells

    def predict(self, X):
        return self.cells


class Samples(Gives):
    def sample(self, X, n_cells):
        return self.cells


def effects():
    return PerturbationEffectRegressor(GroupStatisticRegressor(by="perturbation"))


def as_anndata(y):
    return ad.AnnData(y.to_numpy(), var=pd.DataFrame(index=y.columns))


def sparse_anndata(y):
    return ad.AnnData(sparse.csc_matrix(y.to_numpy()), var=as_anndata(y).var)


@pytest.mark.parametrize(
    "make",
    [
        lambda X, y: effects().fit(X, y),
        lambda X, y: effects().fit(X, as_anndata(y)),
        lambda X, y: make_pipeline(effects()).fit(X, y),
        lambda X, y: GridSearchCV(
            effects(), {"match_batch": [False]}, cv=2, scoring=lambda *_: 0.0
        ).fit(X, y),
        lambda X, y: DisplacedControlsRegressor(effects().regressor).fit(X, y),
        lambda X, y: Gives(y),
        lambda X, y: Samples(y),
        lambda X, y: Samples(as_anndata(y)),
        lambda X, y: Samples(sparse_anndata(y)),
    ],
    ids="effects anndata pipeline search displaced frame frames sampled sparse".split(),
)
def test_genes_are_matched_by_name(make):
    X, y = logarithms()
    model, scorer = make(X, y), CellScorer("weighted_r2")
    expected = scorer(model, X, y)
    assert expected > 0.9
    for same in (y.iloc[:, ::-1], as_anndata(y.iloc[:, ::-1])):
        assert scorer(model, X, same) == pytest.approx(expected, abs=1e-9)
    other = y.rename(columns={"g03": "other"})
    with pytest.raises(ValueError, match=r"must have the genes of y.* 9 are among"):
        scorer(model, X, other)


def test_genes_of_another_spelling_are_hinted_at():
    X, y = logarithms()
    with pytest.raises(ValueError, match="Did you mean 'g00' for 'G00'"):
        CellScorer("weighted_r2")(Gives(y.rename(columns=str.upper)), X, y)
    repeated = y.set_axis(["g00", *y.columns[:-1]], axis=1)
    with pytest.raises(ValueError, match=r"more than once.*\['g00'\]"):
        CellScorer("weighted_r2")(Gives(repeated), X, y)


def test_columns_without_names_are_matched_by_place():
    X, y = logarithms()
    plain = y.to_numpy()
    numbered = pd.DataFrame(plain), ad.AnnData(plain)
    for cells in (plain, *numbered):
        assert CellScorer("weighted_r2")(Gives(cells), X, y) > 0.99
        assert CellScorer("weighted_r2")(Gives(y), X, cells) > 0.99
    # Numbers in another order are names.
    turned = numbered[0].iloc[:, ::-1]
    assert CellScorer("weighted_r2")(Gives(turned), X, numbered[0]) > 0.99


@pytest.fixture(scope="module")
def screen():
    found = make_genetic_screen(
        4,
        80,
        cells_per_perturbation=20,
        n_controls=40,
        n_batches=1,
        embedding_dim=8,
        depth=400,
        random_state=0,
    )
    logs = ad.AnnData(log_normalise(found.y.X), obs=found.y.obs, var=found.y.var)
    return found, logs


def means_of(screen, logs):
    """Return the mean logarithms of each cell's condition, which no cell adds up to."""
    values = pd.DataFrame(logs.X.toarray(), columns=logs.var_names)
    return values.groupby(screen.X["target_gene"].to_numpy()).transform("mean")


SCORES = [
    CellScorer("weighted_r2"),
    CellScorer("discrimination"),
    CellScorer("mae", "vcc2025"),
    CellScorer("energy", "populations"),
    CellScorer("energy", "populations", n_components=5),
]


@pytest.mark.parametrize("scorer", SCORES, ids=repr)
@pytest.mark.parametrize("kind", ["means", "sparse", "displaced"])
def test_it_makes_no_difference_whether_y_is_counts(screen, scorer, kind):
    screen, logs = screen
    means = means_of(screen, logs)
    model = {
        "means": Gives(means.to_numpy()),
        "sparse": Samples(sparse.csr_array(means.to_numpy())),
        # Some of its values are below -1.
        "displaced": DisplacedControlsRegressor(
            GroupStatisticRegressor(by="perturbation"), schema=screen.schema
        ).fit(screen.X, logs),
    }[kind]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = [scorer(model, screen.X, y) for y in (screen.y, logs)]
    assert found[0] == pytest.approx(found[1], rel=1e-4, abs=1e-6)
    if kind == "means" and scorer.metric == "weighted_r2":
        assert found[0] == pytest.approx(1)


@pytest.mark.parametrize("kind", ["counts", "depth 1e6", "log1p of counts"])
def test_fractions_that_are_no_logarithms_of_the_depth_are_warned_of(screen, kind):
    screen, _ = screen
    counts = screen.y.X.toarray()
    values = {
        "counts": np.minimum(counts, 15),  # as they are where cells are shallow
        "depth 1e6": log_normalise(counts, 1e6),
        "log1p of counts": np.log1p(counts),
    }[kind]
    groups = screen.X["target_gene"].to_numpy()
    model = Gives(pd.DataFrame(values).groupby(groups).transform("mean").to_numpy())
    with pytest.warns(UserWarning, match="do not look like that.*target_sum=1e4"):
        CellScorer("weighted_r2")(model, screen.X, screen.y)


def test_means_of_logarithms_are_not_scaled_to_the_depth_of_cells(screen):
    screen, logs = screen
    obs = screen.y.obs.assign(gene=screen.X["target_gene"].to_numpy())
    obs["gene"] = obs["gene"].where(~screen.is_control, "ctrl")
    real = ad.AnnData(screen.y.X, obs=obs, var=screen.y.var)
    means = means_of(screen, logs).to_numpy()
    below = means - 2.0 * (means < 0.1)  # a displacement leaves no logarithms of counts
    for values in (means, below):
        pred = ad.AnnData(values, obs=obs, var=screen.y.var)
        normalised = ad.AnnData(logs.X, obs=obs, var=screen.y.var)
        found, expected = (
            evaluate_cells(side, pred, "gene", control="ctrl", anchors=False).scores
            for side in (real, normalised)
        )
        assert found["score"]["weighted_r2"] == pytest.approx(
            expected["score"]["weighted_r2"], rel=1e-5
        )


def test_contexts_without_controls_are_warned_of():
    X, y = logarithms()
    X = pd.concat([X.assign(cell_type=line) for line in ("K562", "RPE1", "A549")])
    y = pd.concat([y, y, y], ignore_index=True)
    kept = ~((X["gene"] == "control") & (X["cell_type"] != "K562")).to_numpy()
    X, y = X[kept].reset_index(drop=True), y[kept].reset_index(drop=True)
    scorer, model = CellScorer("weighted_r2"), Gives(y)
    with pytest.warns(UserWarning, match="controls of all contexts") as caught:
        assert scorer(model, X, y) == pytest.approx(1)
    said = [str(w.message) for w in caught]
    assert len(said) == 1
    assert re.search(r"2 of 3 levels of 'cell_type' .*'A549', 'RPE1'\.", said[0])
    own = (X["cell_type"] == "K562").to_numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scorer(Gives(y[own]), X[own], y[own])
