"""Measure how often the intervals of `compare` cover what they are said to cover.

Screens are drawn from one large generated population of compounds and contexts with
OP2's spread of strengths: a tenth of the compounds make most of the error. On each
screen closed-form models run on the folds of a splitter, and their scores are given the
intervals of `compare`; on the first screen of each kind `compare` runs itself and must
say the same. What intervals should cover is known, since the rest of the population is
at hand: the mean score of the folds' models on fresh units of the kind that the folds
hold out. Of a fold, the units that it tests are exchanged for fresh ones, in training
too where the fold trains on them in other contexts. All else in its training rows
stays, and so do the contexts where compounds are held out, and the compounds where
contexts are. The last column is about the model that is fitted to all rows, which
intervals from folds are not about.

Where units are in training too, a fold is fitted with fresh units a few times only.
What the same pairs say without a model, and what a unit's score is on average over
screens, bring their mean to the whole population.

Shares are means over models, with their 95 % interval for so many screens (Wilson).
Settings of the intervals were chosen on seeds from 10,000 on; the defaults are others.

With `--keep`, screens are simulated once, and the same command tries other settings of
the intervals on them.

Run: python benchmarks/interval_coverage.py [--screens 200] [--jobs 2] [--only pair]
         [--keep FOLDER] [--update docs/leaderboards.md]
"""

import argparse
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import joblib
import numpy as np
from interval_screens import (
    CASES,
    COMPOUND,
    CONTEXT,
    FAMILY,
    N_COMPOUNDS,
    TOTAL,
    Population,
    draw,
)
from joblib import Parallel, delayed
from scipy import linalg, stats
from sklearn.base import BaseEstimator, RegressorMixin

from sklperturb.comparison import compare
from sklperturb.comparison._evidence import dealt_units, held_out_units
from sklperturb.comparison._summary import interval_of_difference
from sklperturb.conditions import resolve_schema
from sklperturb.models import make_model
from sklperturb.utils._bootstrap import ClusterBootstrap

N_EXCHANGES = 4  # of the units of a fold that are in its training rows too
N_REGISTERED = 3  # the same for models of the registry, which are slower
MOST_FRESH = 3000  # fresh pairs for a fold whose model does not learn from them
N_RESAMPLES, CONFIDENCE = 2000, 0.95  # as `compare`

# What counts if two conditions have it in common, and the penalty.
ADDITIVE = {COMPOUND: 1.0, CONTEXT: 0.3}
BASELINE = "additive"
MODELS = {
    BASELINE: (ADDITIVE, 1.0),
    "ridge": (ADDITIVE | {FAMILY: 0.2}, 1.0),
    "stiff": (ADDITIVE | {FAMILY: 0.2}, 3.0),
}
REGISTERED = (BASELINE, "ridge")
START, END = "<!-- coverage: start -->", "<!-- coverage: end -->"


class SharedLevels(RegressorMixin, BaseEstimator):
    """Ridge on the levels that conditions share: of new ones it says the mean.

    Parameters
    ----------
    weights : dict of str to float
        What it counts if two rows have the same level of a column.
    penalty : float
    """

    def __init__(self, weights, penalty):
        self.weights = weights
        self.penalty = penalty

    def fit(self, X, y):
        return self.learn({name: X[name].to_numpy() for name in self.weights}, y, {})

    def predict(self, X):
        return self.say({name: X[name].to_numpy() for name in self.weights})

    def learn(self, codes, y, factors):
        """Fit to codes of levels; a kernel that is among `factors` is one of these."""
        y = np.asarray(y)
        self.mean_ = y.mean(axis=0)
        # New names of levels change nothing; what is alike does.
        alike = [
            np.unique(codes[name], return_inverse=True)[1] for name in self.weights
        ]
        key = np.array(alike).tobytes(), self.penalty
        if key not in factors:
            kernel = self.penalty * np.eye(len(y))
            for own, weight in zip(alike, self.weights.values(), strict=True):
                kernel += weight * (own[:, None] == own)
            factors[key] = linalg.cho_factor(kernel, check_finite=False)
        dual = linalg.cho_solve(factors[key], y - self.mean_, check_finite=False)
        self.effects_ = {}
        for name, weight in self.weights.items():
            effect = np.zeros((N_COMPOUNDS, y.shape[1]))
            np.add.at(effect, codes[name], weight * dual)
            self.effects_[name] = effect
        return self

    def say(self, codes):
        return self.mean_ + sum(
            self.effects_[name][codes[name]] for name in self.weights
        )


class Registered:
    """A model of the registry, with the methods of `SharedLevels`."""

    def __init__(self, name, population):
        self.model = make_model(name, random_state=0)
        self.population = population

    def learn(self, codes, y, factors):
        X, y = self.population.rows(codes[COMPOUND], codes[CONTEXT])
        self.model.fit(X, y)
        return self

    def say(self, codes):
        return self.model.predict(
            self.population.rows(codes[COMPOUND], codes[CONTEXT])[0]
        )


def error(truth, y_pred):
    """Return the root mean squared error of each row."""
    return np.sqrt(np.mean((truth - y_pred) ** 2, axis=1))


@dataclass
class Run:
    """The held-out scores of a screen, and what the truth is made from.

    Attributes
    ----------
    unit : str
        What is resampled.
    units : ndarray of str
        That of each held-out row, as `ClusterBootstrap` takes it.
    scores : ndarray of shape (n_held_out, n_models)
    fresh : dict of str to tuple of ndarray
        Of "folds'" and "refitted" models, which of the population fresh units are, and
        their scores, a column for each model.
    """

    unit: str
    units: np.ndarray
    scores: np.ndarray
    fresh: dict


def simulate(population, case, seed, check=False):
    """Return the `Run` of the models on a screen.

    With `check`, intervals are compared with those of `compare`.
    """
    rng = np.random.default_rng(seed)
    compounds, contexts = draw(population, case, rng)
    grid = np.repeat(compounds, len(contexts)), np.tile(contexts, len(compounds))
    X, y = population.rows(*grid)
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
    fresh = [world.exchanged(train, test) for train, test in folds]
    # With the model that is fitted to all rows, fresh units are known from elsewhere as
    # those of a fold are.
    tested = [test for _, test in folds]
    asked = tested if case.learnt else [np.unique(np.concatenate(tested))]
    refitted = [world.exchanged(np.arange(len(X)), test, refit=True) for test in asked]
    for kind, found in (("folds'", fresh), ("refitted", refitted)):
        run.fresh[kind] = tuple(map(np.concatenate, zip(*found, strict=True)))
    return run


class World:
    """A screen in its population: fits models, and scores them on fresh units."""

    def __init__(self, population, case, codes, rng):
        self.population, self.case, self.codes, self.rng = population, case, codes, rng
        self.factors = {}

    def models(self):
        if self.case.registered:
            return [Registered(name, self.population) for name in REGISTERED]
        return [SharedLevels(*given) for given in MODELS.values()]

    def scores(self, known, asked, train, test):
        """Fit to some rows of a screen, and score some of another."""
        known = [known[name][train] for name in TOTAL]
        asked = [asked[name][test] for name in TOTAL]
        y, truth = self.population.y[*known], self.population.y[*asked]
        known, asked = self.population.codes(*known), self.population.codes(*asked)
        fitted = (model.learn(known, y, self.factors) for model in self.models())
        return np.column_stack([error(truth, model.say(asked)) for model in fitted])

    def exchanged(self, train, test, refit=False):
        """Return fresh units in the place of those that are tested, and their scores.

        With `refit`, all rows but those of fresh units that are scored are trained on.
        """
        if not self.case.learnt:
            return self._plainly(train, test)
        [column] = self.case.fresh
        own, found = self.codes[column], []
        others = np.setdiff1d(np.arange(TOTAL[column]), own)
        size = self.population.size
        usual = (size[others] if column == COMPOUND else size[:, others].T).mean(axis=0)
        mine = np.unique(own[test])
        # At most a fifth at once, or little of what the fold learns from would stay.
        most = max(1, len(np.unique(own)) // 5)
        for _ in range(N_REGISTERED if self.case.registered else N_EXCHANGES):
            leaving = self.rng.permutation(mine)[:most]
            new = np.arange(TOTAL[column])
            new[leaving] = self.rng.choice(others, len(leaving), replace=False)
            codes = self.codes | {column: new[own]}
            scored = test[np.isin(own[test], leaving)]
            known = np.setdiff1d(np.arange(len(own)), scored) if refit else train
            scores = self.scores(codes, codes, known, scored)
            # What a pair says with no model at all tells how hard it is.
            kept = codes[CONTEXT if column == COMPOUND else COMPOUND][scored]
            plain = size[codes[COMPOUND][scored], codes[CONTEXT][scored]]
            scores += (usual[kept] - plain)[:, None]
            found.append((codes[column][scored], scores))
        return tuple(map(np.concatenate, zip(*found, strict=True)))

    def _plainly(self, train, test):
        """Score fresh units of which the model has learnt nothing."""
        fresh = {}
        for column, own in self.codes.items():
            fresh[column] = np.unique(own[test])
            if column in self.case.fresh:
                fresh[column] = np.setdiff1d(np.arange(TOTAL[column]), own)
        pairs = np.array(np.meshgrid(*fresh.values(), indexing="ij")).reshape(2, -1)
        if pairs.shape[1] > MOST_FRESH:
            chosen = self.rng.choice(pairs.shape[1], MOST_FRESH, replace=False)
            pairs = pairs[:, chosen]
        asked = dict(zip(fresh, pairs, strict=True))
        scores = self.scores(self.codes, asked, train, np.arange(pairs.shape[1]))
        size = self.population.size
        plain = size[np.ix_(*fresh.values())].mean() - size[*pairs].mean()
        return np.array([-1]), scores.mean(axis=0, keepdims=True) + plain


def intervals(run, seed):
    """Return the ends of the intervals of scores, and of differences from the first."""
    rng = np.random.RandomState(seed)
    bootstrap = ClusterBootstrap(run.units, N_RESAMPLES, CONFIDENCE, rng)
    differences = run.scores[:, 1:] - run.scores[:, :1]
    ends = (
        [bootstrap.interval(column) for column in run.scores.T],
        [interval_of_difference(c, bootstrap, run.unit) for c in differences.T],
    )
    return tuple(np.array(table).T for table in ends)


def agree(run, case, X, y, cv, seed):
    """Raise AssertionError if `compare` says anything else than `intervals`."""
    names = REGISTERED if case.registered else tuple(MODELS)
    models = {name: name for name in names}
    if not case.registered:
        models = {name: SharedLevels(*MODELS[name]) for name in names}
    baseline = {BASELINE: models.pop(BASELINE)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = compare(models, X, y, cv=cv, baselines=baseline, random_state=seed)
    summary = found.summary.set_index("model").loc[list(names)]
    scores, differences = intervals(run, seed)
    said = summary[["ci_low", "ci_high"]].to_numpy().T
    np.testing.assert_allclose(np.maximum(scores, 0), said, rtol=1e-6)
    said = summary[["difference_low", "difference_high"]].to_numpy()[1:].T
    np.testing.assert_allclose(differences, said, rtol=1e-6, atol=1e-9)
    assert summary["unit"].iloc[0] == run.unit


def truths(runs, kind, case):
    """Return the mean scores of fresh units, (n_screens, n_models)."""
    sizes = [len(run.fresh[kind][0]) for run in runs]
    screen = np.repeat(np.arange(len(runs)), sizes)
    scores = np.concatenate([run.fresh[kind][1] for run in runs])
    if not case.learnt:
        return _means(scores, screen, len(runs))
    # Screen and unit, fitted together: a unit's part is the same in all screens, and
    # zero on average over the population.
    unit = np.concatenate([run.fresh[kind][0] for run in runs])
    unit = np.unique(unit, return_inverse=True)[1]
    of_screen = _means(scores, screen, len(runs))
    for _ in range(20):
        # Units that were seen a few times only are drawn to zero.
        of_unit = _means(scores - of_screen[screen], unit, unit.max() + 1, prior=2)
        of_unit -= of_unit.mean(axis=0)
        of_screen = _means(scores - of_unit[unit], screen, len(runs))
    return of_screen


def _means(values, codes, n_codes, prior=0):
    total = np.zeros((n_codes, values.shape[1]))
    np.add.at(total, codes, values)
    return total / (np.bincount(codes, minlength=n_codes) + prior)[:, None]


def coverage(runs, case, seeds):
    """Return the share of intervals that hold the truth, of each kind.

    They are means over models, which fail on the same screens.
    """
    truth = {kind: truths(runs, kind, case) for kind in ("folds'", "refitted")}
    hits = {"scores": [], "differences": [], "refitted": []}
    for place, (run, seed) in enumerate(zip(runs, seeds, strict=True)):
        scores, differences = intervals(run, seed)
        own = truth["folds'"][place]
        later = truth["refitted"][place]
        for name, (low, high), true in (
            ("scores", scores, own),
            ("differences", differences, own[1:] - own[0]),
            ("refitted", differences, later[1:] - later[0]),
        ):
            hits[name].append(np.mean((low <= true) & (true <= high)))
    return {name: np.mean(inside) for name, inside in hits.items()}


def wilson(share, n):
    """Return a 95 % interval of a binomial share."""
    found = stats.binomtest(round(share * n), n).proportion_ci(method="wilson")
    return f"{100 * share:.1f} ({100 * found.low:.0f} to {100 * found.high:.0f})"


def n_units(run):
    """Return how many units of each kind a screen has."""
    columns = run.units.reshape(len(run.units), -1).T
    return [len(np.unique(column)) for column in columns]


def line(name, case, runs, seeds):
    """Return a row of the table."""
    shares = coverage(runs, case, seeds)
    counts = np.array([n_units(run) for run in runs]).T
    shown = " and ".join(
        f"{own.min()}" if own.min() == own.max() else f"{own.min()} to {own.max()}"
        for own in counts
    )
    cells = [wilson(share, len(runs)) for share in shares.values()]
    cells = [name, runs[0].unit, shown, len(runs), *cells]
    return f"| {' | '.join(map(str, cells))} |"


def simulated(population, name, case, seeds, n_jobs, keep):
    """Return the `Run` of each screen, from `keep` if they are there."""
    path = keep and keep / f"{name}, {seeds[0]} to {seeds[-1]}.joblib"
    if path and path.exists():
        return joblib.load(path)
    tasks = ((population, case, seed, seed == seeds[0]) for seed in seeds)
    runs = Parallel(n_jobs)(delayed(simulate)(*task) for task in tasks)
    if path:
        keep.mkdir(parents=True, exist_ok=True)
        joblib.dump(runs, path)
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
        "| differences, if refitted |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    print(*text, sep="\n")
    for name, case in CASES.items():
        if options.only.casefold() in name.casefold():
            n_screens = max(1, round(options.screens * case.share))
            seeds = range(options.seed, options.seed + n_screens)
            task = population, name, case, seeds, options.jobs, options.keep
            text.append(line(name, case, simulated(*task), seeds))
            print(text[-1], flush=True)
    print(f"\n{time.perf_counter() - start:.0f} s")
    if options.update:
        update(options.update, "\n".join(text))


def update(path, text):
    """Put the table between the marks of a page."""
    page = path.read_text(encoding="utf-8")
    if START not in page or END not in page:
        raise SystemExit(f"{path} lacks {START} and {END}.")
    before, _, rest = page.partition(START)
    after = rest.partition(END)[2]
    path.write_text(f"{before}{START}\n\n{text}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
