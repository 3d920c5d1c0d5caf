"""A thousand fits and predictions in one process: does its memory grow?

    python -m benchmarks.soak.memory --fits 1000
    python -m benchmarks.soak.memory --fits 200 --only best,displays --trace

One process fits, predicts with, saves, loads, compares, searches with and draws the
models of the registry, networks and flows for a few steps, again and again on new
data. After each round it notes the memory that it holds, once the structures of
compounds that are remembered, 50,000 of a kind at most, are forgotten: a cache that
fills up to its limit is no leak. Growth is the slope over the rounds behind the first
ones, with the interval of Theil and Sen, which a step does not move; and what a round
leaves behind: figures, threads, open files, child processes, temporary files, filters
of warnings. ``--trace`` shows where in the code memory was taken that is still held.
"""

import argparse
import ctypes
import gc
import os
import tempfile
import threading
import time
import tracemalloc
import warnings
from pathlib import Path
from typing import ClassVar

import matplotlib

matplotlib.use("agg")

import numpy as np
import psutil
from matplotlib import pyplot
from scipy.stats import theilslopes

from benchmarks._output import record, show
from sklperturb import load, save
from sklperturb.comparison import compare
from sklperturb.datasets import make_chemical_screen, make_genetic_screen
from sklperturb.inspection import (
    ConditionHeatMapDisplay,
    ConformalRegressor,
    EffectSizeDisplay,
    FoldsDisplay,
    LeaderboardDisplay,
    RowErrorDisplay,
    SignatureDisplay,
    TrainingCurveDisplay,
    TuningDisplay,
    audit,
)
from sklperturb.models import make_model, select_models
from sklperturb.preprocessing import _molecules
from sklperturb.report import write_html
from sklperturb.tuning import PerturbationSearchCV

# Parameters of what takes long: enough to go through all of the code.
FEW = {"max_epochs": 2, "max_steps": 3, "n_estimators": 3, "n_members": 2}
# What takes as long as all else together: in one round of this many.
SELDOM = dict.fromkeys(("best", "token_ensemble", "pseudo_label", "processes"), 4)
# Share of the rounds that fill caches and pools, and are no growth.
WARM = 0.25


class Soak:
    """What is done in a round, each method on the round's data.

    Parameters
    ----------
    folder : Path
        For files; empty again after each round.
    """

    def __init__(self, folder):
        self.folder = folder
        self.fits = 0
        self.round = 0
        self.first = None  # snapshot of what memory is held

    def begin(self):
        """Make new data: what is kept of old ones must not add up."""
        self.comparison = None
        self.screen = make_chemical_screen(3, 10, 24, random_state=self.round)
        cells = {"cells_per_perturbation": 12, "n_controls": 30}
        self.cells = make_genetic_screen(
            6, 30, **cells, embedding_dim=4, random_state=self.round
        )

    def model(self, name, schema=None):
        made = make_model(
            name, schema=schema or self.screen.schema, random_state=self.round
        )
        few = {
            key: FEW[key.rpartition("__")[2]]
            for key, value in made.get_params().items()
            if key.rpartition("__")[2] in FEW and value is not None
        }
        return made.set_params(**few)

    def models(self):
        """Fit and predict with each model; keep, read and predict with the file."""
        names = [entry.name for entry in select_models("all", self.screen.schema)[0]]
        for name in names:
            if self.round % SELDOM.get(name, 1) or name == "flow":
                continue
            fitted = self.model(name).fit(self.screen.X, self.screen.y)
            y_pred = fitted.predict(self.screen.X_test)
            self.fits += 1
            path = self.folder / "model.skpt"
            save(fitted, path)
            assert np.allclose(load(path).predict(self.screen.X_test), y_pred)
            path.unlink()

    def flows(self):
        model = self.model("flow", self.cells.schema).fit(self.cells.X, self.cells.y)
        model.sample(self.cells.X.iloc[-2:], 5, random_state=0)
        self.fits += 1

    def comparisons(self):
        """Compare on folds, keep the folds, and write the page."""
        arguments = {"cv": 2, "cache": self.folder / "folds", "n_resamples": 50}
        self.comparison = compare(
            ["ridge", "product_kernel"],
            *(self.screen.X, self.screen.y),
            **arguments,
            return_predictions=True,
        )
        self.fits += 2 * len(self.comparison.summary)
        page = self.folder / "report.html"
        write_html(self.comparison, self.screen.X, self.screen.y, page)
        remove(self.folder)

    def displays(self):
        """Draw, look, and close."""
        if self.comparison is None:
            self.comparisons()
        X, y = self.screen.X, self.screen.y
        y_pred = self.comparison.predictions["ridge"]
        drawn = [
            LeaderboardDisplay.from_comparison(self.comparison),
            FoldsDisplay.from_comparison(self.comparison),
            RowErrorDisplay.from_predictions(y, y_pred, X=X),
            EffectSizeDisplay.from_predictions(y, y_pred, X=X),
            SignatureDisplay.from_predictions(y, y_pred, X=X, condition=0),
            ConditionHeatMapDisplay.from_screen(self.screen),
        ]
        network = self.model("token_mlp").fit(X, y)
        self.fits += 1
        drawn.append(TrainingCurveDisplay.from_estimator(network))
        for display in drawn:
            display.figure_.savefig(self.folder / "figure.png")
            pyplot.close(display.figure_)
        remove(self.folder)

    def searches(self):
        """Search on a journal, and draw what was found."""
        search = PerturbationSearchCV(
            self.model("ridge"),
            cv=2,
            n_trials=3,
            storage=self.folder / "study.log",
            verbose=0,
            random_state=self.round,
        ).fit(self.screen.X, self.screen.y)
        self.fits += 7
        pyplot.close(TuningDisplay.from_search(search).figure_)
        remove(self.folder)

    def checks(self):
        """Look for leaks, and calibrate intervals."""
        X, y = self.screen.X, self.screen.y
        audit(self.model("ridge"), X, y, 2, random_state=0)
        conformal = ConformalRegressor(self.model("additive"), cv=3).fit(X, y)
        conformal.predict_interval(self.screen.X_test)
        self.fits += 6

    def processes(self):
        """Compare and search in two processes, which go on living or go."""
        if self.round % SELDOM["processes"]:
            return
        X, y = self.screen.X, self.screen.y
        compare(["ridge"], X, y, cv=2, n_jobs=2, n_resamples=50)
        search = PerturbationSearchCV(self.model("ridge"), cv=2, n_trials=4, n_jobs=2)
        search.set_params(verbose=0).fit(X, y)
        self.fits += 10


STEPS = (
    "models",
    "flows",
    "comparisons",
    "displays",
    "searches",
    "checks",
    "processes",
)


def remove(folder):
    """Empty a folder."""
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


def forget():
    """Forget the structures of the compounds that were read so far."""
    with _molecules._cache_lock:
        _molecules._cache.clear()
    _molecules.canonical_smiles.cache_clear()
    _molecules.parent_smiles.cache_clear()


class _Allocated(ctypes.Structure):
    """What `mallinfo2` of glibc returns."""

    _names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks"
    _fields_: ClassVar = [(n, ctypes.c_size_t) for n in f"{_names} keepcost".split()]


def held():
    """Return the KB that were allocated and not given back, of whatever library.

    Not what is resident: that has pages which the allocator keeps for later, and pages
    of files, which the system drops and reads again as it likes. Where the allocator
    is not glibc's, resident memory is all that is known.
    """
    forget()
    gc.collect()
    try:
        ask = ctypes.CDLL("libc.so.6").mallinfo2
    except (OSError, AttributeError):
        return psutil.Process().memory_info().rss / 1024
    ask.restype = _Allocated
    found = ask()
    return (found.uordblks + found.hblkhd) / 1024


def left():
    """Return how many of each thing there are that a round should give back."""
    process = psutil.Process()
    return {
        "figures": len(pyplot.get_fignums()),
        "threads": threading.active_count(),
        "open files": process.num_fds() if os.name == "posix" else 0,
        "child processes": len(process.children(recursive=True)),
        "temporary files": len(os.listdir(tempfile.gettempdir())),
        "filters of warnings": len(warnings.filters),
        "objects": len(gc.get_objects()),
    }


def slope(fits, values):
    """Return the growth per 1,000 fits of what was noted, and its 95 % interval."""
    found = theilslopes(values, fits)
    return [
        1000 * number for number in (found.slope, found.low_slope, found.high_slope)
    ]


def run(soak, steps, n_fits, seconds):
    """Return the fits and memory after each round, growth by step, and what is left."""
    rows, by_step, things = [], dict.fromkeys(steps, 0.0), []
    until = time.monotonic() + seconds
    gc.freeze()  # what was imported is not looked through again and again
    while (soak.fits < n_fits or len(rows) < 8) and time.monotonic() < until:
        soak.begin()
        warm = soak.fits < WARM * n_fits
        before = held()
        for step in steps:
            getattr(soak, step)()
            after = held()
            if not warm:
                by_step[step] += after - before
            before = after
        soak.round += 1
        rows.append((soak.fits, before))
        things.append(left())
        if soak.trace and not warm and soak.first is None:
            soak.first = tracemalloc.take_snapshot()
    gc.unfreeze()
    return rows, by_step, things


def trace(soak):
    """Print where memory was taken that was not there at the first snapshot."""
    forget()
    gc.collect()
    grown = tracemalloc.take_snapshot().compare_to(soak.first, "traceback")
    for difference in grown[:12]:
        print(f"{difference.size_diff / 1024:.1f} KB in {difference.count_diff} blocks")
        print("\n".join(difference.traceback.format()))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fits", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=60, help="at most")
    parser.add_argument("--only", default="", help=f"of {', '.join(STEPS)}")
    parser.add_argument("--trace", action="store_true")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    steps = args.only.split(",") if args.only else STEPS
    with tempfile.TemporaryDirectory() as folder:
        # Of this process alone, so that what others leave is not counted.
        tempfile.tempdir = str(Path(folder, "temporary"))
        Path(tempfile.tempdir).mkdir()
        Path(folder, "files").mkdir()
        soak = Soak(Path(folder, "files"))
        soak.trace = args.trace
        if args.trace:
            tracemalloc.start(6)
        rows, by_step, things = run(soak, steps, args.fits, 60 * args.minutes)
        tempfile.tempdir = None
    if args.trace:
        trace(soak)
    report(rows, by_step, things, args.fits)


def report(rows, by_step, things, n_fits):
    """Print memory, its slope, and what is left behind."""
    kept = [row for row in rows if row[0] >= WARM * n_fits]
    fits, kilobytes = (np.array(column) for column in zip(*kept, strict=True))
    found, low, high = (number / 1024 for number in slope(fits, kilobytes))
    show(
        [
            {
                "fits": rows[-1][0],
                "rounds": len(rows),
                "MB after the first round": rows[0][1] / 1024,
                f"MB after {kept[0][0]} fits": kept[0][1] / 1024,
                "MB at the end": rows[-1][1] / 1024,
                "MB per 1,000 fits": found,
                "95 % interval": f"{low:.2f} to {high:.2f}",
            }
        ]
    )
    show(
        [
            {"step": step, "MB that it added after the first rounds": value / 1024}
            for step, value in by_step.items()
        ]
    )
    behind = things[len(rows) - len(kept) :]
    show(
        [
            {"left behind": name, "then": behind[0][name], "at the end": count}
            for name, count in behind[-1].items()
        ]
    )
    share = 100 * 1024 / kilobytes[0]
    record("growth", found * share, "%", low=low * share, high=high * share)
    record("fits", rows[-1][0])


if __name__ == "__main__":
    main()
