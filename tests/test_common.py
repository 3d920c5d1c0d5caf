"""What every estimator and every public name of the toolkit has to do."""

import inspect
import tempfile

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklperturb.datasets import make_chemical_screen
from sklperturb.embedding import SECheckpoint, SEConfig
from sklperturb.metrics import neg_mrrmse_scorer
from sklperturb.model_selection import UnseenPairKFold
from sklperturb.models._best import BUDGETS
from sklperturb.preprocessing import TargetStatisticsEncoder, make_condition_encoder
from sklperturb.testing import (
    all_estimators,
    perturbation_checks,
    public_members,
    public_packages,
)


class SmallCheckpoint(SECheckpoint):
    """One without its path in its text: workers have to agree on the tests' names."""

    def __repr__(self):
        return "SmallCheckpoint()"


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
# What some estimators cannot do without, and have no default for.
_NAMES = ["Badrodolin", "Bapratinib", "Cerodolin", "Lokotinib", "Zesetinib"]
REQUIRED = {
    "GeneSetEncoder": {"gene_sets": {"s": _NAMES[:4], "t": _NAMES[2:]}},
    "LookupEmbedding": {"table": pd.DataFrame(np.eye(5), index=_NAMES)},
}
# A number to tune, by its name in a pipeline whose last step is "model".
TUNED = {
    "AdditiveRegressor": {"model__effects": ["means", "joint"]},
    "BestRegressor": {"model__budget": ["fast"]},
    "BlendRegressor": {"model__method": ["mrrmse", "greedy", "nnls"]},
    "BoostedTargetRegressor": {"model__n_components": [2, 4]},
    "ContextTransferRidge": {"model__kernel": ["linear", "rbf"]},
    "AdditiveCombinationRegressor": {"model__schema": [None]},
    "BilinearGeneRegressor": {"model__alpha": [0.1, 1.0]},
    "FlowMatchingRegressor": {"model__max_steps": [2, 5]},
    "GroupStatisticRegressor": {"model__statistic": ["mean", "median"]},
    "LatentTargetRegressor": {"model__check_inverse": [True, False]},
    "NearestCompoundRegressor": {"model__n_neighbors": [2, 5]},
    "KernelResidualRegressor": {"model__n_features": [2, 4]},
    "PseudoLabelRegressor": {"model__weight": [0.5, 1.0]},
    "RescaledRegressor": {"model__clip": [True, False]},
    "StretchedRegressor": {"model__stretch": [None]},
    "SeedEnsembleRegressor": {"model__aggregate": ["median", "mean"]},
    "SeenUnseenRegressor": {"model__schema": [None]},
    "PerturbationEffectRegressor": {"model__subtract_control": [True, False]},
    "ProductKernelRidge": {"model__context_kernel": ["learned", "identity"]},
    "TanimotoKernelRidge": {"model__leave_out": ["perturbation"]},
    "TargetEncodedRidge": {"model__n_statistics": [2, 4]},
}


def construct(kind):
    params = inspect.signature(kind).parameters
    cheap = {name: value for name, value in CHEAP.items() if name in params}
    return kind(**cheap, **REQUIRED.get(kind.__name__, {}))


def expected_failed_checks(estimator):
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


@pytest.fixture(autouse=True)
def few_seeds(monkeypatch):
    """Give `BestRegressor` fewer networks than its smallest budget."""
    monkeypatch.setitem(BUDGETS, "fast", ((1, 1, 1), (2, 1, 1), 2))


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


@pytest.mark.parametrize(("name", "kind"), all_estimators())
def test_estimators_are_documented(name, kind):
    text = inspect.getdoc(kind)
    sections = ["Attributes", "Examples"]
    parameters = kind().get_params()
    if parameters:
        sections.insert(0, "Parameters")
    places = [text.find(f"{title}\n{'-' * len(title)}\n") for title in sections]
    assert -1 not in places, f"{name} lacks one of {sections}"
    assert places == sorted(places)
    listed = {
        word
        for line in text[places[0] : places[-1]].splitlines()
        if " : " in line and not line.startswith(" ")
        for word in line.partition(" : ")[0].replace(" ", "").split(",")
    } | {
        word
        for line in text.splitlines()
        if not line.startswith(" ") and ", " in line
        for word in line.replace(" ", "").split(",")
    }
    assert set(parameters) <= listed, f"{set(parameters) - listed} are not described"
    for method in ("fit", "predict", "transform", "fit_transform"):
        if method in vars(kind):
            assert inspect.getdoc(vars(kind)[method]), f"{name}.{method}"


def pipeline_of(kind):
    model = construct(kind)
    encoder = "passthrough"
    if not get_tags(model).input_tags.categorical:
        encoder = make_condition_encoder(n_components=4)
    return Pipeline([("encoder", encoder), ("model", model)])


@pytest.mark.parametrize(("name", "kind"), all_estimators("regressor"))
def test_regressors_work_with_scikit_learn(name, kind, screen):
    pipeline = clone(pipeline_of(kind))
    cv = UnseenPairKFold(2, random_state=0)
    scores = cross_val_score(
        pipeline, screen.X, screen.y, cv=cv, scoring=neg_mrrmse_scorer
    )
    assert scores.shape == (2,)
    assert np.isfinite(scores).all()
    tuned = TUNED.get(name)
    if tuned is None and hasattr(pipeline["model"], "learning_rate"):
        tuned = {"model__learning_rate": [1e-3, 1e-2]}
    if tuned is None:
        assert not pipeline["model"].get_params(), f"name a parameter of {name} to tune"
        return
    search = GridSearchCV(
        pipeline, tuned, cv=cv, scoring=neg_mrrmse_scorer, error_score="raise"
    )
    search.fit(screen.X, screen.y)
    assert search.predict(screen.X_test).shape == screen.y_test.shape
    ((parameter, values),) = tuned.items()
    assert search.best_params_[parameter] in values
    assert not hasattr(clone(search), "best_estimator_")


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
