"""An autoencoder with dropout: encoder, latent space, decoder."""

import torch
from torch import nn

from sklperturb.modules._layers import mlp


class Autoencoder(nn.Module):
    """Squeeze rows through a latent space and rebuild them from it.

    Both halves are blocks of a linear layer, ReLU and dropout, and end in a linear
    layer, so that neither latent space nor output is bounded.

    Parameters
    ----------
    n_features, n_latent : int
        Width of the rows and of the latent space.
    hidden_dim, n_layers : int
        Width and number of the blocks in each half; with 0 blocks both halves are
        linear.
    dropout : float

    Examples
    --------
    >>> import torch
    >>> from sklperturb.modules import Autoencoder
    >>> autoencoder = Autoencoder(50, 4)
    >>> autoencoder.encode(torch.zeros(3, 50)).shape
    torch.Size([3, 4])
    >>> autoencoder(torch.zeros(3, 50)).shape
    torch.Size([3, 50])
    """

    def __init__(
        self,
        n_features: int,
        n_latent: int,
        *,
        hidden_dim: int = 256,
        n_layers: int = 1,
        dropout: float = 0.1,
    ):
        super().__init__()
        hidden = [hidden_dim] * n_layers
        self.encoder = mlp([n_features, *hidden], n_latent, dropout=dropout)
        self.decoder = mlp([n_latent, *hidden], n_features, dropout=dropout)

    def encode(self, X: torch.Tensor) -> torch.Tensor:
        """Return the latent coordinates, of shape (n_samples, n_latent)."""
        return self.encoder(X)

    def decode(self, latent: torch.Tensor) -> torch.Tensor:
        """Return rows of shape (n_samples, n_features)."""
        return self.decoder(latent)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        return self.decode(self.encode(X))
