"""State Embedding at the shape of SE-600M on a GPU.

Weights are random. The forward pass runs in bfloat16 on 1 to 64 cells at once; its
FLOPs, counted from the shapes, are compared with the GPU's rate in a product of square
matrices in bfloat16, and its embeddings with those in float32. The decoder of genes is
timed by (cell, gene) pairs. With --whole, cells of 18,080 genes go through
`SEEmbedding`: they are tokenised beside, and come back. Times are medians by the clock.

    python -m benchmarks.embedding.se_gpu [--whole] [--cells 4000]
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from benchmarks._output import record, show
from benchmarks.embedding.se_forward import (
    HEADS,
    HIDDEN,
    LAYERS,
    LENGTH,
    OUTPUT,
    TOKEN_DIM,
    WIDTH,
    count_flops,
)
from sklperturb.modules import StateEmbedding

GENES = 18_080


def seconds(function, runs=5, warm=2):
    """Return the median time of a function that leaves its work to the GPU."""
    times = []
    for i in range(warm + runs):
        torch.cuda.synchronize()
        start = time.perf_counter()
        function()
        torch.cuda.synchronize()
        if i >= warm:
            times.append(time.perf_counter() - start)
    return statistics.median(times)


def sentences(n_cells):
    """Return tokens and counts of cells, on the GPU."""
    generator = torch.Generator("cuda").manual_seed(1)
    random = torch.rand(2, n_cells, LENGTH, device="cuda", generator=generator)
    return random[0].argsort(dim=1), 5 * random[1]


def forward(sizes, side=8192):
    """Print the rates of the forward pass and of the decoder."""
    torch.manual_seed(0)
    sizes_of_net = (TOKEN_DIM, WIDTH, HEADS, HIDDEN, LAYERS, OUTPUT)
    net = StateEmbedding(*sizes_of_net).eval().requires_grad_(False).cuda()
    vectors = torch.randn(LENGTH, TOKEN_DIM, device="cuda")
    table, genes = net.gene_table(vectors), net.gene_inputs(vectors)
    exact = net(table, *sentences(4))[0]
    slow = 4 / seconds(lambda: net(table, *sentences(4)), 3, 1)
    net.lower(torch.bfloat16)
    table = table.bfloat16()
    cosine = F.cosine_similarity(net(table, *sentences(4))[0], exact)
    square = torch.randn(side, side, device="cuda", dtype=torch.bfloat16)
    # Many in a row, since to start one and to wait for it takes time too.
    products = seconds(lambda: [square @ square for _ in range(20)])
    peak = 20 * 2 * side**3 / products
    rows, shares = [], []
    for n_cells in sizes:
        given = sentences(n_cells)
        torch.cuda.reset_peak_memory_stats()
        taken = seconds(lambda given=given: net(table, *given))
        shares.append(n_cells * count_flops(LAYERS)[1] / taken / peak)
        row = {"cells at once": n_cells, "cells/s": n_cells / taken}
        row |= {"share of the peak": f"{shares[-1]:.0%}"}
        memory = torch.cuda.max_memory_allocated() / 2**30
        rows.append(row | {"GB, with the model": memory})
    record("share of peak, GPU", 100 * max(shares), "%", of=peak / 1e12)
    record("cells a second, GPU", max(row["cells/s"] for row in rows))
    cells, depth = torch.randn(64, OUTPUT + 10).cuda(), torch.rand(64).cuda()
    decoding = seconds(lambda: net.decode(genes, cells, depth))
    record("pairs a second, GPU", 64 * LENGTH / decoding)
    print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}\n")
    show(rows)
    print(
        f"The peak is {peak / 1e12:.0f} TFLOP/s, of products in bfloat16. In float32 "
        f"{slow:.0f} cells a second; 1 - cosine of the embeddings is "
        f"{1 - cosine.min():.1e} at most. Decoding: {64 * LENGTH / decoding / 1e6:.1f} "
        "million (cell, gene) pairs a second.\n"
    )


def whole(n_cells):
    """Print how many cells a second come out of `SEEmbedding`."""
    import anndata
    import pandas as pd
    from scipy import sparse

    from sklperturb.embedding import SECheckpoint, SEConfig, SEEmbedding

    rng = np.random.default_rng(0)
    counts = sparse.random_array(
        (n_cells, GENES), density=0.2, format="csr", dtype=np.float32, rng=rng
    )
    counts.data = rng.geometric(0.2, counts.nnz).astype(np.float32)
    names = pd.DataFrame(index=[f"GENE{i + 1}" for i in range(GENES)])
    cells = anndata.AnnData(sparse.csr_matrix(counts), var=names)
    config = SEConfig(
        token_dim=TOKEN_DIM,
        length=LENGTH,
        width=WIDTH,
        n_heads=HEADS,
        hidden_dim=HIDDEN,
        n_layers=LAYERS,
        output_dim=OUTPUT,
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "random.ckpt")
        checkpoint = SECheckpoint.create(
            path, config=config, genes=19_790, random_state=0
        )
        embedding = SEEmbedding(checkpoint, device="cuda", count_scale="raw")
        embedding.fit(cells)
        start = time.perf_counter()
        embedding.transform(cells[:64])
        loading = time.perf_counter() - start
        start = time.perf_counter()
        embedding.transform(cells)
        taken = time.perf_counter() - start
    record("cells a second, whole", n_cells / taken, loading=loading)
    print(
        f"`SEEmbedding.transform`: {n_cells} cells of {GENES:,} genes in {taken:.1f} "
        f"s, {n_cells / taken:.0f} a second; the model took {loading:.1f} s to load.\n"
    )


def main():
    """Print tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--whole", action="store_true", help="through SEEmbedding")
    parser.add_argument("--cells", type=int, default=4000, help="of --whole")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("torch finds no GPU; this benchmark measures one.")
    with torch.inference_mode():
        whole(options.cells) if options.whole else forward([1, 4, 16, 64])


if __name__ == "__main__":
    main()
