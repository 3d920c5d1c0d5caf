"""Write the data that the public methods and our models are compared on.

    python -m benchmarks.public_methods.prepare op2_layout SCREEN OUTPUT --n-splits 2
    python -m benchmarks.public_methods.prepare op2_size DESIGN OUTPUT

OUTPUT gets one folder a fold, each in the layout of the benchmark: ``de_train.h5ad``,
``id_map.csv`` and, for scoring only, ``de_test.h5ad``.

op2_layout: SCREEN is any folder that ``load_op2`` reads. Its training rows are dealt
into folds that ask what its id map asks (see ``suggest_cv``): of TG-GATEs and OP3 pairs
in the contexts to predict, each of two folds leaving half of the compounds that were
seen there.

op2_size: DESIGN holds the conditions of OP2 (kaggle_train_obs_614.csv and
kaggle_id_map_255_with_lb_split.csv); the 18,211 responses are generated.
"""

import argparse
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd

from benchmarks.models.leaderboard_op2_size import (
    drawn_positions,
    on_real_conditions,
    read_design,
)
from benchmarks.public_methods.methods import LAYER
from sklperturb.datasets import load_op2, make_chemical_screen
from sklperturb.model_selection import suggest_cv


def as_in_op2(X, schema):
    """Return the conditions under OP2's column names, without any other column.

    A column that the screen lacks is empty, but for one context and no controls.
    """
    columns = {
        "cell_type": schema.context,
        "sm_name": schema.perturbation,
        "sm_lincs_id": "sm_lincs_id",
        "SMILES": schema.smiles,
        "control": schema.control,
    }
    missing = {"cell_type": "one context", "control": False}
    found = {
        name: X[column] if column in X else pd.Series(missing.get(name), X.index)
        for name, column in columns.items()
    }
    return pd.DataFrame(found, index=X.index)


def write_table(path, X, y, split):
    obs = X[["cell_type", "sm_name", "sm_lincs_id", "SMILES", "control"]].copy()
    obs["split"] = split
    obs.index = [str(i) for i in range(len(obs))]
    for column in obs.columns.difference(["control"]):
        obs[column] = obs[column].astype("category")
    table = ad.AnnData(obs=obs, var=pd.DataFrame(index=pd.Index(y.columns, dtype=str)))
    table.layers[LAYER] = y.to_numpy(dtype=np.float32)
    table.uns["dataset_id"] = path.parent.name
    table.write_h5ad(path)


def write_fold(folder, X, y, X_test, y_test):
    folder.mkdir(parents=True)
    write_table(folder / "de_train.h5ad", X, y, "train")
    write_table(folder / "de_test.h5ad", X_test, y_test, "private_test")
    id_map = X_test[["cell_type", "sm_name"]].reset_index(drop=True)
    id_map.rename_axis("id").to_csv(folder / "id_map.csv")
    print(f"{folder}: {len(X)} rows to learn from, {len(X_test)} to predict")


def generated(design):
    """Return OP2's own conditions with generated responses, and their answers."""
    X, id_map = read_design(design)
    screen = make_chemical_screen(random_state=0)
    position, _ = drawn_positions(screen, X, id_map)
    # Where a pair was not drawn there is no answer that is not in training too.
    X_test, position = id_map[position >= 0], position[position >= 0]
    y_test = pd.concat([screen.y, screen.y_test]).iloc[position]
    columns = ["sm_name", "sm_lincs_id", "SMILES"]
    X_test = X_test.merge(X[columns].drop_duplicates("sm_name"), on="sm_name")
    screen = on_real_conditions(screen, design)
    return screen.X, screen.y, X_test.assign(control=False), y_test


def dealt(folder, n_splits, clip):
    """Yield the folds of a screen: conditions and responses, then those held out."""
    screen = load_op2(folder, clip=clip)
    X, y = as_in_op2(screen.X, screen.schema), screen.y
    X_test = as_in_op2(screen.X_test, screen.schema)
    for train, test in suggest_cv(X, X_test, n_splits=n_splits).split(X, y):
        yield X.iloc[train], y.iloc[train], X.iloc[test], y.iloc[test]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=["op2_layout", "op2_size"])
    parser.add_argument("source", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--n-splits", type=int, default=2, help="folds of op2_layout")
    parser.add_argument("--clip", type=float, help="limit of the values of op2_layout")
    args = parser.parse_args()
    if args.kind == "op2_size":
        write_fold(args.output / "fold_0", *generated(args.source))
        return
    folds = dealt(args.source, args.n_splits, args.clip)
    for number, tables in enumerate(folds):
        write_fold(args.output / f"fold_{number}", *tables)


if __name__ == "__main__":
    main()
