"""The stack of dense layers that several modules are built of."""

from torch import nn


def mlp(
    n_inputs: int,
    n_outputs: int | None,
    *,
    hidden_dim: int,
    n_layers: int,
    dropout: float = 0.0,
    leak: float = 0.0,
) -> nn.Sequential:
    """Return `n_layers` blocks of linear layer, rectifier and dropout.

    A last linear layer gives `n_outputs`; None leaves it out. `leak` is the slope of
    the rectifier for negative inputs.
    """
    layers = []
    for _ in range(n_layers):
        rectifier = nn.LeakyReLU(leak) if leak else nn.ReLU()
        layers += [nn.Linear(n_inputs, hidden_dim), rectifier]
        layers += [nn.Dropout(dropout)] if dropout else []
        n_inputs = hidden_dim
    if n_outputs is not None:
        layers.append(nn.Linear(n_inputs, n_outputs))
    return nn.Sequential(*layers)
