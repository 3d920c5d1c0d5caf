"""The recurrent and convolutional networks."""

import numpy as np
import pytest
import torch

from sklperturb.modules import SequenceNet
from sklperturb.neural_network import SequenceNetRegressor

ARCHITECTURES = ["lstm", "gru", "conv"]


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 10))
    return X, X @ rng.normal(size=(10, 4)) + 0.1 * rng.normal(size=(120, 4))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_learns(data, architecture):
    X, y = data
    model = SequenceNetRegressor(
        architecture, hidden_dim=32, max_epochs=60, learning_rate=3e-3, random_state=0
    )
    assert model.fit(X[:90], y[:90]).score(X[90:], y[90:]) > 0.5


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("n_features", [1, 2, 3, 7, 12, 50])
def test_any_number_of_features_is_read_whole(architecture, n_features):
    torch.manual_seed(0)
    module = SequenceNet(
        n_features, 3, architecture=architecture, hidden_dim=4, head_dim=8
    ).eval()
    X = torch.randn(2, n_features, requires_grad=True)
    reading = module.reader(X)
    assert reading.shape == (2, module.reader.n_outputs)
    assert module(X).shape == (2, 3)
    reading.square().sum().backward()
    assert (X.grad != 0).all(), "a feature has no effect"


@pytest.mark.parametrize("architecture", ["lstm", "gru"])
def test_features_are_folded_into_a_near_square(architecture):
    torch.manual_seed(0)
    module = SequenceNet(10, 3, architecture=architecture, hidden_dim=4)
    reader = module.reader
    assert (reader.n_steps, reader.width, reader.padding) == (3, 4, 2)
    X = torch.randn(2, 10)
    reader.eval()
    read = reader(X)
    folded = torch.cat([X, torch.zeros(2, 2)], dim=1).reshape(2, 3, 4)
    outputs, state = reader.layers(folded)
    final = state[0] if architecture == "lstm" else state
    np.testing.assert_array_equal(
        read.detach(), torch.cat([outputs.flatten(1), *final], dim=1).detach()
    )
    # The last step of the last layer is its final state.
    assert torch.equal(read[:, 8:12], read[:, -4:])


@pytest.mark.parametrize("loss", ["mixed", "mae", "mse", "huber", "mrrmse"])
def test_losses(data, loss):
    X, y = data
    model = SequenceNetRegressor("conv", loss=loss, max_epochs=8, random_state=0)
    losses = model.fit(X, y).net_.history[:, "train_loss"]
    assert losses[-1] < losses[0]


def test_unknown_choices_are_refused(data):
    X, y = data
    for params in ({"architecture": "rnn"}, {"loss": "hinge"}, {"gradient_clip": 0}):
        with pytest.raises(ValueError, match=next(iter(params))):
            SequenceNetRegressor(**params).fit(X, y)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_same_seed_same_bits(data, architecture):
    X, y = data
    state = torch.get_rng_state()
    first, again = (
        SequenceNetRegressor(architecture, hidden_dim=8, max_epochs=2, random_state=3)
        .fit(X, y)
        .predict(X)
        for _ in range(2)
    )
    np.testing.assert_array_equal(first, again)
    assert torch.equal(torch.get_rng_state(), state)
