"""A model that was saved predicts the same numbers in another process."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.compose import TransformedTargetRegressor
from sklearn.decomposition import PCA
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import RandomForestRegressor, VotingRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, WhiteKernel
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler, TargetEncoder

import sklperturb
from sklperturb.datasets import make_chemical_screen, make_genetic_screen
from sklperturb.embedding import SECheckpoint, SEEmbedding
from sklperturb.flow import CellScreenModel, CountSpace, FlowMatchingRegressor
from sklperturb.linear_model import TargetEncodedRidge
from sklperturb.metrics import neg_mrrmse_scorer
from sklperturb.model_selection import UnseenPairKFold
from sklperturb.models import list_models, make_model
from sklperturb.neural_network import TokenEmbeddingMLPRegressor
from sklperturb.preprocessing import make_condition_encoder
from sklperturb.testing import all_estimators
from sklperturb.tuning import PerturbationSearchCV
from tests.test_common import construct

QUICK = {"max_epochs": 2, "max_steps": 3, "hidden_dim": 16, "n_seeds": 2}
OF_CELLS = ("mean_shift", "additive_combination", "bilinear", "flow")
# What takes cells or counts has tests elsewhere.
OTHERS = (
    *("CellScreenModel", "CountSpace", "DifferentialSignatures", "Pseudobulk"),
    *("BestRegressor", "FlowMatchingRegressor", "PerturbationSearchCV", "SEEmbedding"),
)


def quick(model):
    if "parts" in model.get_params():  # of best; its networks are in others
        model.set_params(parts=["response", "boosting", "ridge", "structure"])
    names = [n for n in model.get_params() if n.rpartition("__")[2] in QUICK]
    return model.set_params(**{n: QUICK[n.rpartition("__")[2]] for n in names})


def has_network(model):
    lengths = ("max_epochs", "max_steps")
    return any(n.rpartition("__")[2] in lengths for n in model.get_params())


@pytest.fixture(scope="module")
def chemical():
    return make_chemical_screen(4, 12, 20, random_state=0)


@pytest.fixture(scope="module")
def genetic():
    return make_genetic_screen(
        12, 80, cells_per_perturbation=12, n_controls=40, depth=500, random_state=0
    )


def registered(chemical, genetic):
    """Return every registered model, fitted, and conditions to predict."""
    models = {}
    for entry in list_models():
        if not entry.available:
            continue
        screen = genetic if entry.name in OF_CELLS else chemical
        y = screen.y.to_df() if hasattr(screen.y, "to_df") else screen.y
        model = quick(entry.build(screen.schema, 0)).fit(screen.X, y)
        asked = chemical.X_test if screen is chemical else screen.X.iloc[::9]
        models[entry.name] = model, asked
    return models


def estimators(chemical):
    """Return all other estimators of the package."""
    X, y, models = chemical.X, chemical.y, {}
    rng = np.random.default_rng(0)
    numbers, targets = rng.normal(size=(30, 5)), rng.normal(size=(30, 4))
    for name, kind in all_estimators():
        if name in OTHERS:
            continue
        model = construct(kind)
        for given in ((X, y), (numbers, targets), (X[["sm_name"]], y)):
            try:
                models[name] = model.fit(*given), given[0]
                break
            except (ValueError, TypeError):
                continue
        else:
            raise AssertionError(f"{name} takes none of the inputs")
    return models


def searches(chemical):
    """Return searches, and pipelines with more of scikit-learn."""
    X, y = chemical.X, chemical.y
    ridge = TargetEncodedRidge()
    cv = UnseenPairKFold(2, random_state=0)
    options = {"cv": cv, "n_jobs": 1}
    several = {"r2": "r2", "mrrmse": neg_mrrmse_scorer}
    space = {"smooth": [0.1, 10.0]}
    process = GaussianProcessRegressor(2.0 * RBF() + WhiteKernel(), optimizer=None)
    voting = VotingRegressor([("a", Ridge()), ("b", DummyRegressor())])
    encode = make_condition_encoder
    models = {
        "grid": GridSearchCV(ridge, space, scoring=neg_mrrmse_scorer, **options),
        "grid_default": GridSearchCV(ridge, space, **options),
        "several": GridSearchCV(
            ridge, space, scoring=several, refit="mrrmse", **options
        ),
        "random": RandomizedSearchCV(ridge, space, n_iter=2, random_state=0, **options),
        "search": PerturbationSearchCV(ridge, n_trials=2, random_state=0),
        "pipeline": make_pipeline(encode(), StandardScaler(), PCA(3), RidgeCV()),
        "forest": make_pipeline(encode(), RandomForestRegressor(3, random_state=0)),
        "process": make_pipeline(encode(), process),
        "logarithm": make_pipeline(
            encode(), FunctionTransformer(np.tanh), TransformedTargetRegressor(Ridge())
        ),
        "voting": make_pipeline(encode(), MultiOutputRegressor(voting)),
        "framed": make_pipeline(encode(), Ridge()).set_output(transform="pandas"),
    }
    fitted = {name: (model.fit(X, y), X) for name, model in models.items()}
    one = make_pipeline(TargetEncoder(), Ridge())
    fitted["one_gene"] = one.fit(X[["sm_name"]], y.iloc[:, 0]), X[["sm_name"]]
    return fitted


def frames_in(value, place=""):
    """Yield where a fitted object holds what is of pandas."""
    if isinstance(value, pd.DataFrame | pd.Series | pd.Index | pd.Categorical):
        yield place
    elif isinstance(value, dict):
        for item in value.values():
            yield from frames_in(item, place)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from frames_in(item, place)
    elif type(value).__module__.startswith(("sklperturb.", "sklearn.")):
        for name, item in getattr(value, "__dict__", {}).items():
            yield from frames_in(item, name)


def test_predictions_in_a_new_process(chemical, genetic, in_new_process, tmp_path):
    models = registered(chemical, genetic)
    assert len(models) > 30
    fitted = {place for model, _ in models.values() for place in frames_in(model)}
    # Conditions as they were given, and tables of scores: names, beside mixed types.
    assert fitted <= {"conditions", "conditions_", "weights_", "estimates_"}
    models |= estimators(chemical) | searches(chemical)
    networks = {n for n, (model, _) in models.items() if has_network(model)}
    assert "token_mlp" in networks and "ridge" not in networks
    for name, (here, there) in in_new_process(tmp_path, models).items():
        assert here.shape == there.shape
        # Where arrays lie in memory decides how torch sums them: the last digit of a
        # network can differ between any two processes.
        same = np.isclose(here, there, rtol=1e-6, atol=1e-6, equal_nan=True).all()
        assert same if name in networks else np.array_equal(here, there, True), name
    made, search = models["search"][0], sklperturb.load(tmp_path / "search.skpt")
    assert search.best_params_ == made.best_params_
    assert list(search.cv_results_) == list(made.cv_results_)
    assert not hasattr(search, "study_")
    made, grid = models["grid"][0], sklperturb.load(tmp_path / "grid.skpt")
    assert grid.score(chemical.X, chemical.y) == made.score(chemical.X, chemical.y)
    assert grid.scoring is neg_mrrmse_scorer


def test_the_file_is_no_larger_than_its_arrays(tmp_path):
    rng = np.random.default_rng(0)
    model = Ridge().fit(rng.normal(size=(300, 200)), rng.normal(size=(300, 2000)))
    sklperturb.save(model, tmp_path / "m.skpt")
    raw = model.coef_.nbytes + model.intercept_.nbytes
    assert (tmp_path / "m.skpt").stat().st_size < 1.01 * raw


def test_copies_of_large_arrays_are_kept_once(tmp_path):
    large = np.random.default_rng(0).normal(size=(200, 1000))
    large[0, :70] = np.nan
    near = large.copy()
    near[-1, -1] += 1e-12
    kernel = np.zeros((200, 1000))
    model = Ridge()
    model.a_, model.b_, model.c_, model.d_ = large, large.copy(), near, kernel
    sklperturb.save(model, tmp_path / "m.skpt")
    assert (tmp_path / "m.skpt").stat().st_size < 3.1 * large.nbytes
    again = sklperturb.load(tmp_path / "m.skpt")
    for name in ("a_", "b_", "c_", "d_"):
        assert np.array_equal(getattr(again, name), getattr(model, name), True)


def test_arrays_that_are_shared_are_kept_once(tmp_path, chemical):
    big = np.random.default_rng(0).normal(size=(100, 1000))
    model = Ridge().fit(chemical.X[["control"]], chemical.y)
    model.first_, model.again_, model.turned_ = big, big, np.asfortranarray(big)
    sklperturb.save(model, tmp_path / "m.skpt")
    assert (tmp_path / "m.skpt").stat().st_size < 2.1 * big.nbytes
    again = sklperturb.load(tmp_path / "m.skpt")
    assert again.first_ is again.again_
    assert again.turned_.flags.f_contiguous and not again.turned_.flags.c_contiguous
    assert np.array_equal(again.turned_, big)
    assert again.first_.flags.writeable


VALUES = {
    "plain": [None, True, 3, 2**70, 1.5, "text", "", "é\u2028\x00", [], {}, ()],
    "floats": [float("nan"), float("inf"), -float("inf"), -0.0, 1e-320],
    "nested": {("a", 1): [(1, 2), {"b": {3, 4}}, frozenset("x")], 5: slice(1, None)},
    "scalars": (np.float32(1.1), np.int8(-3), np.bool_(True), np.float64("nan")),
    "times": np.array(["2020-01-01", "NaT"], "datetime64[ns]"),
    "time": np.timedelta64(5, "s"),
    "texts": np.array([["a", ""], ["ß", "abc"]]),
    "objects": np.array(["a", "bc"], dtype=object),
    "mixed": np.array([None, 1, "a", np.nan], dtype=object),
    "empty": np.empty((0, 3)),
    "no_text": np.array([], dtype="<U5"),
    "number": np.array(3.0),
    "half": np.arange(3, dtype=np.float16),
    "big_endian": np.arange(3, dtype=">i4"),
    "masked": np.ma.array([1.0, 2.0], mask=[False, True]),
    "dtype": np.dtype("float32"),
    "kinds": [np.float64, float, int],
    "index": pd.Index(["a", "b"], name="genes"),
    "range": pd.RangeIndex(3),
    "levels": pd.MultiIndex.from_tuples([("a", 1), ("b", 2)], names=["x", None]),
    "series": pd.Series([1.0, 2.0], index=["a", "b"], name="s"),
    "category": pd.Categorical(["a", None, "b"], categories=["b", "a"], ordered=True),
    "frame": pd.DataFrame(
        {"n": [1, 2], "t": ["a", None], "c": pd.Categorical(["x", "y"])}, index=[5, 6]
    ),
    "numbers": pd.DataFrame(np.eye(2), columns=["a", "b"]),
    "twice": pd.DataFrame([[1, "a"], [2, "b"]], columns=["a", "a"]),
    "words": pd.DataFrame({"t": pd.array(["a", "b"], dtype="string")}).astype(object),
    "generator": np.random.default_rng(3),
    "state": np.random.RandomState(3),
}


@pytest.mark.parametrize("name", VALUES)
def test_values(name, tmp_path):
    value = VALUES[name]
    model = Ridge()
    model.value_ = value
    sklperturb.save(model, tmp_path / "m.skpt")
    again = sklperturb.load(tmp_path / "m.skpt").value_
    assert type(again) is type(value)
    if name in ("generator", "state"):
        assert again.random() == np.random.default_rng(3).random() or name == "state"
    elif isinstance(value, pd.DataFrame):
        pd.testing.assert_frame_equal(again, value)
    elif isinstance(value, pd.Index | pd.Series | pd.Categorical):
        assert again.equals(value)
        assert getattr(again, "names", None) == getattr(value, "names", None)
    elif isinstance(value, np.ndarray):
        assert again.dtype == value.dtype.newbyteorder("=")
        np.testing.assert_equal(again.tolist(), value.tolist())
    else:
        assert repr(again) == repr(value)


def test_an_embedding_keeps_the_place_of_its_checkpoint(tmp_path):
    cells = np.random.default_rng(0).poisson(3.0, (6, 20)).astype(float)
    path = tmp_path / "small.ckpt"
    genes = [f"G{i}" for i in range(20)]
    checkpoint = SECheckpoint.create(path, genes=genes, random_state=0)
    embedding = SEEmbedding(checkpoint, gene_names=genes, random_state=0).fit(cells)
    assert not hasattr(SEEmbedding(checkpoint), "checkpoint_")
    expected = embedding.transform(cells)
    sklperturb.save(embedding, tmp_path / "m.skpt")
    path.rename(tmp_path / "moved.ckpt")
    again = sklperturb.load(tmp_path / "m.skpt")
    with pytest.raises(FileNotFoundError):
        again.transform(cells)
    (tmp_path / "moved.ckpt").rename(path)
    assert np.array_equal(again.transform(cells), expected)


def test_what_takes_cells(genetic, tmp_path):
    flow = FlowMatchingRegressor(max_steps=3, hidden_dim=16, random_state=0)
    model = CellScreenModel(
        genetic.gene_embedding, space="counts", n_components=4, flow=flow
    ).fit(genetic.X, genetic.y)
    sklperturb.save(model, tmp_path / "cells.skpt")
    again = sklperturb.load(tmp_path / "cells.skpt")
    asked = [str(genetic.effects.index[0])]
    made, found = (each.predict(asked, 5, n_controls=3) for each in (model, again))
    assert np.array_equal(made.X.toarray(), found.X.toarray())
    space = CountSpace(3).fit(genetic.y)
    sklperturb.save(space, tmp_path / "space.skpt")
    again = sklperturb.load(tmp_path / "space.skpt")
    assert np.array_equal(again.transform(genetic.y), space.transform(genetic.y))


def test_networks_keep_history_and_take_other_losses(chemical, tmp_path):
    options = {"optimizer": torch.optim.AdamW, "optimizer__eps": 1e-7}
    options |= {"module__hidden_dim": 12}
    model = TokenEmbeddingMLPRegressor(max_epochs=3, net_params=options, random_state=0)
    model.fit(chemical.X, chemical.y)
    before = torch.get_rng_state()
    sklperturb.save(model, tmp_path / "m.skpt")
    again = sklperturb.load(tmp_path / "m.skpt")
    assert torch.equal(before, torch.get_rng_state())
    losses = [row["train_loss"] for row in model.net_.history]
    assert [row["train_loss"] for row in again.net_.history] == losses
    assert isinstance(again.net_.optimizer_, torch.optim.AdamW)
    assert again.net_params == options
    assert np.array_equal(again.predict(chemical.X), model.predict(chemical.X))
    refitted = again.fit(chemical.X, chemical.y).predict(chemical.X)
    assert np.array_equal(refitted, model.predict(chemical.X))


def test_what_is_known_of_genes_is_in_the_file(tmp_path):
    """The tables that it was read from may be gone, also for genes that are new."""
    rng = np.random.default_rng(0)
    genes = [f"G{i}" for i in range(20)]
    vectors = pd.DataFrame(rng.normal(size=(20, 4)), index=genes)
    table = tmp_path / "vectors.csv"
    vectors.rename_axis("gene").to_csv(table)
    X = pd.DataFrame({"gene": genes, "cell_type": "K562"})
    y = vectors.to_numpy() @ rng.normal(size=(4, 5))
    model = make_model("gene_kernel", sources=[str(table)]).fit(X[:14], y[:14])
    expected = model.predict(X)
    sklperturb.save(model, tmp_path / "m.skpt")
    table.unlink()
    again = sklperturb.load(tmp_path / "m.skpt").predict(X)
    assert np.array_equal(again, expected) and expected[14:].std(axis=0).min() > 0
