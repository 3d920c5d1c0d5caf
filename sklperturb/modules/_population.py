"""Encoders of whole populations of cells, blind to the order of the cells."""

import torch
from torch import nn

from sklperturb.modules._layers import mlp


class DeepSets(nn.Module):
    """Mean over cells of a small network, then another one.

    Parameters
    ----------
    n_features : int
        Width of a cell.
    embedding_dim : int
        Width of the encoded population.
    hidden_dim : int

    Examples
    --------
    >>> import torch
    >>> from sklperturb.modules import DeepSets
    >>> DeepSets(5, 8)(torch.zeros(2, 30, 5)).shape
    torch.Size([2, 8])
    """

    def __init__(self, n_features: int, embedding_dim: int, *, hidden_dim: int = 64):
        super().__init__()
        self.cell = mlp([n_features, hidden_dim, hidden_dim], activation=nn.SiLU)
        self.pooled = nn.Linear(hidden_dim, embedding_dim, bias=False)

    def forward(self, cells: torch.Tensor) -> torch.Tensor:
        return self.pooled(self.cell(cells).mean(dim=-2))


class NeighborGraphSets(nn.Module):
    """Graph convolutions over the nearest neighbours of each cell, then the mean.

    A cell is described by itself and by the mean of its neighbours, twice, so that
    the local density and shape of a population count, and not only where it is.

    Parameters
    ----------
    n_features : int
        Width of a cell.
    embedding_dim : int
        Width of the encoded population.
    hidden_dim : int
    n_neighbors : int
        Fewer where there are fewer cells.

    Examples
    --------
    >>> import torch
    >>> from sklperturb.modules import NeighborGraphSets
    >>> NeighborGraphSets(5, 8)(torch.randn(2, 30, 5)).shape
    torch.Size([2, 8])
    """

    def __init__(
        self,
        n_features: int,
        embedding_dim: int,
        *,
        hidden_dim: int = 64,
        n_neighbors: int = 10,
    ):
        super().__init__()
        self.n_neighbors = n_neighbors
        self.layers = nn.ModuleList(
            nn.Linear(2 * size, hidden_dim) for size in (n_features, hidden_dim)
        )
        self.pooled = nn.Linear(hidden_dim, embedding_dim, bias=False)

    def forward(self, cells: torch.Tensor) -> torch.Tensor:
        n_neighbors = min(self.n_neighbors + 1, cells.shape[-2])
        nearest = torch.cdist(cells, cells).topk(n_neighbors, largest=False).indices
        rows = torch.arange(len(cells), device=cells.device)[:, None, None]
        h = cells
        for layer in self.layers:
            around = h[rows, nearest].mean(dim=-2)
            h = nn.functional.silu(layer(torch.cat([h, around], dim=-1)))
        return self.pooled(h.mean(dim=-2))
