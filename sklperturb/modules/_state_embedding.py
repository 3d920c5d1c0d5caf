"""The encoder and decoder of Arc's State Embedding model, for inference."""

import math

import torch
from torch import nn
from torch.nn import functional as F

# (cell, gene) pairs that are decoded at once: what caches of a CPU hold, and what keeps
# a GPU busy.
_CPU_PAIRS, _GPU_PAIRS = 2048, 16384
# GPUs multiply bfloat16 at full speed where sizes are multiples of this.
_ALIGNED = 8


def _padded(layer):
    """Return a linear layer of aligned sizes; what it has more of is zero."""
    n_out, n_in = (-(-size // _ALIGNED) * _ALIGNED for size in layer.weight.shape)
    wider = nn.utils.skip_init(
        nn.Linear, n_in, n_out, device=layer.weight.device, dtype=layer.weight.dtype
    ).requires_grad_(False)
    wider.weight.zero_()[: layer.out_features, : layer.in_features] = layer.weight
    wider.bias.zero_()[: layer.out_features] = layer.bias
    return wider


class SkipBlock(nn.Module):
    """A perceptron of one hidden layer, twice as wide, beside a skip connection.

    Parameters
    ----------
    width : int

    Examples
    --------
    >>> import torch
    >>> from sklperturb.modules import SkipBlock
    >>> SkipBlock(8)(torch.zeros(3, 8)).shape
    torch.Size([3, 8])
    """

    def __init__(self, width: int):
        super().__init__()
        self.intermediate_dense = nn.Linear(width, 2 * width)
        self.dense = nn.Linear(2 * width, width)
        self.layer_norm = nn.LayerNorm(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.finish(x, self.intermediate_dense(x))

    def finish(self, x: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        """Do the rest for an `x` whose hidden layer was computed elsewhere."""
        x = x + self.dense(F.relu(hidden))
        (width,) = self.layer_norm.normalized_shape
        if width == x.shape[-1]:
            return self.layer_norm(x)
        return F.pad(self.layer_norm(x[..., :width]), (0, x.shape[-1] - width))

    def align(self) -> None:
        """Pad the layers with zeros; so are inputs to be, and outputs are."""
        self.intermediate_dense = _padded(self.intermediate_dense)
        self.dense = _padded(self.dense)


class AttentionBlock(nn.Module):
    """A transformer block that normalises after each of its two sums.

    Parameters
    ----------
    width, n_heads, hidden_dim : int

    Examples
    --------
    >>> import torch
    >>> from sklperturb.modules import AttentionBlock
    >>> block = AttentionBlock(8, 2, 16)
    >>> tokens = torch.randn(1, 5, 8)
    >>> ends = block.ends(tokens)
    >>> torch.allclose(ends, block(tokens)[:, [0, -1]], atol=1e-5)
    True
    """

    def __init__(self, width: int, n_heads: int, hidden_dim: int):
        super().__init__()
        self.n_heads = n_heads
        self.qkv_proj = nn.Linear(width, 3 * width)
        self.out_proj = nn.Linear(width, width)
        self.norm1 = nn.LayerNorm(width)
        self.linear1 = nn.Linear(width, hidden_dim)
        self.linear2 = nn.Linear(hidden_dim, width)
        self.norm2 = nn.LayerNorm(width)

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        """Let all tokens attend to all; shape (n_cells, n_tokens, width)."""
        q, k, v = (
            part.unflatten(2, (self.n_heads, -1)).transpose(1, 2)
            for part in self.qkv_proj(h).chunk(3, dim=2)
        )
        attended = F.scaled_dot_product_attention(q, k, v)
        return self._finish(h, attended.transpose(1, 2).flatten(2))

    def ends(self, h: torch.Tensor) -> torch.Tensor:
        """Return what `forward` gives for the first and the last token, and only that.

        Keys and values of the other tokens are never formed. A score is
        ``q . (W h + c)``, where ``q . W`` is one vector for all tokens and ``q . c``
        the same for all; and since the weights sum to one, the mean of values is the
        value of the mean.
        """
        ends = h[:, [0, -1]]
        width, size = h.shape[2], h.shape[2] // self.n_heads
        of_q, of_k, of_v = self.qkv_proj.weight.view(3, self.n_heads, size, width)
        bias_q, _, bias_v = self.qkv_proj.bias.view(3, self.n_heads, size)
        q = torch.einsum("bew,nsw->bnes", ends, of_q) + bias_q[:, None]
        look_for = torch.einsum("bnes,nsw->bnew", q / math.sqrt(size), of_k)
        scores = look_for.flatten(1, 2) @ h.transpose(1, 2)
        mean = scores.float().softmax(dim=2).to(scores.dtype) @ h
        mean = mean.unflatten(1, (self.n_heads, 2))
        attended = torch.einsum("bnew,nsw->bens", mean, of_v) + bias_v
        return self._finish(ends, attended.flatten(2))

    def _finish(self, h, attended):
        h = self.norm1(h + self.out_proj(attended))
        return self.norm2(h + self.linear2(F.gelu(self.linear1(h))))


class StateEmbedding(nn.Module):
    """Embed cells given as sentences of genes, and decode genes from embeddings.

    The names of its parameters are those of Arc's checkpoints. What no output depends
    on is not computed: each gene's vector is projected once and then looked up, the
    last block and the decoder run on the two positions that are read.

    Parameters
    ----------
    token_dim : int
        Length of a gene's vector.
    width, n_heads, hidden_dim, n_layers : int
        Width, attention heads, feed-forward width and depth of the transformer.
    output_dim : int
        Length of the embedding of a cell.
    dataset_dim : int
        Length of the embedding of the cell's data set.

    Examples
    --------
    >>> import torch
    >>> from sklperturb.modules import StateEmbedding
    >>> net = StateEmbedding(6, 8, 2, 16, 2, 4)
    >>> table = net.gene_table(torch.randn(20, 6))
    >>> tokens, counts = torch.arange(10).reshape(2, 5), torch.rand(2, 5)
    >>> cell, dataset = net(table, tokens, counts)
    >>> cell.shape, dataset.shape
    (torch.Size([2, 4]), torch.Size([2, 10]))
    """

    def __init__(
        self,
        token_dim: int,
        width: int,
        n_heads: int,
        hidden_dim: int,
        n_layers: int,
        output_dim: int,
        dataset_dim: int = 10,
    ):
        super().__init__()
        self.width = width
        self.cls_token = nn.Parameter(torch.randn(1, token_dim))
        self.dataset_token = nn.Parameter(torch.randn(1, token_dim))
        self.encoder = nn.Sequential(
            nn.Linear(token_dim, width), nn.LayerNorm(width), nn.SiLU()
        )
        self.count_encoder = nn.Sequential(
            nn.Linear(1, 512), nn.LeakyReLU(0.01), nn.Linear(512, 10)
        )
        self.bin_encoder = nn.Embedding(10, width)
        self.transformer_encoder = nn.Module()
        self.transformer_encoder.layers = nn.ModuleList(
            AttentionBlock(width, n_heads, hidden_dim) for _ in range(n_layers)
        )
        self.decoder = nn.Sequential(SkipBlock(width), nn.Linear(width, output_dim))
        self.dataset_embedder = nn.Linear(output_dim, dataset_dim)
        pair_dim = width + output_dim + 1 + dataset_dim
        self.binary_decoder = nn.Sequential(
            SkipBlock(pair_dim), SkipBlock(pair_dim), nn.Linear(pair_dim, 1)
        )

    def lower(self, dtype: torch.dtype) -> None:
        """Run the transformer and the decoder of genes in a type of half the size.

        What is computed for a few positions, or once for all cells, stays as it is. The
        decoder is padded to sizes that a GPU multiplies several times faster.

        Parameters
        ----------
        dtype : torch.dtype
            Such as bfloat16.
        """
        first, second, last = self.binary_decoder
        first.align()
        second.align()
        self.binary_decoder[2] = _padded(last)
        self.transformer_encoder.to(dtype)
        self.binary_decoder.to(dtype)

    def gene_table(self, vectors: torch.Tensor) -> torch.Tensor:
        """Project genes, once, to what the transformer reads of them.

        Parameters
        ----------
        vectors : Tensor of shape (n_genes, token_dim)

        Returns
        -------
        table : Tensor of shape (n_genes, width)
        """
        return self._token(F.normalize(vectors.to(self.cls_token), dim=1))

    def gene_inputs(self, vectors: torch.Tensor) -> torch.Tensor:
        """Project genes, once, to what the decoder reads of them.

        Parameters
        ----------
        vectors : Tensor of shape (n_genes, token_dim)

        Returns
        -------
        inputs : Tensor of shape (n_genes, width)
        """
        return self.encoder(vectors.to(self.cls_token))

    def forward(
        self, table: torch.Tensor, tokens: torch.Tensor, counts: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Embed cells.

        Parameters
        ----------
        table : Tensor of shape (n_genes, width)
            Of `gene_table`.
        tokens : Tensor of int of shape (n_cells, length)
            Rows of `table`. The first position stands for the cell, whatever its row.
        counts : Tensor of shape (n_cells, length)

        Returns
        -------
        cell : Tensor of shape (n_cells, output_dim)
            Of length one.
        dataset : Tensor of shape (n_cells, dataset_dim)
        """
        *inner, last = self.transformer_encoder.layers
        h = self.tokens(table, tokens, counts).to(last.norm1.weight)
        for layer in inner:
            h = layer(h)
        outputs = self.decoder(last.ends(h).to(self.dataset_embedder.weight))
        cell = F.normalize(outputs[:, 0].float(), dim=1)
        return cell, self.dataset_embedder(outputs[:, 1]).float()

    def tokens(
        self, table: torch.Tensor, tokens: torch.Tensor, counts: torch.Tensor
    ) -> torch.Tensor:
        """Return the first block's input, of shape (n_cells, length + 1, width)."""
        h = F.embedding(tokens, table)
        h[:, 0] = self._token(self.cls_token).to(h.dtype)
        bins = self.count_encoder(counts[..., None]).softmax(dim=2)
        h = h + bins @ self.bin_encoder.weight
        dataset = self._token(self.dataset_token).to(h.dtype)
        return torch.cat([h, dataset.expand(len(h), 1, -1)], dim=1)

    def decode(
        self, inputs: torch.Tensor, cells: torch.Tensor, read_depth: torch.Tensor
    ) -> torch.Tensor:
        """Predict log1p counts of genes in cells.

        The first layer is linear in the gene's and the cell's part of its input, so
        that each part is computed once and not for each pair.

        Parameters
        ----------
        inputs : Tensor of shape (n_genes, width)
            Of `gene_inputs`.
        cells : Tensor of shape (n_cells, output_dim + dataset_dim)
        read_depth : Tensor of shape (n_cells,)

        Returns
        -------
        log_counts : Tensor of shape (n_cells, n_genes)
        """
        first, second, last = self.binary_decoder
        output_dim = self.dataset_embedder.in_features
        cells = torch.cat(
            [cells[:, :output_dim], read_depth[:, None], cells[:, output_dim:]], dim=1
        )
        n_of_cell = last.in_features - self.width
        cells = F.pad(cells, (0, n_of_cell - cells.shape[1])).to(last.weight)
        of_gene, of_cell = first.intermediate_dense.weight.split(
            [self.width, n_of_cell], dim=1
        )
        of_cell = F.linear(cells, of_cell, first.intermediate_dense.bias)
        inputs = inputs.to(cells)
        decoded = cells.new_empty(len(cells), len(inputs), dtype=torch.float32)
        n_pairs = _CPU_PAIRS if cells.device.type == "cpu" else _GPU_PAIRS
        n_genes = max(1, min(n_pairs, len(inputs)))
        n_cells = max(1, n_pairs // n_genes)
        for start in range(0, len(inputs), n_genes):
            genes = inputs[start : start + n_genes]
            hidden_of_gene = F.linear(genes, of_gene)
            for row in range(0, len(cells), n_cells):
                rows = slice(row, row + n_cells)
                size = (len(cells[rows]), len(genes), -1)
                x = torch.cat(
                    [genes.expand(size), cells[rows, None].expand(size)], dim=2
                )
                x = first.finish(x, hidden_of_gene + of_cell[rows, None])
                decoded[rows, start : start + n_genes] = last(second(x))[..., 0].float()
        return decoded

    def _token(self, vectors):
        return self.encoder(vectors) * math.sqrt(self.width)
