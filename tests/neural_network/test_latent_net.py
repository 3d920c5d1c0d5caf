import numpy as np
import pytest
import torch

from sklperturb.compose import LatentTargetRegressor
from sklperturb.modules import LatentNet
from sklperturb.modules._layers import Dropout
from sklperturb.neural_network import AutoencoderTransformer, LatentNetRegressor


def toy(n_rows=200, seed=1):
    """Return conditions and responses that are products of two of their features."""
    X = np.random.default_rng(seed).normal(size=(n_rows, 4))
    signals = np.stack([X[:, 0] * X[:, 1], np.abs(X[:, 2])], axis=1)
    return X, signals @ np.random.default_rng(0).normal(size=(2, 25)) + 2.0


def test_learns_what_a_line_cannot():
    (X, y), (X_test, y_test) = toy(400), toy(100, seed=2)
    model = LatentNetRegressor(
        64, dropout=0.0, learning_rate=0.005, max_epochs=80, random_state=0
    )
    assert model.fit(X, y).score(X_test, y_test) > 0.7


def test_with_an_autoencoder():
    (X, y), (X_test, y_test) = toy(400), toy(100, seed=2)
    model = LatentTargetRegressor(
        LatentNetRegressor(
            64, dropout=0.0, learning_rate=0.005, max_epochs=60, random_state=0
        ),
        AutoencoderTransformer(
            2, dropout=0.0, learning_rate=0.01, max_epochs=60, random_state=0
        ),
    )
    assert model.fit(X, y).score(X_test, y_test) > 0.6


def test_rows_never_see_one_another():
    module = LatentNet(6, 3).eval()
    X = torch.randn(10, 6, requires_grad=True)
    (gradient,) = torch.autograd.grad(module(X)[4].sum(), X)
    assert gradient[4].abs().sum() > 0
    gradient[4] = 0
    assert not gradient.any()


def test_tokens_of_a_row_see_one_another():
    """With one token for each row, as published, attention has nothing to weigh."""
    module = LatentNet(6, 3, n_tokens=4).eval()
    tokens = torch.randn(1, 4, 64, requires_grad=True)
    (gradient,) = torch.autograd.grad(module.encoder(tokens)[0, 0].sum(), tokens)
    assert (gradient[0].abs().sum(dim=1) > 0).all()


def test_widths_that_do_not_divide_are_refused():
    X, y = toy(20)
    with pytest.raises(ValueError, match="hidden_dim=100 is not a multiple"):
        LatentNetRegressor(100).fit(X, y)


def test_parameters_reach_the_module():
    X, y = toy(20)
    model = LatentNetRegressor(
        32, n_blocks=3, n_tokens=2, n_heads=2, dropout=0.1, max_epochs=1
    ).fit(X, y)
    module = model.net_.module_
    assert [layer.out_features for layer in module.blocks[::3]] == [32, 32, 32]
    assert module.n_tokens == 2
    assert module.encoder.self_attn.num_heads == 2
    assert module.encoder.self_attn.embed_dim == 16
    assert {m.p for m in module.modules() if isinstance(m, Dropout)} == {0.1}
    assert module.encoder.self_attn.dropout == 0.1
