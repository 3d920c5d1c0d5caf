"""Where the mean of a perturbed population is: regression on the conditions."""

import copy

import numpy as np
from sklearn.base import clone
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

BUILT_IN = ("auto", "shift", "ridge", "none")
_ALPHAS = np.logspace(-1, 5, 25)
_FEWEST_BLENDED = 8  # held-out perturbations, to weigh the flow's mean
_FEWEST = 5  # perturbations, for cross-validation; and its folds


class _NoEffect:
    """Perturbations do nothing."""

    def fit(self, conditions, effects):
        self._width = effects.shape[1]
        return self

    def predict(self, conditions):
        return np.zeros((len(conditions), self._width))


class _Shift:
    """The mean effect in the same context, or of all contexts."""

    def fit(self, conditions, effects):
        contexts = np.array([key[0] for key in conditions.keys], dtype=object)
        self._means = {c: effects[contexts == c].mean(axis=0) for c in set(contexts)}
        self._overall = effects.mean(axis=0)
        return self

    def predict(self, conditions):
        return np.array(
            [self._means.get(key[0], self._overall) for key in conditions.keys]
        )


class _Regressor:
    """Any regressor of scikit-learn on the flat vector of a condition."""

    def __init__(self, regressor):
        self._regressor = regressor

    def fit(self, conditions, effects):
        self._fitted = clone(self._regressor).fit(conditions.flat(), effects)
        self._width = effects.shape[1]
        return self

    def predict(self, conditions):
        predicted = np.asarray(self._fitted.predict(conditions.flat()), np.float64)
        return predicted.reshape(len(conditions), self._width)


class _ShiftAndRidge:
    """The mean effect in the context, and ridge for what is beyond it.

    Where the embedding says nothing, the penalty grows and the shift remains.
    """

    def fit(self, conditions, effects):
        self._shift = _Shift().fit(conditions, effects)
        beyond = effects - self._shift.predict(conditions)
        groups = _groups(conditions)
        cv = None  # leave one out, in closed form
        n_groups = len(set(groups))
        if n_groups < len(groups) and n_groups >= _FEWEST:
            # The same perturbation in another context would give the answer away.
            cv = list(GroupKFold(5).split(beyond, groups=groups))
        ridge = make_pipeline(StandardScaler(), RidgeCV(_ALPHAS, cv=cv))
        self._ridge = _Regressor(ridge).fit(conditions, beyond)
        return self

    def predict(self, conditions):
        return self._shift.predict(conditions) + self._ridge.predict(conditions)


_CANDIDATES = {"controls": _NoEffect, "shift": _Shift, "ridge": _ShiftAndRidge}


class MeanEffect:
    """Predict the mean effect of conditions, seen or not.

    What was measured moves the prediction of a regression towards itself, by as much
    as its number of cells allows. A combination that was not measured is the sum of
    what is said of its parts.

    Parameters
    ----------
    estimator : {"auto", "shift", "ridge"} or regressor
        "auto" is the best of the two, and of no effect at all, on perturbations that
        were held out.

    Attributes
    ----------
    choice_ : str
        "controls", "shift", "ridge" or "custom".
    cv_errors_ : dict of str to float
        Squared error on held-out perturbations, as a share of that of no effect;
        empty unless there was a choice.
    reliability_ : ndarray of shape (n_conditions,)
        Weight of what was measured, from 0 to 1.
    """

    def __init__(self, estimator):
        self.estimator = estimator

    def fit(self, conditions, effects, noise):
        """Learn from conditions, their effects and the squared error of these."""
        self._choose(conditions, effects)
        self._model = self._make().fit(conditions, effects)
        self._measured = {}
        singles = np.array([len(parts) == 1 for _, parts, _ in conditions.keys])
        # Parts first, since what is expected of a combination is made of them.
        for rows in (np.flatnonzero(singles), np.flatnonzero(~singles)):
            if not len(rows):
                continue
            expected = self._expect(conditions.take(rows))
            beyond = effects[rows] - expected
            # Stein's estimate: what is as small as noise is noise.
            squares = np.maximum(np.square(beyond).sum(axis=1), 1e-300)
            weights = np.clip(1 - noise[rows] / squares, 0, 1)
            values = expected + weights[:, None] * beyond
            keys = (conditions.keys[row] for row in rows)
            self._measured.update(zip(keys, values, strict=True))
        return self

    def predict(self, conditions):
        """Return the effect of each condition, measured ones moved to what was seen."""
        predicted = self._expect(conditions)
        for i, key in enumerate(conditions.keys):
            if key in self._measured:
                predicted[i] = self._measured[key]
        return predicted

    def is_measured(self, key):
        """Tell whether a condition was in the training data, or all its parts were."""
        return key in self._measured or not self._unmeasured(key)

    def held_out(self, conditions, effects, test):
        """Return what a fit without some perturbations says of these."""
        parts = {p for i in np.flatnonzero(test) for p in conditions.keys[i][1]}
        kept = np.array([not parts & set(key[1]) for key in conditions.keys])
        rows = np.flatnonzero(kept)
        if not len(rows):
            return np.zeros((int(test.sum()), effects.shape[1]))
        model = self._make().fit(conditions.take(rows), effects[rows])
        return model.predict(conditions.take(np.flatnonzero(test)))

    def _unmeasured(self, key):
        context, parts, dose = key
        return [p for p in parts if (context, (p,), dose) not in self._measured]

    def _expect(self, conditions):
        """Add up the measured parts of each condition; the model says the rest."""
        rest = copy.copy(conditions)
        rest.mask = conditions.mask.copy()
        known = None
        for i, (context, parts, dose) in enumerate(conditions.keys):
            if len(parts) < 2:
                continue
            for j, part in enumerate(parts):
                effect = self._measured.get((context, (part,), dose))
                if effect is None:
                    continue
                if known is None:
                    known = np.zeros((len(conditions), len(effect)))
                known[i] += effect
                rest.mask[i, j] = 0.0
        predicted = self._model.predict(rest)
        if known is not None:
            predicted[~rest.mask.any(axis=1)] = 0.0
            predicted += known
        return predicted

    def _make(self):
        if self.choice_ == "custom":
            return _Regressor(self.estimator)
        return _CANDIDATES[self.choice_]()

    def _choose(self, conditions, effects):
        self.cv_errors_ = {}
        if not isinstance(self.estimator, str):
            self.choice_ = "custom"
            return
        self.choice_ = self.estimator
        if self.estimator != "auto":
            return
        self.choice_ = "shift"
        parts = sorted({part for _, parts, _ in conditions.keys for part in parts})
        if len(parts) < _FEWEST:
            return
        fold_of = np.random.default_rng(0).permutation(len(parts)) % _FEWEST
        fold_of = dict(zip(parts, fold_of, strict=True))
        folds = [{fold_of[part] for part in key[1]} for key in conditions.keys]
        alone = np.array([len(parts) == 1 for _, parts, _ in conditions.keys])
        squares = dict.fromkeys(_CANDIDATES, 0.0)
        for fold in range(_FEWEST):
            touched = np.array([fold in of_parts for of_parts in folds])
            test = touched & alone if (touched & alone).any() else touched
            train, test = np.flatnonzero(~touched), np.flatnonzero(test)
            if not len(train) or not len(test):
                continue
            for name, candidate in _CANDIDATES.items():
                model = candidate().fit(conditions.take(train), effects[train])
                error = effects[test] - model.predict(conditions.take(test))
                squares[name] += float(np.square(error).sum())
        nothing = squares["controls"]
        if nothing:
            self.cv_errors_ = {name: value / nothing for name, value in squares.items()}
            self.choice_ = min(squares, key=squares.get)


def blend_weight(effects, regression, flow, n_perturbations):
    """Return the weight of the regression, the rest being that of the flow.

    The weight, from 0 to 1, with which the two together are nearest to the effects
    of held-out perturbations; 1 where these are few.
    """
    if n_perturbations < _FEWEST_BLENDED:
        return 1.0
    difference = regression - flow
    length = np.square(difference).sum()
    if length == 0:
        return 1.0
    return float(np.clip(((effects - flow) * difference).sum() / length, 0, 1))


def _groups(conditions):
    """Return a number for each condition, the same for the same perturbation."""
    names = ["+".join(parts) for _, parts, _ in conditions.keys]
    return np.unique(names, return_inverse=True)[1]
