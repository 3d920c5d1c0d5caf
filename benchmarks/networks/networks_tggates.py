"""Compare the neural estimators with linear models on a screen in the OP2 layout.

    python -m benchmarks.networks.networks_tggates FOLDER > table.md

FOLDER holds ``de_train.parquet`` and ``id_map.csv`` (see ``load_op2``); the numbers in
``docs/networks.md`` are from TG-GATEs, human hepatocytes, in which the target
contexts "24h High" and "24h Middle" were seen for 24 of 141 compounds. Pairs in the
target contexts are held out in six folds, dealt three times. A network is fitted with
five seeds and scored twice: the mean error of single networks, and the error of the
median prediction. The interval of the difference from TargetEncodedRidge comes from
drawing compounds with replacement.
"""

import argparse
import os
import sys
import time

import numpy as np
import torch
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklperturb.baseline import NoChangeRegressor
from sklperturb.datasets import load_op2
from sklperturb.linear_model import ProductKernelRidge, TargetEncodedRidge
from sklperturb.model_selection import UnseenPairKFold
from sklperturb.neural_network import (
    DualBranchRegressor,
    SequenceNetRegressor,
    TokenEmbeddingMLPRegressor,
    TransformerRegressor,
)
from sklperturb.preprocessing import make_condition_encoder

REFERENCE = "TargetEncodedRidge"


def encoded(model):
    return make_pipeline(make_condition_encoder(), StandardScaler(), model)


MODELS = {
    "NoChangeRegressor (zeros)": NoChangeRegressor(),
    REFERENCE: TargetEncodedRidge(),
    "ProductKernelRidge": ProductKernelRidge(),
    "TokenEmbeddingMLPRegressor": TokenEmbeddingMLPRegressor(),
    "DualBranchRegressor": DualBranchRegressor(),
    "SequenceNetRegressor, gru": encoded(SequenceNetRegressor("gru")),
    "SequenceNetRegressor, lstm": encoded(SequenceNetRegressor("lstm")),
    "SequenceNetRegressor, conv": encoded(SequenceNetRegressor("conv")),
    "TransformerRegressor": encoded(TransformerRegressor()),
}


def seeded(model, seed):
    model = clone(model)
    names = [name for name in model.get_params() if name.endswith("random_state")]
    return model.set_params(**dict.fromkeys(names, seed)), bool(names)


def row_errors(y_true, y_pred):
    return np.sqrt(((y_true - y_pred) ** 2).mean(axis=-1))


def evaluate(model, X, y, splits, n_seeds):
    """Return each test row's error, alone and as a median, and seconds per fit.

    Errors have shape (n_deals, n_rows), NaN in rows never tested.
    """
    single = np.full((len(splits), len(X)), np.nan)
    median = single.copy()
    seconds = []
    for deal, folds in enumerate(splits):
        for train, test in folds:
            predictions = []
            for seed in range(n_seeds):
                fitted, random = seeded(model, seed)
                start = time.perf_counter()
                fitted.fit(X.iloc[train], y.iloc[train])
                seconds.append(time.perf_counter() - start)
                predictions.append(fitted.predict(X.iloc[test]))
                if not random:
                    break
            y_test = y.to_numpy()[test]
            single[deal, test] = row_errors(y_test, np.array(predictions)).mean(axis=0)
            median[deal, test] = row_errors(y_test, np.median(predictions, axis=0))
    return single, median, float(np.median(seconds))


def interval(difference, compounds, n_draws=10_000):
    """Return the 95 % bootstrap interval of a mean over rows, drawing compounds."""
    rng = np.random.default_rng(0)
    codes = np.unique(compounds, return_inverse=True)[1]
    sums, counts = np.bincount(codes, difference), np.bincount(codes)
    drawn = rng.integers(len(sums), size=(n_draws, len(sums)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    return np.quantile(means, [0.025, 0.975])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--contexts", nargs="+", default=["24h High", "24h Middle"])
    parser.add_argument("--deals", type=int, default=3, help="times to deal the folds")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    args = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 1)))

    screen = load_op2(args.folder)
    X, y = screen.X, screen.y
    splits = [
        list(UnseenPairKFold(6, contexts=args.contexts, random_state=deal).split(X, y))
        for deal in range(args.deals)
    ]
    tested = np.unique(np.concatenate([test for _, test in splits[0]]))
    compounds = X[screen.schema.perturbation].to_numpy()[tested]
    names = [REFERENCE, *(name for name in args.models if name != REFERENCE)]

    print(
        "| model | one network | median of seeds | difference (95 % interval) "
        "| seconds per fit |"
    )
    print("|---|---|---|---|---|")
    reference = None
    for name in names:
        print(name, file=sys.stderr)
        single, median, seconds = evaluate(MODELS[name], X, y, splits, args.seeds)
        rows = median[:, tested].mean(axis=0)
        if reference is None:
            reference, difference = rows, "–"  # noqa: RUF001
        else:
            low, high = interval(rows - reference, compounds)
            mean = (rows - reference).mean()
            difference = f"{mean:+.3f} ({low:+.3f} to {high:+.3f})"
        print(
            f"| {name} | {np.nanmean(single):.3f} | {rows.mean():.3f} | {difference} "
            f"| {seconds:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
