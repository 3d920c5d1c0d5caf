"""Predictions are frames where they are asked for, and nowhere else."""

from concurrent.futures import ThreadPoolExecutor

import anndata
import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import BaggingRegressor, StackingRegressor, VotingRegressor
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

import sklperturb
from sklperturb import config_context, get_config, metrics, set_config
from sklperturb.baseline import AdditiveRegressor, NoChangeRegressor
from sklperturb.comparison import compare
from sklperturb.conditions import ConditionRegressor
from sklperturb.ensemble import (
    BlendRegressor,
    BoostedTargetRegressor,
    SeedEnsembleRegressor,
    StretchedRegressor,
)
from sklperturb.inspection import ConformalRegressor
from sklperturb.linear_model import (
    GeneKnowledgeRidge,
    ProductKernelRidge,
    TargetEncodedRidge,
)
from sklperturb.model_selection import UnseenPairKFold
from sklperturb.models import list_models
from sklperturb.neural_network import SequenceNetRegressor
from sklperturb.preprocessing import make_condition_encoder
from sklperturb.tuning import PerturbationSearchCV

X = pd.DataFrame({"cell_type": list("ABABAB"), "sm_name": list("uuvvww")}).set_axis(
    [f"row{i}" for i in range(6)]
)
Y = pd.DataFrame(np.random.RandomState(0).normal(size=(6, 2)), columns=["MYC", "TP53"])


class Spy(RegressorMixin, BaseEstimator):
    """A stranger's estimator around one of ours, which has to predict arrays."""

    n_arrays = 0

    def __init__(self, estimator=None):
        self.estimator = estimator

    def fit(self, X, y):
        self.estimator_ = clone(self.estimator).fit(X, y)
        return self

    def predict(self, X):
        y_pred = self.estimator_.predict(X)
        assert type(y_pred) is np.ndarray
        Spy.n_arrays += 1
        return y_pred


@pytest.fixture(autouse=True)
def unchanged():
    yield
    assert get_config() == {"predict_output": "default"}


def test_arrays_unless_asked():
    model = AdditiveRegressor().fit(X, Y)
    assert type(model.predict(X)) is np.ndarray
    assert type(model.set_output().predict(X)) is np.ndarray
    assert type(model.set_output(predict="default").predict(X)) is np.ndarray


def test_frames_have_the_rows_of_x_and_the_genes_of_y():
    model = AdditiveRegressor().fit(X, Y)
    expected = model.predict(X)
    found = model.set_output(predict="pandas").predict(X[::-1])
    assert list(found.columns) == ["MYC", "TP53"]
    assert list(found.index) == list(X.index[::-1])
    np.testing.assert_array_equal(found, expected[::-1])
    # Without a frame there are no names of rows.
    values = X.to_numpy()
    assert list(model.fit(values, Y).predict(values).index) == list(range(6))


def test_frames_are_no_copies():
    class Kept(ConditionRegressor):
        def fit(self, X, y):
            self.kept_ = np.zeros((len(y), y.shape[1]), dtype=np.float32)
            return self

        def predict(self, X):
            return self.kept_

    model = Kept().fit(X, Y).set_output(predict="pandas")
    found = model.predict(X)
    assert (found.dtypes == np.float32).all()
    assert np.shares_memory(found.to_numpy(), model.kept_)


@pytest.mark.parametrize(
    ("y", "columns"),
    [
        (Y, ["MYC", "TP53"]),
        (Y.set_axis([7, 3], axis=1), [7, 3]),
        (Y.set_axis([0.5, "b"], axis=1), ["0.5", "b"]),
        (Y[["MYC"]], ["MYC"]),
        (anndata.AnnData(Y.set_axis(X.index).astype(np.float32)), ["MYC", "TP53"]),
    ],
)
def test_names_of_genes(y, columns, tmp_path):
    model = AdditiveRegressor().set_output(predict="like_y").fit(X, y)
    found = model.predict(X)
    assert isinstance(found, pd.DataFrame)
    assert list(found.columns) == columns
    sklperturb.save(model, tmp_path / "m.skpt")
    again = sklperturb.load(tmp_path / "m.skpt").predict(X)
    pd.testing.assert_frame_equal(again, found)


def test_names_of_other_frames():
    polars = pytest.importorskip("polars")
    model = AdditiveRegressor().set_output(predict="like_y")
    found = model.fit(polars.from_pandas(X), polars.from_pandas(Y)).predict(X)
    assert list(found.columns) == ["MYC", "TP53"]


def test_arrays_have_numbers_for_names():
    model = AdditiveRegressor().fit(X, Y.to_numpy())
    assert list(model.set_output(predict="pandas").predict(X).columns) == ["y0", "y1"]
    assert type(model.set_output(predict="like_y").predict(X)) is np.ndarray


def test_one_gene_is_a_series():
    model = AdditiveRegressor().set_output(predict="like_y")
    found = model.fit(X, Y["MYC"]).predict(X)
    assert isinstance(found, pd.Series)
    assert found.name == "MYC"
    assert list(found.index) == list(X.index)
    assert model.fit(X, Y["MYC"].rename(None)).predict(X).name is None
    assert type(model.fit(X, Y["MYC"].to_numpy()).predict(X)) is np.ndarray
    assert isinstance(model.set_output(predict="pandas").predict(X), pd.Series)


def test_names_are_those_of_the_last_fit():
    model = AdditiveRegressor().fit(X, Y).fit(X, Y.to_numpy())
    assert type(model.set_output(predict="like_y").predict(X)) is np.ndarray
    y = Y.set_axis(["KLF1", "GATA1"], axis=1)
    assert list(model.fit(X, y=y).predict(X).columns) == ["KLF1", "GATA1"]


def test_the_estimator_is_asked_before_the_configuration():
    model = AdditiveRegressor().fit(X, Y)
    with config_context(predict_output="pandas"):
        assert isinstance(model.predict(X), pd.DataFrame)
        with config_context(predict_output="default"):
            assert type(model.predict(X)) is np.ndarray
        assert isinstance(model.predict(X), pd.DataFrame)
        assert type(model.set_output(predict="default").predict(X)) is np.ndarray
    with config_context(predict_output="like_y"):
        assert isinstance(AdditiveRegressor().fit(X, Y).predict(X), pd.DataFrame)
        assert type(AdditiveRegressor().fit(X, Y.values).predict(X)) is np.ndarray


def test_configuration_is_set_back_and_of_one_thread():
    with pytest.raises(RuntimeError), config_context(predict_output="pandas"):
        raise RuntimeError
    assert get_config() == {"predict_output": "default"}
    set_config(predict_output="pandas")
    set_config()
    try:
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(get_config).result() == {"predict_output": "default"}
        get_config()["predict_output"] = "like_y"
        assert get_config() == {"predict_output": "pandas"}
    finally:
        set_config(predict_output="default")


@pytest.mark.parametrize("value", ["panda", "polars", True, ["pandas"]])
def test_unknown_outputs(value):
    with pytest.raises(ValueError, match=r"one of \['default', 'pandas', 'like_y'\]"):
        set_config(predict_output=value)
    model = AdditiveRegressor()
    with pytest.raises(ValueError, match=r"one of \['default', 'pandas', 'like_y'\]"):
        model.set_output(predict=value)
    assert not hasattr(model, "_sklearn_output_config")


def test_set_output_of_transform():
    with pytest.raises(ValueError, match="AdditiveRegressor has no transform"):
        AdditiveRegressor().set_output(transform="pandas", predict="pandas")
    model = SequenceNetRegressor(max_epochs=1, random_state=0)
    model.set_output(predict="pandas")
    pipeline = make_pipeline(make_condition_encoder(n_components=2), model)
    pipeline.set_output(transform="pandas").fit(X, Y)
    assert "onehot__cell_type_A" in pipeline[-1].feature_names_in_
    found = pipeline.predict(X)
    assert list(found.columns) == ["MYC", "TP53"]
    assert list(found.index) == list(X.index)
    again = clone(pipeline).fit(X, Y.to_numpy())
    assert list(again.predict(X).columns) == ["y0", "y1"]


def test_pipelines_of_the_registry_keep_the_rows():
    [entry] = [e for e in list_models() if e.name == "gru"]
    model = entry.build(None, 0).set_params(regressor__max_epochs=1)
    assert isinstance(model, Pipeline)
    model[-1].set_output(predict="like_y")  # one step is asked for all
    found = model.fit(X, Y).predict(X)
    assert list(found.index) == list(X.index)
    assert list(found.columns) == ["MYC", "TP53"]
    model.set_output(predict="default", transform="pandas").fit(X, Y)
    assert type(model.predict(X)) is np.ndarray
    assert "onehot__cell_type_A" in model["scaler"].feature_names_in_
    assert not hasattr(model[:-1], "predict")


def test_searches_pass_on_what_was_asked_of_the_estimator(screen):
    data = screen.X, screen.y
    ridge = TargetEncodedRidge().set_output(predict="pandas")
    ours = PerturbationSearchCV(ridge, {"smooth": [1.0]}, n_trials=1, cv=2, verbose=0)
    theirs = GridSearchCV(ridge, {"smooth": [1.0]}, cv=2)
    for search in (ours.fit(*data), theirs.fit(*data)):
        found = search.predict(screen.X_test)
        assert list(found.columns) == list(screen.y)
        assert list(found.index) == list(screen.X_test.index)
    assert type(ours.set_output(predict="default").predict(screen.X)) is np.ndarray
    # What the search chose need know nothing of frames.
    encoder = make_condition_encoder(n_components=2)
    search = PerturbationSearchCV(
        make_pipeline(encoder, Ridge()), {"ridge__alpha": [1.0]}, n_trials=1, cv=2
    )
    found = search.set_output(predict="like_y").fit(*data).predict(screen.X_test)
    assert list(found.index) == list(screen.X_test.index)
    assert not hasattr(PerturbationSearchCV(encoder, {}), "predict")


@pytest.mark.parametrize("n_jobs", [None, 2])
@pytest.mark.parametrize("output", ["default", "pandas"])
def test_what_is_inside_gives_arrays(output, n_jobs, screen):
    def part(model):
        return Spy(model.set_output(predict="pandas"))

    kernel, additive = part(ProductKernelRidge()), part(AdditiveRegressor())
    models = [
        BlendRegressor([("a", kernel), ("b", additive)], n_jobs=n_jobs, random_state=0),
        StretchedRegressor(kernel, n_jobs=n_jobs, random_state=0),
        SeedEnsembleRegressor(additive, n_seeds=2, random_state=0),
        PerturbationSearchCV(additive, {"estimator__effects": ["means"]}, n_trials=1),
    ]
    for model in models:
        Spy.n_arrays = 0
        with config_context(predict_output=output):
            found = model.fit(screen.X, screen.y).predict(screen.X_test)
        assert isinstance(found, pd.DataFrame) == (output == "pandas")
        assert Spy.n_arrays


def test_intervals_are_frames(screen):
    model = ConformalRegressor(ProductKernelRidge(), random_state=0)
    model.fit(screen.X, screen.y)
    expected = model.predict_interval(screen.X_test)
    ends = model.set_output(predict="pandas").predict_interval(screen.X_test)
    y_pred = model.predict(screen.X_test)
    for array, end in zip(expected, ends, strict=True):
        pd.testing.assert_frame_equal(end, y_pred * 0 + array)


def test_a_failed_fit_gives_frames_again():
    with pytest.raises(ValueError, match="y"):
        AdditiveRegressor().fit(X, None)
    model = AdditiveRegressor().fit(X, Y).set_output(predict="pandas")
    with pytest.raises(ValueError, match="feature names"):
        model.predict(X[["sm_name"]])
    assert isinstance(model.predict(X), pd.DataFrame)


def test_scores_are_the_same(screen):
    model = AdditiveRegressor().fit(screen.X, screen.y)
    # Their indices differ, and nothing may line them up.
    X_test, y = (
        screen.X_test.iloc[::-1],
        screen.y_test.iloc[::-1].reset_index(drop=True),
    )
    names = ["r2", "neg_mean_squared_error", *metrics.get_scorer_names()[:5]]
    scorers = {name: metrics.get_scorer(name) for name in names}
    weighted = metrics.WeightedMSEScorer(np.arange(1.0, 31.0))
    scorers |= {"weighted": weighted, "own": lambda model, X, y: model.score(X, y)}
    for name, scorer in scorers.items():
        expected = scorer(model, X_test, y)
        with config_context(predict_output="pandas"):
            assert isinstance(model.predict(X_test), pd.DataFrame)
            assert scorer(model, X_test, y) == expected, name


@pytest.mark.parametrize(
    "model",
    [
        AdditiveRegressor(),
        GeneKnowledgeRidge(),
        make_pipeline(
            make_condition_encoder(),
            BoostedTargetRegressor(2, random_state=0),
        ),
    ],
)
def test_score_knows_genes_by_their_names(screen, model):
    model = clone(model)
    X, y = screen.X, screen.y
    expected = model.fit(X, y).score(X, y)
    assert 0 < expected < 1
    if not isinstance(model, Pipeline):  # which is scikit-learn's
        turned = y.iloc[:, np.roll(np.arange(y.shape[1]), 3)]
        assert model.score(X, turned) == pytest.approx(expected)
    cells = anndata.AnnData(y.to_numpy(), var=pd.DataFrame(index=y.columns))
    assert model.fit(X, cells).score(X, cells) == pytest.approx(expected)
    weights = np.arange(len(y))
    assert model.score(X, cells, sample_weight=weights) != pytest.approx(expected)


def test_scikit_learn_takes_frames(screen):
    options = {"cv": UnseenPairKFold(2, random_state=0)}
    model = AdditiveRegressor()
    scoring = metrics.neg_mrrmse_scorer
    search = GridSearchCV(model, {"effects": ["means", "joint"]}, scoring=scoring)

    def all_of():
        return (
            cross_val_score(model, screen.X, screen.y, scoring=scoring, **options),
            cross_val_predict(model, screen.X, screen.y, cv=3),
            search.fit(screen.X, screen.y).cv_results_["mean_test_score"],
        )

    expected = all_of()
    with config_context(predict_output="pandas"):
        for one, other in zip(all_of(), expected, strict=True):
            np.testing.assert_array_equal(one, other)


def test_comparisons_are_the_same(screen):
    """Of all registered models of signatures without a network."""
    slow = ("best", "token_ensemble", "pseudo_label", "long_boosting")
    names = [
        entry.name
        for entry in list_models()
        if entry.available
        and entry.kind != "network"
        and entry.role != "control"
        and entry.name not in slow
    ]
    assert len(names) > 15
    cv = UnseenPairKFold(2, random_state=0)

    def found():
        comparison = compare(
            names, screen.X, screen.y, cv=cv, n_resamples=20, return_predictions=True
        )
        return comparison.folds, comparison.predictions

    folds, predictions = found()
    with config_context(predict_output="pandas"):
        again = found()
    same = folds.columns[~folds.columns.str.contains("second|memory")]
    pd.testing.assert_frame_equal(again[0][same], folds[same])
    for name, y_pred in predictions.items():
        np.testing.assert_array_equal(again[1][name], y_pred, name)


def test_users_classes_have_it_too():
    class Mine(NoChangeRegressor):
        def predict(self, X):
            return super().predict(X) + 1

    model = Mine().set_output(predict="pandas").fit(X, Y)
    found = model.predict(X)
    assert list(found.columns) == ["MYC", "TP53"]
    assert (found == 1).all(axis=None)


@pytest.mark.parametrize("asked", ["estimator", "configuration"])
def test_scikit_learn_computes_with_arrays(asked):
    """Where it calls ours itself, with y of one dimension too."""
    pair = [("a", AdditiveRegressor()), ("b", NoChangeRegressor())]
    if asked == "estimator":
        pair = [(name, model.set_output(predict="pandas")) for name, model in pair]
    inside, gene = pair[0][1], Y["MYC"]
    scaled = TransformedTargetRegressor(inside, transformer=StandardScaler())
    models = [
        (StackingRegressor(pair, cv=2), gene),
        (StackingRegressor([("a", make_pipeline(inside))], cv=2), gene),
        (VotingRegressor(pair), gene),
        (BaggingRegressor(inside, n_estimators=1, random_state=0), gene),
        (MultiOutputRegressor(inside), Y),
        (scaled, gene),
        (scaled, Y),
    ]
    plain = [
        clone(model).fit(X, y).predict(X)
        for model, y in models
        if asked == "configuration"
    ]
    how = "pandas" if asked == "configuration" else None
    with config_context(predict_output=how):
        found = [clone(model).fit(X, y).predict(X) for model, y in models]
        passed_on = [make_pipeline(inside), GridSearchCV(inside, {}, cv=2)]
        for model in passed_on:
            assert isinstance(model.fit(X, gene).predict(X), pd.Series)
    assert all(type(y_pred) is np.ndarray for y_pred in found)
    for one, other in zip(found, plain, strict=False):
        np.testing.assert_array_equal(one, other)


def test_a_series_keeps_a_whole_number_as_its_name(tmp_path):
    model = AdditiveRegressor().fit(X, Y["MYC"].rename(3)).set_output(predict="pandas")
    assert model.predict(X).name == 3
    sklperturb.save(model, tmp_path / "m.skpt")
    assert sklperturb.load(tmp_path / "m.skpt").predict(X).name == 3
