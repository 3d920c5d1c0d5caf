"""Where the mean of a perturbed population is: regression on the conditions."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.model_selection import GroupKFold

from sklperturb.conditions._labels import join_combination
from sklperturb.files._fields import Array, Listed, Mapping, Number, Row, Size, Text
from sklperturb.flow._conditions import SMALLEST
from sklperturb.flow._state import Object, stored
from sklperturb.linear_model._ridge_path import ScaledRidge

stored(
    centre=Array(("n_flat",)),
    scale=Array(("n_flat",), low=SMALLEST),
    coef=Array(("n_flat", "n_outputs")),
    intercept=Array(("n_outputs",)),
    alpha=Number(0),
)(ScaledRidge)

BUILT_IN = ("auto", "shift", "ridge", "none")
_FEWEST_BLENDED = 8  # held-out perturbations, to weigh the flow's mean
_FEWEST = 5  # perturbations, for cross-validation; and its folds


@stored(width=Size("n_outputs"))
@dataclass
class _NoEffect:
    """Perturbations do nothing."""

    width: int

    @classmethod
    def fit(cls, conditions, effects):
        return cls(effects.shape[1])

    def predict(self, conditions):
        return np.zeros((len(conditions), self.width))


@stored(
    contexts=Listed(Text(), "n_contexts", unique=True),
    means=Array(("n_contexts", "n_outputs")),
    overall=Array(("n_outputs",)),
)
@dataclass
class _Shift:
    """The mean effect in the same context, or of all contexts."""

    contexts: list
    means: np.ndarray
    overall: np.ndarray

    @classmethod
    def fit(cls, conditions, effects):
        of_rows = np.array([key[0] for key in conditions.keys], dtype=object)
        contexts = sorted(set(of_rows))
        means = [effects[of_rows == c].mean(axis=0) for c in contexts]
        return cls(contexts, np.array(means), effects.mean(axis=0))

    def predict(self, conditions):
        means = dict(zip(self.contexts, self.means, strict=True))
        return np.array([means.get(key[0], self.overall) for key in conditions.keys])


@stored(shift=Object(_Shift), ridge=Object(ScaledRidge))
@dataclass
class _ShiftAndRidge:
    """The mean effect in the context, and ridge for what is beyond it.

    Where the embedding explains nothing, the penalty grows and the shift remains.
    """

    shift: _Shift
    ridge: ScaledRidge

    @classmethod
    def fit(cls, conditions, effects):
        shift = _Shift.fit(conditions, effects)
        beyond = effects - shift.predict(conditions)
        groups = [join_combination(parts) for _, parts, _ in conditions.keys]
        folds = None  # leave one out
        n_groups = len(set(groups))
        if n_groups < len(groups) and n_groups >= _FEWEST:
            # The same perturbation in another context would give the answer away.
            folds = list(GroupKFold(5).split(beyond, groups=groups))
        return cls(shift, ScaledRidge.fit(conditions.flat(), beyond, folds))

    def predict(self, conditions):
        return self.shift.predict(conditions) + self.ridge.predict(conditions.flat())


@dataclass
class _Regressor:
    """Any regressor of scikit-learn on the flat vector of a condition."""

    regressor: Any
    width: int

    @classmethod
    def fit(cls, regressor, conditions, effects):
        fitted = clone(regressor).fit(conditions.flat(), effects)
        return cls(fitted, effects.shape[1])

    def predict(self, conditions):
        predicted = np.asarray(self.regressor.predict(conditions.flat()), np.float64)
        return predicted.reshape(len(conditions), self.width)


_CANDIDATES = {"controls": _NoEffect, "shift": _Shift, "ridge": _ShiftAndRidge}


@stored(
    choice=Text(tuple(_CANDIDATES)),
    cv_errors=Mapping(Number(finite=False)),
    model=Object(*_CANDIDATES.values()),
    keys=Listed(Row((Text(), Listed(Text()), Number(0))), "n_measured"),
    effects=Array(("n_measured", "n_outputs")),
)
@dataclass
class MeanEffect:
    """Predict the mean effect of conditions, seen or not.

    What was measured moves the prediction of a regression towards itself, by as much
    as its number of cells allows. A combination that was not measured is the sum of
    its parts.

    Attributes
    ----------
    choice : str
        "controls", "shift", "ridge" or "custom".
    cv_errors : dict of str to float
        Squared error on held-out perturbations, as a share of that of no effect;
        empty unless there was a choice.
    model : object
        Has ``predict(conditions)``.
    keys : list of tuple (context, parts, dose)
        The measured conditions.
    effects : ndarray of shape (n_conditions, n_features)
        What was measured, moved towards that of the model.
    """

    choice: str
    cv_errors: dict
    model: Any
    keys: list
    effects: np.ndarray

    def __post_init__(self):
        keys = [(context, tuple(parts), dose) for context, parts, dose in self.keys]
        self._measured = dict(zip(keys, self.effects, strict=True))

    @classmethod
    def fit(cls, estimator, conditions, effects, noise):
        """Learn from conditions, their effects and the squared error of these.

        Parameters
        ----------
        estimator : {"auto", "shift", "ridge"} or regressor
            "auto" is the best of the two, and of no effect at all, on perturbations
            that were held out.
        conditions : Conditions
        effects : ndarray of shape (n_conditions, n_features)
        noise : ndarray of shape (n_conditions,)
        """
        choice, cv_errors = _choose(estimator, conditions, effects)
        model = _fit_model(choice, estimator, conditions, effects)
        keys, moved = [], np.empty((0, effects.shape[1]))
        singles = np.array([len(parts) == 1 for _, parts, _ in conditions.keys])
        # Parts first, since what is expected of a combination is made of them.
        for rows in (np.flatnonzero(singles), np.flatnonzero(~singles)):
            if not len(rows):
                continue
            so_far = cls(choice, cv_errors, model, keys, moved)
            expected = so_far._expect(conditions.take(rows))
            beyond = effects[rows] - expected
            # Stein's estimate: what is as small as noise is noise.
            squares = np.maximum(np.square(beyond).sum(axis=1), 1e-300)
            weights = np.clip(1 - noise[rows] / squares, 0, 1)
            keys = keys + [conditions.keys[row] for row in rows]
            moved = np.concatenate([moved, expected + weights[:, None] * beyond])
        return cls(choice, cv_errors, model, keys, moved)

    def predict(self, conditions):
        """Return the effect of each condition, measured ones moved to what was seen."""
        predicted = self._expect(conditions)
        for i, key in enumerate(conditions.keys):
            if key in self._measured:
                predicted[i] = self._measured[key]
        return predicted

    def is_measured(self, key):
        """Whether a condition was in the training data, or all its parts were."""
        context, parts, dose = key
        return key in self._measured or all(
            (context, (part,), dose) in self._measured for part in parts
        )

    def held_out(self, conditions, effects, test):
        """Return what a fit without some perturbations predicts for these."""
        parts = {p for i in np.flatnonzero(test) for p in conditions.keys[i][1]}
        kept = np.array([not parts & set(key[1]) for key in conditions.keys])
        rows = np.flatnonzero(kept)
        if not len(rows):
            return np.zeros((int(test.sum()), effects.shape[1]))
        regressor = getattr(self.model, "regressor", None)
        model = _fit_model(self.choice, regressor, conditions.take(rows), effects[rows])
        return model.predict(conditions.take(np.flatnonzero(test)))

    def _expect(self, conditions):
        """Add up the measured parts of each condition; the model predicts the rest."""
        rest = replace(conditions, mask=conditions.mask.copy())
        known = np.zeros((len(conditions), self.effects.shape[1]))
        for i, (context, parts, dose) in enumerate(conditions.keys):
            for j, part in enumerate(parts):
                effect = self._measured.get((context, (part,), dose))
                if effect is not None and len(parts) > 1:
                    known[i] += effect
                    rest.mask[i, j] = 0.0
        predicted = self.model.predict(rest)
        predicted[~rest.mask.any(axis=1)] = 0.0
        return predicted + known


def _fit_model(choice, regressor, conditions, effects):
    if choice == "custom":
        return _Regressor.fit(regressor, conditions, effects)
    return _CANDIDATES[choice].fit(conditions, effects)


def _choose(estimator, conditions, effects):
    """Return the choice of a model, and the errors by which it was made."""
    if not isinstance(estimator, str):
        return "custom", {}
    if estimator != "auto":
        return estimator, {}
    parts = sorted({part for _, parts, _ in conditions.keys for part in parts})
    if len(parts) < _FEWEST:
        return "shift", {}
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
            model = candidate.fit(conditions.take(train), effects[train])
            error = effects[test] - model.predict(conditions.take(test))
            squares[name] += float(np.square(error).sum())
    nothing = squares["controls"]
    if not nothing:
        return "shift", {}
    errors = {name: value / nothing for name, value in squares.items()}
    return min(squares, key=squares.get), errors


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
