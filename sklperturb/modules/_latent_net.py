"""From an encoded condition to a point in a latent space."""

import torch
from torch import nn

from sklperturb.modules._layers import encoder_layer, mlp


class LatentNet(nn.Module):
    """Blocks of linear layer, ReLU and dropout, then attention over a row's tokens.

    The output of the last block is cut into tokens, which attend to each other in
    one transformer encoder layer. Samples never see one another.

    Parameters
    ----------
    n_features, n_outputs : int
    hidden_dim : int
        Width of the blocks; a multiple of `n_tokens` times `n_heads`.
    n_blocks : int
        At least 1.
    n_tokens, n_heads : int
        Tokens of one row and attention heads.
    dropout : float

    Examples
    --------
    >>> import torch
    >>> from sklperturb.modules import LatentNet
    >>> LatentNet(10, 4)(torch.zeros(3, 10)).shape
    torch.Size([3, 4])
    """

    def __init__(
        self,
        n_features: int,
        n_outputs: int,
        *,
        hidden_dim: int = 256,
        n_blocks: int = 2,
        n_tokens: int = 4,
        n_heads: int = 4,
        dropout: float = 0.3,
    ):
        super().__init__()
        self.blocks = mlp([n_features, *[hidden_dim] * n_blocks], dropout=dropout)
        self.n_tokens = n_tokens
        width = hidden_dim // n_tokens
        self.encoder = encoder_layer(
            width, n_heads, 2 * width, dropout, norm_first=True
        )
        self.head = nn.Linear(hidden_dim, n_outputs)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        tokens = self.blocks(X).unflatten(1, (self.n_tokens, -1))
        return self.head(self.encoder(tokens).flatten(1))
