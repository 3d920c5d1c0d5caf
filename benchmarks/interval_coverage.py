"""Measure how often the intervals of `compare` cover what they are said to cover.

Screens are drawn from one large generated population of compounds and contexts with
OP2's spread of strengths: a tenth of the compounds make most of the error. On each
screen `compare` runs closed-form models on the folds of a splitter. What its intervals
should cover is known, since the rest of the population is at hand: the mean score of
the folds' models on fresh units of the kind that the folds hold out. Of a fold, the
units that it tests are exchanged for fresh ones, in training too where the fold trains
on them in other contexts. All else in its training rows stays, and so do the contexts
where compounds are held out, and the compounds where contexts are. The last column is
about the model that is fitted to all rows, which intervals from folds are not about.

Where units are in training too, a fold is fitted with fresh units a few times only.
What the same pairs say without a model, and what a unit's score is on average over
screens, bring their mean to the whole population.

Shares are means over models, with their 95 % interval for so many screens (Wilson).
The kind of interval was chosen on seeds from 1000 on; the defaults are others.

Run: python benchmarks/interval_coverage.py [--screens 200] [--seed 0] [--only pair]
"""

import argparse
import time
import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.base import BaseEstimator, RegressorMixin

from sklperturb.comparison import compare
from sklperturb.datasets import make_chemical_screen
from sklperturb.model_selection import (
    LeaveOneContextOut,
    UnseenContextKFold,
    UnseenGroupKFold,
    UnseenPairKFold,
    UnseenPerturbationKFold,
    UnseenScaffoldKFold,
)
from sklperturb.preprocessing import murcko_scaffolds

N_COMPOUNDS, N_CONTEXTS, N_GENES = 1000, 240, 30
N_EXCHANGES = 12  # of the units of a fold that are in its training rows too
MOST_FRESH = 3000  # fresh pairs for a fold whose model does not learn from them
SHARED = 5  # compounds that are known in a held-out context of leave-one-out

COMPOUND, CONTEXT, FAMILY, GROUP = "compound", "context", "family", "group"
# What two conditions must have in common, the weight of each term, and the penalty.
ADDITIVE = {(COMPOUND,): 1.0, (CONTEXT,): 0.3}
MODELS = {
    "additive": (ADDITIVE, 1.0),
    "ridge": (ADDITIVE | {(FAMILY,): 0.2}, 1.0),
    "kernel": (ADDITIVE | {(FAMILY,): 0.2, (COMPOUND, CONTEXT): 2.0}, 1.0),
}
BASELINE = "additive"
TOTAL = {COMPOUND: N_COMPOUNDS, CONTEXT: N_CONTEXTS}


class KernelModel(RegressorMixin, BaseEstimator):
    """Ridge on what two conditions share: of levels that are new it says the mean.

    Parameters
    ----------
    terms : dict of tuple of str to float
        Columns that two rows must have in common, and what that counts.
    penalty : float
    """

    def __init__(self, terms, penalty):
        self.terms = terms
        self.penalty = penalty

    def fit(self, X, y):
        self.codes_ = codes_of(X)
        return self.learn(equalities(self.codes_, self.codes_), np.asarray(y))

    def predict(self, X):
        return self.say(equalities(codes_of(X), self.codes_))

    def learn(self, equal, y):
        self.mean_ = np.mean(y, axis=0)
        kernel = self._kernel(equal)
        kernel[np.diag_indices_from(kernel)] += self.penalty
        self.dual_ = np.linalg.solve(kernel, y - self.mean_)
        return self

    def say(self, equal):
        return self.mean_ + self._kernel(equal) @ self.dual_

    def _kernel(self, equal):
        kernel = np.zeros(equal[COMPOUND].shape)
        for (first, *others), weight in self.terms.items():
            both = equal[first] & equal[others[0]] if others else equal[first]
            kernel += weight * both
        return kernel


def codes_of(X):
    return {name: X[name].to_numpy() for name in (COMPOUND, CONTEXT, FAMILY)}


def equalities(left, right):
    """Return which rows have the same level, by column."""
    return {name: left[name][:, None] == right[name] for name in left}


def error(truth, y_pred):
    """Return the root mean squared error of each row."""
    return np.sqrt(np.mean((truth - y_pred) ** 2, axis=1))


class Population:
    """All compounds in all contexts: ``y`` of shape (compounds, contexts, genes)."""

    def __init__(self, seed=0):
        sizes = N_CONTEXTS + 1, N_COMPOUNDS, N_GENES
        everywhere = {"n_shared": N_COMPOUNDS - 1, "n_test_compounds": 1}
        everywhere |= {"n_target_contexts": 1, "n_lost": (0, 0)}
        screen = make_chemical_screen(*sizes, **everywhere, random_state=seed)
        X = screen.X
        rows = X["cell_type"] != "B cells"  # the target context
        X, y = X[rows], screen.y.to_numpy()[rows]
        compound, names = pd.factorize(X["sm_name"])
        context, _ = pd.factorize(X["cell_type"])
        self.y = np.empty((N_COMPOUNDS, N_CONTEXTS, N_GENES))
        self.y[compound, context] = y
        self.size = np.sqrt(np.mean(self.y**2, axis=2))
        scaffold = murcko_scaffolds(X.groupby("sm_name")["SMILES"].first()[names])[0]
        self.family = pd.factorize(scaffold, use_na_sentinel=False)[0]
        # Compounds of a group are alike in strength, and so in error.
        rng = np.random.default_rng(seed)
        strength = np.log(np.linalg.norm(self.y, axis=(1, 2)))
        order = np.argsort(strength + rng.standard_normal(N_COMPOUNDS))
        sizes = rng.integers(1, 4, size=N_COMPOUNDS)
        self.group = np.empty(N_COMPOUNDS, dtype=int)
        self.group[order] = np.repeat(np.arange(N_COMPOUNDS), sizes)[:N_COMPOUNDS]
        self.n_groups = self.group.max() + 1
        member = pd.Series(self.group).groupby(self.group).cumcount()
        pairs = zip(self.group, member, strict=True)
        self.smiles = np.array([_structure(*pair) for pair in pairs])

    def conditions(self, compound, context):
        """Return what the models read of pairs, by column."""
        family = self.family[compound]
        return {COMPOUND: compound, CONTEXT: context, FAMILY: family}

    def rows(self, compound, context):
        """Return conditions and responses of pairs, as `compare` takes them."""
        X = pd.DataFrame(self.conditions(compound, context))
        X[GROUP], X["SMILES"] = self.group[compound], self.smiles[compound]
        X["sm_name"] = [f"c{code}" for code in compound]
        X["cell_type"] = [f"x{code}" for code in context]
        return X, self.y[compound, context]


def _structure(group, member):
    """Return a SMILES whose scaffold is that of the group: linkers of its own."""
    first, second = divmod(group, 30)
    side, left, right = ("C" * (n + 1) for n in (member, first, second))
    return f"{side}c1ccc({left}c2ccc({right}c3ccncc3)cc2)cc1"


@dataclass
class Case:
    """A splitter, the size of its screens, and what is drawn anew.

    Attributes
    ----------
    splitter : callable
        Of the conditions, returns what `compare` takes.
    n_compounds, n_contexts : int
    fresh : tuple of str
        Columns whose levels are exchanged.
    learnt : bool
        Whether a fold trains on other rows of the units that it tests.
    n_groups : int
        Whole groups are drawn, so many; 0 draws compounds.
    """

    splitter: callable
    n_compounds: int
    n_contexts: int
    fresh: tuple
    learnt: bool = False
    n_groups: int = 0


def both_new(X, seed):
    """Return folds that train on neither the compounds nor the contexts they test."""
    parts = [
        [test for _, test in kind(3, random_state=seed).split(X)]
        for kind in (UnseenPerturbationKFold, UnseenContextKFold)
    ]
    rows = np.arange(len(X))
    return [
        (np.setdiff1d(rows, np.union1d(p, c)), np.intersect1d(p, c))
        for p in parts[0]
        for c in parts[1]
    ]


def pairs_in_targets(X, seed):
    targets = sorted(X["cell_type"].unique())[:2]
    return UnseenPairKFold(5, contexts=targets, random_state=seed)


def leave_one_out(X, seed):
    shared = sorted(X["sm_name"].unique())[:SHARED]
    return LeaveOneContextOut(shared_perturbations=shared)


def by(kind, n_splits, **options):
    return lambda X, seed: kind(n_splits, random_state=seed, **options)


CASES = {
    "UnseenPerturbationKFold": Case(
        by(UnseenPerturbationKFold, 5), 100, 3, (COMPOUND,)
    ),
    "UnseenPerturbationKFold, few": Case(
        by(UnseenPerturbationKFold, 5), 40, 4, (COMPOUND,)
    ),
    "UnseenGroupKFold": Case(
        by(UnseenGroupKFold, 5, by=GROUP), 0, 2, (COMPOUND,), n_groups=80
    ),
    "UnseenScaffoldKFold": Case(
        by(UnseenScaffoldKFold, 5), 0, 2, (COMPOUND,), n_groups=80
    ),
    "UnseenPairKFold": Case(by(UnseenPairKFold, 5), 80, 3, (COMPOUND,), True),
    "UnseenPairKFold, two targets": Case(pairs_in_targets, 80, 4, (COMPOUND,), True),
    "UnseenContextKFold": Case(by(UnseenContextKFold, 5), 20, 15, (CONTEXT,)),
    "UnseenContextKFold, few": Case(by(UnseenContextKFold, 3), 40, 6, (CONTEXT,)),
    "LeaveOneContextOut": Case(leave_one_out, 20, 15, (CONTEXT,), True),
    "both new": Case(both_new, 60, 12, (COMPOUND, CONTEXT)),
    "both new, few": Case(both_new, 60, 6, (COMPOUND, CONTEXT)),
}


def draw(population, case, rng):
    """Return the compounds and the contexts of a screen."""
    contexts = rng.choice(N_CONTEXTS, case.n_contexts, replace=False)
    if not case.n_groups:
        return rng.choice(N_COMPOUNDS, case.n_compounds, replace=False), contexts
    drawn = rng.choice(population.n_groups, case.n_groups, replace=False)
    return np.flatnonzero(np.isin(population.group, drawn)), contexts


def simulate(population, case, seed):
    """Return what `compare` finds on a screen, and what the truth is made from.

    Returns
    -------
    summary : DataFrame
        Of `compare`, indexed by model.
    fresh : DataFrame
        Scores of the models on fresh units, a column for each; "kind" says whether
        they are "folds'" or "refitted", and "unit" which of the population it is.
    """
    rng = np.random.default_rng(seed)
    compounds, contexts = draw(population, case, rng)
    grid = np.repeat(compounds, len(contexts)), np.tile(contexts, len(compounds))
    X, y = population.rows(*grid)
    cv = case.splitter(X, seed)
    models = {name: KernelModel(*given) for name, given in MODELS.items()}
    baseline = {BASELINE: models.pop(BASELINE)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = compare(models, X, y, cv=cv, baselines=baseline, random_state=seed)
    tested = [part["row"].to_numpy() for _, part in found.held_out.groupby("fold")]
    folds = cv if isinstance(cv, list) else list(cv.split(X))
    screen = population, case, {name: X[name].to_numpy() for name in TOTAL}
    fresh = [
        exchanged(*screen, train, test, rng).assign(kind="folds'")
        for (train, _), test in zip(folds, tested, strict=True)
    ]
    # With the model that is fitted to all rows, fresh units are known from elsewhere as
    # those of a fold are.
    asked = tested if case.learnt else [np.unique(np.concatenate(tested))]
    for test in asked:
        scores = exchanged(*screen, np.arange(len(X)), test, rng, refit=True)
        fresh.append(scores.assign(kind="refitted"))
    return found.summary.set_index("model"), pd.concat(fresh)


def exchanged(population, case, levels, train, test, rng, refit=False):
    """Return scores of fresh units in the place of those that are tested.

    With `refit`, all rows but those of fresh units that are scored are trained on.
    """
    if not case.learnt:
        return _plainly(population, case, levels, train, test, rng)
    [column] = case.fresh
    own, found = levels[column], []
    others = np.setdiff1d(np.arange(TOTAL[column]), own)
    mine = np.unique(own[test])
    # At most a fifth at once, or little of what the fold learns from would stay.
    most = max(1, len(np.unique(own)) // 5)
    for _ in range(N_EXCHANGES):
        leaving = rng.permutation(mine)[:most]
        new = np.arange(TOTAL[column])
        new[leaving] = rng.choice(others, len(leaving), replace=False)
        codes = levels | {column: new[own]}
        scored = test[np.isin(own[test], leaving)]
        known = np.setdiff1d(np.arange(len(own)), scored) if refit else train
        table = _scored(population, codes, codes, known, scored)
        # What a pair says with no model at all tells how hard it is.
        size = population.size[codes[COMPOUND][scored], codes[CONTEXT][scored]]
        of_others = (
            population.size[others]
            if column == COMPOUND
            else (population.size[:, others].T)
        )
        kept = codes[CONTEXT if column == COMPOUND else COMPOUND][scored]
        table += (of_others.mean(axis=0)[kept] - size)[:, None]
        found.append(table.assign(unit=codes[column][scored]))
    return pd.concat(found)


def _plainly(population, case, levels, train, test, rng):
    """Score fresh units of which the model has learnt nothing."""
    fresh = {}
    for column in (COMPOUND, CONTEXT):
        fresh[column] = np.unique(levels[column][test])
        if column in case.fresh:
            fresh[column] = np.setdiff1d(np.arange(TOTAL[column]), levels[column])
    pairs = np.array(np.meshgrid(*fresh.values(), indexing="ij")).reshape(2, -1)
    if pairs.shape[1] > MOST_FRESH:
        pairs = pairs[:, rng.choice(pairs.shape[1], MOST_FRESH, replace=False)]
    codes = dict(zip(fresh, pairs, strict=True))
    table = _scored(population, levels, codes, train, np.arange(pairs.shape[1]))
    zeros = population.size[*pairs]
    every = population.size[np.ix_(*fresh.values())].mean()
    means = table.mean() + every - zeros.mean()
    return means.to_frame().T.assign(unit=-1)


def _scored(population, known, asked, train, test):
    """Fit to some rows of a screen, and score some of another."""
    known = population.conditions(known[COMPOUND][train], known[CONTEXT][train])
    asked = population.conditions(asked[COMPOUND][test], asked[CONTEXT][test])
    y, truth = (population.y[c[COMPOUND], c[CONTEXT]] for c in (known, asked))
    among, between = equalities(known, known), equalities(asked, known)
    scores = {}
    for name, given in MODELS.items():
        y_pred = KernelModel(*given).learn(among, y).say(between)
        scores[name] = error(truth, y_pred)
    return pd.DataFrame(scores)


def truths(fresh, case):
    """Return the mean scores of fresh units for each screen, kind and model."""
    table = pd.concat(fresh, keys=range(len(fresh)), names=["screen"]).reset_index(
        "screen"
    )
    names = list(MODELS)
    if not case.learnt:
        return table.groupby(["kind", "screen"])[names].mean()
    # Screen and unit, fitted together: a unit's part is the same in all screens, and
    # zero on average over the population.
    found = {}
    for kind, own in table.groupby("kind"):
        of_screen = own.groupby("screen")[names].mean()
        for _ in range(20):
            rest = own[names] - of_screen.reindex(own["screen"]).to_numpy()
            grouped = rest.groupby(own["unit"].to_numpy())
            # Units that were seen a few times only are drawn to zero.
            of_unit = grouped.sum().div(grouped.size() + 2, axis=0)
            of_unit -= of_unit.mean()
            rest = own[names] - of_unit.reindex(own["unit"]).to_numpy()
            of_screen = rest.groupby(own["screen"].to_numpy()).mean()
        found[kind] = of_screen
    return pd.concat(found, names=["kind", "screen"])


def coverage(results, case):
    """Return the shares of screens whose intervals hold the truth, with their errors.

    Parameters
    ----------
    results : list of tuple
        Of `simulate`.

    Returns
    -------
    shares : dict of str to float
        Over screens, as means over models, which fail on the same screens.
    unit : str
    n_units : list of int or str
    """
    truth = truths([fresh for _, fresh in results], case)
    others = [name for name in MODELS if name != BASELINE]
    hits = {"scores": [], "differences": [], "differences, refitted": []}
    for screen, (summary, _) in enumerate(results):
        for kind, names in (("folds'", ""), ("refitted", ", refitted")):
            true = truth.loc[(kind, screen)]
            found = summary.loc[others]
            gap = true[others] - true[BASELINE]
            inside = gap.between(found["difference_low"], found["difference_high"])
            hits["differences" + names].append(inside.mean())
            if not names:
                inside = true.between(
                    *(summary.loc[list(MODELS), end] for end in ("ci_low", "ci_high"))
                )
                hits["scores"].append(inside.mean())
    summaries = [summary for summary, _ in results]
    n_units = [summary["n_units"].iloc[0] for summary in summaries]
    shares = {name: np.mean(inside) for name, inside in hits.items()}
    return shares, summaries[0]["unit"].iloc[0], n_units


def wilson(share, n):
    """Return a 95 % interval of a binomial share."""
    found = stats.binomtest(round(share * n), n).proportion_ci(method="wilson")
    return f"{100 * share:.1f} ({100 * found.low:.0f} to {100 * found.high:.0f})"


def report(name, case, results):
    """Print a row of the table."""
    shares, unit, n_units = coverage(results, case)
    counts = sorted(set(n_units))
    shown = counts[0] if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    cells = [wilson(share, len(results)) for share in shares.values()]
    print(f"| {name} | {unit} | {shown} | {' | '.join(cells)} |", flush=True)


def main():
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--screens", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="part of the name of splitters")
    options = parser.parse_args()
    population = Population()
    start = time.perf_counter()
    print("| folds | unit | units | scores | differences | differences, refitted |")
    print("|---|---|---:|---:|---:|---:|")
    for name, case in CASES.items():
        if options.only.casefold() in name.casefold():
            seeds = range(options.seed, options.seed + options.screens)
            report(name, case, [simulate(population, case, seed) for seed in seeds])
    print(f"\n{options.screens} screens each, {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
