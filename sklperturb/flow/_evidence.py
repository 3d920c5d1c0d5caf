"""Generate cells of held-out perturbations, for the guards to look at."""

import numpy as np

from sklperturb.flow._guards import N_CELLS, N_CONDITIONS, Evidence, enough_cells
from sklperturb.metrics import energy_distance


def gather_evidence(
    generator, cells, members, conditions, effects, held_out, expected, weights
):
    """Return what the guards need, or None where nothing was held out, and a weight.

    Parameters
    ----------
    generator : Generator
    cells : ndarray of shape (n_cells, n_features)
    members : list of list of (int, ndarray of int)
    conditions : Conditions
    effects : ndarray of shape (n_conditions, n_features)
    held_out : ndarray of bool of shape (n_conditions,)
    expected : ndarray of shape (n_conditions, n_features) or None
        Mean effects of the held-out conditions, of a regression without them.
    weights : sequence of float
        Shares of the flow's change of shape to choose from, by energy distance.

    Returns
    -------
    evidence : Evidence or None
    weight : float
        The chosen one.
    """
    sizes = np.array([sum(len(rows) for _, rows in m) for m in members])
    chosen = np.flatnonzero(held_out)
    chosen = np.intersect1d(chosen, enough_cells(sizes))[:N_CONDITIONS]
    if not len(chosen):
        return None, weights[-1]
    rng = np.random.default_rng(generator.seed)
    measured, generated, controls, displacements, swapped = [], [], [], [], []
    for i in chosen:
        # The largest batch is enough, and compares like with like.
        pool, rows = max(members[i], key=lambda member: len(member[1]))
        rows = rng.permutation(rows)[:N_CELLS]
        start = generator.start(pool, len(rows), rng)
        moved = generator.move(start, conditions, i, pool)
        displacement = generator.displacement(conditions, i, pool)
        if expected is None:
            candidates = [moved]
        elif len(weights) == 1:
            candidates = [moved + expected[i] - displacement]
        else:
            shape = moved - start - displacement
            candidates = [start + expected[i] + weight * shape for weight in weights]
        measured.append(cells[rows])
        generated.append(candidates)
        unchanged = generator.pools[pool]
        some = rng.choice(len(unchanged), min(len(rows), len(unchanged)), replace=False)
        controls.append(unchanged[some])
        displacements.append(displacement)
        swapped.append(_swapped(generator, conditions, i, pool))
    known = effects[np.intersect1d(np.flatnonzero(~held_out), enough_cells(sizes))]
    largest = np.linalg.norm(known, axis=1).max() if len(known) else np.inf
    distances = [
        [energy_distance(truth, population, unbiased=True) for population in candidates]
        for truth, candidates in zip(measured, generated, strict=True)
    ]
    best = int(np.mean(distances, axis=0).argmin())
    evidence = Evidence(
        measured,
        [candidates[best] for candidates in generated],
        controls,
        np.array(displacements),
        np.array(swapped),
        float(largest),
    )
    return evidence, weights[best]


def _swapped(generator, conditions, i, pool):
    """Return the displacement by another perturbation, all else being the same."""
    own = conditions.keys[i][1]
    others = [j for j, key in enumerate(conditions.keys) if key[1] != own]
    mixed = conditions.take([others[i % len(others)]])
    mixed.covariates = conditions.covariates[i : i + 1]
    return generator.displacement(mixed, 0, pool)
