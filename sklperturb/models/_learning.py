"""Weights of the parts of a blend, learnt from rows that they have not seen."""

import logging
import time
from dataclasses import dataclass, field

import numpy as np
from joblib import delayed
from scipy.optimize import minimize_scalar
from sklearn.base import clone
from sklearn.utils import _safe_indexing

from sklperturb.ensemble._stretch import Stretch
from sklperturb.ensemble._weights import (
    RowMoments,
    Spectrum,
    carried_over,
    correlation_weights,
    least_squares_weights,
    mrrmse_weights,
)
from sklperturb.utils._callbacks import run_parts

logger = logging.getLogger(__name__)

# Components of the responses where a band ends. Each is twice the one before: what is
# left of a prediction fades by the logarithm of the component.
EDGES = (10, 25, 50, 100, 200)
# Held-out rows below which weights are noise.
MIN_ROWS = 15
# As how many rows those of other kinds count where one kind's weights are learnt.
_BORROWED = 15


@dataclass
class HeldOut:
    """Rows that were held out, and what the parts predicted for them.

    Attributes
    ----------
    names : list of str
    moments, rank_moments : RowMoments
        In bands; those with the ranks of the responses only where they are asked for.
    kinds, folds : ndarray of shape (n_rows,)
    rows : ndarray of shape (n_rows,)
    """

    names: list
    moments: RowMoments
    rank_moments: RowMoments | None
    kinds: np.ndarray
    folds: np.ndarray
    rows: np.ndarray


@dataclass
class Learnt:
    """Weights of the parts in each band, for each kind of row.

    Attributes
    ----------
    weights : dict of {object: ndarray of shape (n_parts, n_bands)}
        By kind; None is for kinds of which too few were held out.
    stretch : Stretch
    errors : ndarray of shape (n_rows,)
        Root mean squared error of each held-out row, with weights that were learnt on
        the other folds.
    """

    weights: dict
    stretch: Stretch = field(default_factory=Stretch)
    errors: np.ndarray | None = None

    def used(self):
        """Return which parts have a weight."""
        return sum(w.sum(axis=1) for w in self.weights.values()) > 0


class Clock:
    """What is left of the time for a fit."""

    def __init__(self, seconds):
        self._end = None if seconds is None else time.perf_counter() + seconds
        self.start(1)

    def start(self, n_kinds):
        """Give what is done next its share of the time, with so many kinds to come."""
        self.promised = 0.0  # for the fits on all rows that are to come
        if self._end is not None:
            now = time.perf_counter()
            self._until = now + (self._end - now) / n_kinds

    def left(self):
        """Return seconds, or None if there is no limit."""
        if self._end is None:
            return None
        return self._until - time.perf_counter() - self.promised


def held_out_predictions(parts, plan, clock, X, y, folds, n_jobs, task):
    """Return {name: (seeds at the end, predictions of all held-out rows)}.

    With a time limit, parts for which there is no time are left out, but for that of
    least cost.
    Callbacks are told of the parts and their folds as tasks within `task`.
    """
    if clock.left() is None:
        found = _all_at_once(parts, plan, X, y, folds, n_jobs, task)
    else:
        found = _while_there_is_time(parts, plan, clock, X, y, folds, n_jobs, task)
    # In the order of the parts, whichever came with which.
    return {
        name: (found[name][0], np.concatenate(found[name][1]))
        for name in parts
        if name in found
    }


def _all_at_once(parts, plan, X, y, folds, n_jobs, task):
    """Return {name: (seeds at the end, predictions fold by fold)} of all parts."""
    inside = {other for part in parts.values() for other in part.contains}
    # Networks come last and are begun with: a worker that loads torch later on looks as
    # if it leaked memory, and would be replaced.
    names = [name for name in reversed(parts) if name not in inside]
    parted = {"n_parts": len(folds), "ordered": False}
    tasks = {name: task.part(name, **parted).begin() for name in names}
    within = {name: _fold_tasks(tasks[name], parts[name], folds) for name in names}
    calls = (
        delayed(_fit_and_predict)(
            *(parts[name], _also(parts, name, ()), plan.n_trial),
            *(X, y, *fold, of_fold),
        )
        for name in names
        for fold, of_fold in zip(folds, within[name], strict=True)
    )
    every = [t for of in within.values() for t in of]
    results = run_parts(every, calls, n_jobs, [X, y, *parts.values()])
    found = {}
    for number, name in enumerate(names, 1):
        logger.info("Learning the weight of %s, %d of %d.", name, number, len(names))
        _add(found, parts, name, plan.n_final, [next(results) for _ in folds])
        tasks[name].end()
    return found


def _fold_tasks(task, part, folds):
    """Return a task for each fold of a part."""
    tasks = [task.part("fold", number=number) for number in range(len(folds))]
    return [each.shared_with(part.build(1)) for each in tasks]


def _while_there_is_time(parts, plan, clock, X, y, folds, n_jobs, task):
    """Return the same of one part after the other, as long as there is time."""
    found, unit = {}, np.inf
    order = sorted(parts.items(), key=lambda item: item[1].cost)
    for number, (name, part) in enumerate(order, 1):
        if name in found:
            continue
        # To try a part takes time too. One is begun if it may be quicker than expected.
        if found and clock.left() < unit * part.cost * (len(folds) + 1):
            logger.info("There is no time for %s.", name)
            continue
        logger.info("Learning the weight of %s, %d of %d.", name, number, len(parts))
        of_part = task.part(name, n_parts=len(folds), ordered=False).begin()
        within = _fold_tasks(of_part, part, folds)
        also, start = _also(parts, name, found), time.perf_counter()
        # How long one takes says how many there is time for.
        within[0].begin()
        first = _fit_and_predict(part, also, 1, X, y, *folds[0], within[0])
        within[0].end()
        once = time.perf_counter() - start
        unit = min(unit, once / part.cost)
        affordable = (clock.left() + once) / (once * (len(folds) + 1))
        if affordable < 1 and found:
            logger.info("There is no time for %s.", name)
            of_part.end()
            continue
        n_trial = int(np.clip(affordable / 2, 1, plan.n_trial))
        n_final = int(np.clip(affordable, 1, plan.n_final))
        calls = (
            delayed(_fit_and_predict)(part, also, n_trial, X, y, *fold, of_fold)
            for fold, of_fold in zip(folds[1:], within[1:], strict=True)
        )
        others = list(run_parts(within[1:], calls, n_jobs, [X, y, part]))
        of_part.end()
        seconds = time.perf_counter() - start
        clock.promised += seconds / len(folds) * max(n_final / n_trial, 1)
        _add(found, parts, name, n_final, [first, *others])
    return found


def _also(parts, name, found):
    """Return what a part predicts besides that is wanted and not there yet."""
    contains = parts[name].contains
    return {n: f for n, f in contains.items() if n in parts and n not in found}


def _add(found, parts, name, n_final, results):
    names = [name, *_also(parts, name, found)]
    for column, produced in enumerate(names):
        found[produced] = n_final, [result[column] for result in results]


def _fit_and_predict(part, also, n_seeds, X, y, train, test, task):
    X_test = _safe_indexing(X, test)
    model = _fit(part.build(n_seeds), _safe_indexing(X, train), y[train], task)
    others = [predict(model, X_test) for predict in also.values()]
    # Only what the training rows span, as at the end: the coordinates are those of all
    # rows, and would let pass of a prediction what is like the held-out ones.
    span = Spectrum(y[train], [len(train)]).components
    return [p @ span.T @ span for p in (model.predict(X_test), *others)]


def moments_of(predictions, y, ranks, level, folds, kinds, n_genes):
    """Return what is known of held-out rows, by the names of the parts."""
    stacked = np.stack([predicted for _, predicted in predictions.values()])
    moments, rank_moments, start = [], [], 0
    for train, test in folds:
        rows = stacked[:, start : start + len(test)]
        start += len(test)
        spectrum = Spectrum(y[train], EDGES)
        moments.append(spectrum.moments(y[test], rows, n_genes=n_genes))
        if ranks is not None:
            rank_moments.append(spectrum.moments(ranks[test], rows, level=level))
    sizes = [len(test) for _, test in folds]
    return HeldOut(
        list(predictions),
        RowMoments.stacked(moments),
        RowMoments.stacked(rank_moments) if rank_moments else None,
        kinds,
        np.repeat(np.arange(len(folds)), sizes),
        np.concatenate([test for _, test in folds]),
    )


def learn_weights(held_out, scoring):
    """Return the weights and the stretch that predict held-out rows best.

    The errors that are told of them are those of each fold by what was learnt on the
    others.
    """
    learnt = _learn(held_out, scoring, slice(None))
    learnt.errors = np.empty(len(held_out.rows))
    for fold in np.unique(held_out.folds):
        test = held_out.folds == fold
        others = learnt if test.all() else _learn(held_out, scoring, ~test)
        for kind in np.unique(held_out.kinds[test]):
            chosen = test & (held_out.kinds == kind)
            moments = held_out.moments.rows(chosen)
            weights = others.weights.get(kind, others.weights[None]).ravel()
            learnt.errors[chosen] = moments.errors(weights, others.stretch)
    return learnt


def _learn(held_out, scoring, chosen):
    moments = held_out.moments.rows(chosen)
    ranks = held_out.rank_moments and held_out.rank_moments.rows(chosen)
    kinds = held_out.kinds[chosen]

    def weights(row_weights=None):
        if scoring == "spearman":
            found = correlation_weights(ranks, row_weights)
            return found * moments.scale(found)
        if scoring == "mse":
            return least_squares_weights(moments, row_weights)
        return mrrmse_weights(moments, row_weights)

    found = {None: weights()}
    for kind in np.unique(kinds):
        inside = kinds == kind
        if MIN_ROWS <= inside.sum() < len(kinds):
            borrowed = min(0.5, _BORROWED / (~inside).sum())
            found[kind] = weights(np.where(inside, 1.0, borrowed))
    stretch = Stretch()
    if scoring != "spearman":  # no factor of a row changes its order
        products = np.empty((2, len(kinds)))
        for kind in np.unique(kinds):
            inside = kinds == kind
            products[:, inside] = moments.rows(inside).blended(
                found.get(kind, found[None])
            )
        if scoring == "mse":
            stretch = _least_squares_stretch(*products, moments.n_genes)
        else:
            stretch = Stretch.suited(moments.energy, *products, moments.n_genes)
    shape = len(held_out.names), -1
    found = {k: carried_over(w.reshape(shape), moments) for k, w in found.items()}
    return Learnt(found, stretch)


def _least_squares_stretch(moment, square, n_genes):
    """Return the stretch of least squared error, from products as `Stretch.suited`."""
    strengths = np.sqrt(square / n_genes)
    positive = strengths[strengths > 0]
    if len(positive) < 2:
        return Stretch()
    ends = positive.min(), np.median(positive), positive.max()
    relative = np.log(np.maximum(strengths, ends[0]) / ends[1])

    def scale(exponent):
        factors = np.exp(exponent * relative)
        along = max(factors @ moment, 0.0)
        return along / (factors**2 @ square), along

    # What is explained is the product of the two, for each exponent's best scale.
    found = minimize_scalar(
        lambda exponent: -np.prod(scale(exponent)), bounds=(-1, 1), method="bounded"
    ).x
    return Stretch(float(scale(found)[0]), float(found), *map(float, ends))


def alone(n_parts):
    """Return what to do without held-out rows: take the first part as it is."""
    weights = np.zeros((n_parts, len(EDGES) + 1))
    weights[:1] = 1.0
    return Learnt({None: weights})


def fit_parts(models, X, y, n_jobs, task):
    """Return {name: fitted model}, those that take longest begun first."""
    order = list(reversed(models))
    within = [task.part(name, number=number) for number, name in enumerate(order)]
    calls = (
        delayed(_fit)(models[name], X, y, of_part.shared_with(models[name]))
        for name, of_part in zip(order, within, strict=True)
    )
    found = run_parts(within, calls, n_jobs, [X, y])
    fitted = dict(zip(order, found, strict=True))
    return {name: fitted[name] for name in models}


def _fit(model, X, y, task):
    model = clone(model)
    with task.around(model):
        return model.fit(X, y)
