"""Write the data that the public methods and our models are compared on.

    python prepare.py tggates SCREEN OUTPUT
    python prepare.py op2_size DESIGN OUTPUT

OUTPUT gets one folder a fold, each in the layout of the benchmark: ``de_train.h5ad``,
``id_map.csv`` and, for scoring only, ``de_test.h5ad``.

tggates: SCREEN is TG-GATEs in the OP2 layout (see ``load_op2``). Pairs of a compound
and one of the contexts "24h High" and "24h Middle" are dealt into two folds, each of
which leaves half of the 24 compounds that were seen there.

op2_size: DESIGN holds the conditions of OP2 (kaggle_train_obs_614.csv and
kaggle_id_map_255_with_lb_split.csv); the 18,211 responses are generated.
"""

import argparse
import sys
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from methods import LAYER

from sklperturb.datasets import load_op2, make_chemical_screen
from sklperturb.model_selection import UnseenPairKFold

sys.path.append(str(Path(__file__).resolve().parents[1]))
from leaderboard_op2_size import drawn_positions, on_real_conditions, read_design

CONTEXTS = ("24h High", "24h Middle")


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


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=["tggates", "op2_size"])
    parser.add_argument("source", type=Path)
    parser.add_argument("output", type=Path)
    args = parser.parse_args()
    if args.kind == "tggates":
        screen = load_op2(args.source)
        X, y = screen.X, screen.y
        cv = UnseenPairKFold(2, contexts=list(CONTEXTS), random_state=0)
        for fold, (train, test) in enumerate(cv.split(X, y)):
            tables = (X.iloc[train], y.iloc[train], X.iloc[test], y.iloc[test])
            write_fold(args.output / f"fold_{fold}", *tables)
    else:
        write_fold(args.output / "fold_0", *generated(args.source))


if __name__ == "__main__":
    main()
