"""Diagnostics: generate held-out perturbations, and warn of silent failures."""

import inspect
import warnings
from dataclasses import dataclass

import numpy as np

from sklperturb.metrics import energy_distance
from sklperturb.utils._intervals import simultaneous_intervals

# Of conditions that are looked at, and of cells of each.
_N_CONDITIONS = 48
_N_SWAPPED = 12
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
    swapped : ndarray of shape (n_swapped, n_features)
        The same for the first few, by the perturbation of another condition.
    largest : float
        Length of the largest displacement in the training data.
    """

    measured: list
    generated: list
    controls: list
    displacements: np.ndarray
    swapped: np.ndarray
    largest: float


@dataclass
class Trial:
    """What was generated of conditions that a network did not see.

    Attributes
    ----------
    conditions : ndarray of int of shape (n_tried,)
    energies : ndarray of shape (n_tried, n_shares)
        Energy distance to the measured cells, for each share of the change of shape.
    displacements : ndarray of shape (n_tried, n_features)
        By how much the networks move the mean.
    """

    conditions: np.ndarray
    energies: np.ndarray
    displacements: np.ndarray


def gather_evidence(trained, coordinates, cells, measured, shares):
    """Return what networks make of conditions that they did not see.

    Parameters
    ----------
    trained : list of tuple (Generator, ndarray of int)
        Networks, and the conditions that each did not see.
    coordinates : Coordinates
    cells : ndarray of shape (n_cells, n_features)
        Along the components that the flow moves them.
    measured : object
        Has the `conditions`, their `members` and `effects`, and what a regression that
        did not see them either `expected` of these, if there was one.
    shares : sequence of float
        Shares of the flow's change of shape to compare.

    Returns
    -------
    evidence : list of Evidence
        For each share; empty where nothing was held out, or there is one control.
    trial : Trial or None
    """
    members, conditions = measured.members, measured.conditions
    effects = coordinates.inside(measured.effects)
    expected = coordinates.inside(measured.expected)
    if not trained or len(trained[0][0].pools[0]) < 2:
        return [], None
    sizes = [[len(rows) for _, rows in m] for m in members]
    # Distances need two cells of a batch.
    large = np.array([sum(n) >= _FEWEST_CELLS and max(n) > 1 for n in sizes])
    tried = [(g, rows[large[rows]]) for g, rows in trained]
    if not sum(len(rows) for _, rows in tried):
        return [], None
    rng = np.random.default_rng(trained[0][0].seed)
    most = -(-_N_CONDITIONS // len(tried))
    tried = [(g, i) for g, rows in tried for i in rng.permutation(rows)[:most]]
    tried = [tried[i] for i in rng.permutation(len(tried))]
    names = [key[1] for key in conditions.keys]
    found, controls, displacements, swapped = [], [], [], []
    generated = [[] for _ in shares]
    for generator, i in tried:
        # The largest batch is enough, and compares like with like.
        pool, rows = max(members[i], key=lambda member: len(member[1]))
        rows = rng.permutation(rows)[:_N_CELLS]
        start = generator.start(pool, len(rows), rng)
        condition = conditions.take([i])
        moved = generator.move(start, condition, pool)
        before = start if generator.source == "control" else generator.pools[pool]
        displacement = moved.mean(axis=0) - before.mean(axis=0, dtype=float)
        for share, populations in zip(shares, generated, strict=True):
            population = moved
            if expected is not None:
                shape = moved - start - displacement
                population = start + expected[i] + share * shape
            populations.append(population)
        found.append(cells[rows])
        # All controls stand in where the batch has a single one.
        unchanged = generator.pools[pool if len(generator.pools[pool]) > 1 else 0]
        some = rng.choice(len(unchanged), min(len(rows), len(unchanged)), replace=False)
        controls.append(unchanged[some])
        displacements.append(displacement)
        if len(swapped) < _N_SWAPPED:
            # By the perturbation of another condition, all else being the same.
            others = [j for j, name in enumerate(names) if name != names[i]]
            other = conditions.take([others[i % len(others)] if others else i])
            other.covariates = condition.covariates
            moved = generator.move(start, other, pool)
            swapped.append(moved.mean(axis=0) - before.mean(axis=0, dtype=float))
    unseen = np.unique([i for _, i in tried])
    known = np.delete(effects, unseen, axis=0) if len(trained) == 1 else effects
    largest = np.linalg.norm(known, axis=1).max() if len(known) else np.inf
    displacements, swapped = np.array(displacements), np.array(swapped)
    evidence = [
        Evidence(found, populations, controls, displacements, swapped, float(largest))
        for populations in generated
    ]
    energies = [_distances(found, populations) for populations in generated]
    tried = np.array([i for _, i in tried])
    return evidence, Trial(tried, np.transpose(energies), displacements)


def choose_share(trial, shares, units):
    """Return the share of the change of shape, and what it gains.

    None of it, unless cells with some of it are nearer to the measured ones than
    controls displaced, and that by more than chance.

    Parameters
    ----------
    trial : Trial or None
        None where nothing was held out.
    shares : sequence of float
        The first is 0.
    units : ndarray of int of shape (n_conditions,)
        What was held out together.

    Returns
    -------
    share : float
    gains : dict of str to float
        "shape_change", "shape_change_low" and "shape_change_high": the difference of
        energy distances that the best share makes, and its 95 % interval, of those that
        hold for all shares at once: the best of several looks good by chance.
    """
    if trial is None:
        return shares[0], {}
    gains = trial.energies[:, 1:] - trial.energies[:, :1]
    found = np.array(simultaneous_intervals(gains, units[trial.conditions]))
    best = int(found[0].argmin())
    names = "shape_change", "shape_change_low", "shape_change_high"
    gains = {name: float(v) for name, v in zip(names, found[:, best], strict=True)}
    return shares[best + 1] if found[2, best] < 0 else shares[0], gains


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
    own = evidence.displacements[: len(evidence.swapped)]
    change = np.linalg.norm(evidence.swapped - own, axis=1)
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
        "shift": "collapse to the mean: held-out perturbations are told no better with "
        "what is known of them, so all unseen perturbations of a context are predicted "
        "alike.",
        "controls": "no effect can be predicted: unchanged controls were nearer to "
        "held-out perturbations than the mean shift, so unseen perturbations are "
        "predicted to do nothing.",
    }
    _warn(
        f"{found[choice]} Another embedding may tell more; mean_estimator='kernel' or "
        "'none' takes the decision out of the data's hands."
    )


def warn_unchecked():
    """Warn that there was nothing to check the model on."""
    _warn(
        "not validated: there are too few perturbations and contexts to hold out any, "
        "so the mean is the mean shift, cells are controls displaced, and neither was "
        "checked. Pass mean_estimator='kernel' or 'none' to ask for more, unchecked."
    )


def report(flow):
    """Return lines of text on what held-out perturbations said of a fitted flow."""
    lines = []
    if flow.mean_cv_errors_:
        errors = ", ".join(f"{k} {v:.3f}" for k, v in flow.mean_cv_errors_.items())
        lines.append(f"squared error of means, held out, no effect being 1: {errors}")
    for name, (low, high) in flow.mean_cv_intervals_.items():
        first, _, second = name.partition(" less ")
        change = flow.mean_cv_errors_[first] - flow.mean_cv_errors_[second]
        lines.append(f"  {name}: {change:.3f} (95 % {low:.3f} to {high:.3f})")
    found = flow.guards_
    if "energy" in found:
        lines.append(
            f"energy distance, held out: {found['energy']:.3f} generated, "
            f"{found['energy_controls']:.3f} controls"
        )
    if "shape_change" in found:
        low, high = found["shape_change_low"], found["shape_change_high"]
        lines.append(
            f"  change of shape: {found['shape_change']:.3f} (95 % {low:.3f} to "
            f"{high:.3f}), of which {flow.shape_weight_:g} is taken"
        )
    return lines


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
