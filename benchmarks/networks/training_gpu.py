"""Train networks and flows on the CPU and on a GPU.

Flows learn 150 perturbations of 1,000 cells in 50 dimensions, and cells in the 2,058 of
State Embedding with layers of 2,048; networks a generated screen of OP2's size, 614
rows of 18,211 genes. Each is fitted on both, in one process, after a tiny fit that
brings in what is imported late; the CPU has two threads. The error is MRRMSE of
held-out pairs; of flows, the last loss of the training.

    python -m benchmarks.networks.training_gpu
"""

import argparse
import time
import warnings

import numpy as np
import torch

from benchmarks._output import record, show
from benchmarks.flow.flow_speed import make_cells
from sklperturb import neural_network
from sklperturb.datasets import make_chemical_screen
from sklperturb.flow import FlowMatchingRegressor
from sklperturb.metrics import mrrmse
from sklperturb.preprocessing import make_condition_encoder

NETWORKS = {
    "TransformerRegressor": {
        "batch_size": 614,
        "validation_fraction": 0.0,
        "patience": None,
        "max_epochs": 500,
    },
    "TokenEmbeddingMLPRegressor": {},
    "DualBranchRegressor": {},
}
FLOWS = {
    "150 x 1,000 cells, 50 dimensions": ((150, 1000, 50), {}),
    "12 x 300 cells, 2,058 dimensions, layers of 2,048, 300 steps": (
        (12, 300, 2058),
        {"hidden_dim": 2048, "max_steps": 300},
    ),
}


def network_tasks(scale=1):
    """Yield names, functions that fit on a device, and ones that tell the error."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    size = () if scale == 1 else (4, 20, 30)
    screen = make_chemical_screen(*size, random_state=0)
    encoder = make_pipeline(make_condition_encoder(), StandardScaler())
    encoded = encoder.fit_transform(screen.X, screen.y)
    encoded = encoded, encoder.transform(screen.X_test)
    tiny = np.random.default_rng(0).normal(size=(8, 3))
    for name, params in NETWORKS.items():
        kind = getattr(neural_network, name)
        takes_numbers = name == "TransformerRegressor"
        X, X_test = encoded if takes_numbers else (screen.X, screen.X_test)
        params = params | {"random_state": 0}
        if scale != 1:
            params["max_epochs"] = 2

        def fit(device, kind=kind, params=params, X=X):
            kind(max_epochs=1, device=device).fit(tiny, tiny)
            start = time.perf_counter()
            model = kind(**params, device=device).fit(X, screen.y)
            return model, time.perf_counter() - start

        def error(model, X_test=X_test):
            return mrrmse(screen.y_test, model.predict(X_test))

        yield name, fit, error


def flow_tasks(scale=1):
    """Yield the same of flows, with the error of held-out perturbations."""
    for title, (shape, params) in FLOWS.items():
        n, m, d = (max(4, size // scale) for size in shape)
        X, y = make_cells(n, m, d)
        params = params | {"random_state": 0}
        if scale != 1:
            params |= {"max_steps": 20, "hidden_dim": 16}

        def fit(device, X=X, y=y, params=params):
            few = X["target_gene"].isin(X["target_gene"].unique()[:5]).to_numpy()
            tiny = params | {"max_steps": 10}
            FlowMatchingRegressor(**tiny, device=device).fit(X[few], y[few])
            start = time.perf_counter()
            model = FlowMatchingRegressor(**params, device=device).fit(X, y)
            return model, time.perf_counter() - start

        yield f"flow, {title}", fit, lambda model: model.history_[-1]["train_loss"]


def main():
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--scale", type=int, default=1, help="100 is a quick look")
    parser.add_argument("--devices", nargs=2, default=["cpu", "cuda"])
    options = parser.parse_args()
    if "cuda" in options.devices and not torch.cuda.is_available():
        raise SystemExit("torch finds no GPU; this benchmark measures one.")
    torch.set_num_threads(2)
    warnings.simplefilter("ignore")
    rows = []
    for tasks in (flow_tasks, network_tasks):
        for title, fit, error in tasks(options.scale):
            row, taken = {"model": title}, []
            for device, name in zip(options.devices, ("CPU", "GPU"), strict=True):
                model, seconds = fit(device)
                taken.append(seconds)
                row[f"{name} s"] = seconds
                row[f"error, {name}"] = error(model)
            record(f"{title}: GPU", taken[0] / taken[1], "times as fast", s=taken)
            rows.append(row | {"GPU, times as fast": taken[0] / taken[1]})
    if torch.cuda.is_available():
        print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}\n")
    show(rows)


if __name__ == "__main__":
    main()
