"""Plant leaks in generated screens, and look for them and for false alarms.

    python -m benchmarks.trust.audit_leaks                  # planted, and honest twins
    python -m benchmarks.trust.audit_leaks --folder FOLDER  # models on a screen

Prints, for each leak, what the audit finds and measures over several seeds; and for the
honest screens beside them, and for a folder in the layout of OP2, how often it tells of
a leak where there is none.
"""

import argparse
import time
import warnings

import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from benchmarks._output import record, show
from sklperturb.datasets import load_op2, make_chemical_screen
from sklperturb.inspection import audit
from sklperturb.model_selection import (
    LeaveOneContextOut,
    UnseenContextKFold,
    UnseenPairKFold,
    UnseenPerturbationKFold,
    UnseenScaffoldKFold,
    suggest_cv,
)
from sklperturb.models import make_model
from sklperturb.preprocessing import TargetStatisticsEncoder

MODELS = ["additive", "perturbation_mean", "ridge", "product_kernel", "response_kernel"]


def encoder():
    return TargetStatisticsEncoder(["mean"], n_components=None, smooth=0.0)


def encoding(screen, seed, leaky):
    model, cv = Ridge(30.0), UnseenPairKFold(3, random_state=seed)
    if not leaky:
        return make_pipeline(encoder(), model), screen.X, screen.y, cv, {}
    encoded = encoder().fit(screen.X, screen.y).transform(screen.X)
    return model, encoded, screen.y, cv, {"conditions": screen.X}


def components(screen, seed, leaky):
    rng = np.random.default_rng(seed)
    columns = PCA(8, random_state=0).fit_transform(screen.y)
    if not leaky:  # of another assay, with as much noise as signal
        columns = columns + columns.std(axis=0) * rng.normal(size=columns.shape)
    features = np.hstack([columns, encoded_contexts(screen.X)])
    cv = UnseenPairKFold(3, random_state=seed)
    return Ridge(1.0), features, screen.y, cv, {"conditions": screen.X}


def encoded_contexts(X):
    return pd.get_dummies(X["cell_type"]).to_numpy(dtype=float)


def frozen(screen, seed, leaky):
    part = encoder()
    if leaky:
        part = FrozenEstimator(part.fit(screen.X, screen.y))
    cv = UnseenPairKFold(3, random_state=seed)
    return make_pipeline(part, Ridge(30.0)), screen.X, screen.y, cv, {}


def salts(screen, seed, leaky):
    """Measure every compound once more, as a salt with a name of its own."""
    rng = np.random.default_rng(seed)
    again, y = screen.X, screen.y.to_numpy() + rng.normal(size=screen.y.shape)
    if leaky:
        again = again.assign(SMILES=again["SMILES"] + ".Cl")
    else:
        other = make_chemical_screen(4, 40, 60, random_state=seed + 1000)
        new = ~other.X["SMILES"].isin(screen.X["SMILES"]).to_numpy()
        again, y = other.X[new], other.y.to_numpy()[new]
    again = again.assign(sm_name=again["sm_name"] + " B")
    X, y = screen.X, np.vstack([screen.y, y])
    X = pd.concat([X, again], ignore_index=True)
    cv = UnseenPerturbationKFold(3, random_state=seed)
    return make_model("nearest_compound"), X, y, cv, {}


def replicates(screen, seed, leaky):
    rng = np.random.default_rng(seed)
    X = pd.concat([screen.X, screen.X], ignore_index=True)
    y = np.vstack([screen.y, screen.y])
    y = y + rng.normal(size=y.shape)
    cv = KFold(4, shuffle=True, random_state=seed)
    if not leaky:
        cv = UnseenPairKFold(3, random_state=seed)
    return make_model("product_kernel"), X, y, cv, {}


def copies(screen, seed, leaky):
    rng = np.random.default_rng(seed)
    rows = rng.choice(len(screen.X), len(screen.X) // 4, replace=False)
    twins = screen.X.iloc[rows].assign(sm_name=lambda t: "lot 2 of " + t["sm_name"])
    X = pd.concat([screen.X, twins], ignore_index=True).drop(columns="SMILES")
    y = screen.y.to_numpy()
    noise = (0.01 if leaky else 1.0) * rng.normal(size=(len(rows), y.shape[1]))
    cv = UnseenPerturbationKFold(3, random_state=seed)
    return make_model("additive_joint"), X, np.vstack([y, y[rows] + noise]), cv, {}


def plates(screen, seed, leaky):
    rng = np.random.default_rng(seed)
    plate = rng.permutation(np.arange(len(screen.X)) % 8)
    effect = (2.0 if leaky else 0.0) * rng.normal(size=(8, screen.y.shape[1]))
    X = screen.X.assign(plate=[f"P{p}" for p in plate])
    read = make_column_transformer((OneHotEncoder(), ["cell_type", "plate"]))
    cv = UnseenPairKFold(3, random_state=seed)
    y = screen.y.to_numpy() + effect[plate]
    return make_pipeline(read, Ridge(1.0)), X, y, cv, {}


def lookup(screen, seed, leaky):
    model = make_model("additive")
    if leaky:
        model = FrozenEstimator(make_model("product_kernel").fit(screen.X, screen.y))
    return model, screen.X, screen.y, UnseenPairKFold(3, random_state=seed), {}


PLANTED = {
    "encoding of targets by all rows": encoding,
    "components of all responses": components,
    "encoder fitted before": frozen,
    "salts of the same compounds": salts,
    "replicates of a condition": replicates,
    "copies under another name": copies,
    "effects of plates": plates,
    "model fitted before": lookup,
}


def planted(seeds):
    """Yield what was found of each planted leak, and of its honest twin."""
    for name, plant in PLANTED.items():
        found, inflations, alarms, seconds = 0, [], 0, []
        for seed in seeds:
            screen = make_chemical_screen(4, 40, 60, random_state=seed)
            for leaky in (True, False):
                model, X, y, cv, options = plant(screen, seed, leaky)
                start = time.perf_counter()
                result = audit(model, X, y, cv, random_state=seed, **options)
                seconds.append(time.perf_counter() - start)
                if not leaky:
                    alarms += not result.ok
                elif not result.ok:
                    found += 1
                    measured = result.findings[0].inflation
                    inflations.append((measured.inflation, measured.score_without))
        gain, without = np.mean(inflations, axis=0) if inflations else (np.nan, np.nan)
        yield {
            "leak": name,
            "found": f"{found} of {len(seeds)}",
            "MRRMSE without": round(without, 3),
            "inflation": round(gain, 3),
            "false alarms": f"{alarms} of {len(seeds)}",
            "seconds": round(np.median(seconds), 1),
        }


def honest(screen, models, name):
    """Yield how often a leak is told of a screen that has none."""
    folds = {
        "what is asked": suggest_cv(screen.X, screen.X_test, schema=screen.schema),
        "pairs": UnseenPairKFold(3, random_state=0),
        "perturbations": UnseenPerturbationKFold(3, random_state=0),
        "scaffolds": UnseenScaffoldKFold(3, random_state=0),
        "contexts": UnseenContextKFold(2, random_state=0),
        "one context": LeaveOneContextOut(),
    }
    if screen.schema.smiles is None:
        del folds["scaffolds"]
    for model in models:
        kinds, seconds = [], []
        for held_out, cv in folds.items():
            start = time.perf_counter()
            try:
                result = audit(model, screen.X, screen.y, cv, schema=screen.schema)
            except ValueError as error:  # a single context cannot be held out
                print(f"{name}, {held_out}: {error}")
                continue
            seconds.append(time.perf_counter() - start)
            kinds += [f"{held_out}: {f.kind}" for f in result.findings]
        yield {
            "screen": name,
            "model": model,
            "folds": len(seconds),
            "false alarms": ", ".join(kinds) or "none",
            "seconds": round(np.median(seconds), 1),
        }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--folder", action="append", default=[])
    parser.add_argument("--models", default=",".join(MODELS))
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    models = arguments.models.split(",")
    if arguments.folder:
        rows = []
        for folder in arguments.folder:
            rows += honest(load_op2(folder), models, folder.rstrip("/").split("/")[-1])
    else:
        rows = list(planted(range(arguments.seeds)))
        shares = [row["found"].split(" of ") for row in rows]
        record("share found", np.mean([int(k) / int(n) for k, n in shares]))
        alarms = [int(row["false alarms"].split(" of ")[0]) for row in rows]
        record("false alarms", sum(alarms))
    show(rows)


if __name__ == "__main__":
    main()
