"""Losses over (rows, targets) that torch lacks."""

import math

import torch
from torch import nn
from torch.nn import functional as F


class RowwiseRMSELoss(nn.Module):
    """Mean over rows of the root of the mean squared error of a row: MRRMSE.

    Parameters
    ----------
    eps : float, default=1e-8
        Keeps the gradient finite where a row is fitted exactly.

    Examples
    --------
    >>> import torch
    >>> from sklperturb.modules import RowwiseRMSELoss
    >>> loss = RowwiseRMSELoss()
    >>> round(loss(torch.zeros(2, 4), torch.tensor([[3.0] * 4, [1.0] * 4])).item(), 4)
    2.0
    """

    def __init__(self, eps: float = 1e-8):
        super().__init__()
        self.eps = eps

    def forward(self, y_pred: torch.Tensor, y_true: torch.Tensor) -> torch.Tensor:
        return (y_pred - y_true).square().mean(dim=1).add(self.eps).sqrt().mean()


class MixedLoss(nn.Module):
    """Squared, absolute, log-cosh and cross-entropy errors, weighted.

    The cross-entropy is between the sigmoids of target and prediction. Unlike the
    others it is not zero, only least, where the two agree.

    Parameters
    ----------
    weights : tuple of float, default=(0.32, 0.24, 0.24, 0.20)
        Weights of the four, in this order.

    Examples
    --------
    >>> import torch
    >>> from sklperturb.modules import MixedLoss
    >>> y = torch.tensor([[0.5, -2.0]])
    >>> bool(MixedLoss()(y, y) < MixedLoss()(y + 1, y))
    True
    """

    def __init__(self, weights: tuple[float, ...] = (0.32, 0.24, 0.24, 0.20)):
        super().__init__()
        self.weights = weights

    def forward(self, y_pred: torch.Tensor, y_true: torch.Tensor) -> torch.Tensor:
        error = y_pred - y_true
        size = error.abs()
        # log(cosh(x)), written so that large errors do not overflow.
        log_cosh = size + F.softplus(-2 * size) - math.log(2)
        parts = (
            error.square().mean(),
            size.mean(),
            log_cosh.mean(),
            F.binary_cross_entropy_with_logits(y_pred, y_true.sigmoid()),
        )
        return sum(w * part for w, part in zip(self.weights, parts, strict=True))


class WeightedMSELoss(nn.Module):
    """Mean squared error in which each gene of each row has its own weight.

    Targets come with their weights beside them, (n_rows, n_outputs + n_genes), so that
    whatever shuffles or splits the rows keeps both together. Without, all count alike.

    Parameters
    ----------
    basis : tensor of shape (n_outputs, n_genes), default=None
        Turns outputs into genes, on which the weights are; None where they are genes.

    Examples
    --------
    >>> import torch
    >>> from sklperturb.modules import WeightedMSELoss
    >>> y, weights = torch.tensor([[1.0, 2.0]]), torch.tensor([[0.5, 1.5]])
    >>> WeightedMSELoss()(torch.zeros(1, 2), torch.cat([y, weights], 1)).item()
    3.25
    """

    def __init__(self, basis: torch.Tensor | None = None):
        super().__init__()
        self.register_buffer("basis", basis)

    def forward(self, y_pred: torch.Tensor, y_true: torch.Tensor) -> torch.Tensor:
        targets, weights = y_true.tensor_split([y_pred.shape[1]], dim=1)
        error = y_pred - targets
        if weights.shape[1] == 0:
            return error.square().mean()
        if self.basis is not None:
            error = error @ self.basis
        return (weights * error.square()).mean()
