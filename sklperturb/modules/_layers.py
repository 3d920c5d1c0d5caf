"""Layers that several modules are built of."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import nn

_PARTS = 4  # of 16 bits in a random number of 64
_LEVELS = 2**16


class Dropout(nn.Module):
    """Set entries to zero at random during training, and scale the others up.

    On a CPU, drawing is most of what `torch.nn.Dropout` takes: a random number for each
    entry. Here four entries share one of 64 bits, with `p` rounded to 1 / 65,536.

    Parameters
    ----------
    p : float
        Share of the entries that are set to zero.

    Examples
    --------
    >>> import torch
    >>> from sklperturb.modules._layers import Dropout
    >>> dropped = Dropout(0.5)(torch.ones(1000))
    >>> sorted(set(dropped.tolist()))
    [0.0, 2.0]
    """

    def __init__(self, p: float):
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"p must be from 0 to 1, got {p}.")
        self.p = p

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        dropped = round(self.p * _LEVELS)
        if not self.training or not dropped:
            return X
        if X.device.type != "cpu" or dropped == _LEVELS:
            return nn.functional.dropout(X, self.p)
        numbers = X.new_empty(-(-X.numel() // _PARTS), dtype=torch.int64)
        # From the least to the greatest: all 64 bits are random.
        numbers.random_(-(2**63), None)
        parts = numbers.view(torch.int16)[: X.numel()].view(X.shape)
        kept = (parts >= dropped - _LEVELS // 2).to(X.dtype)
        return X * kept.mul_(_LEVELS / (_LEVELS - dropped))

    def extra_repr(self) -> str:
        return f"p={self.p}"


def encoder_layer(
    width: int, n_heads: int, hidden_dim: int, dropout: float, **how
) -> nn.TransformerEncoderLayer:
    """Return a layer of torch with this dropout, but for that of its attention."""
    layer = nn.TransformerEncoderLayer(
        width, n_heads, hidden_dim, dropout, batch_first=True, **how
    )
    layer.dropout, layer.dropout1, layer.dropout2 = (Dropout(dropout) for _ in range(3))
    return layer


def mlp(
    widths: Sequence[int],
    n_outputs: int | None = None,
    *,
    activation: Callable[[], nn.Module] = nn.ReLU,
    batch_norm: bool = False,
    dropout: float = 0.0,
) -> nn.Sequential:
    """Return blocks of linear layer, batch normalisation, activation and dropout.

    Each block leads from one of the `widths` to the next. A last linear layer gives
    `n_outputs`; None leaves it out.
    """
    layers = []
    for n_inputs, n_hidden in pairwise(widths):
        layers.append(nn.Linear(n_inputs, n_hidden))
        layers += [nn.BatchNorm1d(n_hidden)] if batch_norm else []
        layers.append(activation())
        layers += [Dropout(dropout)] if dropout else []
    if n_outputs is not None:
        layers.append(nn.Linear(widths[-1], n_outputs))
    return nn.Sequential(*layers)
