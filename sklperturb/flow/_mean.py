"""Where the mean of a perturbed population is: regression on the conditions."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.spatial.distance import cdist
from sklearn.base import clone

from sklperturb.files._fields import (
    Array,
    Flag,
    Listed,
    Mapping,
    Maybe,
    Number,
    Row,
    Text,
)
from sklperturb.flow._conditions import SMALLEST
from sklperturb.flow._state import Having, Object, stored
from sklperturb.linear_model._calibration import LARGEST_SHARE, shrunken_factor
from sklperturb.linear_model._kernel import groups_by_part
from sklperturb.linear_model._knowledge import fit_knowledge
from sklperturb.utils._intervals import mean_interval

BUILT_IN = ("auto", "shift", "kernel", "none")
_FEWEST = 5  # perturbations or contexts, for cross-validation; and its folds
_FEWEST_CONTEXTS = 3  # whose controls can tell anything


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
    def fit(cls, conditions, effects, units=None):
        of_rows = np.array([key[0] for key in conditions.keys], dtype=object)
        contexts = sorted(set(of_rows))
        means = [effects[of_rows == c].mean(axis=0) for c in contexts]
        return cls(contexts, np.array(means), effects.mean(axis=0))

    def again(self, conditions, effects):
        return self.fit(conditions, effects)

    def predict(self, conditions):
        means = dict(zip(self.contexts, self.means, strict=True))
        return np.array([means.get(key[0], self.overall) for key in conditions.keys])


@stored(
    contexts=Listed(Text(), "n_fitted"),
    names=Listed(Listed(Text()), "n_fitted"),
    origin=Array(("n_told",)),
    scale=Array(("n_told",), low=SMALLEST),
    vectors=Array(("n_fitted", "n_told")),
    controls=Array(("n_fitted", "n_outputs")),
    bandwidth=Number(0),
    centre=Array(("n_outputs",)),
    coefs=Mapping(Array(("n_fitted", "n_outputs"))),
)
@dataclass
class _Kernels:
    """Kernel ridge on what is known of perturbations and contexts.

    Attributes
    ----------
    contexts, names : list
        Context and perturbations of the conditions that it was fitted to.
    origin, scale : ndarray of shape (n_elements,)
        Taken off what sources say of a part, and what it is divided by, one number for
        each source: its columns keep their proportions.
    vectors : ndarray of shape (n_fitted, n_elements)
        What sources say of the conditions, the sum over their parts.
    controls : ndarray of shape (n_fitted, n_outputs)
        Mean control of each one's context.
    bandwidth : float
        Mean squared distance of these; 0 where there are too few contexts.
    centre : ndarray of shape (n_outputs,)
        The mean effect.
    coefs : dict of str to ndarray of shape (n_fitted, n_outputs)
        What is multiplied with each kernel between new and fitted conditions.
    """

    contexts: list
    names: list
    origin: np.ndarray
    scale: np.ndarray
    vectors: np.ndarray
    controls: np.ndarray
    bandwidth: float
    centre: np.ndarray
    coefs: dict

    @classmethod
    def fit(cls, conditions, effects, units):
        controls, n_elements = conditions.controls, conditions.elements.shape[2]
        origin, scale = np.zeros(n_elements), np.ones(n_elements)
        for columns, known in conditions.sources():
            if known.any():
                vectors = conditions.elements[known][:, columns]
                origin[columns] = vectors.mean(axis=0)
                spread = np.square(vectors - origin[columns]).sum(axis=1).mean()
                scale[columns] = np.sqrt(spread) or 1.0
        contexts = [key[0] for key in conditions.keys]
        names = [list(key[1]) for key in conditions.keys]
        bandwidth = 0.0
        if len(set(contexts)) >= _FEWEST_CONTEXTS:
            bandwidth = float(cdist(controls, controls, "sqeuclidean").mean())
        vectors, centre = np.zeros((len(names), n_elements)), np.zeros(effects.shape[1])
        parts = contexts, names, origin, scale, vectors, controls, bandwidth, centre
        model = cls(*parts, {})
        model.vectors = model._read(conditions)
        means, kernels = model._between(conditions)
        if not means and not kernels:
            model.centre = effects.mean(axis=0)
            return model
        groups = pd.factorize(units)[0]
        of_names = pd.factorize(pd.Series(list(map(tuple, names)), dtype=object))[0]
        sharing = None
        if np.array_equal(groups, of_names):  # and contexts are not left out
            sharing = groups_by_part(names)
        found = fit_knowledge(
            means, kernels, effects, groups, sharing=sharing, stretch=False
        )
        model.centre = found.centre
        model.coefs = found.coefs([*means, *kernels])
        return model

    def predict(self, conditions):
        means, kernels = self._between(conditions)
        total = np.tile(self.centre, (len(conditions), 1))
        for name, kernel in (means | kernels).items():
            if name in self.coefs:
                total += kernel @ self.coefs[name]
        return total

    def _read(self, conditions):
        """Return what sources say of conditions, nothing of parts they do not know."""
        centred = (conditions.elements - self.origin) / self.scale
        for columns, known in conditions.sources():
            centred[..., columns] *= (known * conditions.mask)[..., None]
        return centred.sum(axis=1)

    def _between(self, conditions):
        """Return kernels of the context, and of the perturbation, with fitted rows."""
        means, kernels = {}, {}
        shape = len(conditions), len(self.contexts)
        several = len(set(self.contexts)) > 1
        if several:
            contexts = np.array([key[0] for key in conditions.keys], dtype=object)
            same = contexts[:, None] == np.array(self.contexts, dtype=object)
            means["context"] = same.astype(float)
        if self.bandwidth:
            distances = cdist(conditions.controls, self.controls, "sqeuclidean")
            means["controls"] = np.exp(-distances / self.bandwidth)
        if several and len(set(map(tuple, self.names))) < shape[1]:
            names = [frozenset(key[1]) for key in conditions.keys]
            own = [frozenset(parts) for parts in self.names]
            kernels["perturbation"] = np.array([[a == b for b in own] for a in names])
            kernels["perturbation"] = kernels["perturbation"].astype(float)
        vectors = self._read(conditions)
        for i, (columns, _) in enumerate(conditions.sources()):
            kernel = vectors[:, columns] @ self.vectors[:, columns].T
            kernels[f"source {i}"] = kernel
            if several:
                kernels[f"source {i} in the context"] = kernel * same
        return means, kernels


@stored(
    shift=Object(_Shift),
    kernels=Object(_Kernels),
    strength=Number(0, LARGEST_SHARE),
    share=Number(0, LARGEST_SHARE),
)
@dataclass
class _ShiftAndKernels:
    """The mean effect, and what kernels tell beyond it, as strong as they should be.

    Attributes
    ----------
    shift : _Shift
    kernels : _Kernels
    strength, share : float
        Factors of the shift, and of what the kernels tell beyond it.
    """

    shift: _Shift
    kernels: _Kernels
    strength: float = 1.0
    share: float = 1.0

    @classmethod
    def fit(cls, conditions, effects, units, strength=1.0, share=1.0):
        shift = _Shift.fit(conditions, effects)
        kernels = _Kernels.fit(conditions, effects, units)
        return cls(shift, kernels, strength, share)

    def again(self, conditions, effects):
        units = pd.factorize(pd.Series([key[1] for key in conditions.keys]))[0]
        return self.fit(conditions, effects, units, self.strength, self.share)

    def predict(self, conditions):
        shift = self.shift.predict(conditions)
        beyond = self.kernels.predict(conditions) - shift
        return self.strength * shift + self.share * beyond


@stored(regressor=Having("predict"))
@dataclass
class _Regressor:
    """Any regressor of scikit-learn on the flat vector of a condition."""

    regressor: Any

    @classmethod
    def fit(cls, conditions, effects, regressor):
        return cls(clone(regressor).fit(conditions.flat(), effects))

    def again(self, conditions, effects):
        return self.fit(conditions, effects, self.regressor)

    def predict(self, conditions):
        predicted = np.asarray(self.regressor.predict(conditions.flat()), np.float64)
        return predicted.reshape(len(conditions), -1)


_MODELS = {"shift": _Shift, "kernel": _ShiftAndKernels}
_FITTED = Object(*_MODELS.values(), _Regressor)


@stored(
    choice=Text(("controls", *_MODELS, "custom")),
    cv_errors=Mapping(Number(finite=False)),
    cv_intervals=Mapping(Row((Number(finite=False), Number(finite=False)))),
    model=_FITTED,
    abroad=Maybe(_FITTED),
    alone=Flag(),
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
        "controls", "shift", "kernel" or "custom".
    cv_errors : dict of str to float
        Squared error on held-out perturbations, as a share of that of no effect;
        empty unless there was a choice.
    cv_intervals : dict of str to tuple of float
        95 % intervals of these, over perturbations, and of their differences.
    model : object
        Has ``predict(conditions)``.
    abroad : object or None
        The same for contexts that were not measured; None where it is `model`.
    alone : bool
        Whether the model knows single perturbations only.
    keys : list of tuple (context, parts, dose)
        The measured conditions.
    effects : ndarray of shape (n_conditions, n_features)
        What was measured, moved towards that of the model.
    """

    choice: str
    cv_errors: dict
    cv_intervals: dict
    model: Any
    abroad: Any
    alone: bool
    keys: list
    effects: np.ndarray

    def __post_init__(self):
        keys = [(context, tuple(parts), dose) for context, parts, dose in self.keys]
        self._measured = dict(zip(keys, self.effects, strict=True))
        self._contexts = {key[0] for key in keys}

    @classmethod
    def fit(cls, estimator, conditions, effects, noise):
        """Learn from conditions, their effects and the squared error of these.

        Parameters
        ----------
        estimator : {"auto", "shift", "kernel"} or regressor
            "auto" is "kernel", each part as strong as held-out perturbations ask for;
            and where contexts are many, as held-out contexts ask for in new ones.
        conditions : Conditions
        effects : ndarray of shape (n_conditions, n_features)
        noise : ndarray of shape (n_conditions,)
        """
        parts = [key[1] for key in conditions.keys]
        singles = np.array([len(names) == 1 for names in parts])
        alone = isinstance(estimator, str) and (
            len({p for p, single in zip(parts, singles, strict=True) if single})
            >= min(_FEWEST, len(set(parts)))
        )
        used = np.flatnonzero(singles) if alone else np.arange(len(parts))
        known, targets = conditions.take(used), effects[used]
        choice, model, errors, intervals = _fit_best(estimator, known, targets, 1)
        abroad = None
        if estimator == "auto":
            _, abroad, *of_contexts = _fit_best(estimator, known, targets, 0)
            if not errors:
                errors, intervals = of_contexts
        keys, moved = [], np.empty((0, effects.shape[1]))
        # Parts first, since what is expected of a combination is made of them.
        for rows in (np.flatnonzero(singles), np.flatnonzero(~singles)):
            if not len(rows):
                continue
            so_far = cls(choice, errors, intervals, model, abroad, alone, keys, moved)
            expected = so_far._expect(conditions.take(rows))
            beyond = effects[rows] - expected
            # Stein's estimate: what is as small as noise is noise.
            squares = np.maximum(np.square(beyond).sum(axis=1), 1e-300)
            weights = np.clip(1 - noise[rows] / squares, 0, 1)
            keys = keys + [conditions.keys[row] for row in rows]
            moved = np.concatenate([moved, expected + weights[:, None] * beyond])
        return cls(choice, errors, intervals, model, abroad, alone, keys, moved)

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

    def without(self, conditions, effects, train, test):
        """Return what a fit to the conditions `train` predicts for those of `test`."""
        if not len(train):
            return np.zeros((len(test), effects.shape[1]))
        if self.alone:
            singles = [i for i in train if len(conditions.keys[i][1]) == 1]
            train = np.array(singles or train)
        contexts = {conditions.keys[i][0] for i in train}
        model = self.model
        if self.abroad and any(conditions.keys[i][0] not in contexts for i in test):
            model = self.abroad
        again = model.again(conditions.take(train), effects[train])
        return again.predict(conditions.take(test))

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
        if self.abroad is not None:
            new = [key[0] not in self._contexts for key in conditions.keys]
            if any(new):
                predicted[new] = self.abroad.predict(rest.take(np.flatnonzero(new)))
        predicted[~rest.mask.any(axis=1)] = 0.0
        return predicted + known


def _fit_best(estimator, conditions, effects, unit):
    """Return the choice of a model, the model, its errors and their intervals.

    What is left out together is told by its place in the keys: 1 for perturbations, 0
    for contexts.
    """
    units = pd.factorize(pd.Series([key[unit] for key in conditions.keys]))[0]
    if not isinstance(estimator, str):
        return "custom", _Regressor.fit(conditions, effects, estimator), {}, {}
    if estimator != "auto":
        return estimator, _MODELS[estimator].fit(conditions, effects, units), {}, {}
    n_units = units.max() + 1
    if n_units < (_FEWEST if unit else _FEWEST_CONTEXTS):
        model = _Shift.fit(conditions, effects, units) if unit else None
        return "shift", model, {}, {}
    fold_of = np.random.default_rng(0).permutation(n_units) % min(n_units, _FEWEST)
    # A combination is left out with all that it shares a perturbation with.
    parts = [set(key[1]) if unit else {key[0]} for key in conditions.keys]
    folds = fold_of[units]
    shift, beyond = np.zeros(effects.shape), np.zeros(effects.shape)
    for fold in range(fold_of.max() + 1):
        test = np.flatnonzero(folds == fold)
        out = set().union(*[parts[i] for i in test])
        train = np.array([i for i, own in enumerate(parts) if not own & out])
        if not len(train):
            continue
        known, tested = conditions.take(train), conditions.take(test)
        model = _ShiftAndKernels.fit(known, effects[train], units[train])
        shift[test] = model.shift.predict(tested)
        beyond[test] = model.kernels.predict(tested) - shift[test]
    strength, share = _factors(effects, shift, beyond, units)
    calibrated = np.empty(effects.shape)
    for fold in range(fold_of.max() + 1):
        rest, rows = folds != fold, folds == fold
        a, b = _factors(effects[rest], shift[rest], beyond[rest], units[rest])
        calibrated[rows] = a * shift[rows] + b * beyond[rows]
    found = {"controls": np.zeros(effects.shape), "shift": shift, "kernel": calibrated}
    errors, intervals = _errors(effects, found, units)
    choice = "kernel" if share else "shift" if strength else "controls"
    model = _ShiftAndKernels.fit(conditions, effects, units, strength, share)
    return choice, model, errors, intervals


def _factors(effects, shift, beyond, units):
    """Return the factors of the shift and of what is beyond it."""
    strength = shrunken_factor(effects, shift, units, prior=1.0)
    rest = effects - strength * shift
    return strength, shrunken_factor(rest, beyond, units, prior=0.0)


def _errors(effects, found, units):
    """Return squared errors as shares of that of no effect, and their intervals."""
    squares = {k: np.square(effects - v).sum(axis=1) for k, v in found.items()}
    nothing = mean_interval(squares["controls"], units)[0]
    if not nothing:
        return {}, {}
    shares = {name: values / nothing for name, values in squares.items()}
    errors = {name: mean_interval(v, units)[0] for name, v in shares.items()}
    pairs = [("shift", "controls"), ("kernel", "controls"), ("kernel", "shift")]
    intervals = {
        f"{a} less {b}": mean_interval(shares[a] - shares[b], units)[1:]
        for a, b in pairs
    }
    return errors, intervals
