"""Compare context transfer, boosting and t scores with other models on TG-GATEs.

    python -m benchmarks.models.context_transfer_tggates FOLDER > table.md

FOLDER holds ``de_train.parquet`` and ``id_map.csv`` (see ``load_op2``). Held out are
pairs in the target contexts, pairs in all contexts, and whole contexts; the error is
the mean over folds of the MRRMSE. "t" is the model on t statistics; those of TG-GATEs
have 2 + 6 degrees of freedom, of four arrays and of the shrinkage of the variances.
"""

import argparse
import time

import numpy as np
from sklearn.compose import TransformedTargetRegressor

from sklperturb.datasets import load_op2
from sklperturb.linear_model import ContextTransferRidge
from sklperturb.metrics import mrrmse
from sklperturb.model_selection import LeaveOneContextOut, UnseenPairKFold
from sklperturb.models import make_model
from sklperturb.preprocessing import TScoreTransformer

NAMES = (
    "product_kernel",
    "context_transfer",
    "boosting",
    "ridge",
    "additive_joint",
    "perturbation_mean",
)


def main():
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--contexts", nargs="+", default=["24h High", "24h Middle"])
    parser.add_argument("--models", nargs="+", default=list(NAMES))
    parser.add_argument("--df", type=float, default=8, help="degrees of freedom of t")
    parser.add_argument(
        "--t-models", nargs="*", default=["context_transfer", "ridge", "additive_joint"]
    )
    options = parser.parse_args()
    screen = load_op2(options.folder)
    X, y = screen.X, screen.y
    models = {name: make_model(name, random_state=0) for name in options.models}
    models['context_transfer, kernel="rbf"'] = ContextTransferRidge("rbf")
    for name in options.t_models:
        models[f"{name}, t"] = TransformedTargetRegressor(
            make_model(name, random_state=0),
            transformer=TScoreTransformer(options.df),
            check_inverse=False,
        )
    splitters = (
        UnseenPairKFold(5, contexts=options.contexts, random_state=0),
        UnseenPairKFold(5, random_state=0),
        LeaveOneContextOut(),
    )
    print("| model | target pairs | all pairs | whole contexts | seconds a fit |")
    print("|---|---|---|---|---|")
    for name, model in models.items():
        columns, seconds = [], []
        for cv in splitters:
            errors = []
            for train, test in cv.split(X, y):
                start = time.perf_counter()
                model.fit(X.iloc[train], y.iloc[train])
                seconds.append(time.perf_counter() - start)
                errors.append(mrrmse(y.iloc[test], model.predict(X.iloc[test])))
            columns.append(f"{np.mean(errors):.3f}")
        print(f"| {name} | {' | '.join(columns)} | {np.median(seconds):.1f} |")


if __name__ == "__main__":
    main()
