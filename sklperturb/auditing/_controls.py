"""Responses that were measured from controls which folds hold out.

Where the controls of a context have a mean of exactly zero, all of them were subtracted
from all rows before the folds were cut. The noise of the held-out controls is then part
of every training row.
"""

import numpy as np

from sklperturb.auditing._result import LeakFinding
from sklperturb.auditing._task import severity
from sklperturb.conditions._levels import level_means

_ZERO = 1e-4  # relative to what chance leaves of a mean


def check_controls(task):
    """Yield findings of controls that differences were computed from."""
    controls = np.flatnonzero(task.is_control)
    if len(controls) < 4 or len(controls) == len(task.values):
        return
    found = _reference(task, controls)
    if found is None:
        return
    by, key = found
    held_out = [test[task.is_control[test]] for _, test in task.folds]
    n_held = sum(map(len, held_out))
    if n_held == 0:
        yield LeakFinding(
            "controls",
            "note",
            f"Responses are differences from the mean of the {len(controls)} controls "
            f"{by}, which are in training in every fold.",
            "Held-out rows share the noise of these controls with training rows. Only "
            "controls of their own would tell it apart.",
        )
        return

    def change(fold):
        train, _ = task.folds[fold]
        of = train[task.is_control[train]]
        means, counts = level_means(key[of], key.max() + 1, task.values[of])
        means[counts == 0] = 0.0
        values = task.values - means[key]
        return {"values": values}

    scores, _ = task.scores_of(change, "Measuring from training controls")
    rows = ~task.is_control[task.held_out]
    how = "training rows measured from training controls"
    worth = task.inflation(task.base[1], scores, rows, how)
    yield LeakFinding(
        "controls",
        severity(worth),
        f"Responses are differences from the mean of all {len(controls)} controls "
        f"{by}, {n_held} of which are held out: training rows hold the noise of "
        "held-out controls.",
        "Give the estimator expression, and let it subtract the controls of the "
        "training rows, as PerturbationEffectRegressor does; or set controls apart "
        "that serve for differences only.",
        worth,
        task.held_out[rows],
    )


def _reference(task, controls):
    """Return (in words, codes) of the groups whose controls have a mean of zero."""
    batch = task.codes("batch")
    ways = [("of each context", task.context)]
    if batch is not None:
        ways.append(("of each batch", batch[0]))
        both = task.context * len(batch[1]) + batch[0]
        ways.append(("of each context and batch", both))
    ways.insert(0, ("of all rows", np.zeros(len(task.values), dtype=int)))
    for by, key in reversed(ways):
        _, key = np.unique(key, return_inverse=True)
        if _means_are_zero(task.values[controls], key[controls]):
            return by, key
    return None


def _means_are_zero(values, key):
    """Whether the rows of each group have a mean of zero, and are not zero."""
    _, key = np.unique(key, return_inverse=True)
    means, counts = level_means(key, key.max() + 1, values)
    several = counts > 1
    if not several.any():
        return False
    spread = values[several[key]].std()
    if spread == 0:
        return False
    by_chance = spread / np.sqrt(counts[several])[:, None]
    return bool((np.abs(means[several]) < _ZERO * by_chance).all())
