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
    choose_share,
    gather_evidence,
    warn_collapsed_mean,
    warn_few_cells,
    warn_leakage,
    warn_unchecked,
)
from sklperturb.flow._fitted import Coordinates, FittedFlow
from sklperturb.flow._generation import Generator, build_net
from sklperturb.flow._mean import MeanEffect
from sklperturb.flow._populations import (
    ControlPools,
    group_cells,
    hold_out,
    make_folds,
    measure_effects,
)
from sklperturb.flow._training import Populations, n_looks_of, train
from sklperturb.neural_network._base import start_from
from sklperturb.utils._intervals import mean_interval

_SHARES = (0.0, 0.25, 0.5, 1.0)  # of the flow's change of shape, to choose from
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
    units : ndarray of int of shape (n_conditions,)
        Perturbation of each condition, or its context where these are held out.
    folds : list of tuple (held_out, tested), ndarrays of bool of shape (n_conditions,)
        What a training does not see, and what of it is looked at: with a choice to
        make, each unit in turn; else once, some of the perturbations, if any.
    expected : ndarray of shape (n_conditions, n_outputs) or None
        Mean effects of the tested conditions by a regression that did not see what
        was held out, and zeros; None where there are none, or no regression.
    """

    table: object
    conditions: Conditions
    members: list
    n_cells: np.ndarray
    effects: np.ndarray
    noise: np.ndarray
    units: np.ndarray
    folds: list
    expected: np.ndarray | None = None


def fit_flow(X, y, cells, parameters, task, previous=None):
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
    task : FitTask
        Of its fit; callbacks are told of trainings within it.
    previous : FittedFlow, default=None
        Whose network to go on with; it is left as it is.

    Raises
    ------
    ValueError
        If all cells are controls, `X` has no column of perturbations, or the previous
        network is not one for these data and parameters.
    """
    if previous is None:
        schema = resolve_schema(parameters.schema, X)
    else:
        previous.reader.check_same(parameters.embedding, parameters.schema)
        schema = previous.reader.schema
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
    if not is_control.any():
        parameters = Bunch(**parameters | {"source": "noise"})
    if previous is None:
        coordinates = Coordinates.fit(cells, is_control, parameters.n_components)
        reader = ConditionReader.fit(parameters.embedding, schema, X, y, ~is_control)
    else:
        _check_continues(previous, cells, is_control, parameters.source)
        coordinates, reader = previous.coordinates, previous.reader
    cells = coordinates.to_units(cells)
    controls, rows = np.flatnonzero(is_control), np.flatnonzero(~is_control)
    pools = ControlPools.of(
        schema, parameters.match_batch, _safe_indexing(X, controls), cells[controls]
    )

    measured = _measure(X, cells, rows, reader, pools, parameters, rng)
    is_auto = parameters.mean_estimator == "auto"
    mean = None
    if parameters.mean_estimator != "none":
        mean = _fit_mean(parameters.mean_estimator, measured)
    cells = coordinates.inside(cells)
    inside = [coordinates.inside(pool) for pool in pools.cells]
    training = _Training(
        *(cells, inside, measured, seed, rng, parameters, task, previous)
    )
    if is_auto and not measured.folds:
        warn_unchecked()
    if is_auto or previous is not None:
        trained, stop_at = training.folds()
        generator, history = training.whole(stop_at)
    else:
        generator, history, trained = training.once()
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
        mean_weight=float(mean is not None),
    )
    has_choice = is_auto and parameters.source == "control"
    shares = _SHARES if has_choice else _SHARES[-1:]
    evidence, trial = [], None
    if len(controls):
        evidence, trial = gather_evidence(trained, coordinates, cells, measured, shares)
    if is_auto:
        flow.mean_weight = _weigh_mean(trial, measured, coordinates)
    if has_choice:
        flow.shape_weight, gains = choose_share(trial, shares, measured.units)
    if evidence:
        flow.diagnostics = check_evidence(evidence[shares.index(flow.shape_weight)])
    if has_choice:
        flow.diagnostics |= gains
    return flow


def _check_continues(previous, cells, is_control, source):
    """Raise unless a network can go on with cells (n_cells, n_outputs)."""
    n_outputs = len(previous.coordinates.centre)
    if cells.shape[1] != n_outputs:
        raise ValueError(
            f"y has {cells.shape[1]} columns, and the network to go on with, as "
            f"warm_start=True asks, was trained on {n_outputs}. Pass the same genes, "
            "or set warm_start=False."
        )
    had_controls = len(previous.pools.controls) > 0
    if is_control.any() != had_controls:
        now, then = ("no controls", "some") if had_controls else ("controls", "none")
        raise ValueError(
            f"X has {now}, and the last fit, from which warm_start=True goes on, had "
            f"{then}. Pass cells as there, or set warm_start=False."
        )
    if source != previous.generator.source:
        raise ValueError(
            f"source={source!r}, and the network to go on with, as warm_start=True "
            f"asks, was trained with source={previous.generator.source!r}. Set it "
            "back, or warm_start=False."
        )


def _measure(X, cells, rows, reader, pools, parameters, rng):
    """Return the effects of all conditions; `rows` are the perturbed cells."""
    perturbed = _safe_indexing(X, rows)
    numbers, shared = pools.find(perturbed)
    members, codes = group_cells(reader.keys(perturbed), rows, numbers)
    table = _safe_indexing(perturbed, np.unique(codes, return_index=True)[1])
    conditions = reader.read(table)
    contexts = [pools.context_of(populations[0][0]) for populations in members]
    conditions.controls = pools.means[contexts]
    n_cells = np.bincount(codes)
    if len(pools.cells[0]):
        names = [name_of(key) for key in conditions.keys]
        few = shared < len(pools.columns)
        warn_leakage([names[i] for i in np.unique(codes[few])])
        warn_few_cells(names, n_cells, parameters.cells_per_condition)
    effects, noise = measure_effects(cells, members, pools.means)
    units, folds = make_folds(conditions.keys, rng)
    if parameters.mean_estimator != "auto":
        held_out = hold_out(conditions.keys, parameters.validation_fraction, rng)
        folds = [(held_out, held_out)] * int(held_out.any())
    return _Measured(table, conditions, members, n_cells, effects, noise, units, folds)


def _fit_mean(estimator, measured):
    """Return the regression of means; predict what is held out without it."""
    conditions, effects = measured.conditions, measured.effects
    mean = MeanEffect.fit(estimator, conditions, effects, measured.noise)
    if mean.cv_errors and mean.choice != "kernel":
        warn_collapsed_mean(mean.choice)
    if measured.folds:
        measured.expected = np.zeros(effects.shape)
    for held_out, tested in measured.folds:
        train, test = np.flatnonzero(~held_out), np.flatnonzero(tested)
        predicted = mean.without(conditions, effects, train, test)
        measured.expected[test] = predicted
    return mean


class _Training:
    """Train networks on some of the conditions or on all.

    Attributes
    ----------
    cells : ndarray of shape (n_cells, n_features), float32
    pools : list of ndarray of shape (n_controls, n_features), float32
    measured : _Measured
    scaler : ElementScaler
    start : VelocityNet or None
        With the weights of a previous network, which the training on all conditions
        goes on with. Those on some start anew: it may have seen what they must not.
    history : list of dict
        Losses of the previous network.
    """

    def __init__(
        self, cells, pools, measured, seed, rng, parameters, task, previous=None
    ):
        self.task = task
        self.cells, self.pools, self.measured = cells, pools, measured
        self.seed, self.rng, self.parameters = seed, rng, parameters
        known = None if previous is None else previous.generator
        self.scaler = known.scaler if known else ElementScaler.fit(measured.conditions)
        self.tensors = measured.conditions.tensors(self.scaler)
        self.start, self.history = None, []
        if known:
            self.start, self.history = self._new_net(), previous.history
            start_from(self.start, known.net)

    def once(self):
        """Return a network, its losses, and what it did not see, as `folds` does."""
        n_steps = self.parameters.max_steps
        if not self.measured.folds:
            return *self.whole(n_steps), []
        [(held_out, _)] = self.measured.folds
        found = self._train(np.flatnonzero(~held_out), held_out, n_steps)
        return *found, [(found[0], np.flatnonzero(held_out))]

    def folds(self):
        """Return a network for each fold, and when to stop a training on all.

        Returns
        -------
        trained : list of tuple (Generator, ndarray of int)
            Networks, and the conditions that each did not see.
        n_steps : int
            After which the networks did best on these, all folds together.
        """
        found, n_steps = [], self.parameters.max_steps
        for held_out, tested in self.measured.folds:
            looks, train_rows = [], np.flatnonzero(~held_out)
            generator, history = self._train(train_rows, tested, n_steps, looks)
            losses = [entry["valid_loss"] for entry in history]
            found.append((generator, np.flatnonzero(tested), losses, looks))
        if not found:
            return [], n_steps
        n_looks = min(len(looks) for *_, looks in found)
        total = np.sum([losses[:n_looks] for _, _, losses, _ in found], axis=0)
        best = int(total.argmin())
        for generator, _, _, looks in found:
            generator.net.load_state_dict(looks[best])
        steps = [entry["step"] for entry in history]
        return [(generator, rows) for generator, rows, *_ in found], steps[best]

    def whole(self, n_steps):
        """Return a network that saw all conditions, and its losses."""
        everything = np.arange(len(self.measured.conditions))
        nothing = np.zeros(len(everything), dtype=bool)
        generator, history = self._train(everything, nothing, n_steps, net=self.start)
        done = self.history[-1]["step"] if self.history else 0
        more = [{**entry, "step": entry["step"] + done} for entry in history]
        return generator, [dict(entry) for entry in self.history] + more

    def _new_net(self):
        parameters = self.parameters
        encoder, device = parameters.population_encoder, parameters.device
        if encoder is None and parameters.source == "noise":
            encoder = "deep_sets"
        cuda = [device] if device.startswith("cuda") else []
        with torch.random.fork_rng(cuda):  # leaves the caller's generator alone
            torch.manual_seed(self.seed)
            return build_net(
                encoder if len(self.pools[0]) else None,
                n_features=self.cells.shape[1],
                n_elements=self.tensors[0].shape[2],
                n_covariates=self.tensors[2].shape[1],
                hidden_dim=parameters.hidden_dim,
                n_layers=parameters.n_layers,
                embedding_dim=parameters.embedding_dim,
            )

    def _train(self, train_rows, held_out, stop_at, looks=None, net=None):
        parameters, device = self.parameters, self.parameters.device
        net = self._new_net() if net is None else net
        members, source = self.measured.members, parameters.source
        data = Populations(self.cells, members, self.pools, *self.tensors)
        tests = np.flatnonzero(held_out)[:_MOST_VALIDATED]
        recipe = Bunch(**parameters | {"stop_at": stop_at})
        n_looks = n_looks_of(stop_at)
        task = self.task.part("train", n_parts=n_looks).begin()
        history = train(net, data, train_rows, tests, recipe, self.rng, task, looks)
        task.end()
        guidance, n_steps = parameters.guidance, parameters.n_solver_steps
        generator = Generator(
            net, self.scaler, source, guidance, n_steps, device, self.seed
        )
        generator.pools = self.pools
        return generator, history


def _weigh_mean(trial, measured, coordinates):
    """Return the weight of the regression of means, the rest being the network's.

    It is 1 unless what neither saw is told better with the network by more than chance.
    """
    if trial is None or measured.expected is None:
        return 1.0
    rows = trial.conditions
    return _blend_weight(
        coordinates.inside(measured.effects[rows]),
        coordinates.inside(measured.expected[rows]),
        trial.displacements,
        measured.units[rows],
    )


def _blend_weight(effects, regression, flow, units):
    """Return the weight of the regression, the rest being that of the flow.

    The weight, from 0 to 1, with which the two together are nearest to the effects of
    held-out units; 1 unless they are nearer than the regression by more than chance.

    Parameters
    ----------
    effects, regression, flow : ndarray of shape (n_conditions, n_outputs)
    units : ndarray of int of shape (n_conditions,)
    """
    difference = regression - flow
    length = np.square(difference).sum()
    if length == 0:
        return 1.0
    weight = float(np.clip(((effects - flow) * difference).sum() / length, 0, 1))
    both = flow + weight * difference
    change = np.square(effects - both) - np.square(effects - regression)
    return weight if mean_interval(change.sum(axis=1), units)[2] < 0 else 1.0
