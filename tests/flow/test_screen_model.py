"""A model of a screen: in memory, in a file, and in the spelling of the screen."""

import json
import warnings

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.model_selection import cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_checks

import sklperturb
from sklperturb.cells import log_normalise
from sklperturb.conditions import PerturbationSchema
from sklperturb.datasets import load_perturbseq, make_genetic_screen
from sklperturb.evaluation import CellScorer
from sklperturb.flow import (
    CellScreenModel,
    CountSpace,
    FlowMatchingRegressor,
    _populations,
)
from sklperturb.flow._mean import MeanEffect
from sklperturb.model_selection import UnseenPerturbationKFold

ALL_SPREADS = _populations._N_SPREADS


@pytest.fixture(scope="module", autouse=True)
def few_spreads():
    """Let four conditions tell how much strengths differ: half of the time of a fit."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_populations, "_N_SPREADS", 4)
        yield


@pytest.fixture(scope="module")
def screen():
    return make_genetic_screen(
        12, 100, cells_per_perturbation=30, n_controls=80, depth=2000, random_state=0
    )


def make(screen, *, space="counts", schema=None, **parameters):
    flow = FlowMatchingRegressor(
        **{"max_steps": 10, "hidden_dim": 16, "random_state": 0} | parameters
    )
    return CellScreenModel(
        screen.gene_embedding, space=space, n_components=4, flow=flow, schema=schema
    )


@pytest.fixture(scope="module")
def fitted(screen):
    return make(screen).fit(screen.X, screen.y)


@pytest.fixture(scope="module")
def genes(screen):
    """Return one perturbed gene, and one that was not."""
    unseen = screen.gene_embedding.index.difference(screen.effects.index)
    return [str(screen.effects.index[0]), str(unseen[0])]


def values(cells):
    return cells.X.toarray() if sparse.issparse(cells.X) else cells.X


def written_as(cells, spell, column="target_gene"):
    """Return the cells with other labels, in another column."""
    cells = cells.copy()
    labels = [spell(label) for label in cells.obs.pop("target_gene").astype(str)]
    cells.obs = cells.obs.drop(columns="control").assign(**{column: labels})
    return cells


@pytest.mark.parametrize(
    "check",
    [
        "check_parameters_default_constructible",
        "check_get_params_invariance",
        "check_set_params",
        "check_no_attributes_set_in_init",
        "check_estimator_repr",
    ],
)
def test_scikit_learn(check):
    getattr(estimator_checks, check)("CellScreenModel", CellScreenModel())


def test_clone_takes_the_flow_along(fitted):
    other = clone(fitted).set_params(flow__max_steps=7)
    assert not hasattr(other, "flow_")
    assert other.flow.max_steps == 7
    assert fitted.flow.max_steps == 10


def test_predict(fitted, genes):
    cells = fitted.predict(genes, [20, 5], n_controls=10)
    assert cells.obs["target_gene"].value_counts().to_dict() == {
        genes[0]: 20,
        "control": 10,
        genes[1]: 5,
    }
    assert cells.obs["control"].sum() == 10
    assert np.array_equal(values(cells), np.round(values(cells)))
    assert np.array_equal(
        values(fitted.predict(genes, [20, 5], n_controls=10)), values(cells)
    )
    logs = values(fitted.predict(genes, 20, log1p=True))
    np.testing.assert_allclose(np.expm1(logs).sum(axis=1), 1e4, rtol=1e-3)


def test_cells_are_measured_controls(screen, fitted, genes):
    """Controls come back as they are, each once before any comes twice."""
    controls = screen.y[screen.is_control]
    rows = {tuple(row): i for i, row in enumerate(values(controls))}
    cells = fitted.predict(["control", *genes], 80)
    is_control = cells.obs["control"].to_numpy()
    found = [rows[tuple(row)] for row in values(cells)[is_control]]
    assert sorted(found) == list(range(80))
    batches = controls.obs["batch"].astype(str).to_numpy()
    assert (batches[found] == cells.obs["batch"].to_numpy()[is_control]).all()
    # So are the sizes and the batches of perturbed cells.
    for gene in genes:
        own = cells[(cells.obs["target_gene"] == gene).to_numpy()]
        assert sorted(own.obs["batch"]) == sorted(batches)
        np.testing.assert_allclose(values(own).sum(), controls.X.sum(), rtol=0.02)


def test_contexts_keep_their_own_counts():
    screen = make_genetic_screen(
        6, 80, cells_per_perturbation=40, n_controls=60, n_contexts=2, random_state=0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        model = make(screen, mean_estimator="shift").fit(screen.X, screen.y)
    context = model.flow_.schema_.context
    cells = model.predict(["control"], int(screen.is_control.sum()))
    for name in screen.X[context].unique():
        own = screen.is_control & (screen.X[context] == name).to_numpy()
        made = cells[(cells.obs[context] == name).to_numpy()]
        assert np.array_equal(
            values(made).sum(axis=0), values(screen.y[own]).sum(axis=0)
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        gene = model.predict([str(screen.effects.index[0])], 120)
    of_controls, of_gene = (
        [
            values(found[(found.obs[context] == name).to_numpy()]).mean(axis=0)
            for name in screen.X[context].unique()
        ]
        for found in (cells, gene)
    )
    # Each context of the prediction is nearest to its own controls.
    for i, profile in enumerate(of_gene):
        distances = [np.abs(profile - other).sum() for other in of_controls]
        assert np.argmin(distances) == i


def test_amplitude(screen, fitted, genes):
    """Of what was never measured alone; by as much as predictions are too small."""
    seen, new = genes
    assert 1 <= fitted.amplitude_ <= 3
    controls = values(screen.y[screen.is_control]).sum(axis=0)

    def effect(gene, model=fitted, **options):
        made = values(model.predict([gene], 800, **options)).sum(axis=0)
        return np.log((made + 5) / made.sum()) - np.log((controls + 5) / controls.sum())

    larger = clone(fitted)
    vars(larger).update(vars(fitted))
    larger.amplitude_ = 2.0
    assert np.array_equal(effect(seen), effect(seen, larger, amplitude="typical"))
    one, two = effect(new), effect(new, larger, amplitude="typical")
    assert 1.5 < (one @ two) / (one @ one) < 2.5
    # What has the least error is the default.
    assert np.array_equal(one, effect(new, larger))
    assert np.array_equal(one, effect(new, larger, amplitude="expected"))
    rows = screen.X[~screen.is_control][:4].assign(**{"target_gene": new})
    made = [larger.sample(rows, 2, **o) for o in ({}, {"amplitude": "expected"})]
    assert (made[0] != made[1]).nnz == 0
    with pytest.raises(ValueError, match="is not 'expected' or 'typical'"):
        fitted.predict([new], amplitude="true")


@pytest.fixture(scope="module")
def escaping(few_spreads):
    """Return a screen where a third of the cells escapes, and a model of it."""
    screen = make_genetic_screen(
        12,
        200,
        cells_per_perturbation=120,
        n_controls=300,
        depth=3000,
        escaper_fraction=0.33,
        effect_strength=3.0,
        random_state=0,
    )
    model = make(screen).set_params(n_components=8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_populations, "_N_SPREADS", ALL_SPREADS)
        return screen, model.fit(screen.X, screen.y)


def test_cells_differ_in_how_strongly_they_respond(escaping):
    """Along the effect measured cells vary by far more than controls, displaced."""
    screen, model = escaping
    column = screen.schema.perturbation
    labels = screen.X[column].to_numpy()
    measured = model.space_.transform(screen.y)
    start = measured[screen.is_control].mean(axis=0)
    strong = np.square(model.flow_.effects_).sum(axis=1).argsort()[::-1][:4]
    alone = clone(model)
    vars(alone).update(vars(model) | {"spread_": 0.0, "context_spreads_": {}})
    ratios = {"several": [], "one": []}
    for gene in model.flow_.conditions_[column].iloc[strong]:
        cells = measured[labels == gene]
        move = cells[::2].mean(axis=0) - start
        made = {"several": model, "one": alone}
        for name, of in made.items():
            found = of.predict([gene], 300)
            points = model.space_.transform(found)
            ratios[name].append((points @ move).var() / (cells[1::2] @ move).var())
            made[name] = values(found).sum(axis=0)
        # The expected profile is the same.
        several, one, before = (
            np.log1p(1e4 * x / x.sum())
            for x in (*made.values(), values(screen.y[screen.is_control]).sum(axis=0))
        )
        assert np.square(several - one).sum() < 0.2 * np.square(one - before).sum()
    assert 0.1 < model.spread_ < 1.5
    assert np.median(ratios["one"]) < 0.6
    assert 0.7 < np.median(ratios["several"]) < 1.4


def test_strengths_leave_controls_as_they_are(escaping):
    screen, model = escaping
    made = values(model.predict(["control"], 300))
    controls = values(screen.y[screen.is_control])
    order = [np.lexsort(x.T) for x in (made, controls)]
    assert np.array_equal(made[order[0]], controls[order[1]])


def test_a_model_saved_without_strengths_has_one(fitted, genes, tmp_path):
    older = clone(fitted)
    kept = dict(vars(fitted))
    del kept["spread_"], kept["context_spreads_"]
    vars(older).update(kept)
    sklperturb.save(older, tmp_path / "old.skpt")
    again = sklperturb.load(tmp_path / "old.skpt")
    assert (again.spread_, again.context_spreads_) == (0.0, {})
    assert again.predict(genes, 3).shape == (6, 100)


@pytest.mark.parametrize(
    ("mean_estimator", "source"),
    [("auto", "control"), ("kernel", "noise"), ("shift", "control"), ("none", "noise")],
)
def test_a_loaded_model_predicts_the_same_bits(
    screen, genes, tmp_path, monkeypatch, mean_estimator, source
):
    model = make(screen, mean_estimator=mean_estimator, source=source)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        sklperturb.save(model.fit(screen.X, screen.y), tmp_path / "model.skpt")
    for kind in (MeanEffect, CountSpace, FlowMatchingRegressor):
        monkeypatch.setattr(kind, "fit", None)  # loading fits nothing
    again = sklperturb.load(tmp_path / "model.skpt")
    asked = [*genes, "+".join(genes)]
    first, second = (m.predict(asked, 8, n_controls=5) for m in (model, again))
    assert np.array_equal(values(first), values(second))
    pd.testing.assert_frame_equal(first.obs, second.obs)
    for name in ("mean_weight_", "shape_weight_", "guards_", "history_", "source_"):
        assert getattr(again.flow_, name) == getattr(model.flow_, name)
    assert np.array_equal(again.flow_.effects_, model.flow_.effects_)
    assert again.flow_.get_params()["max_steps"] == 10
    sklperturb.save(again, tmp_path / "again.skpt")
    third = sklperturb.load(tmp_path / "again.skpt").predict(asked, 8, n_controls=5)
    assert np.array_equal(values(first), values(third))


@pytest.mark.parametrize("with_controls", [True, False])
def test_a_file_of_a_screen_with_one_column(screen, genes, tmp_path, with_controls):
    rows = np.flatnonzero(with_controls | ~screen.is_control)
    X = screen.X[["target_gene"]].iloc[rows]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        model = make(screen).fit(X, screen.y.X[rows])
    sklperturb.save(model, tmp_path / "model.skpt")
    again = sklperturb.load(tmp_path / "model.skpt")
    first, second = (m.predict(genes, 5) for m in (model, again))
    assert np.array_equal(values(first), values(second))
    assert list(first.obs) == ["target_gene"]


def test_a_regressor_of_its_own_is_kept(screen, genes, tmp_path):
    model = make(screen, mean_estimator=Ridge()).fit(screen.X, screen.y)
    sklperturb.save(model, tmp_path / "model.skpt")
    again = sklperturb.load(tmp_path / "model.skpt")
    first, second = (m.predict(genes, 2) for m in (model, again))
    assert np.array_equal(values(first), values(second))
    assert again.flow_.mean_choice_ == "custom"


def test_a_file_holds_the_table_of_genes_once(screen, tmp_path):
    rng = np.random.default_rng(0)
    names = screen.gene_embedding.index
    table = pd.DataFrame(rng.normal(size=(len(names), 1000)), index=names)
    model = make(screen).set_params(embedding=table).fit(screen.X, screen.y)
    sklperturb.save(model, tmp_path / "model.skpt")
    # Of 1,000 columns, those that products with the 12 perturbed genes need.
    assert (tmp_path / "model.skpt").stat().st_size < 0.5 * table.to_numpy().nbytes
    again = sklperturb.load(tmp_path / "model.skpt")
    assert again.embedding[0].shape == (len(names), 12)
    refitted = clone(again).fit(screen.X, screen.y)
    assert refitted.flow_.mean_choice_ == model.flow_.mean_choice_


def test_a_file_of_an_earlier_version(tmp_path):
    path = tmp_path / "old.npz"
    np.savez(path, state=np.array(json.dumps({"format": "sklperturb-cells-5"})))
    with pytest.raises(ValueError, match=r"old.npz was .* before 0.1.* Fit the model"):
        sklperturb.load(path)


@pytest.mark.parametrize(
    ("column", "spell"),
    [
        ("target_gene", lambda x: "non-targeting" if x == "control" else x),
        ("condition", lambda x: "ctrl" if x == "control" else f"{x}+ctrl"),
        ("guide", lambda x: "NT-1" if x == "control" else f"sg_{x}"),
    ],
    ids=["vcc", "gears", "own"],
)
def test_labels_are_spelled_as_in_the_training_file(
    screen, genes, tmp_path, column, spell
):
    cells = written_as(screen.y, spell, column)
    expected = [spell(gene) for gene in genes]
    schema, table = None, screen.gene_embedding
    if column == "guide":
        schema = PerturbationSchema(column, batch="batch", control_labels="NT-1")
        genes, table = expected, table.rename(index=spell)
    found = load_perturbseq(cells, schema)
    model = make(screen, schema=found.schema).set_params(embedding=table)
    model.fit(found.X, found.y)
    sklperturb.save(model, tmp_path / "model.skpt")
    control = spell("control")
    for each in (model, sklperturb.load(tmp_path / "model.skpt")):
        for asked in ([*genes, control], [*expected, "control"]):
            predicted = each.predict(asked, 4, n_controls=3)
            numbers = predicted.obs[column].value_counts().to_dict()
            assert numbers == {expected[0]: 4, expected[1]: 4, control: 7}
            assert "control" not in predicted.obs or column == "control"


def test_what_is_named_twice_is_added_up(fitted, genes):
    a, b = genes
    asked = [f"{a} + {b}", a, f"{b}+{a}", f" {a}", f"{a}+ctrl"]
    numbers = fitted.predict(asked, [1, 2, 3, 4, 5]).obs["target_gene"].value_counts()
    assert numbers.to_dict() == {f"{a}+{b}": 4, a: 11}


def test_a_new_combination_stays_in_the_order_that_is_asked(fitted, screen):
    first, second = sorted(screen.effects.index[:2].astype(str))
    asked = [f"{second}+{first}", f"{first}+{second}", second]
    numbers = fitted.predict(asked, 2).obs["target_gene"].value_counts().to_dict()
    assert numbers == {f"{second}+{first}": 4, second: 2}


def test_a_gene_that_is_spelled_like_a_control(screen):
    """The training data decide, then the spellings in public use."""
    other = str(screen.effects.index[0])
    X = screen.X.replace({"target_gene": {other: "NTC"}})
    table = screen.gene_embedding.rename(index={other: "NTC"})
    model = make(screen).set_params(embedding=table).fit(X, screen.y.X)
    labels = model.predict(["NTC", "non-targeting"], 3).obs["target_gene"]
    assert labels.value_counts().to_dict() == {"NTC": 3, "control": 3}


def test_combinations_with_another_sign_than_a_plus_are_said(fitted, genes):
    one, other = genes[:2]
    for label in (f"{one}_{other}", f"{one};{other}", f"{one}_control"):
        with pytest.warns(UserWarning, match="1 perturbations read like combinations"):
            fitted.predict([label], 2)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*like combinations")
        fitted.predict([f"{one}+{other}", f"{one}_1"], 2)


def test_bad_requests(screen, fitted, genes):
    with pytest.raises(ValueError, match="n_cells must be a whole number"):
        fitted.predict(genes, [3, 0])
    with pytest.raises(ValueError, match="one for each of the 2 perturbations"):
        fitted.predict(genes, [3])
    with pytest.raises(ValueError, match="holds an empty name"):
        fitted.predict([*genes, " "])
    with pytest.raises(ValueError, match="asks for no cells"):
        fitted.predict([])
    without = (~screen.is_control).nonzero()[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        model = make(screen).fit(screen.X.iloc[without], screen.y[without])
    with pytest.raises(ValueError, match="Controls cannot be generated"):
        model.predict(genes, n_controls=3)


def test_bad_parameters(screen):
    with pytest.raises(ValueError, match="'space' parameter"):
        make(screen, space="genes").fit(screen.X, screen.y)
    with pytest.raises(ValueError, match="no embedding and no schema of its own"):
        make(screen, embedding=Ridge()).fit(screen.X, screen.y)
    with pytest.raises(ValueError, match="X must be a data frame"):
        make(screen).fit(screen.X[["batch", "target_gene"]].to_numpy(), screen.y)


@pytest.fixture(scope="module")
def embedded(screen):
    """The same cells without counts, at points of a latent space."""
    points = CountSpace(3).fit_transform(screen.y)
    return anndata.AnnData(obs=screen.y.obs.copy(), obsm={"X_state": points})


def test_latent_cells_in_and_out(screen, embedded, genes, tmp_path):
    model = make(screen, space=None).fit(screen.X, embedded)
    assert model.space_ is None
    of_array = make(screen, space=None).fit(screen.X, embedded.obsm["X_state"])
    sklperturb.save(model, tmp_path / "model.skpt")
    again = sklperturb.load(tmp_path / "model.skpt")
    cells, *others = (
        each.predict(genes, 6, n_controls=4) for each in (model, of_array, again)
    )
    assert cells.shape == (16, 0) and cells.X is None
    assert cells.obsm["X_state"].shape == (16, 3)
    for other in others:
        assert np.array_equal(other.obsm["X_state"], cells.obsm["X_state"])
    named = clone(model).set_params(obsm="X_pca")
    with pytest.raises(ValueError, match="y has no 'X_pca' in its obsm"):
        named.fit(screen.X, embedded)
    named.fit(screen.X, embedded.obsm["X_state"])
    assert list(named.predict(genes, 2).obsm) == ["X_pca"]
    with pytest.raises(ValueError, match="log1p=True needs counts"):
        model.predict(genes, log1p=True)


@pytest.mark.parametrize("space", ["autoencoder", PCA(6), make_pipeline(PCA(6))])
def test_counts_through_any_latent_space(screen, genes, tmp_path, space):
    matrix = pd.DataFrame(screen.y.X.toarray(), columns=screen.y.var_names)
    model = make(screen, space=space).fit(screen.X, matrix)
    sklperturb.save(model, tmp_path / "model.skpt")
    again = sklperturb.load(tmp_path / "model.skpt")
    cells, other = (each.predict(genes, 20, n_controls=80) for each in (model, again))
    assert cells.shape == (120, 100) and np.array_equal(values(cells), values(other))
    # The decoder leads back: controls keep their expression.
    controls = log_normalise(cells.X[-80:], 1e4).mean(axis=0)
    measured = log_normalise(screen.y[screen.is_control].X, 1e4).mean(axis=0)
    assert np.corrcoef(controls, measured)[0, 1] > 0.97
    if space == "autoencoder":
        assert not cells.obsm
        return
    assert cells.obsm["X_state"].shape == (120, 6)
    if not isinstance(space, PCA):  # what a loaded model is refitted with is the same
        assert again.fit(screen.X, matrix).predict(genes, 2).shape == (4, 100)


def test_the_decoder_of_an_autoencoder_is_its_own(screen):
    model = make(screen, space="autoencoder").fit(screen.X, screen.y)
    points = np.random.default_rng(0).normal(size=(5, 4))
    np.testing.assert_allclose(
        model.decoder_.decode(points),
        model.encoder_.inverse_transform(points),
        rtol=1e-4,
        atol=1e-4,
    )


@pytest.mark.parametrize("beside", [0, 3])
def test_cells_stay_on_the_sphere(screen, embedded, genes, tmp_path, beside):
    """Also where an embedding of the data set stands beside that of the cell."""
    points = embedded.obsm["X_state"]
    norms = np.linalg.norm(points, axis=1, keepdims=True)
    rest = np.random.default_rng(0).normal(size=(len(points), beside))
    on_sphere = np.hstack([points / norms, rest])
    model = make(screen, space=None).fit(screen.X, on_sphere)
    sklperturb.save(model, tmp_path / "model.skpt")
    for each in (model, sklperturb.load(tmp_path / "model.skpt")):
        found = each.predict(genes, 9).obsm["X_state"]
        np.testing.assert_allclose(np.linalg.norm(found[:, :3], axis=1), 1, atol=1e-6)
    # What is on no sphere is not put on one.
    moved = make(screen, space=None).fit(screen.X, points).predict(genes, 9)
    assert np.linalg.norm(moved.obsm["X_state"], axis=1).std() > 0.1


def test_without_an_embedding_seen_genes_are_known(screen, genes, tmp_path):
    model = make(screen).set_params(embedding=None).fit(screen.X, screen.y)
    sklperturb.save(model, tmp_path / "model.skpt")
    again = sklperturb.load(tmp_path / "model.skpt")
    assert again.embedding is None
    first, second = (m.predict(genes, 5) for m in (model, again))
    assert np.array_equal(values(first), values(second))


@pytest.mark.parametrize("n_controls", [-3, 2.5])
def test_numbers_of_controls_are_whole(fitted, n_controls):
    with pytest.raises(ValueError, match="n_controls must be a whole number"):
        fitted.predict(["control"], 5, n_controls=n_controls)


def test_a_cell_of_each_row(screen, fitted):
    """Counts for a scorer: of the row's own batch, and controls as they were."""
    cells = fitted.sample(screen.X)
    assert cells.shape == screen.y.shape and np.array_equal(cells.data, cells.data // 1)
    assert fitted.sample(screen.X[:3], 4).shape == (12, 100)
    controls = screen.is_control & (screen.X["batch"] == "batch2").to_numpy()
    own = {tuple(row) for row in screen.y.X[controls].toarray()}
    assert {tuple(row) for row in cells[controls].toarray()} <= own


def test_a_scorer_matches_genes_by_name(screen, fitted):
    scorer = CellScorer("energy", "populations")
    expected = scorer(fitted, screen.X, screen.y)
    turned = screen.y[:, ::-1].copy()
    assert scorer(fitted, screen.X, turned) == pytest.approx(expected, rel=1e-6)


def test_cross_validation_of_counts(screen):
    cv = UnseenPerturbationKFold(
        2, keep_controls="both", schema=screen.schema, random_state=0
    )
    scoring = {
        "discrimination": CellScorer("discrimination"),
        "energy": CellScorer("energy", "populations", n_components=5),
        "error": CellScorer("expr_mse_norm", "vcc2026"),
    }
    found = cross_validate(
        make(screen), screen.X, screen.y, cv=cv, scoring=scoring, error_score="raise"
    )
    for name in scoring:
        scores = found[f"test_{name}"]
        assert np.isfinite(scores).all() and scores.shape == (2,)
