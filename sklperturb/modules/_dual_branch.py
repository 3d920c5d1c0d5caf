"""Two branches, one for the perturbation and one for the context."""

import torch
from torch import nn


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
        self.perturbation = nn.Sequential(
            _block(n_perturbation, 2 * hidden_dim, dropout),
            _block(2 * hidden_dim, hidden_dim, dropout),
        )
        self.context = _block(n_context, narrow, dropout)
        self.encoder = _block(hidden_dim + narrow, hidden_dim, dropout)
        self.context_again = _block(n_context, narrow, dropout)
        self.decoder = nn.Sequential(
            _block(hidden_dim + narrow, hidden_dim, dropout),
            _block(hidden_dim, 2 * hidden_dim, dropout),
            nn.Linear(2 * hidden_dim, n_outputs),
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


def _block(n_inputs: int, n_outputs: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(n_inputs, n_outputs),
        nn.BatchNorm1d(n_outputs),
        nn.ELU(),
        nn.Dropout(dropout),
    )
