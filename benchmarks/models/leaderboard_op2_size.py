"""Time and memory of the whole leaderboard at the true size of OP2.

Generates a screen of OP2's size (614 rows to learn from, 255 to predict, 18,211 genes)
and runs the same commands as a user; reports the wall time and the peak memory of each
with its workers. With --design, a folder that holds OP2's own conditions
(kaggle_train_obs_614.csv and kaggle_id_map_255_with_lb_split.csv), the generated
responses are put on those.

    python -m benchmarks.models.leaderboard_op2_size [--models a,b] [--jobs 1] \
        [--design DIR]
"""

import argparse
import sys
import tempfile
from pathlib import Path

import pandas as pd

from benchmarks._output import record
from benchmarks._pairs import watched
from sklperturb.datasets import make_chemical_screen, write_screen


def run(*arguments):
    """Run a command of sklperturb; return its seconds and peak memory in GB."""
    seconds, _, peak = watched([sys.executable, "-m", "sklperturb", *arguments])
    return seconds, peak


def drawn_positions(screen, X, conditions):
    """Return where a generated screen holds the responses to real conditions.

    Compounds of `X` and of the screen that were measured in the same number of
    contexts stand for each other. Positions count the rows of `y` and then of
    `y_test`; -1 is a pair that was not drawn. The names of the stand-ins come too.
    """
    names = [
        frame["sm_name"].value_counts(sort=False).sort_values(kind="stable").index
        for frame in (screen.X, X)
    ]
    stand_in = dict(zip(names[1], names[0], strict=True))
    drawn = pd.concat([screen.X, screen.X_test])[["cell_type", "sm_name"]]
    wanted = [conditions["cell_type"], conditions["sm_name"].map(stand_in)]
    drawn = pd.MultiIndex.from_frame(drawn)
    return drawn.get_indexer(pd.MultiIndex.from_arrays(wanted)), wanted[1]


def read_design(folder):
    """Return OP2's conditions, to learn from and to predict."""
    X = pd.read_csv(folder / "kaggle_train_obs_614.csv")
    id_map = pd.read_csv(folder / "kaggle_id_map_255_with_lb_split.csv")
    return X, id_map[["id", "cell_type", "sm_name"]]


def on_real_conditions(screen, folder):
    """Return a generated screen with its responses put on OP2's own conditions."""
    X, id_map = read_design(folder)
    position, stand_in = drawn_positions(screen, X, X)
    # A pair that was not drawn takes the compound's response in another context.
    other = dict(zip(screen.X["sm_name"], range(len(screen.X)), strict=True))
    position = [
        place if place >= 0 else other[compound]
        for place, compound in zip(position, stand_in, strict=True)
    ]
    y = pd.concat([screen.y, screen.y_test]).iloc[position].reset_index(drop=True)
    screen.update(X=X, y=y, y_test=None, X_test=None, id_map=id_map)
    return screen


def main():
    """Print the leaderboard and what it cost."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models")
    parser.add_argument("--jobs", default="1")
    parser.add_argument("--design", type=Path)
    options = parser.parse_args()
    chosen = ["--models", options.models] if options.models else []
    with tempfile.TemporaryDirectory() as folder:
        data, results = Path(folder, "screen"), Path(folder, "results")
        costs = {}
        if options.design:
            screen = make_chemical_screen(random_state=0)
            write_screen(data, on_real_conditions(screen, options.design))
        else:
            costs["simulate"] = run("simulate", "--output", str(data))
        costs["leaderboard"] = run(
            *("leaderboard", "--data", str(data), "--output", str(results)),
            *("--jobs", options.jobs, *chosen),
        )
        costs["submit product_kernel"] = run(
            *("submit", "--data", str(data), "--model", "product_kernel"),
            *("--output", str(Path(folder, "submission.csv"))),
        )
    print("| command | seconds | peak memory, GB |\n|---|---|---|")
    for name, (seconds, peak) in costs.items():
        record(name, seconds, "s")
        record(f"{name}, memory", peak, "GB")
        print(f"| {name} | {seconds:.0f} | {peak:.1f} |")


if __name__ == "__main__":
    main()
