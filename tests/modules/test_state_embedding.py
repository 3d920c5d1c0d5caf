import copy
import math

import pytest
import torch
from torch.nn import functional as F

from sklperturb.modules import StateEmbedding


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    net = StateEmbedding(12, 16, 4, 24, 3, 8).double().eval().requires_grad_(False)
    for parameter in net.parameters():
        parameter.mul_(2)
    return net


def in_full(net, vectors, tokens, counts):
    """Embed with all positions in all layers, from the genes' vectors."""
    x = F.normalize(vectors[tokens], dim=2)
    x[:, 0] = net.cls_token
    x = torch.cat([x, net.dataset_token.expand(len(x), 1, -1)], dim=1)
    h = net.encoder(x) * math.sqrt(net.width)
    bins = net.count_encoder(counts[..., None]).softmax(dim=2) @ net.bin_encoder.weight
    h[:, :-1] += bins
    for layer in net.transformer_encoder.layers:
        q, k, v = layer.qkv_proj(h).chunk(3, dim=2)
        heads = []
        for q1, k1, v1 in zip(*(a.split(4, dim=2) for a in (q, k, v)), strict=True):
            heads.append((q1 @ k1.mT / 2.0).softmax(dim=2) @ v1)
        h = layer.norm1(h + layer.out_proj(torch.cat(heads, dim=2)))
        h = layer.norm2(h + layer.linear2(F.gelu(layer.linear1(h))))
    outputs = net.decoder(h)
    return F.normalize(outputs[:, 0], dim=1), net.dataset_embedder(outputs[:, -1])


def test_nothing_that_is_left_out_changes_an_embedding(net):
    vectors = torch.randn(30, 12, dtype=torch.float64)
    tokens = torch.randint(30, (5, 9))
    counts = 10 * torch.rand(5, 9, dtype=torch.float64)
    expected = in_full(net, vectors, tokens, counts)
    found = net(net.gene_table(vectors), tokens, counts)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=0, atol=1e-6)


def test_decoding_in_parts(net):
    vectors = torch.randn(50, 12, dtype=torch.float64)
    cells = torch.randn(90, 18, dtype=torch.float64)
    depth = torch.rand(90, dtype=torch.float64)
    genes = net.encoder(vectors)
    pairs = torch.cat(
        [
            genes.expand(90, 50, -1),
            cells[:, None, :8].expand(90, 50, -1),
            depth[:, None, None].expand(90, 50, 1),
            cells[:, None, 8:].expand(90, 50, -1),
        ],
        dim=2,
    )
    expected = net.binary_decoder(pairs)[..., 0]
    found = net.decode(net.gene_inputs(vectors), cells, depth)
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-5)


def test_padding_changes_no_value(net):
    vectors = torch.randn(50, 12, dtype=torch.float64)
    cells = torch.randn(90, 18, dtype=torch.float64)
    depth = torch.rand(90, dtype=torch.float64)
    genes = net.gene_inputs(vectors)
    padded = copy.deepcopy(net)
    padded.lower(torch.float64)
    widths = [each.binary_decoder[2].in_features for each in (net, padded)]
    assert widths == [35, 40]
    torch.testing.assert_close(
        padded.decode(genes, cells, depth), net.decode(genes, cells, depth)
    )


def test_bfloat16_is_close():
    torch.manual_seed(0)
    net = StateEmbedding(12, 16, 4, 24, 2, 8).eval().requires_grad_(False)
    vectors = torch.randn(30, 12)
    table, genes = net.gene_table(vectors), net.gene_inputs(vectors)
    tokens, counts = torch.randint(30, (5, 9)), 10 * torch.rand(5, 9)
    exact = net(table, tokens, counts)
    decoded = net.decode(genes, torch.cat(exact, dim=1), counts[:, 0])
    net.lower(torch.bfloat16)
    rounded = net(table.bfloat16(), tokens, counts)
    assert rounded[0].dtype == rounded[1].dtype == torch.float32
    assert (exact[0] * rounded[0]).sum(dim=1).min() > 0.999
    torch.testing.assert_close(rounded[1], exact[1], rtol=0, atol=0.02)
    found = net.decode(genes, torch.cat(exact, dim=1), counts[:, 0])
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, decoded, rtol=0, atol=0.02)
