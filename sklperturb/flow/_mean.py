"""Where the mean of a perturbed population is: regression on the conditions."""

import numpy as np
from sklearn.base import clone
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

BUILT_IN = ("auto", "shift", "ridge", "none")
_ALPHAS = np.logspace(-1, 5, 25)
_FEWEST_BLENDED = 8  # held-out conditions, to weigh the flow's mean
_FEWEST = 5  # perturbations, for regression and for cross-validation


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
        singles = np.array([len(parts) == 1 for _, parts, _ in conditions.keys])
        names = {key[1] for key, single in zip(conditions.keys, singles, strict=True)}
        names = {parts for parts in names if len(parts) == 1}
        self._of_parts = len(names) >= min(_FEWEST, singles.sum()) and singles.any()
        rows = np.flatnonzero(singles) if self._of_parts else np.arange(len(effects))
        self._choose(conditions.take(rows), effects[rows], len(names))
        self._model = self._make().fit(conditions.take(rows), effects[rows])
        self._measured = {}
        residual = np.empty_like(effects)
        # Parts first, since the prior of a combination is made of them.
        for of_parts in (singles, ~singles):
            at = np.flatnonzero(of_parts)
            if not len(at):
                continue
            prior = self._prior(conditions.take(at))
            residual[at] = effects[at] - prior
            squares = np.square(residual[at]).sum(axis=1)
            signal = max(float(np.mean(squares - noise[at])), 0.0)
            weights = signal / np.maximum(signal + noise[at], 1e-300)
            for i, row in enumerate(at):
                value = prior[i] + weights[i] * residual[row]
                self._measured[conditions.keys[row]] = value
        return self

    def predict(self, conditions):
        """Return the effect of each condition, measured ones moved to what was seen."""
        return self._predict(conditions, use_measured=True)

    def is_measured(self, key):
        """Tell whether a condition was in the training data."""
        return key in self._measured

    def held_out(self, conditions, effects, test):
        """Return what a fit without some conditions says of these."""
        parts = {p for i in np.flatnonzero(test) for p in conditions.keys[i][1]}
        kept = np.array([not parts & set(key[1]) for key in conditions.keys])
        rows = np.flatnonzero(kept)
        model = self._make().fit(conditions.take(rows), effects[rows])
        return self._sum_parts(conditions.take(np.flatnonzero(test)), model.predict)

    def _prior(self, conditions):
        return self._predict(conditions, use_measured=False)

    def _predict(self, conditions, use_measured):
        if not self._of_parts:
            predicted = self._model.predict(conditions)
            if use_measured:
                self._put_measured(conditions, predicted)
            return predicted

        def of_part(alone):
            # A part of a combination counts as measured; a lone one only if asked.
            predicted = self._model.predict(alone)
            self._put_measured(alone, predicted)
            return predicted

        predicted = self._sum_parts(conditions, of_part)
        if use_measured:
            self._put_measured(conditions, predicted)
        return predicted

    def _put_measured(self, conditions, predicted):
        for i, key in enumerate(conditions.keys):
            if key in self._measured:
                predicted[i] = self._measured[key]

    def _sum_parts(self, conditions, predict):
        if not self._of_parts:
            return predict(conditions)
        rows, alone = conditions.single_parts()
        of_parts = predict(alone)
        predicted = np.zeros((len(conditions), of_parts.shape[1]))
        np.add.at(predicted, rows, of_parts)
        return predicted

    def _make(self):
        if self.choice_ == "custom":
            return _Regressor(self.estimator)
        return _CANDIDATES[self.choice_]()

    def _choose(self, conditions, effects, n_names):
        self.cv_errors_ = {}
        if not isinstance(self.estimator, str):
            self.choice_ = "custom"
            return
        self.choice_ = self.estimator
        if self.estimator != "auto":
            return
        groups = _groups(conditions)
        if n_names < _FEWEST or len(set(groups)) < _FEWEST:
            self.choice_ = "shift"
            return
        squares = dict.fromkeys(_CANDIDATES, 0.0)
        folds = GroupKFold(5, shuffle=True, random_state=0)
        for train, test in folds.split(effects, groups=groups):
            for name, candidate in _CANDIDATES.items():
                model = candidate().fit(conditions.take(train), effects[train])
                error = effects[test] - model.predict(conditions.take(test))
                squares[name] += float(np.square(error).sum())
        nothing = squares["controls"] or 1.0
        self.cv_errors_ = {name: value / nothing for name, value in squares.items()}
        self.choice_ = min(squares, key=squares.get)


def blend_weight(effects, regression, flow):
    """Return the weight of the regression, the rest being that of the flow.

    The weight, from 0 to 1, with which the two together are nearest to the effects
    of held-out perturbations; 1 where these are few.
    """
    if len(effects) < _FEWEST_BLENDED:
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
