"""Two branches, one for the perturbation and one for the context."""

from functools import partial

import torch
from torch import nn

from sklperturb.modules._layers import mlp


class DualBranchNet(nn.Module):
    """Encode two vectors apart, join them, and tell the decoder the context again.

    The way the context comes in twice is that of a conditional autoencoder, without
    the sampling.

    Parameters
    ----------
    n_perturbation, n_context : int
        Lengths of the two vectors; the input has the perturbation's first.
    n_outputs : int
    hidden_dim : int
        Width of the layers; those of the context's branch have a quarter of it.
    dropout : float
    input_noise : float
        Standard deviation of the Gaussian noise added to the inputs in training.

    Examples
    --------
    >>> import torch
    >>> from sklperturb.modules import DualBranchNet
    >>> DualBranchNet(6, 4, 20)(torch.zeros(3, 10)).shape
    torch.Size([3, 20])
    """

    def __init__(
        self,
        n_perturbation: int,
        n_context: int,
        n_outputs: int,
        *,
        hidden_dim: int = 128,
        dropout: float = 0.05,
        input_noise: float = 0.01,
    ):
        super().__init__()
        self.sizes = [n_perturbation, n_context]
        self.input_noise = input_noise
        narrow = max(hidden_dim // 4, 1)
        blocks = partial(mlp, activation=nn.ELU, batch_norm=True, dropout=dropout)
        self.perturbation = blocks([n_perturbation, 2 * hidden_dim, hidden_dim])
        self.context = blocks([n_context, narrow])
        self.encoder = blocks([hidden_dim + narrow, hidden_dim])
        self.context_again = blocks([n_context, narrow])
        self.decoder = blocks(
            [hidden_dim + narrow, hidden_dim, 2 * hidden_dim], n_outputs
        )

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        if self.training and self.input_noise:
            X = X + self.input_noise * torch.randn_like(X)
        perturbation, context = X.split(self.sizes, dim=1)
        joined = torch.cat(
            [self.perturbation(perturbation), self.context(context)], dim=1
        )
        code = self.encoder(joined)
        return self.decoder(torch.cat([code, self.context_again(context)], dim=1))
