"""Say so when a generative model has gone wrong in one of the silent ways."""

import warnings
from dataclasses import dataclass

import numpy as np

from sklperturb.metrics import energy_distance

# Of conditions that are looked at, and of cells of each.
N_CONDITIONS = 16
N_CELLS = 200
_FEWEST_CELLS = 20  # below, a population is too small to be compared
_UNMOVED = 0.02
_COLLAPSED = 0.3
_NEGLIGIBLE = 0.01
_BLOWN_UP = 2.0


@dataclass
class Evidence:
    """What the guards look at: some conditions that the training did not see.

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


def warn_few_cells(names, sizes, cells_per_condition):
    """Warn of conditions with fewer cells than a block of the training."""
    few = np.flatnonzero(sizes < cells_per_condition)
    if len(few):
        examples = [names[i] for i in few[:5]] + ["..."] * (len(few) > 5)
        _warn(
            f"too few cells: {len(few)} of {len(names)} conditions have fewer than "
            f"cells_per_condition={cells_per_condition}, such as {examples}. Their "
            "cells are drawn repeatedly, and their spread is not to be trusted. Leave "
            "them out, or lower cells_per_condition."
        )


def warn_leakage(foreign):
    """Warn of conditions whose controls come from another context or batch."""
    if foreign:
        examples = foreign[:5] + ["..."] * (len(foreign) > 5)
        _warn(
            f"context leakage: {len(foreign)} conditions have cells without controls "
            f"of their own context or batch, such as {examples}, and are compared with "
            "controls of others. What differs between contexts or batches is then "
            "learnt as an effect. Add controls, or pass match_batch=False."
        )


def check_evidence(evidence):
    """Return measurements of what the guards look at, and warn where they are bad.

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
    spread = [
        [population.var(axis=0).sum() for population in populations]
        for populations in (evidence.generated, evidence.measured)
    ]
    distances = {
        name: np.array(
            [
                energy_distance(truth, population, unbiased=True)
                for truth, population in zip(
                    evidence.measured, populations, strict=True
                )
            ]
        )
        for name, populations in (
            ("energy", evidence.generated),
            ("energy_controls", evidence.controls),
        )
    }
    loss = distances["energy"] - distances["energy_controls"]
    by_chance = 2 * loss.std() / np.sqrt(len(loss))
    # A net that moves nothing ignores the condition as well.
    scale = max(_NEGLIGIBLE * evidence.largest, 1e-12)
    found = {
        "swap_change": float(change.mean() / max(moved.mean(), scale)),
        "variance_ratio": float(np.sum(spread[0]) / max(np.sum(spread[1]), 1e-12)),
        "largest_ratio": float(moved.max() / max(evidence.largest, 1e-12)),
        **{name: float(values.mean()) for name, values in distances.items()},
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
    said = {
        "shift": "collapse to the mean: on held-out perturbations, the mean shift was "
        "nearer than a regression on the embedding, so all unseen perturbations of a "
        "context are predicted alike.",
        "controls": "no effect can be predicted: on held-out perturbations, unchanged "
        "controls were nearer than the mean shift and than a regression on the "
        "embedding, so unseen perturbations are predicted to do nothing.",
    }
    _warn(
        f"{said[choice]} Another embedding may tell more; mean_estimator='ridge' or "
        "'none' takes the decision out of the data's hands."
    )


def enough_cells(sizes):
    """Return the conditions that are large enough for the guards."""
    return np.flatnonzero(sizes >= _FEWEST_CELLS)


def _warn(message):
    warnings.warn(f"FlowMatchingRegressor: {message}", UserWarning, stacklevel=6)
