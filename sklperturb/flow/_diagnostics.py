"""Diagnostics: generate held-out perturbations, and warn of silent failures."""

import inspect
import warnings
from dataclasses import dataclass

import numpy as np

from sklperturb.metrics import energy_distance

# Of conditions that are looked at, and of cells of each.
_N_CONDITIONS = 16
_N_CELLS = 200
_FEWEST_CELLS = 20  # below, a population is too small to be compared
_UNMOVED = 0.02
_COLLAPSED = 0.3
_NEGLIGIBLE = 0.01
_BLOWN_UP = 2.0
_OURS = ("sklperturb.", "sklearn.")  # modules that a warning is not about


@dataclass
class Evidence:
    """What is looked at: some conditions that the training did not see.

    Attributes
    ----------
    measured, generated, controls : list of ndarray of shape (n_cells, n_features)
        Cells of each condition.
    displacements : ndarray of shape (n_conditions, n_features)
        By how much the flow moves the mean of the controls of each condition.
    swapped : ndarray of shape (n_conditions, n_features)
        The same, for the perturbation of another condition.
    largest : float
        Length of the largest displacement in the training data.
    """

    measured: list
    generated: list
    controls: list
    displacements: np.ndarray
    swapped: np.ndarray
    largest: float


def gather_evidence(flow, cells, measured, weights):
    """Return the evidence, or None where nothing was held out, and a weight.

    Parameters
    ----------
    flow : FittedFlow
    cells : ndarray of shape (n_cells, n_features)
        Along the components that the flow moves them.
    measured : object
        Has the `conditions`, their `members` and `effects`, which are `held_out`, and
        what a regression `expected` of these, if there was one.
    weights : sequence of float
        Shares of the flow's change of shape to choose from, by energy distance; the
        last is taken if nothing was held out or expected.

    Returns
    -------
    evidence : Evidence or None
    weight : float
        The chosen one.
    """
    generator, inside = flow.generator, flow.coordinates.inside
    members, conditions = measured.members, measured.conditions
    effects, expected = inside(measured.effects), inside(measured.expected)
    if expected is None:
        weights = weights[-1:]
    sizes = np.array([sum(len(rows) for _, rows in m) for m in members])
    large = sizes >= _FEWEST_CELLS
    chosen = np.flatnonzero(measured.held_out & large)[:_N_CONDITIONS]
    if not len(chosen):
        return None, weights[-1]
    rng = np.random.default_rng(generator.seed)
    found, generated, controls, displacements, swapped = [], [], [], [], []
    for i in chosen:
        # The largest batch is enough, and compares like with like.
        pool, rows = max(members[i], key=lambda member: len(member[1]))
        rows = rng.permutation(rows)[:_N_CELLS]
        start = generator.start(pool, len(rows), rng)
        condition = conditions.take([i])
        moved = generator.move(start, condition, pool)
        displacement = generator.displacement(condition, pool)
        if expected is None:
            candidates = [moved]
        else:
            shape = moved - start - displacement
            candidates = [start + expected[i] + weight * shape for weight in weights]
        found.append(cells[rows])
        generated.append(candidates)
        unchanged = generator.pools[pool]
        some = rng.choice(len(unchanged), min(len(rows), len(unchanged)), replace=False)
        controls.append(unchanged[some])
        displacements.append(displacement)
        # By the perturbation of another condition, all else being the same.
        names = [key[1] for key in conditions.keys]
        others = [j for j, name in enumerate(names) if name != names[i]]
        other = conditions.take([others[i % len(others)]])
        other.covariates = condition.covariates
        swapped.append(generator.displacement(other, pool))
    known = effects[~measured.held_out & large]
    largest = np.linalg.norm(known, axis=1).max() if len(known) else np.inf
    generated = list(zip(*generated, strict=True))  # by weight
    distances = [_distances(found, populations).mean() for populations in generated]
    best = int(np.argmin(distances))
    displacements, swapped = np.array(displacements), np.array(swapped)
    evidence = Evidence(
        found, generated[best], controls, displacements, swapped, float(largest)
    )
    return evidence, weights[best]


def _distances(measured, populations):
    """Return the energy distance of each population to the measured one."""
    pairs = zip(measured, populations, strict=True)
    return np.array([energy_distance(*pair, unbiased=True) for pair in pairs])


def warn_few_cells(names, sizes, cells_per_condition):
    """Warn of conditions with fewer cells than a block of the training."""
    few = np.flatnonzero(sizes < cells_per_condition)
    if len(few):
        examples = _first([names[i] for i in few])
        _warn(
            f"too few cells: {len(few)} of {len(names)} conditions have fewer than "
            f"cells_per_condition={cells_per_condition}, such as {examples}. Their "
            "cells are drawn repeatedly, and their spread is not to be trusted. Leave "
            "them out, or lower cells_per_condition."
        )


def warn_leakage(foreign):
    """Warn of conditions whose controls come from another context or batch."""
    if foreign:
        _warn(
            f"context leakage: {len(foreign)} conditions have cells without controls "
            f"of their own context or batch, such as {_first(foreign)}, and are "
            "compared with controls of others. What differs between contexts or "
            "batches is then learnt as an effect. Add controls, or pass "
            "match_batch=False."
        )


def check_evidence(evidence):
    """Return measurements of held-out perturbations, and warn where they are bad.

    Returns
    -------
    measured : dict of str to float
        "swap_change": change of displacements when perturbations are swapped, in
        lengths of the displacements; "variance_ratio": spread of generated cells over
        that of measured ones; "largest_ratio": longest displacement over the longest
        in training; "energy" and "energy_controls": mean energy distance of generated
        cells and of controls to measured ones.
    """
    moved = np.linalg.norm(evidence.displacements, axis=1)
    change = np.linalg.norm(evidence.swapped - evidence.displacements, axis=1)
    generated, measured = (
        np.sum([population.var(axis=0).sum() for population in populations])
        for populations in (evidence.generated, evidence.measured)
    )
    energy = _distances(evidence.measured, evidence.generated)
    energy_controls = _distances(evidence.measured, evidence.controls)
    loss = energy - energy_controls
    by_chance = 2 * loss.std() / np.sqrt(len(loss))
    # A net that moves nothing ignores the condition as well.
    scale = max(_NEGLIGIBLE * evidence.largest, 1e-12)
    found = {
        "swap_change": float(change.mean() / max(moved.mean(), scale)),
        "variance_ratio": float(generated / max(measured, 1e-12)),
        "largest_ratio": float(moved.max() / max(evidence.largest, 1e-12)),
        "energy": float(energy.mean()),
        "energy_controls": float(energy_controls.mean()),
    }
    if found["swap_change"] < _UNMOVED:
        _warn(
            "condition ignored: swapping perturbations changes the displacements by "
            f"{found['swap_change']:.1%} of their length, so cells of all "
            "perturbations are shaped alike. Train longer, lower condition_noise, or "
            "give an embedding that tells the perturbations apart."
        )
    if found["variance_ratio"] < _COLLAPSED:
        _warn(
            "collapse to the mean: generated cells of held-out perturbations have "
            f"{found['variance_ratio']:.2f} of the variance of measured ones. Train "
            "longer, or pass coupling='ot'."
        )
    warn_blow_up(found["largest_ratio"])
    if loss.mean() > by_chance:
        _warn(
            "worse than controls: on held-out perturbations, generated cells are "
            f"farther from the measured ones (energy distance {found['energy']:.3g}) "
            f"than unchanged controls ({found['energy_controls']:.3g}). Effects of "
            "unseen perturbations cannot be predicted from these data and this "
            "embedding; raise condition_noise, or predict no effect."
        )
    return found


def warn_blow_up(ratio):
    """Warn of displacements far longer than any that was measured."""
    if ratio > _BLOWN_UP:
        _warn(
            f"displacement blow-up: cells of an unseen perturbation move {ratio:.1f} "
            "times as far as those of any measured one. Raise condition_noise, use "
            "fewer components of the embedding, or train for fewer steps."
        )


def warn_collapsed_mean(choice):
    """Warn that unseen perturbations cannot be told apart."""
    found = {
        "shift": "collapse to the mean: on held-out perturbations, the mean shift was "
        "nearer than a regression on the embedding, so all unseen perturbations of a "
        "context are predicted alike.",
        "controls": "no effect can be predicted: on held-out perturbations, unchanged "
        "controls were nearer than the mean shift and than a regression on the "
        "embedding, so unseen perturbations are predicted to do nothing.",
    }
    _warn(
        f"{found[choice]} Another embedding may tell more; mean_estimator='ridge' or "
        "'none' takes the decision out of the data's hands."
    )


def _first(names):
    """Return names for a message, cut to what it can hold."""
    shown = [name if len(name) <= 80 else f"{name[:80]}..." for name in names[:5]]
    return shown + ["..."] * (len(names) > 5)


def _warn(message):
    """Warn at the line that called the toolkit."""
    frame, level = inspect.currentframe(), 1
    while frame and frame.f_globals.get("__name__", "").startswith(_OURS):
        frame, level = frame.f_back, level + 1
    warnings.warn(f"FlowMatchingRegressor: {message}", UserWarning, stacklevel=level)
