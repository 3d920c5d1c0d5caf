"""The stack of dense layers that several modules are built of."""

from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import nn

from sklperturb.modules._dropout import Dropout


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
