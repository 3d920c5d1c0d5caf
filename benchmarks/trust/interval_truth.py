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
# these one at a time, and how many handfuls at once; of models of the registry fewer.
N_EXCHANGES = 25, 25
N_REGISTERED = 6, 8
STRONG = 0.1  # share of the compounds that are exchanged one at a time
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
    return np.sqrt(np.mean((truth - y_pred) ** 2, axis=1))


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
        all else that the fold learns from stays: one unit at a time if it is strong,
        since it changes the models that the truth is about, and weak ones by the
        handful. With `refit`, all rows but those that are scored are trained on.
        """
        [column] = self.case.fresh
        own = self.codes[column]
        strength, strong = self._strength(column)
        fresh = np.setdiff1d(np.arange(len(strength)), own)
        single = fresh[strong[fresh]]
        n_single, n_handfuls = N_REGISTERED if self.case.pairs else N_EXCHANGES
        if len(single) == len(fresh):
            n_single, n_handfuls = n_single + n_handfuls, 0
        drawn, weights = self._spread_out(single, strength[single], n_single)
        order = self._places(folds, n_single)
        values = [
            self._exchange(*folds[fold], column, [own[row]], [new], refit)
            for new, (fold, row) in zip(drawn, order, strict=True)
        ]
        share = len(single) / len(fresh)
        weights = [share * weights / weights.sum()]
        if n_handfuls:
            weak = fresh[~strong[fresh]]
            most = max(1, len(np.unique(own)) // 5)
            for place in range(n_handfuls):
                train, test = folds[place % len(folds)]
                leaving = np.unique(own[test])
                leaving = self.rng.permutation(leaving[~strong[leaving]])[:most]
                new = self.rng.choice(weak, len(leaving), replace=False)
                values.append(self._exchange(train, test, column, leaving, new, refit))
            weights.append(np.full(n_handfuls, (1 - share) / n_handfuls))
        return _weighted(np.array(values), weights)

    def _exchange(self, train, test, column, leaving, new, refit):
        """Return the mean scores of new units in the place of others."""
        own = self.codes[column]
        names = np.arange(TOTAL[column])
        names[leaving] = new
        codes = self.codes | {column: names[own]}
        scored = test[np.isin(own[test], leaving)]
        known = np.setdiff1d(np.arange(len(own)), scored) if refit else train
        return self.scores(codes, codes, known, scored).mean(axis=0)

    def _strength(self, column):
        """Return the mean response of each unit of the population, and which count."""
        [kept] = set(TOTAL) - {column}
        size = self.population.size if column == COMPOUND else self.population.size.T
        strength = size[:, np.unique(self.codes[kept])].mean(axis=1)
        if column == CONTEXT:  # which all count
            return strength, np.full(len(strength), True)
        return strength, strength > np.quantile(strength, 1 - STRONG)

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
    """Return the `Truth` of weighted values, with weights in several strata."""
    mean, noise, start = 0.0, 0.0, 0
    for own in weights:
        part = values[start : start + len(own)]
        start += len(own)
        centre = np.average(part, axis=0, weights=own)
        apart = own[:, None] * (part - centre)
        mean = mean + own.sum() * centre
        noise = noise + apart.T @ apart * len(own) / (len(own) - 1)
    return Truth(mean, noise)
