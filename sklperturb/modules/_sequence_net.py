"""Recurrent and convolutional networks that read a feature vector as a sequence."""

import math

import torch
from torch import nn

from sklperturb.modules._layers import Dropout, mlp


class SequenceNet(nn.Module):
    """Read a feature vector as a sequence and predict from all of its steps.

    Parameters
    ----------
    n_features, n_outputs : int
    architecture : {"lstm", "gru", "conv"}
        A recurrent network reads the features, padded with zeros, as a near-square
        matrix, one line a step, and hands on the outputs of all steps and its final
        states. Convolutions run along the features themselves.
    hidden_dim : int
        Width of the recurrent layers.
    n_layers : int
        Number of the recurrent layers.
    head_dim : int
        Width of the first of the two dense layers of the head; the second has half.
    dropout : float

    Examples
    --------
    >>> import torch
    >>> from sklperturb.modules import SequenceNet
    >>> SequenceNet(50, 20, architecture="gru")(torch.zeros(3, 50)).shape
    torch.Size([3, 20])
    """

    def __init__(
        self,
        n_features: int,
        n_outputs: int,
        *,
        architecture: str = "gru",
        hidden_dim: int = 128,
        n_layers: int = 2,
        head_dim: int = 1024,
        dropout: float = 0.3,
    ):
        super().__init__()
        if architecture == "conv":
            self.reader = ConvolutionReader(n_features, dropout)
        else:
            self.reader = RecurrentReader(
                n_features, architecture, hidden_dim, n_layers, dropout
            )
        narrow = max(head_dim // 2, 1)
        self.head = mlp(
            [self.reader.n_outputs, head_dim, narrow], n_outputs, dropout=dropout
        )

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        return self.head(self.reader(X))


class RecurrentReader(nn.Module):
    """Read the lines of a near-square matrix of features one after the other."""

    def __init__(
        self,
        n_features: int,
        architecture: str,
        hidden_dim: int,
        n_layers: int,
        dropout: float,
    ):
        super().__init__()
        self.n_steps = math.isqrt(n_features)
        self.width = math.ceil(n_features / self.n_steps)
        self.padding = self.n_steps * self.width - n_features
        self.layers = {"lstm": nn.LSTM, "gru": nn.GRU}[architecture](
            self.width,
            hidden_dim,
            n_layers,
            batch_first=True,
            dropout=dropout if n_layers > 1 else 0.0,
        )
        self.n_outputs = (self.n_steps + n_layers) * hidden_dim

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        X = nn.functional.pad(X, (0, self.padding))
        outputs, state = self.layers(X.unflatten(1, (self.n_steps, self.width)))
        if isinstance(state, tuple):  # an LSTM has a memory cell besides
            state = state[0]
        return torch.cat([outputs.flatten(1), *state], dim=1)


class ConvolutionReader(nn.Module):
    """Convolve along the features, coarser at every layer."""

    def __init__(self, n_features: int, dropout: float):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(1, 8, 5, padding=2),
            Dropout(dropout),
            nn.Conv1d(8, 8, 5, padding=2),
            nn.ReLU(),
            nn.Conv1d(8, 16, 5, stride=2, padding=2),
            Dropout(dropout),
            nn.AvgPool1d(3, stride=2, padding=1),
            nn.Conv1d(16, 8, 3, padding=1),
        )
        # The third convolution and the pooling have a stride of two each.
        self.n_outputs = 8 * math.ceil(n_features / 4)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        return self.layers(X.unsqueeze(1)).flatten(1)
