"""Measure how fast flows are trained and sampled.

Training: cells a second with the same network and optimizer, 256 cells a step, against
the exact optimal transport of torchcfm, as the median over rounds that alternate.
Sampling: cells a second of Heun's method against dopri5 of torchdiffeq at a tolerance
of 1e-5, and the error relative to the mean displacement. Whole: seconds to fit 150
perturbations x 1,000 cells in 50 dimensions.

Needs torchcfm and torchdiffeq (`pip install --no-deps torchcfm torchdiffeq POT`).

Run: python benchmarks/flow_speed.py [--whole]
"""

import argparse
import time
import warnings

import numpy as np
import pandas as pd
import torch

from sklperturb.flow import FlowMatchingRegressor
from sklperturb.flow._generation import integrate
from sklperturb.flow._training import couple
from sklperturb.modules import VelocityNet

BLOCKS, CELLS = 8, 32
HIDDEN = 512
ROUNDS = 5


def training_step(net, optimizer, code_of, x0, x1):
    t = torch.rand(x0.shape[:2])
    x = torch.lerp(x0, x1, t[..., None])
    loss = torch.nn.functional.mse_loss(net(x, t, code_of()), x1 - x0)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def compare_training(n_features, n_steps):
    """Return the median seconds of a step: (ours, torchcfm, without coupling)."""
    from torchcfm.conditional_flow_matching import (
        ExactOptimalTransportConditionalFlowMatcher,
    )

    matcher = ExactOptimalTransportConditionalFlowMatcher(sigma=0.0)
    net = VelocityNet(n_features, 64, hidden_dim=HIDDEN)
    optimizer = torch.optim.AdamW(net.parameters(), 1e-3, fused=True)
    elements = torch.randn(BLOCKS, 1, 64)

    def code_of():
        return net.encode(elements, torch.ones(BLOCKS, 1), torch.zeros(BLOCKS, 0))

    def ours(x0, x1):
        training_step(net, optimizer, code_of, couple(x0, x1), x1)

    def independent(x0, x1):
        training_step(net, optimizer, code_of, x0, x1)

    def torchcfm(x0, x1):
        # Blocks one below the other: its batch is a single problem of 256 cells.
        flat = (z.reshape(-1, n_features) for z in (x0, x1))
        t, x, u = matcher.sample_location_and_conditional_flow(*flat)
        x, u = x.reshape(x0.shape), u.reshape(x0.shape)
        loss = torch.nn.functional.mse_loss(
            net(x, t.reshape(x0.shape[:2]), code_of()), u
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    times = {step: [] for step in (ours, torchcfm, independent)}
    for _ in range(ROUNDS):
        for step, found in times.items():
            start = time.process_time()
            for _ in range(n_steps):
                x0 = torch.randn(BLOCKS, CELLS, n_features)
                step(x0, torch.randn_like(x0) + 1)
            found.append((time.process_time() - start) / n_steps)
    return [float(np.median(found)) for found in times.values()]


def compare_sampling(model, X, n_cells=512):
    """Return cells a second of Heun and dopri5, and the error of Heun."""
    from torchdiffeq import odeint

    generator = model._generator
    conditions = model._reader.read(X)
    rng = np.random.default_rng(0)
    field = generator.field(conditions, 0, 0)
    x = torch.from_numpy(generator.start(0, n_cells, rng))[None]
    ends = torch.tensor([0.0, 1.0])

    def heun(n_steps):
        return lambda: integrate(field, x, n_steps)

    def dopri5(tolerance):
        return lambda: odeint(
            lambda t, z: field(z, float(t)),
            x,
            ends,
            method="dopri5",
            rtol=tolerance,
            atol=tolerance,
        )[-1]

    methods = {
        "Heun, 12 steps": heun(12),
        "Heun, 6 steps": heun(6),
        "dopri5, 1e-5": dopri5(1e-5),
    }
    times = {name: [] for name in methods}
    with torch.inference_mode():
        exact = integrate(field, x, 200)
        moved = (exact - x).norm(dim=-1).mean()
        for _ in range(ROUNDS):
            for name, method in methods.items():
                start = time.process_time()
                method()
                times[name].append(time.process_time() - start)
        return [
            {
                "solver": name,
                "cells/s": n_cells / np.median(times[name]),
                "error": float((method() - exact).norm(dim=-1).mean() / moved),
            }
            for name, method in methods.items()
        ]


def make_cells(n_perturbations, n_cells, n_features, seed=0):
    rng = np.random.default_rng(seed)
    names = [f"gene{i}" for i in range(n_perturbations)]
    labels = np.repeat(["control", *names], n_cells)
    y = rng.normal(size=(len(labels), n_features)).astype(np.float32)
    y += np.repeat(rng.normal(size=(n_perturbations + 1, n_features)), n_cells, axis=0)
    y[:, 0] *= 1 + (np.arange(len(y)) % 3)
    return pd.DataFrame({"target_gene": labels}), y


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--whole", action="store_true", help="only the whole fit")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    if arguments.whole:
        X, y = make_cells(150, 1000, 50)
        start = time.perf_counter()
        model = FlowMatchingRegressor(random_state=0).fit(X, y)
        seconds = time.perf_counter() - start
        print(
            f"{len(X)} cells x 50: {seconds:.0f} s, {model.history_[-1]['step']} steps"
        )
        return
    rows = []
    for n_features, n_steps in ((50, 20), (2058, 4)):
        ours, theirs, none = compare_training(n_features, n_steps)
        rows.append(
            {
                "dimensions": n_features,
                "cells/s": BLOCKS * CELLS / ours,
                "torchcfm": BLOCKS * CELLS / theirs,
                "without coupling": BLOCKS * CELLS / none,
                "times as fast": theirs / ours,
            }
        )
    print(pd.DataFrame(rows).round(2).to_string(index=False))
    for n_features in (50, 2058):
        X, y = make_cells(12, 100 if n_features > 50 else 300, n_features)
        model = FlowMatchingRegressor(
            hidden_dim=HIDDEN, max_steps=100 if n_features > 50 else 600, random_state=0
        ).fit(X, y)
        rows = compare_sampling(model, X[X["target_gene"] == "gene3"][:1])
        print(f"\n{n_features} dimensions")
        print(pd.DataFrame(rows).round(4).to_string(index=False))


if __name__ == "__main__":
    main()
