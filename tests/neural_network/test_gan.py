import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from sklperturb.modules import ConditionalCritic, gradient_norms
from sklperturb.neural_network import ConditionalGANRegressor


def bimodal(n_rows=500, seed=0):
    """Return x, and responses at x - 1 or x + 1 with equal chance."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, size=(n_rows, 1))
    side = rng.choice([-1.0, 1.0], size=n_rows)
    return x, x[:, 0] + side + 0.1 * rng.standard_normal(n_rows)


@pytest.fixture(scope="module")
def fitted():
    model = ConditionalGANRegressor(
        64,
        n_noise=4,
        weight_decay=0.0,
        batch_size=100,
        max_epochs=150,
        random_state=0,
    )
    return model.fit(*bimodal())


def test_learns_both_modes(fitted):
    x = np.linspace(-0.8, 0.8, 9)[:, None]
    draws = fitted.sample(x, 300, random_state=0)
    assert draws.shape == (9, 300)
    deviation = draws - x
    assert 0.7 < deviation.std() < 1.3  # the truth is 1.005
    for side in (-1, 1):
        assert 0.25 < (np.abs(deviation - side) < 0.5).mean() < 0.65
    # One wide peak of the same spread has 0.23 of its draws in the gap.
    assert (np.abs(deviation) < 0.3).mean() < 0.15


def test_predicts_the_mean(fitted):
    x = np.linspace(-0.8, 0.8, 9)[:, None]
    y_pred = fitted.predict(x)
    assert y_pred.shape == (9,)
    assert np.sqrt(np.mean((y_pred - x[:, 0]) ** 2)) < 0.35
    assert np.corrcoef(y_pred, x[:, 0])[0, 1] > 0.9


@pytest.mark.parametrize(
    ("lambda_gp", "least", "most"),
    [(0.0, 4.0, np.inf), (0.3, 1.0, 2.0), (10, 0.8, 1.2)],
)
def test_the_gradient_penalty_is_in_use(lambda_gp, least, most):
    model = ConditionalGANRegressor(
        32,
        lambda_gp=lambda_gp,
        learning_rate=0.005,
        weight_decay=0.0,
        max_epochs=40,
        random_state=0,
    ).fit(*bimodal(200))
    norms = [epoch["gradient_norm"] for epoch in model.net_.history[-10:]]
    assert least < np.mean(norms) < most


def test_gradient_norms():
    X, real, fake = torch.randn(3, 4, 2)
    slope = torch.tensor([3.0, 4.0])
    norms = gradient_norms(lambda X, y: y @ slope + X.sum(dim=1), X, real, fake)
    assert_allclose(norms.detach(), 5.0, rtol=1e-6)
    critic = ConditionalCritic(2, 2)
    gradient_norms(critic, X, real, fake).sum().backward()
    assert critic.layers[0].weight.grad.abs().sum() > 0


def test_beats_the_mean_of_many_genes():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 5))
    y = np.tanh(X[:, :3]) @ rng.normal(size=(3, 60)) + 0.3 * rng.normal(size=(300, 60))
    model = ConditionalGANRegressor(target_components=5, random_state=0)
    model.fit(X[:200], y[:200])
    assert model.score(X[200:], y[200:]) > 0.3
    assert model.sample(X[:7], 3).shape == (7, 3, 60)
    assert model.reducer_.n_components_ == 5


def test_reconstruction_does_not_shrink_the_spread():
    """Without a critic the term about the mean says nothing about the spread."""
    x, y = bimodal(200)
    spreads = []
    for weight in (1.0, 30.0):
        model = ConditionalGANRegressor(
            64, n_noise=2, reconstruction_weight=weight, random_state=0
        ).fit(x, y)
        spreads.append((model.sample(x[:50], 100, random_state=0) - x[:50]).std())
    assert min(spreads) > 0.4


def test_prediction_is_the_mean_of_fixed_draws(fitted):
    x = bimodal(300)[0]
    y_pred = fitted.predict(x)
    assert np.array_equal(y_pred, fitted.predict(x))
    assert_allclose(y_pred[200:], fitted.predict(x[200:]), rtol=1e-12)
    many = fitted.sample(x[:5], 4000, random_state=0)
    assert np.abs(many.mean(axis=1) - y_pred[:5]).max() < 0.6


def test_sample_is_seeded_and_each_row_has_its_own_noise(fitted):
    x = np.zeros((4, 1))
    draws = fitted.sample(x, 5, random_state=3)
    assert np.array_equal(draws, fitted.sample(x, 5, random_state=3))
    assert not np.array_equal(draws, fitted.sample(x, 5, random_state=4))
    assert not np.array_equal(fitted.sample(x, 5), fitted.sample(x, 5))
    assert len(np.unique(draws)) == draws.size
    state = np.random.get_state()[1].copy(), torch.get_rng_state()
    fitted.sample(x, 2, random_state=0)
    assert np.array_equal(state[0], np.random.get_state()[1])
    assert torch.equal(state[1], torch.get_rng_state())
    with pytest.raises(ValueError, match=r"'n_draws' .* Got 0"):
        fitted.sample(x, 0)


def test_early_stopping_restores_the_best_generator():
    x, y = bimodal(100)
    model = ConditionalGANRegressor(
        32, patience=5, max_epochs=200, learning_rate=0.01, random_state=0
    ).fit(x, y)
    errors = [epoch["rmse"] for epoch in model.net_.history]
    assert len(errors) < 200
    assert errors[-1] > min(errors) == errors[-6]
    torch.manual_seed(model.net_.seed)
    restored = ConditionalGANRegressor(
        32,
        patience=5,
        max_epochs=len(errors) - 5,
        learning_rate=0.01,
        random_state=0,
    ).fit(x, y)
    assert_allclose(restored.predict(x), model.predict(x))
