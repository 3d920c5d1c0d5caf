"""Dropout of few random numbers does what that of torch does."""

import pytest
import torch
from torch import nn

from sklperturb.modules._layers import Dropout, encoder_layer


def kept(p, n=400_000, seed=0):
    torch.manual_seed(seed)
    return Dropout(p)(torch.ones(n))


@pytest.mark.parametrize("p", [0.05, 0.3, 0.5, 0.9])
def test_share_and_scale(p):
    found = kept(p)
    zero = (found == 0).double().mean().item()
    assert zero == pytest.approx(p, abs=5 * (p * (1 - p) / len(found)) ** 0.5)
    assert found.max().item() == pytest.approx(1 / (1 - p), rel=1e-4)
    assert len(found.unique()) == 2


def test_entries_that_share_a_number_are_independent():
    mask = (kept(0.5) == 0).double().reshape(-1, 8)
    correlation = torch.corrcoef(mask.T) - torch.eye(8)
    assert correlation.abs().max() < 5 / len(mask) ** 0.5


def test_seeds():
    assert torch.equal(kept(0.3), kept(0.3))
    assert not torch.equal(kept(0.3), kept(0.3, seed=1))


@pytest.mark.parametrize("shape", [(3,), (5, 7), (2, 3, 5), (0, 4)])
def test_gradients_pass_where_entries_do(shape):
    X = torch.randn(shape, requires_grad=True)
    dropped = Dropout(0.5)(X)
    assert dropped.shape == X.shape
    dropped.sum().backward()
    assert torch.equal(X.grad != 0, dropped != 0)


def test_ends():
    X = torch.ones(100)
    assert torch.equal(Dropout(0.0)(X), X)
    assert torch.equal(Dropout(1.0)(X), torch.zeros(100))
    assert torch.equal(Dropout(0.5).eval()(X), X)


@pytest.mark.parametrize("p", [-0.1, 1.5, float("nan")])
def test_shares_that_are_none(p):
    with pytest.raises(ValueError, match="p must be from 0 to 1"):
        Dropout(p)


def test_layers_have_it_and_predict_as_those_of_torch():
    layer = encoder_layer(8, 2, 16, 0.3)
    assert sum(isinstance(m, Dropout) for m in layer.modules()) == 3
    other = nn.TransformerEncoderLayer(8, 2, 16, 0.3, batch_first=True)
    other.load_state_dict(layer.state_dict())
    X = torch.randn(4, 3, 8)
    assert torch.equal(layer.eval()(X), other.eval()(X))
