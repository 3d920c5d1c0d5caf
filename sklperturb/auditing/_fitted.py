"""What was fitted or chosen before the folds were cut, and comes along into them.

Encoders and models that `clone` leaves fitted, panels of genes that were chosen on all
responses, and responses themselves.
"""

from math import comb

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing

from sklperturb.auditing._columns import ResponseFunctions
from sklperturb.auditing._reach import fitted_parts, numbers_of, reach
from sklperturb.auditing._result import Inflation, LeakFinding
from sklperturb.auditing._task import severity
from sklperturb.conditions._frames import column_names
from sklperturb.conditions._levels import level_means
from sklperturb.model_selection._fold import describe_error

_SAME = 1e-3  # relative difference of what two fits have learnt
_HELD = 0.1  # share of the held-out rows that an array must hold
_OVERLAP, _CHANCE = 0.98, 1e-4  # of a panel with the leading genes
_BY_FUNCTION = "it is reached through a function, which no copy can replace"


def check_prefitted(task):
    """Yield findings of parts that were fitted to held-out responses."""
    for path, part, by_function in fitted_parts(task.estimator):
        name = f"{type(part).__name__} (at {path or 'the top'})"
        given = _given_to(task, part)
        if given is None:
            yield LeakFinding(
                "fitted before",
                "note",
                f"{name} is fitted already, and stays so in every fold. It was not "
                "fitted to these rows, as far as can be told.",
                "Make sure that what it was fitted to holds none of these responses.",
            )
            continue
        if not _depends_on_responses(task, part, given):
            yield LeakFinding(
                "fitted before",
                "note",
                f"{name} was fitted to all rows, but not to their responses.",
                "Nothing need be done; in a pipeline it would be fitted anew.",
            )
            continue
        worth = Inflation(how=_BY_FUNCTION)
        if not by_function:
            worth = _measured(
                task,
                lambda fold, part=part, given=given: {
                    id(part): _refit(task, part, given, fold)
                },
                "it is fitted to the training rows of each fold",
            )
        yield LeakFinding(
            "fitted before",
            severity(worth, unmeasured="high"),
            f"{name} was fitted to the responses of all rows, those of held-out rows "
            "included, and stays so in every fold.",
            "Put it into the pipeline unfitted, so that it is fitted to the training "
            "rows of each fold: no FrozenEstimator, prefit=True or bound method.",
            worth,
            task.held_out,
            [type(part).__name__],
        )


def check_held(task):
    """Yield findings of arrays with held-out responses that an estimator brings."""
    functions = None
    vectors = {}
    for path, found, by_function in reach(task.estimator):
        values = _as_values(task, found)
        if values is None:
            continue
        if values.ndim == 1 and len(values) == task.values.shape[1] > 2:
            vectors[path] = (found, values, by_function)
            continue
        what, held = "", np.empty(0, dtype=int)
        if values.ndim == 2 and values.shape[1] == task.values.shape[1]:
            what, held = "the responses", _rows_in(task, values)
        elif len(values) == len(task.values):
            functions = functions or ResponseFunctions(task)
            table = values.reshape(len(values), -1)[:, :20]
            if any(functions.source_of(c, table.shape[1]) for c in table.T):
                what, held = "a function of the responses", np.unique(task.held_out)
        if len(held) >= max(1, _HELD * len(np.unique(task.held_out))):
            yield _held_finding(task, path, found, what, held, by_function)
    if vectors:
        stacked = np.stack([values for _, values, _ in vectors.values()])
        held = _rows_in(task, stacked)
        if len(held) >= max(1, _HELD * len(np.unique(task.held_out))):
            path, (found, _, by_function) = next(iter(vectors.items()))
            yield _held_finding(
                task,
                f"{path} and {len(vectors) - 1} others",
                {id(f): f for f, _, _ in vectors.values()},
                "the responses",
                held,
                by_function,
            )


def check_panels(task):
    """Yield findings of panels of genes that were chosen on held-out responses."""
    n_genes = task.values.shape[1]
    scores = None
    for path, found, by_function in reach(task.estimator):
        panel = _as_panel(task, found)
        if panel is None:
            continue
        k = int(panel.sum())
        if scores is None:
            scores = _gene_scores(task.values, task.perturbation)
        if len(scores) / comb(n_genes, k) > _CHANCE:
            continue
        by = max(scores, key=lambda name: _overlap(panel, _leading(scores[name], k)))
        if _overlap(panel, _leading(scores[by], k)) < _OVERLAP:
            continue
        of_folds = []
        for train, _ in task.folds:
            of_train = _gene_scores(task.values[train], task.perturbation[train])
            of_folds.append(_leading(of_train[by], k))
        shares = [_overlap(panel, of_fold) for of_fold in of_folds]
        if np.mean(shares) >= _overlap(panel, _leading(scores[by], k)):
            continue  # training rows choose the same genes
        worth = Inflation(how=_BY_FUNCTION)
        if not by_function:
            worth = _measured(
                task,
                lambda fold, found=found, of_folds=of_folds: {
                    id(found): _like(task, found, of_folds[fold])
                },
                "the panel is chosen on the training rows of each fold",
            )
        yield LeakFinding(
            "panels",
            severity(worth),
            f"The {k} genes at {path} are those with the {by} over all rows, held-out "
            f"rows included; training rows choose {np.mean(shares):.0%} of them.",
            "Choose the panel in fit, from the training rows of each fold.",
            worth,
            task.held_out,
        )


def _held_finding(task, path, found, what, held, by_function):
    worth, used = Inflation(how=_BY_FUNCTION), True
    if not by_function:
        worth, used = _without_held(task, found, held)
    advice = (
        "Give the estimator no responses but those that fit is given; what it computes "
        "from responses belongs into fit."
    )
    level = severity(worth, unmeasured="high")
    return LeakFinding(
        "held responses",
        level if used else "note",
        f"The estimator brings {what} of {len(held)} of "
        f"{len(np.unique(task.held_out))} held-out rows along, at {path}"
        + ("." if used else ", and does not use them."),
        advice,
        worth,
        held,
    )


def _without_held(task, found, held):
    """Measure what an array is worth by taking held-out responses out of it."""
    arrays = found if isinstance(found, dict) else {id(found): found}

    def replaced(fold):
        _, test = task.folds[fold]
        return {
            key: _blanked(task, array, np.intersect1d(held, test), fold)
            for key, array in arrays.items()
        }

    worth, predictions = _measured(
        task, replaced, "held-out responses replaced by means of training rows", True
    )
    return worth, predictions is None or not task.same_predictions(predictions)


def _blanked(task, array, rows, fold):
    """Return an array in which some rows of `y` are the mean of the training rows."""
    values = np.array(_as_values(task, array), dtype=np.float64)
    flat = values.reshape(1, -1) if values.ndim == 1 else values
    train, test = task.folds[fold]
    if flat.shape[1] == task.values.shape[1]:
        mean = task.values[train].mean(axis=0)
        for start in range(0, len(rows), 200):
            part = task.values[rows[start : start + 200]]
            flat[_equal_rows(flat, part)] = mean
    elif len(values) == len(task.values):
        flat = flat.reshape(len(values), -1)
        flat[test] = flat[train].mean(axis=0)
    shaped = flat.reshape(values.shape)
    if isinstance(array, pd.DataFrame):
        array = array.copy()
        columns = _columns_of_genes(task, array)
        array[columns] = shaped
        return array
    return shaped.astype(array.dtype, copy=False)


def _measured(task, memo_of, how, with_predictions=False):
    """Measure an estimator against one with some of its objects replaced by fold."""
    predictions = None
    try:
        scores, predictions = task.scores_of(
            lambda fold: {"estimator": task.replaced(memo_of(fold))}, "Replacing parts"
        )
        every = np.ones(len(task.held_out), dtype=bool)
        worth = task.inflation(task.base[1], scores, every, how)
    except Exception as error:  # whatever an estimator of the user raises
        worth = Inflation(how=describe_error(error))
    return (worth, predictions) if with_predictions else worth


def _inputs(task):
    """Yield (name, table) of what a part may have been fitted to."""
    X = task.X
    yield "X", X
    if isinstance(X, pd.DataFrame):
        numbers = X.select_dtypes("number")
        if 0 < numbers.shape[1] < X.shape[1]:
            yield "numbers", numbers
            yield "numbers", numbers.to_numpy()
        if task.schema is not None:
            roles = task.schema.columns("context", "perturbation", "smiles")
            roles = [role for role in roles if role in column_names(X)]
            for columns in (roles, *([role] for role in roles)):
                if len(columns) < X.shape[1]:
                    yield "roles", X[columns]
    yield "y", task.y
    yield "y", task.values
    if isinstance(task.estimator, Pipeline):
        for n in range(1, len(task.estimator.steps)):
            head = clone(task.estimator[:n])
            yield f"steps before {n}", head.fit(X, task.y).transform(X)


def _given_to(task, part):
    """Return (name, table, target) of what a part was fitted to, or None."""
    learnt, inputs = numbers_of(part), _inputs(task)
    single = hasattr(part, "get_support") or hasattr(part, "predict")
    while True:
        try:
            name, table = next(inputs)
        except StopIteration:
            return None
        except Exception:  # the steps before cannot be fitted alone
            return None
        for target in _TARGETS if single and name != "y" else _TARGETS[:1]:
            given = name, table, target
            try:
                again = _fit(part, given, task.y, np.arange(len(task.values)))
            except Exception:  # a part that takes other input, or a single target
                continue
            if _same(learnt, numbers_of(again)):
                return given


def _fit(part, given, y, rows):
    name, table, target = given
    table, fresh = _safe_indexing(table, rows), clone(part)
    return (
        fresh.fit(table)
        if name == "y"
        else fresh.fit(table, _safe_indexing(target(y), rows))
    )


def _every_gene(y):
    return y


def _mean_gene(y):
    return _matrix(y).mean(axis=1)


def _first_gene(y):
    return _matrix(y)[:, 0]


# What parts that take a single target are fitted to.
_TARGETS = (_every_gene, _mean_gene, _first_gene)


def _matrix(y):
    return np.asarray(y, dtype=np.float64).reshape(len(y), -1)


def _refit(task, part, given, fold):
    return _fit(part, given, task.y, task.folds[fold][0])


def _depends_on_responses(task, part, given):
    """Whether what was learnt changes without the held-out responses."""
    learnt = numbers_of(part)
    if given[0] == "y":
        return not _same(learnt, numbers_of(_refit(task, part, given, 0)))
    shuffled = task.values.copy()
    _, test = task.folds[0]
    shuffled[test] = shuffled[task.rng.permutation(len(shuffled))[: len(test)]]
    every = np.arange(len(shuffled))
    other = _fit(part, given, task.given(shuffled), every)
    return not _same(learnt, numbers_of(other))


def _same(learnt, others):
    """Whether two fits have learnt the same numbers."""
    common = [k for k in learnt if k in others and learnt[k].shape == others[k].shape]
    if len(common) < len(learnt) or not any(learnt[k].size > 1 for k in common):
        return False
    for key in common:
        a, b = learnt[key], others[key]
        if not np.array_equal(np.isfinite(a), np.isfinite(b)):
            return False
        there = np.isfinite(a)
        scale = max(np.linalg.norm(b[there]), 1e-12)
        if np.linalg.norm(a[there] - b[there]) > _SAME * scale:
            return False
    return True


def _as_values(task, found):
    """Return an array or frame as numbers, None if it is neither."""
    if isinstance(found, pd.DataFrame):
        columns = _columns_of_genes(task, found)
        return found[columns].to_numpy(dtype=np.float64) if columns else None
    if isinstance(found, pd.Series):
        found = found.to_numpy()
    if isinstance(found, list) and 0 < len(found) == task.values.shape[1]:
        try:
            found = np.asarray(found, dtype=np.float64)
        except (TypeError, ValueError):
            return None
    if (
        isinstance(found, np.ndarray)
        and found.dtype.kind in "fiu"
        and 1 <= found.ndim <= 2
    ):
        return found if len(found) > 1 else None
    return None


def _columns_of_genes(task, frame):
    genes = [name for name in (task.genes or ()) if name in frame.columns]
    if len(genes) == task.values.shape[1]:
        return genes
    return list(frame.select_dtypes("number").columns)


def _rows_in(task, values):
    """Return the held-out rows whose responses are among the rows of an array."""
    held_out = np.unique(task.held_out)
    own = task.values[held_out]
    there = np.any(own != 0, axis=1)
    direction = np.random.RandomState(0).standard_normal(own.shape[1])
    of_array, of_own = np.asarray(values, float) @ direction, own @ direction
    order = np.argsort(of_array)
    at = np.searchsorted(of_array[order], of_own).clip(0, len(order) - 1)
    found = np.zeros(len(own), dtype=bool)
    for near in (at, np.maximum(at - 1, 0)):
        found |= np.isclose(values[order[near]], own, rtol=1e-4, atol=1e-8).all(axis=1)
    return held_out[found & there]


def _equal_rows(array, rows):
    close = np.zeros(len(array), dtype=bool)
    for row in rows:
        close |= np.isclose(array, row, rtol=1e-4, atol=1e-8).all(axis=1)
    return close


def _as_panel(task, found):
    """Return a choice of genes as a mask, None if it is none."""
    n_genes = task.values.shape[1]
    if isinstance(found, list | tuple | set | frozenset | pd.Index):
        kinds = {bool if isinstance(v, bool | np.bool_) else type(v) for v in found}
        if len(kinds) != 1 or not issubclass(kinds.pop(), str | int | np.integer):
            return None
        found = np.array(list(found))
    if not isinstance(found, np.ndarray) or found.ndim != 1 or len(found) < 2:
        return None
    if found.dtype.kind == "b":
        return found if len(found) == n_genes and 1 < found.sum() < n_genes else None
    if found.dtype.kind in "iu":
        inside = len(set(found.tolist())) == len(found) < n_genes
        if not inside or found.min() < 0 or found.max() >= n_genes:
            return None
        return np.isin(np.arange(n_genes), found)
    if task.genes is None or len(found) >= n_genes:
        return None
    mask = np.isin(np.array(task.genes, dtype=object), found)
    return mask if mask.sum() == len(found) else None


def _like(task, found, mask):
    """Return a choice of genes in the form of another."""
    if isinstance(found, np.ndarray) and found.dtype.kind == "b":
        return mask
    chosen = np.flatnonzero(mask)
    first = next(iter(found))
    if isinstance(first, str):
        chosen = np.array(task.genes, dtype=object)[chosen]
    if isinstance(found, np.ndarray):
        return chosen.astype(found.dtype)
    return type(found)(chosen.tolist())


def _gene_scores(values, perturbation):
    """Return what panels are chosen by, a number for each gene."""
    _, codes = np.unique(perturbation, return_inverse=True)
    means = level_means(codes, codes.max() + 1, values)[0]
    return {
        "largest variance": values.var(axis=0),
        "largest mean of absolute values": np.abs(values).mean(axis=0),
        "largest value": values.max(axis=0),
        "largest absolute value": np.abs(values).max(axis=0),
        "largest mean": values.mean(axis=0),
        "largest absolute mean": np.abs(values.mean(axis=0)),
        "largest variance between perturbations": means.var(axis=0),
        "largest share of variance between perturbations": means.var(axis=0)
        / np.maximum(values.var(axis=0), 1e-300),
    }


def _leading(scores, k):
    mask = np.zeros(len(scores), dtype=bool)
    mask[np.argsort(-scores, kind="stable")[:k]] = True
    return mask


def _overlap(a, b):
    return float((a & b).sum() / max((a | b).sum(), 1))
