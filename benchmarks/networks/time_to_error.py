"""How long each network takes until it is as good as the additive model, at OP2 size.

614 generated signatures of 18,211 genes, 255 held-out pairs. Networks are fitted with
more and more epochs, everything else being their defaults, until the held-out MRRMSE is
that of the additive model (`additive_joint`) or less, and in the next column until it
is a share lower. Processor seconds of the fit that reached it, on one thread; those of
the shorter fits before it are not counted.

    python -m benchmarks.networks.time_to_error [--genes 18211] [--share 0.01]
"""

import argparse
import time

import numpy as np

from benchmarks._output import record, show

NETWORKS = (
    "TransformerRegressor",
    "TokenEmbeddingMLPRegressor",
    "DualBranchRegressor",
    "SequenceNetRegressor",
)
EPOCHS = (1, 2, 5, 10, 20, 40, 80, 160)


def fitted(name, screen, epochs):
    """Return (held-out error, processor seconds) of a network after some epochs."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from sklperturb import neural_network
    from sklperturb.metrics import mrrmse
    from sklperturb.preprocessing import make_condition_encoder

    model = getattr(neural_network, name)(max_epochs=epochs, random_state=0)
    if name in ("TransformerRegressor", "SequenceNetRegressor"):
        model = make_pipeline(make_condition_encoder(), StandardScaler(), model)
    start = time.process_time()
    model.fit(screen.X, screen.y)
    seconds = time.process_time() - start
    return mrrmse(screen.y_test, model.predict(screen.X_test)), seconds


def main():
    """Print a table."""
    import torch

    from sklperturb.datasets import make_chemical_screen
    from sklperturb.metrics import mrrmse
    from sklperturb.models import make_model

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--genes", type=int, default=18_211)
    parser.add_argument("--share", type=float, default=0.01)
    options = parser.parse_args()
    torch.set_num_threads(1)
    screen = make_chemical_screen(n_genes=options.genes, random_state=0)
    start = time.process_time()
    additive = make_model("additive_joint", schema=screen.schema)
    additive.fit(screen.X, screen.y)
    seconds = time.process_time() - start
    goal = mrrmse(screen.y_test, additive.predict(screen.X_test))
    rows = [
        {
            "model": "additive_joint",
            "s to its error": seconds,
            "epochs": "",
            "s to 1 % less": "",
            "lowest MRRMSE": f"{goal:.4f}",
        }
    ]
    tiny = np.random.default_rng(0).normal(size=(8, 3))
    for name in NETWORKS:
        from sklperturb import neural_network

        # Brings in what torch imports late.
        getattr(neural_network, name)(max_epochs=1).fit(tiny, tiny)
        reached, lower, lowest = None, None, np.inf
        for epochs in EPOCHS:
            error, seconds = fitted(name, screen, epochs)
            lowest = min(lowest, error)
            if reached is None and error <= goal:
                reached = epochs, seconds
            if error <= (1 - options.share) * goal:
                lower = seconds
                break
        if reached:
            record(f"{name} to error", reached[1], "CPU s", epochs=reached[0])
        rows.append(
            {
                "model": name,
                "s to its error": reached[1] if reached else "not reached",
                "epochs": str(reached[0]) if reached else "",
                "s to 1 % less": lower if lower is not None else "not reached",
                "lowest MRRMSE": f"{lowest:.4f}",
            }
        )
    show(rows)


if __name__ == "__main__":
    main()
