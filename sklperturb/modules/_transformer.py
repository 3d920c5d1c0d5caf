"""A transformer encoder over the feature tokens of one condition."""

import torch
from torch import nn

from sklperturb.modules._layers import encoder_layer


class ConditionTransformer(nn.Module):
    """Embed sparse and dense features as tokens and let them attend to each other.

    Attention runs over the tokens of one sample. Samples never see one another, so
    the output of a row does not depend on the rows it is batched with.

    Parameters
    ----------
    n_sparse, n_dense : int
        Number of sparse (one-hot, fingerprint) and dense (target statistics)
        features; the input has the sparse ones first. Either may be 0.
    n_outputs : int
    embedding_dim : int
        Width of a token; a multiple of `n_heads`.
    n_tokens : int
        Tokens for each of the two kinds of features.
    n_layers, n_heads, hidden_dim : int
        Depth, attention heads and feed-forward width of the encoder.
    dropout : float

    Examples
    --------
    >>> import torch
    >>> from sklperturb.modules import ConditionTransformer
    >>> ConditionTransformer(6, 4, 20)(torch.zeros(3, 10)).shape
    torch.Size([3, 20])
    """

    def __init__(
        self,
        n_sparse: int,
        n_dense: int,
        n_outputs: int,
        *,
        embedding_dim: int = 128,
        n_tokens: int = 4,
        n_layers: int = 2,
        n_heads: int = 8,
        hidden_dim: int = 256,
        dropout: float = 0.3,
    ):
        super().__init__()
        self.sizes = [n_sparse, n_dense]
        self.embedding_dim = embedding_dim
        self.embeddings = nn.ModuleList(
            nn.Linear(size, n_tokens * embedding_dim) for size in self.sizes if size
        )
        self.input_norm = nn.LayerNorm(embedding_dim)
        layer = encoder_layer(
            embedding_dim, n_heads, hidden_dim, dropout, activation="gelu"
        )
        self.encoder = nn.TransformerEncoder(layer, n_layers)
        self.head = nn.Linear(
            len(self.embeddings) * n_tokens * embedding_dim, n_outputs
        )

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        blocks = [block for block in X.split(self.sizes, dim=1) if block.shape[1]]
        tokens = torch.cat(
            [
                embed(block).unflatten(1, (-1, self.embedding_dim))
                for embed, block in zip(self.embeddings, blocks, strict=True)
            ],
            dim=1,
        )
        return self.head(self.encoder(self.input_norm(tokens)).flatten(1))
