"""Train the networks at the size of OP2: 614 signatures of 18,211 genes.

    python -m benchmarks.networks.transformer_op2_size [--threads 2] [--epochs 500]

TransformerRegressor is trained for 500 full-batch epochs on the generated screen, which
has OP2's conditions, and scored on the held-out pairs beside zeros and the gene mean.
The other networks are fitted with their defaults; each runs in a process of its own,
so that its peak memory is its own. A first, tiny fit brings in what torch imports
late and is not counted. "CPU" is the time the process had a processor, which other
programs on the machine change less than the wall time.

To compare, clone F-Sossi/CSS581_Group8_Project_Cell_Pertubations from GitHub, a public
student implementation of a transformer on the same task. Put a folder ``data`` beside
its ``nn_only_src``, with the competition's files or those that
``sklperturb.datasets.write_screen`` writes, and run ``python main.py`` in
``nn_only_src`` under ``time``. On two cores an epoch took about 0.75 seconds, which
makes 375 seconds for 500 epochs, and 1.6 GB.
"""

import argparse
import multiprocessing
import resource
import sys
import time

import numpy as np

from benchmarks._output import record

MODELS = (
    "TransformerRegressor",
    "TokenEmbeddingMLPRegressor",
    "DualBranchRegressor",
    "SequenceNetRegressor",
)


def measure(name, epochs, threads, queue):
    import torch
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from sklperturb import neural_network
    from sklperturb.datasets import make_chemical_screen
    from sklperturb.metrics import mrrmse
    from sklperturb.preprocessing import make_condition_encoder

    torch.set_num_threads(threads)
    screen = make_chemical_screen(random_state=0)
    X, X_test = screen.X, screen.X_test
    if name in ("TransformerRegressor", "SequenceNetRegressor"):
        encoder = make_pipeline(make_condition_encoder(), StandardScaler())
        X, X_test = encoder.fit_transform(X, screen.y), encoder.transform(X_test)
    kind = getattr(neural_network, name)
    params = {"random_state": 0}
    if name == "TransformerRegressor":
        params |= {"batch_size": len(X), "validation_fraction": 0.0, "patience": None}
        params["max_epochs"] = epochs
    tiny = np.random.default_rng(0).normal(size=(8, 3))
    kind(max_epochs=1).fit(tiny, tiny)

    start, cpu = time.perf_counter(), time.process_time()
    model = kind(**params).fit(X, screen.y)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    error = mrrmse(screen.y_test, model.predict(X_test))
    mean = np.tile(screen.y.mean(), (len(screen.y_test), 1))
    queue.put(
        {
            "epochs": len(model.net_.history),
            "seconds": seconds,
            "cpu": cpu,
            "error": error,
            "zeros": mrrmse(screen.y_test, 0 * screen.y_test),
            "mean": mrrmse(screen.y_test, mean),
            # Kilobytes on Linux, bytes on macOS.
            "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            / (2**30 if sys.platform == "darwin" else 2**20),
        }
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=500)
    parser.add_argument("--models", nargs="+", default=MODELS)
    args = parser.parse_args()

    context = multiprocessing.get_context("spawn")
    print("| model | epochs | seconds | CPU | MRRMSE | zeros | gene mean | peak GB |")
    print("|---|---|---|---|---|---|---|---|")
    for name in args.models:
        queue = context.Queue()
        process = context.Process(
            target=measure, args=(name, args.epochs, args.threads, queue)
        )
        process.start()
        process.join()
        if process.exitcode:
            raise SystemExit(f"{name} failed")
        found = queue.get()
        record(f"{name}, {args.threads} threads", found["cpu"], "CPU s", **found)
        record(f"{name}, memory", found["peak"], "GB")
        print(
            f"| {name} | {found['epochs']} | {found['seconds']:.1f} | "
            f"{found['cpu']:.1f} | {found['error']:.3f} | {found['zeros']:.3f} | "
            f"{found['mean']:.3f} | {found['peak']:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
