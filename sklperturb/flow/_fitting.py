"""Train a flow: measure effects, fit the mean, train the network, weigh the two."""

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.utils import Bunch, _safe_indexing, check_random_state

from sklperturb.conditions._labels import control_rows
from sklperturb.conditions._validation import resolve_schema
from sklperturb.flow._conditions import (
    ConditionReader,
    Conditions,
    ElementScaler,
    name_of,
)
from sklperturb.flow._diagnostics import (
    check_evidence,
    gather_evidence,
    warn_collapsed_mean,
    warn_few_cells,
    warn_leakage,
)
from sklperturb.flow._fitted import Coordinates, FittedFlow
from sklperturb.flow._generation import Generator, build_net
from sklperturb.flow._mean import MeanEffect, blend_weight
from sklperturb.flow._populations import (
    ControlPools,
    group_cells,
    hold_out,
    measure_effects,
)
from sklperturb.flow._training import Populations, train

_SHAPES = (0.0, 0.5, 1.0)  # shares of the flow's change of shape to choose from
_MOST_VALIDATED = 32  # held-out conditions that are looked at


@dataclass
class _Measured:
    """What was measured, in units of the network, and what is held out of it.

    Attributes
    ----------
    table : DataFrame or ndarray of shape (n_conditions, n_columns)
        The conditions, as they were given.
    conditions : Conditions
        The same, read.
    members : list of list of (int, ndarray of int)
        For each condition, pools of controls and the cells there.
    n_cells : ndarray of int of shape (n_conditions,)
    effects : ndarray of shape (n_conditions, n_outputs)
    noise : ndarray of shape (n_conditions,)
        Squared standard errors of the effects.
    held_out : ndarray of bool of shape (n_conditions,)
    expected : ndarray of shape (n_conditions, n_outputs) or None
        Mean effects of the held-out conditions by a regression without them, and
        zeros; None where there are none, or no regression.
    """

    table: object
    conditions: Conditions
    members: list
    n_cells: np.ndarray
    effects: np.ndarray
    noise: np.ndarray
    held_out: np.ndarray
    expected: np.ndarray | None = None


def fit_flow(X, y, cells, parameters):
    """Return the `FittedFlow` of measured cells.

    Parameters
    ----------
    X : DataFrame or ndarray of shape (n_cells, n_columns)
        Conditions.
    y : object
        The cells as the embedding of the conditions is to have them.
    cells : ndarray of shape (n_cells,) or (n_cells, n_outputs)
    parameters : Bunch
        Of `FlowMatchingRegressor`.

    Raises
    ------
    ValueError
        If all cells are controls, or `X` has no column of perturbations.
    """
    schema = resolve_schema(parameters.schema, X)
    schema.require(X, "perturbation")
    is_control = control_rows(X, schema)
    if is_control.all():
        raise ValueError(
            "All rows are controls, and there is no perturbation to learn from. "
            "Check the control column that the schema names."
        )
    seed = int(check_random_state(parameters.random_state).randint(2**31 - 1))
    rng = np.random.default_rng(seed)
    y_ndim, cells = cells.ndim, cells.reshape(len(cells), -1)
    coordinates = Coordinates.fit(cells, is_control, parameters.n_components)
    cells = coordinates.to_units(cells)
    controls, rows = np.flatnonzero(is_control), np.flatnonzero(~is_control)
    pools = ControlPools.of(
        schema, parameters.match_batch, _safe_indexing(X, controls), cells[controls]
    )
    reader = ConditionReader.fit(parameters.embedding, schema, X, y, ~is_control)

    measured = _measure(X, cells, rows, reader, pools, parameters, rng)
    mean = None
    if parameters.mean_estimator != "none":
        mean = _fit_mean(parameters.mean_estimator, measured)
    if not len(controls):
        parameters = Bunch(**parameters | {"source": "noise"})
    cells = coordinates.inside(cells)
    inside = [coordinates.inside(pool) for pool in pools.cells]
    generator, history = _train(cells, inside, measured, seed, rng, parameters)
    flow = FittedFlow(
        reader,
        pools,
        coordinates,
        generator,
        mean,
        conditions=measured.table,
        n_cells=measured.n_cells,
        effects=measured.effects * coordinates.scale,
        history=history,
        y_ndim=y_ndim,
    )
    is_auto = parameters.mean_estimator == "auto"
    flow.mean_weight = _weigh_mean(flow, measured, is_auto)
    if len(controls):
        has_choice = is_auto and parameters.source == "control"
        shares = _SHAPES if has_choice else _SHAPES[-1:]
        evidence, flow.shape_weight = gather_evidence(flow, cells, measured, shares)
        if evidence is not None:
            flow.diagnostics = check_evidence(evidence)
    return flow


def _measure(X, cells, rows, reader, pools, parameters, rng):
    """Return the effects of all conditions; `rows` are the perturbed cells."""
    perturbed = _safe_indexing(X, rows)
    numbers, shared = pools.find(perturbed)
    members, codes = group_cells(reader.keys(perturbed), rows, numbers)
    table = _safe_indexing(perturbed, np.unique(codes, return_index=True)[1])
    conditions = reader.read(table)
    n_cells = np.bincount(codes)
    if len(pools.cells[0]):
        names = [name_of(key) for key in conditions.keys]
        few = shared < len(pools.columns)
        warn_leakage([names[i] for i in np.unique(codes[few])])
        warn_few_cells(names, n_cells, parameters.cells_per_condition)
    effects, noise = measure_effects(cells, members, pools.means)
    held_out = hold_out(conditions.keys, parameters.validation_fraction, rng)
    return _Measured(table, conditions, members, n_cells, effects, noise, held_out)


def _fit_mean(estimator, measured):
    """Return the regression of means; predict what is held out without it."""
    conditions, effects = measured.conditions, measured.effects
    mean = MeanEffect.fit(estimator, conditions, effects, measured.noise)
    if mean.cv_errors and mean.choice != "ridge":
        warn_collapsed_mean(mean.choice)
    if measured.held_out.any():
        held_out = measured.held_out
        measured.expected = np.zeros(effects.shape)
        measured.expected[held_out] = mean.held_out(conditions, effects, held_out)
    return mean


def _train(cells, pools, measured, seed, rng, parameters):
    """Return the generator, and the losses of its training."""
    conditions, held_out = measured.conditions, measured.held_out
    source, device = parameters.source, parameters.device
    scaler = ElementScaler.fit(conditions)
    tensors = conditions.tensors(scaler)
    data = Populations(cells, measured.members, pools, *tensors)
    encoder = parameters.population_encoder
    if encoder is None and source == "noise":
        encoder = "deep_sets"
    cuda = [device] if device.startswith("cuda") else []
    with torch.random.fork_rng(cuda):  # leaves the caller's generator alone
        torch.manual_seed(seed)
        net = build_net(
            encoder if len(pools[0]) else None,
            n_features=cells.shape[1],
            n_elements=conditions.elements.shape[2],
            n_covariates=conditions.covariates.shape[1],
            hidden_dim=parameters.hidden_dim,
            n_layers=parameters.n_layers,
            embedding_dim=parameters.embedding_dim,
        )
    train_rows, test_rows = np.flatnonzero(~held_out), np.flatnonzero(held_out)
    test_rows = test_rows[:_MOST_VALIDATED]
    history = train(net, data, train_rows, test_rows, parameters, rng)
    guidance, n_steps = parameters.guidance, parameters.n_solver_steps
    return Generator(net, scaler, source, guidance, n_steps, device, seed), history


def _weigh_mean(flow, measured, is_auto):
    """Weigh the regression of means against the flow, on what neither saw."""
    if flow.mean is None:
        return 0.0
    if not is_auto or flow.mean.choice == "controls" or measured.expected is None:
        return 1.0
    rows = np.flatnonzero(measured.held_out)[:_MOST_VALIDATED]
    displacements = []
    for i in rows:
        pool = measured.members[i][0][0]
        condition = measured.conditions.take([i])
        displacements.append(flow.context_displacement(condition, pool))
    n_perturbations = len({measured.conditions.keys[i][1] for i in rows})
    effects, expected = measured.effects[rows], measured.expected[rows]
    return blend_weight(effects, expected, np.array(displacements), n_perturbations)
