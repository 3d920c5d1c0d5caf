"""A conditional generator, its critic, and the penalty that keeps the critic tame."""

from functools import partial

import torch
from torch import nn

from sklperturb.modules._layers import mlp

_leaky = partial(nn.LeakyReLU, 0.2)


class ConditionalGenerator(nn.Module):
    """Turn conditions and noise into responses.

    Parameters
    ----------
    n_features, n_noise, n_outputs : int
        Width of conditions, noise and responses.
    hidden_dim, n_layers : int
        Width and number of the hidden layers.

    Examples
    --------
    >>> import torch
    >>> from sklperturb.modules import ConditionalGenerator
    >>> ConditionalGenerator(10, 2, 4)(torch.zeros(3, 10), torch.randn(3, 2)).shape
    torch.Size([3, 4])
    """

    def __init__(
        self,
        n_features: int,
        n_noise: int,
        n_outputs: int,
        *,
        hidden_dim: int = 128,
        n_layers: int = 2,
    ):
        super().__init__()
        widths = [n_features + n_noise, *[hidden_dim] * n_layers]
        self.layers = mlp(widths, n_outputs, activation=_leaky)

    def forward(self, X: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        return self.layers(torch.cat([X, noise], dim=1))


class ConditionalCritic(nn.Module):
    """Rate how real a response looks for its condition; rows are rated one by one.

    Parameters
    ----------
    n_features, n_outputs : int
        Width of conditions and responses.
    hidden_dim, n_layers : int
        Width and number of the hidden layers.

    Examples
    --------
    >>> import torch
    >>> from sklperturb.modules import ConditionalCritic
    >>> ConditionalCritic(10, 4)(torch.zeros(3, 10), torch.zeros(3, 4)).shape
    torch.Size([3])
    """

    def __init__(
        self,
        n_features: int,
        n_outputs: int,
        *,
        hidden_dim: int = 128,
        n_layers: int = 2,
    ):
        super().__init__()
        # No batch normalisation: the penalty is on the gradient of single rows.
        widths = [n_features + n_outputs, *[hidden_dim] * n_layers]
        self.layers = mlp(widths, 1, activation=_leaky)

    def forward(self, X: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return self.layers(torch.cat([X, y], dim=1)).squeeze(1)


def gradient_norms(
    critic: nn.Module, X: torch.Tensor, real: torch.Tensor, fake: torch.Tensor
) -> torch.Tensor:
    """Return norms of the critic's gradient between real and generated responses.

    One point is drawn uniformly on the line from each real response to the generated
    one of the same row. The norms can be differentiated.

    Parameters
    ----------
    critic : Module
        Called as ``critic(X, y)``.
    X : Tensor of shape (n_samples, n_features)
    real, fake : Tensor of shape (n_samples, n_outputs)

    Returns
    -------
    norms : Tensor of shape (n_samples,)

    References
    ----------
    .. [1] Gulrajani et al., "Improved Training of Wasserstein GANs", NeurIPS 2017.
       :doi:`10.48550/arXiv.1704.00028`

    Examples
    --------
    >>> import torch
    >>> from sklperturb.modules import gradient_norms
    >>> y = torch.ones(2, 4)
    >>> gradient_norms(lambda X, y: y.sum(dim=1), y, y, y)
    tensor([2., 2.])
    """
    share = torch.rand(len(real), 1, device=real.device)
    between = (share * real + (1 - share) * fake).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(
        critic(X, between).sum(), between, create_graph=True
    )
    return gradient.norm(dim=1)
