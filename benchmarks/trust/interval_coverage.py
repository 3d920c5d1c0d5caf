"""Measure how often the intervals of `compare` cover what they are said to cover.

Screens are drawn from one large generated population of compounds and contexts with
OP2's spread of strengths: a tenth of the compounds make most of the error. On each
screen closed-form models run on the folds of a splitter, and their scores are given the
intervals of `compare`; on the first screen of each kind `compare` runs itself and must
say the same. What intervals should cover is known, since the rest of the population is
at hand: the mean score of the folds' models on fresh units of the kind that the folds
hold out. All else that a fold trains on stays, and so do the contexts where compounds
are held out, and the compounds where contexts are. The column of the refitted model is
about the model that is fitted to all rows, which intervals from folds are not about.

Where a fold trains on the units that it tests, in other contexts, a fresh unit takes
the place of one of them, and the model is fitted anew: see `World.exchanged`. That is
done for some units only; what is told of the others in closed form leaves the truth
unsure by less than a tenth of an interval's standard error, but for models of the
registry, of which little is told that way. It is added to the intervals as errors add
up.

Shares are means over models, with their 95 % interval for so many screens (Wilson).
Settings of the intervals were chosen on seeds from 10,000 on; the defaults are others.

With `--keep`, screens are simulated once: a run that was stopped goes on with the
splitter that it had come to, and other settings of the intervals are tried on them.

Run: python -m benchmarks.trust.interval_coverage [--screens 200] [--jobs 2]
         [--only pair]
         [--keep FOLDER] [--update docs/leaderboards.md]
"""

import argparse
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import joblib
import numpy as np
from joblib import Parallel, delayed
from scipy import stats

from benchmarks._output import update
from benchmarks.trust.interval_screens import CASES, TOTAL, Population, draw
from benchmarks.trust.interval_truth import MODELS, SharedLevels, World
from sklperturb.comparison import compare
from sklperturb.comparison._evidence import dealt_units, held_out_units
from sklperturb.conditions import resolve_schema
from sklperturb.files._writing import written_whole
from sklperturb.models import make_model
from sklperturb.utils._bootstrap import ClusterBootstrap

N_RESAMPLES, CONFIDENCE = 2000, 0.95  # as `compare`
KINDS = ("folds'", "refitted")


@dataclass
class Run:
    """The held-out scores of a screen, and the truth.

    Attributes
    ----------
    unit : str
        What is resampled.
    units : ndarray of str
        That of each held-out row, as `ClusterBootstrap` takes it.
    scores : ndarray of shape (n_held_out, n_models)
    truth : dict of str to Truth
        Under "folds'" and "refitted" models.
    """

    unit: str
    units: np.ndarray
    scores: np.ndarray
    truth: dict


def simulate(population, case, seed, check=False):
    """Return the `Run` of the models on a screen.

    With `check`, intervals are compared with those of `compare`.
    """
    rng = np.random.default_rng(seed)
    compounds, contexts = draw(population, case, rng)
    grid = np.repeat(compounds, len(contexts)), np.tile(contexts, len(compounds))
    X, y = population.rows(*grid, own_structures=bool(case.pairs))
    cv = case.splitter(X, seed)
    folds = cv if isinstance(cv, list) else list(cv.split(X))
    codes = dict(zip(TOTAL, grid, strict=True))
    schema = resolve_schema(None, X)
    unit, units = held_out_units(X, folds, schema, dealt_units(cv, X))
    world = World(population, case, codes, rng)
    scores = [world.scores(codes, codes, train, test) for train, test in folds]
    run = Run(unit, units, np.concatenate(scores), {})
    if check:
        agree(run, case, X, y, cv, seed)
    for kind in KINDS[:1] if case.pairs else KINDS:
        found = world.exchanged if case.learnt else world.plainly
        run.truth[kind] = found(folds, refit=kind == "refitted")
    return run


def intervals(run, pairs, seed):
    """Return the ends of the intervals of scores, and of differences of pairs."""
    rng = np.random.RandomState(seed)
    bootstrap = ClusterBootstrap(run.units, N_RESAMPLES, CONFIDENCE, rng)
    ends = (
        [bootstrap.interval(column) for column in run.scores.T],
        [
            bootstrap.interval_of_difference(run.scores[:, i] - run.scores[:, j])
            for i, j in pairs
        ],
    )
    return tuple(np.array(table).T for table in ends)


def agree(run, case, X, y, cv, seed):
    """Raise AssertionError if `compare` says anything else than `intervals`."""
    names = case.names() or tuple(MODELS)
    models = {
        name: make_model(name) if case.pairs else SharedLevels(*MODELS[name])
        for name in names
    }
    baseline = {names[0]: models.pop(names[0])}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = compare(models, X, y, cv=cv, baselines=baseline, random_state=seed)
    summary = found.summary.set_index("model").loc[list(names)]
    pairs = [(i, 0) for i in range(1, len(names))]
    scores, differences = intervals(run, pairs, seed)
    said = summary[["ci_low", "ci_high"]].to_numpy().T
    np.testing.assert_allclose(np.maximum(scores, 0), said, rtol=1e-6)
    said = summary[["difference_low", "difference_high"]].to_numpy()[1:].T
    np.testing.assert_allclose(differences, said, rtol=1e-6, atol=1e-9)
    assert summary["unit"].iloc[0] == run.unit


def coverage(runs, pairs, seeds, n_jobs):
    """Return the share of intervals that hold the truth, of each kind, and the bias.

    The truth's own standard error is added to an interval as errors add up. Shares are
    means over pairs of models, which fail on the same screens; of scores, over the
    models of the pairs. The bias is that of differences, in their standard deviations.
    """
    hits = {"scores": [], "differences": [], "refitted": []}
    every = np.eye(runs[0].scores.shape[1])
    models = every[sorted({place for pair in pairs for place in pair})]
    contrasts = np.array([every[one] - every[other] for one, other in pairs])
    errors = []
    tasks = zip(runs, seeds, strict=True)
    found = Parallel(n_jobs)(delayed(intervals)(run, pairs, s) for run, s in tasks)
    for run, (scores, differences) in zip(runs, found, strict=True):
        estimate = run.scores.mean(axis=0)
        own, later = (run.truth.get(kind) for kind in KINDS)
        for name, rows, ends, truth in (
            ("scores", models, scores[:, models.argmax(axis=1)], own),
            ("differences", contrasts, differences, own),
            ("refitted", contrasts, differences, later),
        ):
            inside = np.nan
            if truth is not None:
                inside = covers(rows @ estimate, ends, *truth.of(rows)).mean()
            hits[name].append(inside)
        errors.append(contrasts @ (estimate - own.mean))
    bias = np.mean(np.mean(errors, axis=0) / np.std(errors, axis=0))
    return {name: np.mean(inside) for name, inside in hits.items()}, bias


def covers(estimate, ends, true, noise):
    """Whether intervals hold a truth that is known but for some noise."""
    wider = stats.norm.ppf((1 + CONFIDENCE) / 2) * noise
    below, above = np.hypot(np.abs(ends - estimate), wider)
    return (estimate - below <= true) & (true <= estimate + above)


def wilson(share, n):
    """Return a share and its 95 % interval; nothing of what was not simulated."""
    if np.isnan(share):
        return ""
    found = stats.binomtest(round(share * n), n).proportion_ci(method="wilson")
    return f"{100 * share:.1f} ({100 * found.low:.0f} to {100 * found.high:.0f})"


def n_units(run):
    """Return how many units of each kind a screen has."""
    columns = run.units.reshape(len(run.units), -1).T
    return [len(np.unique(column)) for column in columns]


def lines(name, case, runs, seeds, n_jobs):
    """Return rows of the table: one, or one for each pair of registered models."""
    counts = np.array([n_units(run) for run in runs]).T
    shown = " and ".join(
        f"{own.min()}" if own.min() == own.max() else f"{own.min()} to {own.max()}"
        for own in counts
    )
    asked = {name: [(i, 0) for i in range(1, len(MODELS))]}
    if case.pairs:
        places = {model: place for place, model in enumerate(case.names())}
        asked = {
            f"{name}: {one} against {other}": [(places[one], places[other])]
            for one, other in case.pairs
        }
    for title, pairs in asked.items():
        shares, bias = coverage(runs, pairs, seeds, n_jobs)
        cells = [wilson(share, len(runs)) for share in shares.values()]
        cells = [title, runs[0].unit, shown, len(runs), *cells, f"{bias:+.2f}"]
        yield f"| {' | '.join(map(str, cells))} |"


def simulated(population, name, case, seeds, n_jobs, keep):
    """Return the `Run` of each screen, from `keep` if they are there."""
    path = keep and keep / f"{name}, {seeds[0]} to {seeds[-1]}.joblib"
    if path and path.exists():
        return joblib.load(path)
    tasks = ((population, case, seed, seed == seeds[0]) for seed in seeds)
    runs = Parallel(n_jobs)(delayed(simulate)(*task) for task in tasks)
    if path:
        keep.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as part:
            joblib.dump(runs, part)
    return runs


def main():
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--screens", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", default="", help="part of the name of splitters")
    parser.add_argument("--keep", type=Path, help="folder of simulated screens")
    parser.add_argument("--update", type=Path, help="page whose table is replaced")
    options = parser.parse_args()
    start = time.perf_counter()
    population = Population()
    text = [
        "| folds | unit | units | screens | scores | differences "
        "| differences, if refitted | bias of differences |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    print(*text, sep="\n")
    for name, case in CASES.items():
        if options.only.casefold() in name.casefold():
            n_screens = max(1, round(options.screens * case.share))
            seeds = range(options.seed, options.seed + n_screens)
            task = population, name, case, seeds, options.jobs, options.keep
            runs = simulated(*task)
            for line in lines(name, case, runs, seeds, options.jobs):
                text.append(line)
                print(line, flush=True)
    print(f"\n{time.perf_counter() - start:.0f} s")
    if options.update:
        update(options.update, "interval_coverage", "\n".join(text))


if __name__ == "__main__":
    main()
