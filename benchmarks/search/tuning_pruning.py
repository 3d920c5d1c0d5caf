"""What ending trials early saves, and what it costs in the best score.

    python -m benchmarks.search.tuning_pruning FOLDER > table.md

FOLDER holds ``de_train.parquet`` and ``id_map.csv`` (see ``load_op2``); the numbers in
``docs/tuning.md`` are from TG-GATEs. The same search, with the same seed, runs once
without a pruner and once with each of the others, one trial at a time. Seconds are of
the processor, so that other work on the machine counts little. The score is the mean
MRRMSE over the folds; pairs in the target contexts are held out. What is recorded is
the median over the seeds, with the least and the largest.
"""

import argparse
import time
from collections import defaultdict
from statistics import median

from benchmarks._output import record
from sklperturb.datasets import load_op2
from sklperturb.model_selection import UnseenPairKFold
from sklperturb.models import make_model
from sklperturb.tuning import PerturbationSearchCV


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--contexts", nargs="+", default=["24h High", "24h Middle"])
    parser.add_argument("--folds", type=int, default=4)
    parser.add_argument("--model", default="token_mlp")
    parser.add_argument("--pruners", nargs="+", default=["auto"])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--trials", type=int, default=40)
    args = parser.parse_args()

    screen = load_op2(args.folder)
    cv = UnseenPairKFold(
        args.folds, contexts=args.contexts, schema=screen.schema, random_state=0
    )
    print("| pruner | seed | best MRRMSE | from unpruned | CPU s | share | pruned |")
    print("|---|---|---|---|---|---|---|")
    shares, losses = defaultdict(list), defaultdict(list)
    for seed in range(args.seeds):
        reference = None
        for pruner in (None, *args.pruners):
            search = PerturbationSearchCV(
                make_model(args.model, schema=screen.schema, random_state=0),
                cv=cv,
                scoring="mrrmse",
                n_trials=args.trials,
                pruner=pruner,
                random_state=seed,
                refit=False,
            )
            start = time.process_time()
            search.fit(screen.X, screen.y)
            seconds = time.process_time() - start
            best = -search.best_score_
            reference = reference or (best, seconds)
            shares[pruner].append(seconds / reference[1])
            losses[pruner].append(100 * (best / reference[0] - 1))
            n_pruned = (search.cv_results_["state"] == "PRUNED").sum()
            print(
                f"| {pruner} | {seed} | {best:.4f} | {best / reference[0] - 1:+.2%} "
                f"| {seconds:.0f} | {seconds / reference[1]:.0%} | {n_pruned} |",
                flush=True,
            )
    for pruner in args.pruners:
        for name, unit, found in (
            ("share of the time", "", shares[pruner]),
            ("worse by", "%", losses[pruner]),
        ):
            spread = {"low": min(found), "high": max(found)}
            record(f"{pruner}: {name}", median(found), unit, **spread)


if __name__ == "__main__":
    main()
