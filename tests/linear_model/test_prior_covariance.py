"""What kernel models say of conditions that are not measured."""

import numpy as np
import pandas as pd
import pytest

from sklperturb import load, save
from sklperturb.datasets import make_chemical_screen
from sklperturb.linear_model import (
    GeneKnowledgeRidge,
    ProductKernelRidge,
    ResponseKernelRidge,
    TanimotoKernelRidge,
    TargetEncodedRidge,
)

MODELS = [
    ProductKernelRidge(),
    ResponseKernelRidge(),
    TanimotoKernelRidge(kind="maccs"),
    GeneKnowledgeRidge(),
]
IDS = [type(model).__name__ for model in MODELS]


@pytest.fixture(scope="module")
def screen():
    return make_chemical_screen(4, 12, 30, n_shared=6, random_state=0)


@pytest.fixture(scope="module")
def pool(screen):
    """Conditions, some of them of levels that training does not have."""
    pool = pd.concat([screen.X, screen.X_test, screen.X.head(4)], ignore_index=True)
    pool.loc[pool.index[-4:-2], "sm_name"] = "new"
    pool.loc[pool.index[-4:-2], "SMILES"] = None
    pool.loc[pool.index[-3:-1], "cell_type"] = "elsewhere"
    return pool


@pytest.fixture(scope="module", params=MODELS, ids=IDS)
def model(request, screen):
    return request.param.fit(screen.X, screen.y)


@pytest.mark.filterwarnings("ignore:There are no sources")
def test_it_is_a_covariance(model, screen, pool):
    covariance = model.prior_covariance(pool)
    np.testing.assert_allclose(covariance, covariance.T, atol=1e-10)
    values = np.linalg.eigvalsh(covariance)
    assert values[0] > -1e-9 * values[-1]
    noise = model.noise_variance(pool)
    assert noise.shape == (len(pool),) and (noise > 0).all()
    # It does not change with what else is asked, nor with the order.
    part = model.prior_covariance(pool.iloc[::-3], pool.iloc[5:9])
    np.testing.assert_allclose(part, covariance[::-3, 5:9], atol=1e-9)
    small = model.prior_covariance(pool, dtype=np.float32)
    assert small.dtype == np.float32
    np.testing.assert_allclose(small, covariance, rtol=1e-5, atol=1e-5)


def test_what_is_new_is_like_itself(model, pool):
    """One new name in a known context, twice, and in a new context."""
    new, elsewhere, known_elsewhere = len(pool) - 4, len(pool) - 3, len(pool) - 2
    covariance = model.prior_covariance(pool)
    assert covariance[new, new] > 0
    assert covariance[new, elsewhere] <= covariance[new, new] + 1e-9
    twice = model.prior_covariance(pool.iloc[[elsewhere, elsewhere]])
    np.testing.assert_allclose(twice, twice[0, 0])
    of_context = covariance[elsewhere, known_elsewhere]
    assert of_context <= covariance[known_elsewhere, known_elsewhere] + 1e-9


@pytest.mark.parametrize("estimator", MODELS[:2], ids=IDS[:2])
def test_its_posterior_mean_is_the_prediction(estimator, screen):
    estimator.fit(screen.X, screen.y)
    assert np.isfinite(estimator.alpha_)  # or else only the mean is predicted
    # Predictions know no doubt of contexts, nor what is usual.
    signal, noise, _ = estimator._prior_variances
    if isinstance(estimator, ResponseKernelRidge):
        estimator._prior_parts = estimator.variances_
        signal, noise = 1.0, estimator.alpha_
    estimator._prior_variances = signal, noise, 0.0
    within = estimator.prior_covariance(screen.X)
    within += np.diag(estimator.noise_variance(screen.X))
    between = estimator.prior_covariance(screen.X_test, screen.X)
    scales = dict(zip(estimator.contexts_, estimator.context_scales_, strict=True))
    known, asked = (
        X["cell_type"].map(scales).to_numpy(float)[:, None]
        for X in (screen.X, screen.X_test)
    )
    mean = estimator.reducer_.mean_
    deviation = between @ np.linalg.solve(within, screen.y - known * mean)
    expected = deviation + estimator.grand_mean_share_ * asked * mean
    np.testing.assert_allclose(estimator.predict(screen.X_test), expected, atol=1e-8)


def test_variances_are_learnt():
    rng = np.random.RandomState(0)
    names = [f"p{i}" for i in range(40)]
    X = pd.DataFrame(
        [(c, p) for c in "ABCD" for p in names], columns=["cell_type", "sm_name"]
    )
    effects = np.sqrt(2.0) * rng.normal(size=(40, 200))
    y = np.tile(effects, (4, 1)) + np.sqrt(0.5) * rng.normal(size=(160, 200))
    model = ResponseKernelRidge().fit(X, y)
    covariance = model.prior_covariance(X)
    assert covariance[0, 40] == pytest.approx(2.0, rel=0.25)
    assert abs(covariance[0, 1]) < 0.25
    total = np.diag(covariance) + model.noise_variance(X)
    np.testing.assert_allclose(total, 2.5, rtol=0.2)


def test_a_context_more_may_differ_from_the_only_one():
    rng = np.random.RandomState(0)
    X = pd.DataFrame({"cell_type": "A", "sm_name": [f"p{i}" for i in range(30)]})
    y = 2.0 + rng.normal(size=(30, 200))
    new = pd.DataFrame({"cell_type": list("BBC"), "sm_name": ["u", "v", "u"]})
    for model in (ProductKernelRidge(), ResponseKernelRidge()):
        covariance = model.fit(X, y).prior_covariance(new)
        # As much as all have in common: the square of the mean response.
        assert covariance[0, 1] == pytest.approx(4.0, rel=0.1)
        assert covariance[1, 2] < 1.0


def test_units_are_those_of_the_responses(screen):
    once = ProductKernelRidge().fit(screen.X, screen.y)
    ten = ProductKernelRidge().fit(screen.X, 10 * screen.y)
    np.testing.assert_allclose(
        ten.prior_covariance(screen.X), 100 * once.prior_covariance(screen.X)
    )
    np.testing.assert_allclose(
        ten.noise_variance(screen.X), 100 * once.noise_variance(screen.X)
    )


def test_a_model_that_keeps_to_the_mean_still_says_what_may_be():
    rng = np.random.RandomState(0)
    X = pd.DataFrame(
        [(c, f"p{i}") for c in "AB" for i in range(12)],
        columns=["cell_type", "sm_name"],
    )
    model = ResponseKernelRidge().fit(X, rng.normal(size=(24, 30)))
    assert np.isinf(model.alpha_)
    assert np.isfinite(model.prior_covariance(X)).all()
    assert (model.noise_variance(X) > 0).all()


def test_combinations_and_genes_never_perturbed():
    names = ["A", "B", "C", "A+B", "B+C", "D", "E", "F"]
    X = pd.DataFrame({"target_gene": names})
    rng = np.random.RandomState(0)
    table = pd.DataFrame(rng.normal(size=(10, 3)), index=list("ABCDEFGHIJ"))
    y = rng.normal(size=(8, 20))
    model = GeneKnowledgeRidge([table]).fit(X, y)
    asked = pd.DataFrame({"target_gene": ["G", "G+H", "I"]})
    covariance = model.prior_covariance(asked)
    assert (np.linalg.eigvalsh(covariance) > -1e-9).all()
    # What a combination shares with its part: never more than both have.
    limit = np.sqrt(covariance[0, 0] * covariance[1, 1])
    assert abs(covariance[0, 1]) <= limit + 1e-12


def test_it_is_kept_in_a_file(screen, tmp_path):
    model = ProductKernelRidge().fit(screen.X, screen.y)
    save(model, tmp_path / "model.skpt")
    again = load(tmp_path / "model.skpt")
    np.testing.assert_array_equal(
        again.prior_covariance(screen.X), model.prior_covariance(screen.X)
    )
    # As a file of an earlier version would be loaded.
    vars(again).update(type(model)._learnt_since)
    with pytest.raises(ValueError, match=r"earlier version.*Fit it again"):
        again.prior_covariance(screen.X)
    with pytest.raises(ValueError, match="earlier version"):
        again.noise_variance(screen.X)


def test_other_models_of_the_base_do_not_claim_it():
    assert not hasattr(TargetEncodedRidge(), "prior_covariance")
