"""What models say of fresh units of a population, for `interval_coverage.py`."""

from dataclasses import dataclass

import numpy as np
from scipy import linalg
from sklearn.base import BaseEstimator, RegressorMixin

from benchmarks.trust.interval_screens import (
    COMPOUND,
    CONTEXT,
    FAMILY,
    N_COMPOUNDS,
    TOTAL,
)
from sklperturb.models import make_model

# Where folds learn of the units that they test, how many fresh ones are exchanged for
# these; of models of the registry, of which less is foreseen, more.
N_EXCHANGES, N_REGISTERED = 25, 30
MOST_FRESH = 3000  # fresh pairs for a fold whose model does not learn from them

# What counts if two conditions have it in common, and the penalty.
ADDITIVE = {COMPOUND: 1.0, CONTEXT: 0.3}
MODELS = {
    "additive": (ADDITIVE, 1.0),
    "ridge": (ADDITIVE | {FAMILY: 0.2}, 1.0),
    "stiff": (ADDITIVE | {FAMILY: 0.2}, 3.0),
}


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
        compounds, first = np.unique(codes[COMPOUND], return_index=True)
        self.n_rows_ = len(y) / len(compounds)
        if FAMILY in self.weights:
            own = codes[FAMILY][first]
            self.relatives_ = np.bincount(own, minlength=N_COMPOUNDS)
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
            levels, own = np.unique(codes[name], return_inverse=True)
            effect[levels] = weight * (own == np.arange(len(levels))[:, None]) @ dual
            self.effects_[name] = effect
        return self

    def say(self, codes):
        return self.mean_ + sum(
            self.effects_[name][codes[name]] for name in self.weights
        )

    def foresee(self, column, codes, y, n_known):
        """Return the errors of units of which some rows become known, all else staying.

        Parameters
        ----------
        column : str
            Of the units.
        codes : dict of str to ndarray of int of shape (n_units, n_rows)
        y : ndarray of shape (n_units, n_rows, n_genes)
        n_known : int
            How many rows, from the first, become known.

        Returns
        -------
        errors : ndarray of shape (n_units, n_rows - n_known)
        """
        others = [name for name in self.weights if name != column]
        rest = y - self.mean_ - sum(self.effects_[n][codes[n]] for n in others)
        weight = np.full(len(y), self.weights[column])
        if column == COMPOUND and FAMILY in others:
            # A new compound tells of its family, the more the fewer relatives it has.
            of_one = weight + self.penalty / self.n_rows_
            told = self.relatives_[codes[FAMILY][:, 0]] / of_one
            weight = weight + self.weights[FAMILY] / (1 + self.weights[FAMILY] * told)
        share = (weight / (weight * n_known + self.penalty))[:, None]
        effect = share * rest[:, :n_known].sum(axis=1)
        return error(rest[:, n_known:], effect[:, None])


class Registered:
    """A model of the registry, with the methods of `SharedLevels`."""

    def __init__(self, name, population):
        self.model = make_model(name, random_state=0)
        self.population = population

    def learn(self, codes, y, factors):
        pairs = codes[COMPOUND], codes[CONTEXT]
        self.model.fit(*self.population.rows(*pairs, own_structures=True))
        return self

    def say(self, codes):
        pairs = codes[COMPOUND], codes[CONTEXT]
        X, _ = self.population.rows(*pairs, own_structures=True)
        return self.model.predict(X)


def error(truth, y_pred):
    """Return the root mean squared error of each row."""
    return np.sqrt(np.mean((truth - y_pred) ** 2, axis=-1))


@dataclass
class Truth:
    """What fresh units score on average, and how well that is known.

    Attributes
    ----------
    mean : ndarray of shape (n_models,)
    noise : ndarray of shape (n_models, n_models)
        Covariance of the means: fresh units are many, but drawn.
    """

    mean: np.ndarray
    noise: np.ndarray

    def of(self, contrasts):
        """Return the truth about combinations of models, and its standard errors."""
        spread = np.einsum("ki,ij,kj->k", contrasts, self.noise, contrasts)
        return contrasts @ self.mean, np.sqrt(np.maximum(spread, 0))


class World:
    """A screen in its population: fits models, and scores them on fresh units."""

    def __init__(self, population, case, codes, rng):
        self.population, self.case, self.codes, self.rng = population, case, codes, rng
        self.factors = {}

    def models(self):
        if self.case.pairs:
            return [Registered(name, self.population) for name in self.case.names()]
        return [SharedLevels(*given) for given in MODELS.values()]

    def scores(self, known, asked, train, test):
        """Fit to some rows of a screen, and score some of another."""
        known = [known[name][train] for name in TOTAL]
        asked = [asked[name][test] for name in TOTAL]
        y, truth = self.population.y[*known], self.population.y[*asked]
        known, asked = self.population.codes(*known), self.population.codes(*asked)
        fitted = (model.learn(known, y, self.factors) for model in self.models())
        return np.column_stack([error(truth, model.say(asked)) for model in fitted])

    def exchanged(self, folds, refit=False):
        """Return the `Truth` where a fold has learnt of the units that it tests too.

        A fresh unit takes the place of one that a fold tests, in training too, while
        all else that the fold learns from stays, and the model is fitted anew. Only
        some are exchanged: what is averaged over them is how far their scores are from
        what is foreseen without a fit, which is known of all. With `refit`, all rows
        but those that are scored are trained on.
        """
        [column] = self.case.fresh
        own = self.codes[column]
        fresh = np.setdiff1d(np.arange(TOTAL[column]), own)
        n_drawn = N_REGISTERED if self.case.pairs else N_EXCHANGES
        drawn, weights = self._spread_out(fresh, self._strength(column)[fresh], n_drawn)
        every = np.arange(len(own))
        known = [every if refit else train for train, _ in folds]
        controls = [self._controls(rows) for rows in known]
        off = []
        for new, place in zip(drawn, self._places(folds, n_drawn), strict=True):
            fold, leaving = place[0], own[place[1]]
            test = folds[fold][1]
            scored = test[own[test] == leaving]
            train = np.setdiff1d(known[fold], scored) if refit else known[fold]
            parts = self._parts(column, leaving, train, scored)
            foreseen = self._foreseen(controls[fold], column, np.array([new]), *parts)
            names = np.arange(TOTAL[column])
            names[leaving] = new
            codes = self.codes | {column: names[own]}
            found = self.scores(codes, codes, train, scored).mean(axis=0)
            off.append(found - foreseen[0])
        truth = _weighted(np.array(off), weights / weights.sum())
        truth.mean = truth.mean + self._foreseen_of_all(
            column, folds, known, controls, fresh
        )
        return truth

    def _controls(self, known):
        """Return closed-form models, one for each model, fitted to some rows."""
        given = list(MODELS.values())
        if self.case.pairs:  # the nearest to what these have in common
            given = given[:1] * len(self.case.names())
        codes = [self.codes[name][known] for name in TOTAL]
        y, codes = self.population.y[*codes], self.population.codes(*codes)
        return [SharedLevels(*own).learn(codes, y, self.factors) for own in given]

    def _parts(self, column, unit, train, scored):
        """Return with what a unit is known, and with what it is scored."""
        [kept] = set(TOTAL) - {column}
        known = train[self.codes[column][train] == unit]
        return tuple(np.sort(self.codes[kept][known])), tuple(
            np.sort(self.codes[kept][scored])
        )

    def _foreseen(self, controls, column, units, known, scored):
        """Return the mean score that is foreseen of each unit, by model."""
        grid = np.meshgrid(units, np.array(known + scored, dtype=int), indexing="ij")
        pairs = grid if column == COMPOUND else grid[::-1]
        y, codes = self.population.y[*pairs], self.population.codes(*pairs)
        found = [own.foresee(column, codes, y, len(known)) for own in controls]
        return np.column_stack([errors.mean(axis=1) for errors in found])

    def _foreseen_of_all(self, column, folds, known, controls, units):
        """Return the mean of what is foreseen of units in each place that is tested."""
        own, means, total, n_rows = self.codes[column], {}, 0.0, 0
        for fold, (_, test) in enumerate(folds):
            for leaving in np.unique(own[test]):
                scored = test[own[test] == leaving]
                train = np.setdiff1d(known[fold], scored)
                parts = self._parts(column, leaving, train, scored)
                if (fold, *parts) not in means:
                    found = self._foreseen(controls[fold], column, units, *parts)
                    means[fold, *parts] = found.mean(axis=0)
                total = total + means[fold, *parts] * len(scored)
                n_rows += len(scored)
        return total / n_rows

    def _strength(self, column):
        """Return the mean response of each unit of the population."""
        [kept] = set(TOTAL) - {column}
        size = self.population.size if column == COMPOUND else self.population.size.T
        return size[:, np.unique(self.codes[kept])].mean(axis=1)

    def _spread_out(self, units, strength, n_drawn):
        """Return units from weak to strong and their weights: one every so much."""
        order = np.argsort(strength)
        up_to = np.cumsum(strength[order])
        at = (np.arange(n_drawn) + self.rng.random()) / n_drawn * up_to[-1]
        drawn = self.rng.permutation(order[np.searchsorted(up_to, at)])
        return units[drawn], 1 / strength[drawn]

    def _places(self, folds, n_drawn):
        """Return held-out rows as (fold, row), all about equally often."""
        rows = [(fold, row) for fold, (_, test) in enumerate(folds) for row in test]
        rounds = -(-n_drawn // len(rows))
        deals = [self.rng.permutation(len(rows)) for _ in range(rounds)]
        return [rows[place] for place in np.concatenate(deals)[:n_drawn]]

    def plainly(self, folds, refit=False):
        """Return the `Truth` about fresh units of which the models learn nothing."""
        if refit:
            every = np.arange(len(self.codes[COMPOUND]))
            tested = np.concatenate([test for _, test in folds])
            folds = [(every, np.unique(tested))]
        found = [self._of_fold(train, test) for train, test in folds]
        sizes = [len(test) for _, test in folds]
        mean = np.average(found, axis=0, weights=sizes)
        return Truth(mean, np.zeros((len(mean), len(mean))))

    def _of_fold(self, train, test):
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
        return scores.mean(axis=0) + plain


def _weighted(values, weights):
    """Return the `Truth` of values with weights that add up to 1."""
    mean = weights @ values
    apart = weights[:, None] * (values - mean)
    return Truth(mean, apart.T @ apart * len(weights) / (len(weights) - 1))
