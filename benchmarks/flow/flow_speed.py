"""Measure how fast flows are trained and sampled, beside torchcfm, torchdiffeq and POT.

Coupling: 8 blocks of 32 cells, each cell of noise with one of data, by `couple` and by
the exact transport of POT. Training: steps of 256 cells with the same network and
optimiser, coupled in blocks and, in torchcfm, as one problem; "none" is without
coupling. Sampling: 512 cells by Heun's method against dopri5 of torchdiffeq at a
tolerance of 1e-5, with the error relative to the mean displacement. All take turns,
each in a process of its own on one thread. With --whole, seconds and memory of a whole
fit of 150 perturbations x 1,000 cells in 50 dimensions.

    python -m benchmarks.flow.flow_speed [--whole] [--runs 3]
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks._output import record, show
from benchmarks._pairs import Side, ratio_rows, take_turns

BLOCKS, CELLS = 8, 32
HIDDEN = 512


def _torch():
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    return torch


def _batch(torch, n_features):
    x0 = torch.randn(BLOCKS, CELLS, n_features)
    return x0, torch.randn_like(x0) + 1


def couple_sklperturb(n_features, repeats):
    """Couple the cells of blocks."""
    torch = _torch()
    from sklperturb.flow._training import couple

    batches = [_batch(torch, n_features) for _ in range(repeats)]
    return lambda: [couple(*batch) for batch in batches]


def couple_pot(n_features, repeats):
    """Couple the cells of the same blocks by POT's exact transport."""
    torch = _torch()
    import ot

    batches = [_batch(torch, n_features) for _ in range(repeats)]
    even = np.full(CELLS, 1 / CELLS)

    def run():
        for x0, x1 in batches:
            for a, b in zip(x0, x1, strict=True):
                cost = torch.cdist(a, b).square().numpy().astype(np.float64)
                plan = ot.emd(even, even, cost)
                a[plan.argmax(axis=0)]

    return run


def _trained(n_features, n_steps, move):
    """Return a function that trains for some steps, coupled by `move`."""
    torch = _torch()
    from sklperturb.modules import VelocityNet

    net = VelocityNet(n_features, 64, hidden_dim=HIDDEN)
    optimizer = torch.optim.AdamW(net.parameters(), 1e-3, fused=True)
    elements = torch.randn(BLOCKS, 1, 64)

    def run():
        for _ in range(n_steps):
            x, t, velocity = move(*_batch(torch, n_features))
            code = net.encode(elements, torch.ones(BLOCKS, 1), torch.zeros(BLOCKS, 0))
            loss = torch.nn.functional.mse_loss(net(x, t, code), velocity)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return run


def _straight(torch, x0, x1):
    t = torch.rand(x0.shape[:2])
    return torch.lerp(x0, x1, t[..., None]), t, x1 - x0


def train_sklperturb(n_features, n_steps):
    """Train, coupled in blocks."""
    torch = _torch()
    from sklperturb.flow._training import couple

    def move(x0, x1):
        return _straight(torch, couple(x0, x1), x1)

    return _trained(n_features, n_steps, move)


def train_torchcfm(n_features, n_steps):
    """Train, coupled by torchcfm as a single problem of 256 cells."""
    from torchcfm.conditional_flow_matching import (
        ExactOptimalTransportConditionalFlowMatcher,
    )

    matcher = ExactOptimalTransportConditionalFlowMatcher(sigma=0.0)

    def move(x0, x1):
        flat = (z.reshape(-1, n_features) for z in (x0, x1))
        t, x, u = matcher.sample_location_and_conditional_flow(*flat)
        return x.reshape(x0.shape), t.reshape(x0.shape[:2]), u.reshape(x0.shape)

    return _trained(n_features, n_steps, move)


def train_none(n_features, n_steps):
    """Train without coupling."""
    torch = _torch()
    return _trained(n_features, n_steps, lambda x0, x1: _straight(torch, x0, x1))


def fit(n_features, path):
    """Fit a flow whose field is sampled, and save it."""
    import warnings

    _torch()
    import sklperturb
    from sklperturb.flow import FlowMatchingRegressor

    warnings.simplefilter("ignore")
    large = n_features > 50
    X, y = make_cells(12, 100 if large else 300, n_features)
    model = FlowMatchingRegressor(
        hidden_dim=HIDDEN, max_steps=100 if large else 300, random_state=0
    )
    sklperturb.save(model.fit(X, y), path, overwrite=True)


def _field(path, n_cells=512):
    """Return the velocity field of a condition of a saved flow, and cells of noise."""
    import pandas as pd

    torch = _torch()
    import sklperturb

    flow = sklperturb.load(path)._flow
    condition = flow.reader.read(pd.DataFrame({"target_gene": ["gene3"]}))
    start = flow.generator.start(0, n_cells, np.random.default_rng(0))
    return flow.generator.field(condition, 0), torch.from_numpy(start)[None]


def sample_sklperturb(path, n_steps):
    """Sample by Heun's method."""
    import torch

    from sklperturb.flow._generation import integrate

    field, x = _field(path)
    with torch.inference_mode():
        exact = integrate(field, x, 200)
    moved = (exact - x).norm(dim=-1).mean()

    def run():
        with torch.inference_mode():
            found = integrate(field, x, n_steps)
        return float((found - exact).norm(dim=-1).mean() / moved)

    return run


def sample_torchdiffeq(path, n_steps, tolerance=1e-5):
    """Sample by dopri5."""
    import torch
    from torchdiffeq import odeint

    field, x = _field(path)
    ends = torch.tensor([0.0, 1.0])
    options = {"method": "dopri5", "rtol": tolerance, "atol": tolerance}

    def velocity(t, z):
        return field(z, float(t))

    def run():
        with torch.inference_mode():
            odeint(velocity, x, ends, **options)

    return run


def make_cells(n_perturbations, n_cells, n_features, seed=0):
    """Generate populations that differ by their means."""
    import pandas as pd

    rng = np.random.default_rng(seed)
    names = [f"gene{i}" for i in range(n_perturbations)]
    labels = np.repeat(["control", *names], n_cells)
    y = rng.normal(size=(len(labels), n_features)).astype(np.float32)
    y += np.repeat(rng.normal(size=(n_perturbations + 1, n_features)), n_cells, axis=0)
    y[:, 0] *= 1 + (np.arange(len(y)) % 3)
    return pd.DataFrame({"target_gene": labels}), y


def whole(n_perturbations, n_cells):
    """Fit a flow to all cells."""
    import warnings

    from sklperturb.flow import FlowMatchingRegressor

    warnings.simplefilter("ignore")
    X, y = make_cells(n_perturbations, n_cells, 50)

    def run():
        model = FlowMatchingRegressor(random_state=0).fit(X, y)
        return model.history_[-1]["step"]

    return run


def compare(n_features, runs, path):
    """Return the rows of the table for one number of dimensions."""
    fit(n_features, path)
    n_steps = 20 if n_features <= 50 else 4
    rows = []
    for kind, work, peers in (
        ("couple", n_steps, ("pot",)),
        ("train", n_steps, ("torchcfm", "none")),
        ("sample", 12, ("torchdiffeq",)),
    ):
        given = [path if kind == "sample" else n_features, work]
        sides = {f"{kind}_sklperturb": None}
        for peer in peers:
            sides[f"{kind}_{peer}"] = None if peer == "none" else "flow"
        found = take_turns(__file__, sides, given, rounds=runs)
        names = {key.partition("_")[2]: times for key, times in found.items()}
        title = f"{kind}, {n_features}"
        rows += ratio_rows(names, title, dimensions=n_features, what=kind)
        if kind == "sample":
            error = found["sample_sklperturb"][0]["answer"]
            record(f"{title}: error", 100 * error, "%")
            rows[-2]["package"] += f", Heun, 12 steps, error {error:.2%}"
            rows[-1]["package"] += ", dopri5 at 1e-5"
    return rows


def main():
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--whole", action="store_true", help="only the whole fit")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--dimensions", type=int, nargs="+", default=[50, 2058])
    parser.add_argument("--cells", type=int, default=1000, help="of a perturbation")
    options = parser.parse_args()
    if options.whole:
        side = Side(__file__, "whole", [150, options.cells], sys.executable, threads=2)
        side.answer()
        found = side.run()
        side.close()
        record("whole fit", found["seconds"], "s", cpu=found["cpu"])
        record("whole fit, memory", found["peak_mb"] / 1024, "GB")
        row = {"cells": 151 * options.cells, "steps": found["answer"]}
        row |= {"s": found["seconds"], "CPU s": found["cpu"]}
        show([row | {"peak MB": found["peak_mb"]}])
        return
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for n_features in options.dimensions:
            rows += compare(n_features, options.runs, str(Path(folder, "flow.skpt")))
    show(rows)


if __name__ == "__main__":
    main()
