"""Learnt codes for categories, followed by dense layers."""

import torch
from torch import nn

from sklperturb.modules._layers import mlp


class TokenMLP(nn.Module):
    """Embed each categorical column and pass all codes through dense blocks.

    A block is a linear layer, batch normalisation, ReLU and dropout.

    Parameters
    ----------
    n_levels : list of int
        Number of levels of each categorical column. The input has their codes first:
        1 to n for the levels and 0 for "unknown", as floats.
    embedding_dims : list of int
        Length of a level's code in each of these columns.
    n_numeric : int
        Number of numeric features that follow the codes.
    n_outputs : int
    hidden_dim, n_layers : int
        Width and number of the dense blocks.
    dropout : float
        Share of activations dropped after each block.
    category_dropout : float
        Share of codes replaced by "unknown" in training, for each column on its own:
        this is what trains the unknown code.

    Examples
    --------
    >>> import torch
    >>> from sklperturb.modules import TokenMLP
    >>> network = TokenMLP([4, 30], [3, 8], 0, 20)
    >>> network(torch.tensor([[1.0, 7.0], [0.0, 30.0]])).shape
    torch.Size([2, 20])
    """

    def __init__(
        self,
        n_levels: list[int],
        embedding_dims: list[int],
        n_numeric: int,
        n_outputs: int,
        *,
        hidden_dim: int = 256,
        n_layers: int = 2,
        dropout: float = 0.3,
        category_dropout: float = 0.05,
    ):
        super().__init__()
        self.category_dropout = category_dropout
        self.embeddings = nn.ModuleList(
            nn.Embedding(n + 1, dim)
            for n, dim in zip(n_levels, embedding_dims, strict=True)
        )
        for embed in self.embeddings:
            # Levels start out alike, and training tells apart those that differ.
            nn.init.normal_(embed.weight, std=0.2)
        width = sum(embedding_dims) + n_numeric
        widths = [width, *[hidden_dim] * n_layers]
        self.blocks = mlp(widths, batch_norm=True, dropout=dropout)
        self.head = nn.Linear(widths[-1], n_outputs)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        codes, numeric = X.tensor_split([len(self.embeddings)], dim=1)
        codes = codes.long()
        if self.training and self.category_dropout:
            kept = torch.rand(codes.shape, device=X.device) >= self.category_dropout
            codes = codes * kept
        embedded = [
            embed(column)
            for embed, column in zip(self.embeddings, codes.T, strict=True)
        ]
        return self.head(self.blocks(torch.cat([*embedded, numeric], dim=1)))
