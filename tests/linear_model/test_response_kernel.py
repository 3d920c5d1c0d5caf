import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from sklperturb.linear_model import ProductKernelRidge, ResponseKernelRidge
from sklperturb.linear_model._variances import combined, likeliest_variances
from sklperturb.metrics import mrrmse


@pytest.fixture
def screen():
    """Perturbations of few kinds: those of one kind act alike in every context."""
    rng = np.random.default_rng(0)
    kinds = rng.integers(5, size=40)
    effects = rng.normal(size=(4, 5, 60)) + 2 * rng.normal(size=(5, 60))
    rows = [(c, p) for c in range(4) for p in range(40)]
    X = pd.DataFrame(rows, columns=["cell_type", "sm_name"]).astype(str)
    y = np.array([effects[c, kinds[p]] for c, p in rows])
    y += 0.7 * rng.normal(size=y.shape)
    asked = (X["cell_type"] == "3") & (np.arange(len(X)) % 40 >= 12)
    return X[~asked], y[~asked], X[asked], y[asked]


def test_what_acts_alike_elsewhere_acts_alike_here(screen):
    X, y, X_test, y_test = screen
    errors = [
        mrrmse(y_test, model.fit(X, y).predict(X_test))
        for model in (ResponseKernelRidge(), ProductKernelRidge())
    ]
    assert errors[0] < 0.9 * errors[1]


def test_own_response_is_not_in_the_similarity(screen):
    X, y, *_ = screen
    model = ResponseKernelRidge(scale_contexts=False).fit(X, y)
    codes = [codes[:1] for codes in model._train_codes]
    before = model._alike_elsewhere(*codes)[0]
    changed = y.copy()
    # Rows of one context have a common centre, so a pair of rows changes.
    changed[0] += 5 * y[1]
    changed[1] -= 5 * y[1]
    model = ResponseKernelRidge(scale_contexts=False).fit(X, changed)
    after = model._alike_elsewhere(*codes)[0]
    others = ~np.isin(model._train_codes[1], model._train_codes[1][:2])
    assert_allclose(after[others], before[others], atol=1e-9)
    assert before[0] == pytest.approx(1)


def test_variances_of_drawn_responses():
    rng = np.random.default_rng(1)
    codes = np.arange(120) % 12
    kernels = [(codes[:, None] == codes).astype(float), np.ones((120, 120))]
    root = np.linalg.cholesky(combined(kernels, [2.0, 0.5]) + 0.25 * np.eye(120))
    targets = root @ rng.normal(size=(120, 400))
    (first, second), noise, _ = likeliest_variances(kernels, targets)
    unit = np.mean(targets**2)
    assert_allclose(np.array([first, second, noise]) * unit, [2, 0.5, 0.25], rtol=0.1)


def test_levels_that_were_not_seen(screen):
    X, y, *_ = screen
    model = ResponseKernelRidge().fit(X, y)
    new = pd.DataFrame({"cell_type": ["0", "9", "9"], "sm_name": ["new", "0", "new"]})
    found = model.predict(new)
    assert np.isfinite(found).all()
    # In a known context, its effect; of a known perturbation, what it does elsewhere.
    of_context = y[(X["cell_type"] == "0").to_numpy()].mean(axis=0)
    assert np.corrcoef(found[0], of_context)[0, 1] > 0.9
    elsewhere = y[(X["sm_name"] == "0").to_numpy()].mean(axis=0)
    assert np.corrcoef(found[1], elsewhere)[0, 1] > 0.8


def test_one_context(screen):
    X, y, *_ = screen
    one = (X["cell_type"] == "0").to_numpy()
    model = ResponseKernelRidge().fit(X[["sm_name"]][one], y[one])
    assert model.variances_["any", "response"] == 0
    assert np.isfinite(model.predict(X[["sm_name"]])).all()


def test_zeros():
    X = pd.DataFrame({"cell_type": list("AABB"), "sm_name": list("uvuv")})
    assert (ResponseKernelRidge().fit(X, np.zeros((4, 3))).predict(X) == 0).all()


def test_rows_left_out_are_predicted_as_from_the_other_rows(screen):
    X, y, *_ = screen
    model = ResponseKernelRidge(scale_contexts=False).fit(X, y)
    context, perturbation = model._train_codes
    together = [np.flatnonzero(perturbation == p) for p in perturbation]
    kernel = model._kernel(context, perturbation)
    centred = y - y.mean(axis=0)
    alone = [np.array([row]) for row in range(len(y))]
    for rows_of in (alone, together):
        left_out, rows = model._left_out_together(rows_of), rows_of[0]
        others = np.setdiff1d(np.arange(len(y)), rows)
        penalised = kernel[np.ix_(others, others)] + model.alpha_ * np.eye(len(others))
        dual = np.linalg.solve(penalised, centred[others])
        expected = kernel[0, others] @ dual + y.mean(axis=0)
        predicted = model.reducer_.inverse_transform(left_out[0])
        assert_allclose(predicted, expected, atol=1e-8)
