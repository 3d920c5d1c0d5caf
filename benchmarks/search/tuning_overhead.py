"""What the search costs beside a bare loop, and what a second worker brings.

    python -m benchmarks.search.tuning_overhead

Overhead: the parameters that the search tried are scored once more by a loop of
``cross_val_score`` on one thread. Both take turns, and the table has the medians, of
wall-clock time and of processor time; the latter counts little of other work on the
machine. A journal file is the storage, the refit is left out.

Throughput: the same trials of a network on one worker and on two. The workers are
started, and have imported torch, before the clock. Two workers need two idle cores;
``idle`` says how much of the cores was free just before.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import psutil
import torch
from optuna.distributions import FloatDistribution
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from threadpoolctl import threadpool_limits

from benchmarks._output import record
from sklperturb.datasets import make_chemical_screen
from sklperturb.metrics import neg_mrrmse_scorer
from sklperturb.model_selection import UnseenPairKFold
from sklperturb.models import make_model
from sklperturb.tuning import PerturbationSearchCV

RATE = {"regressor__learning_rate": FloatDistribution(0.01, 0.05, log=True)}
MODELS = {
    "ridge": ("ridge", {"n_statistics": [16, 32, 64]}),
    "token_mlp": ("token_mlp", RATE),
}


def search_of(model, space, cv, n_trials, **params):
    return PerturbationSearchCV(
        model,
        space,
        cv=cv,
        scoring="mrrmse",
        n_trials=n_trials,
        pruner=None,
        refit=False,
        verbose=0,
        random_state=0,
        **params,
    )


def timed(call):
    wall, cpu = time.perf_counter(), time.process_time()
    result = call()
    return result, time.perf_counter() - wall, time.process_time() - cpu


def overhead(name, screen, cv, n_trials, n_rounds):
    registered, space = MODELS[name]
    model = make_model(registered, schema=screen.schema, random_state=0)
    seconds = {"search": [], "loop": []}

    def search():
        with tempfile.TemporaryDirectory() as folder:
            storage = Path(folder) / "study.log"
            return search_of(model, space, cv, n_trials, storage=storage).fit(
                screen.X, screen.y
            )

    def loop(params):
        with threadpool_limits(1):
            for given in params:
                cross_val_score(
                    clone(model).set_params(**given),
                    screen.X,
                    screen.y,
                    cv=cv,
                    scoring=neg_mrrmse_scorer,
                )

    params = search().cv_results_["params"]  # the first call imports what it needs
    for _ in range(n_rounds):
        seconds["search"].append(timed(search)[1:])
        seconds["loop"].append(timed(lambda: loop(params))[1:])
    medians = {
        who: [statistics.median(column) for column in zip(*rows, strict=True)]
        for who, rows in seconds.items()
    }
    wall, cpu = (medians["search"][i] / medians["loop"][i] - 1 for i in range(2))
    per_trial = medians["loop"][0] / n_trials
    record(f"overhead, {name}", 100 * cpu, "%")
    print(f"| {name} | {per_trial:.2f} | {wall:+.1%} | {cpu:+.1%} |", flush=True)


def throughput(screen, cv, n_trials, max_epochs, n_rounds):
    model = make_model("token_mlp", schema=screen.schema, random_state=0)
    model.set_params(regressor__max_epochs=max_epochs)

    def run(n_jobs):
        return search_of(model, RATE, cv, n_trials, n_jobs=n_jobs).fit(
            screen.X, screen.y
        )

    search_of(model, RATE, cv, 4, n_jobs=2).fit(screen.X, screen.y)
    gains = []
    for _ in range(n_rounds):
        idle = 1 - psutil.cpu_percent(1.0) / 100
        one, alone, _ = timed(lambda: run(1))
        two, together, _ = timed(lambda: run(2))
        gains.append(alone / together)
        same = one.best_params_ == two.best_params_
        print(
            f"| {alone / n_trials:.2f} | {together / n_trials:.2f} "
            f"| {alone / together:.2f} | {same} | {idle:.0%} |",
            flush=True,
        )
    record("two workers", statistics.median(gains), "times", rounds=gains)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--genes", type=int, default=300)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--only", choices=["overhead", "throughput"])
    args = parser.parse_args()
    torch.set_num_threads(1)
    screen = make_chemical_screen(6, 100, args.genes, random_state=0)
    cv = UnseenPairKFold(3, random_state=0, schema=screen.schema)
    if args.only != "throughput":
        print("| model | s per trial | overhead, wall | overhead, processor |")
        print("|---|---|---|---|")
        for name in MODELS:
            overhead(name, screen, cv, args.trials, args.rounds)
    if args.only != "overhead":
        print(f"\n{os.cpu_count()} cores")
        print("| s per trial, 1 worker | 2 workers | ratio | same best | idle |")
        print("|---|---|---|---|---|")
        throughput(screen, cv, args.trials, args.epochs, args.rounds)


if __name__ == "__main__":
    main()
