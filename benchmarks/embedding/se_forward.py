"""The forward pass at the shape of SE-600M, against the straightforward formulation.

Both run on random weights, the blocks sharing one set of them, so that a few hundred
megabytes do. The straightforward one projects each token's 5,120 numbers, and runs all
blocks and the decoder at all 2,049 positions. FLOPs are counted from the shapes, two
for a multiplication and addition, and compared with the machine's rate in a product of
square matrices. Times are of one cell, the best of several runs taken in turn, in
seconds of the processor.

    python -m benchmarks.embedding.se_forward [--layers 2] [--runs 3] [--threads 1]

With few layers, each is timed by itself and 16 are added up; ``--layers 16`` runs all.
`se_gpu` measures the same on a GPU.
"""

import argparse
import math
import time

import torch
from torch.nn import functional as F

from benchmarks._output import record
from sklperturb.modules import StateEmbedding

TOKEN_DIM, WIDTH, HEADS, HIDDEN, OUTPUT, LENGTH = 5120, 2048, 16, 2048, 2048, 2048
LAYERS = 16


def make_net(n_layers):
    """Build a net whose layers are one layer, many times."""
    net = StateEmbedding(TOKEN_DIM, WIDTH, HEADS, HIDDEN, 1, OUTPUT)
    layers = net.transformer_encoder.layers
    layers.extend(layers[0] for _ in range(n_layers - 1))
    return net.eval().requires_grad_(False)


def straightforward(net, vectors, tokens, counts):
    """Embed with all positions in all layers, from the genes' vectors."""
    x = F.normalize(vectors[tokens], dim=2)
    x[:, 0] = net.cls_token
    x = torch.cat([x, net.dataset_token.expand(len(x), 1, -1)], dim=1)
    h = net.encoder(x) * math.sqrt(WIDTH)
    bins = net.count_encoder(counts[..., None]).softmax(dim=2) @ net.bin_encoder.weight
    h = h + F.pad(bins, (0, 0, 0, 1))
    for layer in net.transformer_encoder.layers:
        h = layer(h)
    outputs = net.decoder(h)
    return F.normalize(outputs[:, 0], dim=1), net.dataset_embedder(outputs[:, -1])


def count_flops(n_layers):
    """Return FLOPs of a cell: straightforward, and as it is done."""
    T, d = LENGTH + 1, WIDTH
    block = 2 * T * (4 * d * d + 2 * d * HIDDEN) + 4 * T * T * d
    # Two queries: their projections, the search for both, their means, and the rest.
    last = 2 * 2 * (4 * d * d + 2 * d * HIDDEN) + 2 * 2 * T * d * HEADS * 2
    counts = 2 * LENGTH * (512 + 512 * 10 + 10 * d)
    decoder = 2 * (4 * d * d + d * OUTPUT)
    plain = n_layers * block + T * (2 * TOKEN_DIM * d + decoder) + counts
    ours = (n_layers - 1) * block + last + counts + 2 * decoder + 4 * TOKEN_DIM * d
    return plain, ours


def best_seconds(functions, runs):
    """Time functions in turn and return the best of each."""
    best = [math.inf] * len(functions)
    for _ in range(runs):
        for i, function in enumerate(functions):
            start = time.process_time()
            function()
            seconds = (time.process_time() - start) / torch.get_num_threads()
            best[i] = min(best[i], seconds)
    return best


def main():
    """Print a table, or a line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    with torch.inference_mode():
        net = make_net(options.layers)
        vectors = torch.randn(LENGTH, TOKEN_DIM)
        table = net.gene_table(vectors)
        tokens, counts = torch.randperm(LENGTH)[None], torch.rand(1, LENGTH)
        h = net.tokens(table, tokens, counts)
        square = torch.randn(2048, 2048)
        plain, ours, block, product = best_seconds(
            [
                lambda: straightforward(net, vectors, tokens, counts),
                lambda: net(table, tokens, counts),
                lambda: net.transformer_encoder.layers[0](h),
                lambda: square @ square,
            ],
            options.runs,
        )
        expected = torch.cat(straightforward(net, vectors, tokens, counts), dim=1)
        found = torch.cat(net(table, tokens, counts), dim=1)
    peak = 2 * 2048**3 / product
    print(f"largest difference of embeddings: {(expected - found).abs().max():.1e}")
    print(f"matrix peak: {peak / 1e9:.0f} GFLOP/s on {options.threads} threads\n")
    print("| formulation | layers | TFLOP a cell | s a cell | share of peak | saved |")
    print("|---|---|---|---|---|---|")
    sets = [(options.layers, plain, ours)]
    if options.layers < LAYERS:
        more = (LAYERS - options.layers) * block
        sets.append((LAYERS, plain + more, ours + more))
    for n_layers, *seconds in sets:
        for name, flops, s in zip(
            ("straightforward", "sklperturb"),
            count_flops(n_layers),
            seconds,
            strict=True,
        ):
            saved = 1 - s / seconds[0]
            if name == "sklperturb":
                record(f"saved, {n_layers} layers", 100 * saved, "%")
                record(f"share of peak, {n_layers} layers", 100 * flops / s / peak, "%")
            print(
                f"| {name} | {n_layers} | {flops / 1e12:.3f} | {s:.2f} | "
                f"{flops / s / peak:.0%} | {saved:.1%} |"
            )


if __name__ == "__main__":
    main()
