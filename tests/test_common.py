"""What every estimator and every public name of the toolkit has to do."""

import dataclasses
import inspect
import tempfile

import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from numpydoc.docscrape import NumpyDocString
from numpydoc.validate import validate
from packaging.version import Version
from sklearn.base import BaseEstimator, clone
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import parametrize_with_checks

import sklperturb
from sklperturb.baseline import GroupStatisticRegressor
from sklperturb.datasets import PerturbationSchema, make_chemical_screen
from sklperturb.embedding import SECheckpoint, SEConfig
from sklperturb.ensemble import Stretch
from sklperturb.metrics import neg_mrrmse_scorer
from sklperturb.model_selection import UnseenPairKFold
from sklperturb.preprocessing import (
    LookupEmbedding,
    TargetReducer,
    TargetStatisticsEncoder,
    make_condition_encoder,
)
from sklperturb.testing import (
    all_estimators,
    perturbation_checks,
    public_members,
    public_packages,
)
from sklperturb.tuning import PerturbationSearchCV

OLD_CHECKS = Version(sklearn.__version__) < Version("1.7.1")
# What numpydoc checks and is not asked for: more than a summary, an example and
# references in each method, and a sentence where name and type say all.
NOT_ASKED = {"ES01", "EX01", "SA01", "PR07", "PR08", "RT02", "RT03", "RT04"}


class SmallCheckpoint(SECheckpoint):
    """One without its path in its text: workers have to agree on the tests' names."""

    def __repr__(self):
        return "SmallCheckpoint()"

    def __reduce__(self):
        # Who unpickles it need not import this file.
        return SECheckpoint, (self.path,)


# Smaller than the defaults where training is long; what is checked is the contract.
# A pretrained model gets random weights, with the genes of the checks' screen.
FOLDER = tempfile.TemporaryDirectory()
CHEAP = {
    "max_epochs": 5,
    "max_steps": 5,
    "n_trials": 2,
    "checkpoint": SmallCheckpoint.create(
        f"{FOLDER.name}/small.ckpt",
        config=SEConfig(length=12),
        genes=list(make_chemical_screen(4, 20, 30, random_state=0).y),
        random_state=0,
    ),
}
# What some estimators cannot do without and have no default for, or a default that
# takes long.
NAMES = ["Badrodolin", "Bapratinib", "Cerodolin", "Lokotinib", "Zesetinib"]
TABLE = pd.DataFrame(np.eye(5), index=NAMES)
GIVEN = {
    "BestCellsRegressor": {"n_splits": 2},
    "BestRegressor": {"parts": ["context", "ridge"]},
    # The default is fitted within BestCellsRegressor, and where it is tuned.
    "FlowMatchingRegressor": {"mean_estimator": "shift"},
    "GeneKnowledgeRidge": {"max_iter": 10},
    "GeneSetEncoder": {"gene_sets": {"s": NAMES[:4], "t": NAMES[2:]}},
    "LookupEmbedding": {"table": TABLE},
    # 16 of the combinations to choose from, and not 540.
    "TanimotoKernelRidge": {
        "alphas": [0.1, 3],
        "powers": [1, 2],
        "context_shares": [0.1, 1],
        "mechanism_shares": [0, 0.5],
        "perturbation_shares": [0.1],
        "kind": ["morgan_counts", "maccs"],
    },
}
# One that takes the contexts for the perturbations.
BY_CONTEXT = PerturbationSchema(perturbation="cell_type", context=None)
# A parameter to tune with two values that predict differently, by its name in a
# pipeline whose last step is "model".
TUNED = {
    "AdditiveCombinationRegressor": {"model__schema": [None, BY_CONTEXT]},
    "AdditiveRegressor": {"model__effects": ["means", "joint"]},
    "BestCellsRegressor": {"model__schema": [None, BY_CONTEXT]},
    "BestRegressor": {"model__parts": [["ridge"], ["transfer", "context"]]},
    "BilinearGeneRegressor": {"model__embedding": [None, LookupEmbedding(TABLE)]},
    "BlendRegressor": {"model__method": ["mrrmse", "greedy", "nnls"]},
    "BoostedTargetRegressor": {"model__n_components": [2, 4]},
    "ConformalRegressor": {"model__estimator": [None, GroupStatisticRegressor()]},
    "ContextTransferRidge": {"model__kernel": ["linear", "rbf"]},
    "FlowMatchingRegressor": {"model__mean_estimator": ["auto", "none"]},
    "GeneKnowledgeRidge": {"model__scale_contexts": [True, False]},
    "GroupStatisticRegressor": {"model__statistic": ["mean", "median"]},
    "LatentTargetRegressor": {"model__transformer": [None, TargetReducer(1)]},
    "LongFormBoostingRegressor": {"model__min_conditions": [1, 60]},
    "NearestCompoundRegressor": {"model__n_neighbors": [2, 5]},
    "DisplacedControlsRegressor": {"model__subtract_control": [True, False]},
    "PerturbationEffectRegressor": {"model__subtract_control": [True, False]},
    "ProductKernelRidge": {"model__context_kernel": ["learned", "identity"]},
    "ResponseKernelRidge": {"model__scale_contexts": [True, False]},
    "PseudoLabelRegressor": {"model__estimator": [None, Ridge(100)]},
    "RescaledRegressor": {"model__clip": [True, False]},
    "ResidualRegressor": {"model__base": [None, GroupStatisticRegressor()]},
    "SeedEnsembleRegressor": {"model__aggregate": ["median", "mean"]},
    "SeenUnseenRegressor": {"model__seen": [None, GroupStatisticRegressor()]},
    "StretchedRegressor": {"model__stretch": [None, Stretch()]},
    "TanimotoKernelRidge": {"model__leave_out": ["auto", "perturbation", "row"]},
    "TargetEncodedRidge": {"model__smooth": [0.1, 100.0]},
    "WeightedErrorRegressor": {"model__estimator": [None, Ridge(100)]},
}


def construct(kind):
    params = inspect.signature(kind).parameters
    cheap = {name: value for name, value in CHEAP.items() if name in params}
    return kind(**cheap, **GIVEN.get(kind.__name__, {}))


def expected_failed_checks(estimator):
    """Return what older releases of scikit-learn check in a way that cannot pass."""
    tags = get_tags(estimator).input_tags
    if OLD_CHECKS and tags.categorical and not tags.allow_nan:
        return {"check_positive_only_tag_during_fit": "takes a mean off integers"}
    return {}


# What takes an AnnData or counts only has tests of its own.
ESTIMATORS = [
    construct(kind)
    for name, kind in all_estimators()
    if name
    not in ("CellScreenModel", "CountSpace", "DifferentialSignatures", "Pseudobulk")
]
OWN_CHECKS = [
    pytest.param(check, id=f"{type(estimator).__name__}-{name}")
    for estimator in [*ESTIMATORS, make_condition_encoder(n_components=4)]
    for name, check in perturbation_checks(estimator)
]
PUBLIC = [
    pytest.param(member, id=f"{package.__name__}.{name}")
    for package in public_packages()
    for name, member in public_members(package)
    if inspect.isclass(member) or inspect.isfunction(member)
]


@parametrize_with_checks(ESTIMATORS, expected_failed_checks=expected_failed_checks)
def test_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.parametrize("check", OWN_CHECKS)
def test_perturbation(check):
    check()


@pytest.mark.parametrize("member", PUBLIC)
def test_public_names_have_an_example(member):
    text = inspect.getdoc(member)
    assert text
    assert "Examples\n--------\n" in text
    assert ">>> " in text


@pytest.mark.parametrize("member", PUBLIC)
def test_docstrings_follow_numpydoc(member):
    name = f"{member.__module__}.{member.__qualname__}"
    errors = dict(validate(name)["errors"])
    if inspect.isclass(member):
        doc = NumpyDocString(inspect.getdoc(member))
        attributes = {n for entry in doc["Attributes"] for n in entry[0].split(", ")}
        if issubclass(member, BaseEstimator):
            assert attributes, f"{name} does not list what it learns"
        if dataclasses.is_dataclass(member) or issubclass(member, tuple):
            # What it is built from is what it holds, and is described once.
            if attributes >= set(inspect.signature(member).parameters):
                errors.pop("PR01", None)
        if not issubclass(member, torch.nn.Module):  # called, and typed
            for method, value in vars(member).items():
                if not method.startswith("_") and inspect.isroutine(value):
                    found = validate(f"{name}.{method}")["errors"]
                    errors |= {code: f"{method}: {text}" for code, text in found}
    wrong = {code: text for code, text in errors.items() if code not in NOT_ASKED}
    assert not wrong


def pipeline_of(kind):
    model = construct(kind)
    encoder = "passthrough"
    if not get_tags(model).input_tags.categorical:
        encoder = make_condition_encoder(n_components=4)
    return Pipeline([("encoder", encoder), ("model", model)])


@pytest.mark.parametrize(("name", "kind"), all_estimators("regressor"))
def test_regressors_work_with_scikit_learn(name, kind, screen):
    pipeline = pipeline_of(kind)
    seeds = [key for key in pipeline.get_params() if key.endswith("random_state")]
    pipeline.set_params(**dict.fromkeys(seeds, 0))
    cv = UnseenPairKFold(2, random_state=0)
    tuned = TUNED.get(name)
    if tuned is None and hasattr(pipeline["model"], "learning_rate"):
        tuned = {"model__learning_rate": [1e-3, 1e-2]}
    if tuned is None:  # the search below does the same, for each of the values
        scores = cross_val_score(
            pipeline, screen.X, screen.y, cv=cv, scoring=neg_mrrmse_scorer
        )
        assert scores.shape == (2,)
        assert np.isfinite(scores).all()
        assert not pipeline["model"].get_params(), f"name a parameter of {name} to tune"
        return
    search = GridSearchCV(
        pipeline, tuned, cv=cv, scoring=neg_mrrmse_scorer, error_score="raise"
    )
    search.fit(screen.X, screen.y)
    scores = search.cv_results_["mean_test_score"]
    assert np.isfinite(scores).all() and search.n_splits_ == 2
    assert len(set(scores)) == len(scores) > 1, f"no choice between {scores}"
    ((parameter, values),) = tuned.items()
    best = search.best_estimator_.get_params()[parameter]
    assert repr(best) == repr(values[np.argmax(scores)])
    assert search.predict(screen.X_test).shape == screen.y_test.shape
    assert not hasattr(clone(search), "best_estimator_")


@pytest.mark.parametrize(
    ("name", "kind"),
    [*all_estimators("regressor"), ("PerturbationSearchCV", PerturbationSearchCV)],
)
def test_predictions_are_frames_where_asked_for(name, kind, screen, tmp_path):
    model = construct(kind)
    seeds = [key for key in model.get_params() if key.endswith("random_state")]
    model.set_params(**dict.fromkeys(seeds, 0))
    X, asked, y = screen.X, screen.X_test, screen.y
    if not get_tags(model).input_tags.categorical:
        encoder = make_condition_encoder(n_components=4).set_output(transform="pandas")
        X, asked = encoder.fit_transform(X, y), encoder.transform(asked)
    assert clone(model).set_output(predict="pandas") is not None
    expected = model.fit(X, y).predict(asked)
    assert type(expected) is np.ndarray
    with sklperturb.config_context(predict_output="pandas"):
        frame = model.predict(asked)
    assert frame.index.equals(asked.index)
    assert frame.columns.equals(y.columns)
    assert set(frame.dtypes) == {expected.dtype}
    np.testing.assert_array_equal(frame, expected)
    assert type(model.predict(asked)) is np.ndarray
    # Names and what was asked for are in a file; a clone knows the latter only.
    sklperturb.save(model.set_output(predict="like_y"), tmp_path / "model.skpt")
    again = sklperturb.load(tmp_path / "model.skpt")
    pd.testing.assert_frame_equal(again.predict(asked), frame)
    copied = clone(again)
    assert not hasattr(copied, "_target_names")
    copied.fit(X, y.iloc[:, 0].to_numpy())
    assert type(copied.predict(asked)) is np.ndarray
    assert copied.set_output(predict="pandas").predict(asked).name is None


def test_encoder_gives_pandas_inside_a_pipeline(screen):
    pipeline = make_pipeline(make_condition_encoder(n_components=2), Ridge())
    pipeline.set_output(transform="pandas").fit(screen.X, screen.y)
    names = pipeline[-1].feature_names_in_
    assert "statistics__sm_name_mean_component0" in names
    assert "onehot__cell_type_B cells" in names
    encoded = pipeline[:-1].transform(screen.X_test)
    assert isinstance(encoded, pd.DataFrame)
    assert list(encoded.columns) == list(names)
    assert list(encoded.index) == list(screen.X_test.index)


def test_groups_reach_the_encoder_in_a_pipeline(screen):
    X, y = screen.X, screen.y
    groups = pd.factorize(X["sm_name"])[0]
    by_group = TargetStatisticsEncoder(n_components=2, cv=GroupKFold(3))
    splits = list(GroupKFold(3).split(X, y, groups))
    encoded = clone(by_group).set_params(cv=splits).fit_transform(X, y)
    expected = Ridge().fit(encoded, y).coef_
    with sklearn.config_context(enable_metadata_routing=True):
        pipeline = make_pipeline(by_group, Ridge()).fit(X, y, groups=groups)
    np.testing.assert_allclose(pipeline[-1].coef_, expected)
    # Compounds of a fold are never seen outside it: all get one encoding.
    assert np.ptp(encoded[:, 4:6], axis=0).max() < 1e-5
    usual = clone(by_group).set_params(cv=3).fit_transform(X, y)
    assert np.ptp(usual[:, 4:6], axis=0).min() > 0.1
