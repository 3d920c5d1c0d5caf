"""The recommended recipe: what its weights are learnt on, and its budget."""

import numpy as np
import pytest

from sklperturb.datasets import make_chemical_screen
from sklperturb.models import BestRegressor
from sklperturb.models._trials import trial_folds


def test_weights_are_learnt_on_the_contexts_that_are_left_to_predict(screen):
    larger = make_chemical_screen(4, 60, 5, n_shared=12, random_state=0)
    X, schema = larger.X, larger.schema
    model = BestRegressor(schema=schema)
    model._start_fit(X, larger.y)
    targets = sorted(set(larger.X_test["cell_type"]))
    assert model._target_contexts(X, None) == targets
    assert model._target_contexts(X, larger.X_test) == targets
    assert model._target_contexts(X, X) == sorted(set(X["cell_type"]))
    alike = np.ones(larger.y.shape)
    cv = trial_folds(X, alike, schema, targets, 3, 0)
    assert cv.contexts == targets
    compounds = X["sm_name"].to_numpy()
    for train, test in cv.split(X):
        assert set(X["cell_type"].iloc[test]) <= set(targets)
        assert set(compounds[test]) <= set(compounds[train])
    # Too few pairs in the targets: all contexts have a say; too few at all: none.
    few = trial_folds(screen.X, screen.y, screen.schema, targets, 3, 0)
    assert few.contexts is None
    assert trial_folds(X.iloc[:3], alike[:3], schema, targets, 3, 0) is None


@pytest.mark.parametrize("factor", [0.2, 5.0])
def test_weights_are_learnt_elsewhere_if_the_measured_pairs_are_special(factor):
    screen = make_chemical_screen(4, 60, 5, n_shared=12, random_state=0)
    X, schema = screen.X, screen.schema
    compounds, contexts = X["sm_name"].to_numpy(), X["cell_type"].to_numpy()
    targets = sorted(set(screen.X_test["cell_type"]))
    special = set(compounds[np.isin(contexts, targets)])
    y = np.where(np.isin(compounds, list(special)), factor, 1.0)
    folds = trial_folds(X, y, schema, targets, 3, 0)
    assert folds
    for train, test in folds:
        (context,) = set(contexts[test])
        assert context not in targets
        # What is left of the context is what the targets have, as in the task ahead.
        assert set(compounds[train][contexts[train] == context]) <= special
        assert not special & set(compounds[test])
        assert set(compounds[test]) <= set(compounds[train])
        assert sorted([*train, *test]) == list(range(len(X)))


def test_a_tuple_sets_the_numbers_of_seeds(screen):
    model = BestRegressor(((1, 0, 1), (2, 0, 1), 2), random_state=0)
    model.fit(screen.X, screen.y)
    # Networks without a seed are left out, and the weights are those of the others.
    assert list(model.weights_) == ["kernel", "transfer", "network", "residual"]
    parts = dict(model.model_.seen.estimator.estimators)
    assert parts["network"].estimator.regressor.n_seeds == 2
    assert parts["residual"].estimator.regressor.regressor.n_seeds == 1
    without = BestRegressor(((0, 0, 0), (0, 0, 0), 2)).fit(screen.X, screen.y)
    assert list(without.weights_) == ["kernel", "transfer"]


def test_processes_share_the_work_and_do_not_change_it(screen):
    budget = ((2, 0, 1), (2, 0, 1), 2)
    alone, shared = (
        BestRegressor(budget, n_jobs=n_jobs, random_state=0).fit(screen.X, screen.y)
        for n_jobs in (1, 2)
    )
    np.testing.assert_allclose(
        shared.predict(screen.X_test), alone.predict(screen.X_test), atol=1e-3
    )


@pytest.mark.parametrize(
    "budget",
    [
        "huge",
        None,
        ((1, 1), (1, 1), 2),
        ((1, 1, 1), (1, 1, 1)),
        ((1, 1, 1), (1, 1, 1), 1),
        ((1, 0, 1), (1, 1, 1), 2),
        ((1, 1, -1), (1, 1, -1), 2),
        ((1, 1, 0.5), (1, 1, 0.5), 2),
    ],
)
def test_a_budget_that_is_none_is_refused(screen, budget):
    message = r"is not allowed; pass one of \['fast', 'thorough'\], or a tuple"
    with pytest.raises(ValueError, match=message):
        BestRegressor(budget).fit(screen.X, screen.y)
