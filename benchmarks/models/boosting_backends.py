"""Compare boosting libraries on the components of the targets.

    pip install xgboost-cpu
    OMP_NUM_THREADS=1 python -m benchmarks.models.boosting_backends FOLDER > table.md

FOLDER holds ``de_train.parquet`` and ``id_map.csv`` (see ``load_op2``). Pairs in the
target contexts are held out in five folds. Each library gets the same encoded features
and the same components, 100 trees of up to 15 leaves (a depth of 4 for XGBoost), a rate
of 0.1, 30 % of the features a tree, and one thread.
"""

import argparse
import sys
import time

import numpy as np
import xgboost
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.multioutput import MultiOutputRegressor

from sklperturb.compose import LatentTargetRegressor
from sklperturb.datasets import load_op2
from sklperturb.ensemble import BoostedTargetRegressor
from sklperturb.metrics import mrrmse
from sklperturb.model_selection import UnseenPairKFold
from sklperturb.preprocessing import TargetReducer, make_condition_encoder


def lightgbm(n_components):
    return BoostedTargetRegressor(n_components, random_state=0)


def scikit_learn(n_components):
    trees = HistGradientBoostingRegressor(
        max_leaf_nodes=15,
        l2_regularization=1.0,
        max_features=0.3,
        early_stopping=False,
        random_state=0,
    )
    return LatentTargetRegressor(
        MultiOutputRegressor(trees), TargetReducer(n_components)
    )


def xgb(multi_strategy):
    def build(n_components):
        trees = xgboost.XGBRegressor(
            n_estimators=100,
            learning_rate=0.1,
            max_depth=4,
            min_child_weight=20,
            reg_lambda=1.0,
            colsample_bytree=0.3,
            tree_method="hist",
            multi_strategy=multi_strategy,
            n_jobs=1,
            random_state=0,
        )
        return LatentTargetRegressor(trees, TargetReducer(n_components))

    return build


BACKENDS = {
    "LightGBM, a tree per component": lightgbm,
    "XGBoost, a tree per component": xgb("one_output_per_tree"),
    "XGBoost, vector leaves": xgb("multi_output_tree"),
    "scikit-learn, a tree per component": scikit_learn,
}


def main():
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--contexts", nargs="+", default=["24h High", "24h Middle"])
    parser.add_argument("--components", nargs="+", type=int, default=[5, 20])
    options = parser.parse_args()
    screen = load_op2(options.folder)
    X, y = screen.X, screen.y.to_numpy()
    folds = []
    cv = UnseenPairKFold(5, contexts=options.contexts, random_state=0)
    for train, test in cv.split(X, y):
        encoder = make_condition_encoder(statistics=("mean",))
        encoded = encoder.fit_transform(X.iloc[train], y[train])
        folds.append((encoded, y[train], encoder.transform(X.iloc[test]), y[test]))
    print("| library | components | MRRMSE | seconds a fit |\n|---|---|---|---|")
    for n_components in options.components:
        for name, build in BACKENDS.items():
            print(name, n_components, file=sys.stderr)
            errors, seconds = [], []
            for encoded, y_train, encoded_test, y_test in folds:
                start = time.perf_counter()
                model = build(n_components).fit(encoded, y_train)
                seconds.append(time.perf_counter() - start)
                errors.append(mrrmse(y_test, model.predict(encoded_test)))
            print(
                f"| {name} | {n_components} | {np.mean(errors):.3f} "
                f"| {np.median(seconds):.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
