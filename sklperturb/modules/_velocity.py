"""A velocity field over cells, conditioned on what was done to them."""

import math

import torch
from torch import nn

from sklperturb.modules._layers import mlp


class VelocityNet(nn.Module):
    """Velocity of cells on their way from control to perturbed.

    A condition is a set of perturbations, each a vector, and some covariates. The
    vectors pass through one small network each and are added up, so that neither
    their order nor their number matters. The last layer starts at zero: an untrained
    net leaves cells where they are.

    Parameters
    ----------
    n_features : int
        Width of a cell.
    n_elements : int
        Width of the vector of a perturbation.
    n_covariates : int
    hidden_dim, n_layers : int
        Width and number of the hidden layers.
    embedding_dim : int
        Width of an encoded condition.
    n_frequencies : int
        Sines and cosines that encode the time.
    population : module, default=None
        Encodes control cells, (k, n_cells, n_features), as (k, embedding_dim), such
        as `DeepSets`.

    Examples
    --------
    >>> import torch
    >>> from sklperturb.modules import VelocityNet
    >>> net = VelocityNet(5, 3, 2)
    >>> code = net.encode(torch.randn(4, 2, 3), torch.ones(4, 2), torch.zeros(4, 2))
    >>> net(torch.randn(4, 8, 5), torch.rand(4, 8), code).shape
    torch.Size([4, 8, 5])
    """

    def __init__(
        self,
        n_features: int,
        n_elements: int,
        n_covariates: int = 0,
        *,
        hidden_dim: int = 256,
        n_layers: int = 3,
        embedding_dim: int = 64,
        n_frequencies: int = 16,
        population: nn.Module | None = None,
    ):
        super().__init__()
        self.element = nn.Sequential(
            nn.Linear(n_elements, embedding_dim),
            nn.SiLU(),
            nn.Linear(embedding_dim, embedding_dim, bias=False),
        )
        self.covariate = (
            nn.Linear(n_covariates, embedding_dim, bias=False) if n_covariates else None
        )
        self.population = population
        # One wide layer over [cell, time, condition], in parts: the condition is the
        # same for all cells of a block and goes through its part once.
        self.from_cell = nn.Linear(n_features, hidden_dim)
        self.from_time = nn.Linear(2 * n_frequencies, hidden_dim, bias=False)
        self.from_condition = nn.Linear(embedding_dim, hidden_dim, bias=False)
        self.hidden = mlp([hidden_dim] * n_layers, activation=nn.SiLU)
        self.head = nn.Linear(hidden_dim, n_features)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        frequencies = torch.logspace(0, 2, n_frequencies) * (math.pi / 2)
        self.register_buffer("frequencies", frequencies)

    def encode(
        self,
        elements: torch.Tensor,
        mask: torch.Tensor,
        covariates: torch.Tensor,
        controls: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Encode k conditions.

        Parameters
        ----------
        elements : tensor of shape (k, n_parts, n_elements)
        mask : tensor of shape (k, n_parts)
            1 for a perturbation and 0 for padding. All zeros mean no perturbation.
        covariates : tensor of shape (k, n_covariates)
        controls : tensor of shape (k, n_cells, n_features)
            Only with `population`.

        Returns
        -------
        code : tensor of shape (k, embedding_dim)
        """
        code = (self.element(elements) * mask[..., None]).sum(dim=1)
        if self.covariate is not None:
            code = code + self.covariate(covariates)
        if self.population is not None:
            code = code + self.population(controls)
        return code

    def forward(
        self, x: torch.Tensor, t: torch.Tensor, code: torch.Tensor
    ) -> torch.Tensor:
        """Return the velocity of cells x (k, m, n_features) at times t (k, m)."""
        angles = t[..., None] * self.frequencies
        time = torch.cat([angles.sin(), angles.cos()], dim=-1)
        h = self.from_cell(x) + self.from_time(time)
        h = nn.functional.silu(h + self.from_condition(code)[:, None])
        return self.head(self.hidden(h))
