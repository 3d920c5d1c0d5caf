"""Kernel ridge on contexts times perturbations."""

import numpy as np
import pandas as pd
import pytest

from sklperturb.baseline import AdditiveRegressor, NoChangeRegressor
from sklperturb.conditions._statistics import share_of_centre
from sklperturb.datasets import PerturbationSchema
from sklperturb.linear_model import ProductKernelRidge
from sklperturb.metrics import mrrmse


def make_strengths(seed):
    """Contexts that answer alike but more or less strongly; a quarter held out."""
    rng = np.random.default_rng(seed)
    context, compound = np.divmod(np.arange(5 * 40), 40)
    strength = np.array([0.3, 0.6, 1.0, 1.5, 2.0])
    effect = rng.normal(size=(40, 60))
    truth = strength[context][:, None] * effect[compound]
    y = truth + 0.5 * rng.normal(size=truth.shape)
    X = pd.DataFrame(
        {"cell_type": context.astype(str), "sm_name": compound.astype(str)}
    )
    held_out = rng.random(len(X)) < 0.25
    return X[~held_out], y[~held_out], X[held_out], truth[held_out]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_better_than_additive_where_contexts_differ_in_strength(seed):
    X, y, X_new, truth = make_strengths(seed)
    errors = {
        name: mrrmse(truth, model.fit(X, y).predict(X_new))
        for name, model in {
            "product": ProductKernelRidge(),
            "means": AdditiveRegressor(),
            "joint": AdditiveRegressor("joint"),
            "none": NoChangeRegressor(),
        }.items()
    }
    others = min(errors["means"], errors["joint"], errors["none"])
    assert errors["product"] < 0.9 * others


def test_prediction_is_kernel_times_dual_coefficients():
    X, y, X_new, _ = make_strengths(0)
    model = ProductKernelRidge(
        [0.3], context_shares=[0.2], perturbation_shares=[0.1], scale_contexts=False
    )
    model.fit(X, y)
    assert (model.alpha_, model.context_share_) == (0.3, 0.2)
    assert model.perturbation_share_ == 0.1

    def kernel(left):
        same = left["sm_name"].to_numpy()[:, None] == X["sm_name"].to_numpy()
        rows, columns = (
            np.searchsorted(model.contexts_, table["cell_type"]) for table in (left, X)
        )
        similarity = model.context_similarity_[np.ix_(rows, columns)]
        return (0.2 + similarity) * (0.1 + same)

    centred = y - y.mean(axis=0)
    dual_coef = np.linalg.solve(kernel(X) + 0.3 * np.eye(len(X)), centred)
    expected = kernel(X_new) @ dual_coef + model.grand_mean_share_ * y.mean(axis=0)
    np.testing.assert_allclose(model.predict(X_new), expected, atol=1e-8)


def test_identity_kernel_and_fewer_components():
    X, y, X_new, _ = make_strengths(0)
    model = ProductKernelRidge(context_kernel="identity", n_components=4).fit(X, y)
    np.testing.assert_array_equal(model.context_similarity_, np.eye(5))
    assert model.dual_coef_.shape == (len(X), 4)
    assert np.linalg.matrix_rank(model.predict(X_new)) <= 5


def test_condition_of_unseen_levels_is_a_share_of_the_mean():
    X, y, *_ = make_strengths(0)
    model = ProductKernelRidge(perturbation_shares=[0], scale_contexts=False).fit(X, y)
    new = X[:1].assign(cell_type="new", sm_name="new")
    code, levels = pd.factorize(X["cell_type"])
    share = share_of_centre(code, len(levels), y)
    np.testing.assert_allclose(model.predict(new)[0], share * y.mean(axis=0))


def test_without_a_context_column(screen):
    model = ProductKernelRidge().fit(screen.X[["sm_name"]], screen.y)
    assert model.context_similarity_.shape == (1, 1)
    y_pred = model.predict(screen.X_test[["sm_name"]])
    assert y_pred.shape == screen.y_test.shape
    schema = PerturbationSchema(perturbation="sm_name")
    named = ProductKernelRidge(schema=schema).fit(screen.X, screen.y)
    np.testing.assert_allclose(named.predict(screen.X_test), y_pred)


@pytest.mark.parametrize(
    ("params", "match"),
    [
        (
            {"context_kernel": "rbf"},
            r"'context_kernel' .* Got 'rbf'",
        ),
        ({"alphas": []}, "alphas.*must be a non-empty list"),
        ({"alphas": [1, 0]}, r"alphas.*non-empty list.*Got \[1, 0\]"),
        ({"context_shares": []}, "context_shares.*must be a non-empty list"),
        ({"context_shares": [-1]}, r"context_shares.*non-empty list.*Got \[-1\]"),
        ({"perturbation_shares": ()}, r"perturbation_shares.*non-empty list"),
        ({"n_components": 0}, r"'n_components' .* Got 0"),
    ],
)
def test_parameters_out_of_range(params, match, screen):
    with pytest.raises(ValueError, match=match):
        ProductKernelRidge(**params).fit(screen.X, screen.y)
