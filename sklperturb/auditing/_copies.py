"""Held-out responses of which training has a copy, or nearly one."""

import numpy as np

from sklperturb.auditing._result import LeakFinding
from sklperturb.auditing._task import severity

# A copy is nearer than this share of the distance to the tenth neighbour.
_MOST, _K = 0.05, 10
_CHANCE = 1e-3  # that any of the held-out rows has so near a neighbour
_FEWEST_GENES, _MOST_DIMENSIONS, _MOST_TESTED = 5, 256, 5000
_BLOCK = 500


def check_copies(task):
    """Yield a finding if training rows have nearly the responses of held-out ones.

    Notes
    -----
    Of points that are spread evenly in d dimensions, the nearest is within a share r of
    the distance to the k-th with a probability of about (k - 1) r^d. The dimensions are
    those that responses really have, by the participation ratio of their variances.
    """
    if task.values.shape[1] < _FEWEST_GENES:
        return
    points, there = _points(task)
    dimension = _dimension(points[there])
    linked, concerned = [], []
    for train, test in task.folds:
        is_copied = np.zeros(len(points), dtype=bool)
        hit = np.zeros(len(test), dtype=bool)
        train_rows = train[there[train]]
        k = min(_K, len(train_rows)) - 1
        tested = np.flatnonzero(there[test])
        if len(tested) > _MOST_TESTED:
            tested = np.sort(task.rng.choice(tested, _MOST_TESTED, replace=False))
        if k >= 2 and len(tested):
            rare = (_CHANCE / (len(tested) * k)) ** (1 / dimension)
            limit = min(_MOST, rare)
            for start in range(0, len(tested), _BLOCK):
                block = tested[start : start + _BLOCK]
                distances = _distances(points[test[block]], points[train_rows])
                # A row that is on both sides is no copy of itself.
                distances[test[block][:, None] == train_rows] = np.inf
                far = np.partition(distances, k, axis=1)[:, k]
                near = distances <= limit * far[:, None]
                hit[block] = near.any(axis=1) & np.isfinite(far) & (far > 0)
                is_copied[train_rows[near[hit[block]].any(axis=0)]] = True
        linked.append(is_copied)
        concerned.append(hit)
    concerned = np.concatenate(concerned)
    if not concerned.any():
        return
    worth = task.without_rows(linked, concerned, "the copies left out of training")
    yield LeakFinding(
        "copies",
        severity(worth),
        f"The responses of {concerned.sum()} of {len(concerned)} held-out rows are "
        "nearly those of a training row: nearer than a twentieth of the distance to "
        "other neighbours.",
        "Look at these rows: the same measurement may be there twice, or under two "
        "names. Leave one of each, or keep them on one side.",
        worth,
        task.held_out[concerned],
    )


def _points(task):
    """Return responses in fewer dimensions, and which of them are not all zero."""
    values = task.values
    there = np.any(values != 0, axis=1)
    points = values - values.mean(axis=0)
    if points.shape[1] > _MOST_DIMENSIONS:
        shape = (points.shape[1], _MOST_DIMENSIONS)
        points = points @ (task.rng.standard_normal(shape) / _MOST_DIMENSIONS**0.5)
    return points, there


def _dimension(points):
    """Return in how many dimensions the directions of responses vary.

    Of directions, since a few strong responses would outweigh all others.
    """
    points = points - points.mean(axis=0)
    norms = np.linalg.norm(points, axis=1)
    points = points[norms > 0] / norms[norms > 0, None]
    if len(points) == 0:
        return 1.0
    spectrum = np.linalg.svd(points - points.mean(axis=0), compute_uv=False) ** 2
    total = (spectrum**2).sum()
    return max(1.0, float(spectrum.sum() ** 2 / total)) if total > 0 else 1.0


def _distances(a, b):
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T
    # What is left of numbers that cancel is no distance.
    floor = 1e-13 * ((a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1))
    return np.sqrt(np.where(squares > floor, squares, 0.0))
