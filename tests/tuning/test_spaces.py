"""Every model has a reviewed space, and what is drawn from it can be fitted."""

import warnings

import numpy as np
import optuna
import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils import all_estimators as all_estimators_of_sklearn
from sklearn.utils._param_validation import validate_parameter_constraints

from sklperturb.model_selection import UnseenPairKFold
from sklperturb.models import list_models, make_model
from sklperturb.preprocessing import make_condition_encoder
from sklperturb.testing import all_estimators
from sklperturb.tuning import search_space
from sklperturb.tuning._space import SearchSpace
from sklperturb.tuning._space_table import SPACES

ENTRIES = list_models()
# All that is composed of others asks for the spaces of its parts.
COMPOSED = {"PerturbationSearchCV"}
# Registered models of which nothing is drawn.
EMPTY = {"no_change", "additive_combination", "best"}


# Lines whose default cannot be in the space: None, and zero on a logarithmic scale.
OUTSIDE = {
    "HistGradientBoostingRegressor": {"l2_regularization"},
    "PCA": {"n_components"},
}
# The least of what makes training long, in whatever has a parameter of that name.
SHORT = {
    "max_epochs": 1,
    "max_steps": 2,
    "cells_per_condition": 4,
    "n_solver_steps": 1,
    "mean_estimator": "shift",
}


def test_every_estimator_has_a_line():
    own = {name for name, _ in all_estimators()} - COMPOSED
    # Columns of the schema and the like are helpers without parameters to tune.
    assert not own - set(SPACES), "add them to SPACES in _space_table.py"


@pytest.mark.parametrize("name", SPACES)
def test_lines_name_parameters_and_hold_the_defaults_where_they_can(name):
    estimator = (dict(all_estimators()) | dict(all_estimators_of_sklearn()))[name]()
    space = SPACES[name]
    unknown = set(space) - set(estimator.get_params(deep=False))
    assert not unknown, f"{name} has no parameters {unknown}"
    if space:
        held = set(SearchSpace(space, estimator).current(estimator))
        assert set(space) - held == OUTSIDE.get(name, set())


@pytest.mark.parametrize("name", SPACES)
def test_limits_and_choices_are_allowed(name):
    estimator = (dict(all_estimators()) | dict(all_estimators_of_sklearn()))[name]()
    constraints = getattr(estimator, "_parameter_constraints", {})
    for parameter, drawn in SPACES[name].items():
        allowed = {parameter: constraints.get(parameter, "no_validation")}
        for value in getattr(drawn, "choices", None) or (drawn.low, drawn.high):
            validate_parameter_constraints(allowed, {parameter: value}, name)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_registered_models_fit_with_what_is_drawn(entry, screen):
    if not entry.available:
        pytest.skip(f"needs {entry.requires}")
    model = make_model(entry.name, schema=screen.schema, random_state=0)
    space = search_space(model)
    if not space:
        assert entry.name in EMPTY
        return
    assert set(space) <= set(model.get_params())
    short = {
        name: SHORT[name.split("__")[-1]]
        for name in model.get_params()
        if name.split("__")[-1] in SHORT
    }
    assert not set(short) & set(space)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(4):
        params = study.ask(space).params
        fitted = clone(model).set_params(**params, **short)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            warnings.filterwarnings("ignore", ".*too few cells", UserWarning)
            y_pred = fitted.fit(screen.X, screen.y).predict(screen.X_test)
        assert np.isfinite(y_pred).all(), params


def test_pipeline_has_the_spaces_of_its_encoders():
    pipeline = make_pipeline(make_condition_encoder(), Ridge())
    names = set(search_space(pipeline))
    assert "columntransformer__statistics__smooth" in names
    assert "ridge__alpha" in names
    latent = search_space(make_model("latent"))
    assert "regressor__encoder__statistics__n_components" in latent
    assert "transformer__n_components" in latent


def test_unknown_part_of_the_toolkit_says_where_to_add_it():
    class NewRegressor(BaseEstimator):
        pass

    assert search_space(NewRegressor()) == {}
    NewRegressor.__module__ = "sklperturb.baseline._new"
    with pytest.raises(ValueError, match=r"NewRegressor has no .*_space_table\.py"):
        search_space(NewRegressor())


@pytest.mark.parametrize("kind", [GridSearchCV, RandomizedSearchCV])
def test_names_serve_the_searches_of_scikit_learn(kind, screen):
    pipeline = make_pipeline(make_condition_encoder(n_components=4), Ridge())
    space = search_space(pipeline)
    grid = {
        "columntransformer__statistics__balance": list(
            space["columntransformer__statistics__balance"].choices
        ),
        "ridge__alpha": [space["ridge__alpha"].low, space["ridge__alpha"].high],
    }
    extra = {"n_iter": 2, "random_state": 0} if kind is RandomizedSearchCV else {}
    search = kind(pipeline, grid, cv=UnseenPairKFold(2, random_state=0), **extra)
    assert set(search.fit(screen.X, screen.y).best_params_) == set(grid)
