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

from sklperturb.model_selection import UnseenPairKFold
from sklperturb.models import list_models, make_model
from sklperturb.preprocessing import make_condition_encoder
from sklperturb.testing import all_estimators
from sklperturb.tuning import search_space
from sklperturb.tuning._space_table import SPACES

ENTRIES = list_models()
# All that is composed of others asks for the spaces of its parts.
COMPOSED = {"PerturbationSearchCV"}


def test_every_estimator_has_a_line():
    own = {name for name, _ in all_estimators()} - COMPOSED
    # Columns of the schema and the like are helpers without parameters to tune.
    assert not own - set(SPACES), "add them to SPACES in _space_table.py"


@pytest.mark.parametrize(("name", "kind"), all_estimators())
def test_lines_name_parameters_and_hold_the_defaults_where_they_can(name, kind):
    params = kind().get_params(deep=False)
    unknown = set(SPACES.get(name, {})) - set(params)
    assert not unknown, f"{name} has no parameters {unknown}"


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_registered_models_fit_with_what_is_drawn(entry, screen):
    if not entry.available:
        pytest.skip(f"needs {entry.requires}")
    if not entry.fits(screen.schema):
        pytest.skip(f"needs a column for the {entry.role}")
    model = make_model(entry.name, schema=screen.schema, random_state=0)
    space = search_space(model)
    assert set(space) <= set(model.get_params())
    short = {
        name: 1 for name in model.get_params() if name.split("__")[-1] == "max_epochs"
    }
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(4 if space else 1):
        params = study.ask(space).params
        fitted = clone(model).set_params(**params, **short)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
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
