"""Generate cells of conditions with a trained velocity field."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch

from sklperturb.conditions._labels import take_labels
from sklperturb.files._fields import (
    Array,
    Fields,
    Mapping,
    Maybe,
    Number,
    Size,
    Source,
    Text,
)
from sklperturb.files._reading import short
from sklperturb.flow._conditions import ElementScaler
from sklperturb.flow._state import Object, stored
from sklperturb.flow._training import take_population
from sklperturb.modules import DeepSets, NeighborGraphSets, VelocityNet
from sklperturb.modules._weights import check_weights

POPULATION_ENCODERS = {"deep_sets": DeepSets, "knn_graph": NeighborGraphSets}

_CELLS_AT_ONCE = 4096
# Of networks and paths that a file may ask for.
_WIDEST, _DEEPEST, _MOST_STEPS = 100_000, 200, 100_000
_LARGEST_AMPLITUDE = 3.0  # by which predicted effects are stretched
_NO_GENE, _GENES = "never measured", 100  # that are asked for, to learn how far
_REFERENCE_CELLS = 256  # controls whose mean displacement is that of a condition


@stored(
    net=Object(VelocityNet),
    scaler=Object(ElementScaler),
    source=Text(("control", "noise")),
    guidance=Number(0, 1e6),
    n_steps=Number(1, _MOST_STEPS, whole=True),
    device=Text(),
    seed=Number(0, whole=True),
)
@dataclass
class Generator:
    """A trained velocity field and the controls that cells start from.

    Everything is in the units of the network. Where a method takes a `pool`, it is
    the number of a pool of controls, or the control cells themselves.

    Attributes
    ----------
    net : VelocityNet
        From `build_net`.
    scaler : ElementScaler
        Gives elements as the network knows them.
    source : {"control", "noise"}
    guidance : float
    n_steps : int
    device : str
    seed : int
    pools : list of ndarray of shape (n_cells, n_features)
        Set by the `FittedFlow` that it is part of.
    """

    net: VelocityNet
    scaler: ElementScaler
    source: str
    guidance: float
    n_steps: int
    device: str
    seed: int
    pools: list = field(init=False)

    def move(self, x, condition, pool):
        """Return cells (m, n_features) at the end of the path of one condition."""
        velocity = self.field(condition, pool)
        done = []
        with torch.inference_mode():
            for start in range(0, len(x), _CELLS_AT_ONCE):
                cells = x[start : start + _CELLS_AT_ONCE]
                cells = torch.as_tensor(np.ascontiguousarray(cells, np.float32))
                cells = cells[None].to(self.device)
                done.append(integrate(velocity, cells, self.n_steps)[0].cpu().numpy())
        return np.concatenate(done).astype(np.float64)

    def field(self, condition, pool):
        """Return ``velocity(x, t)`` of a condition for cells (1, m, n_features)."""
        tensors = [v.to(self.device) for v in condition.tensors(self.scaler)]
        controls = None
        if self.net.population is not None:
            controls = self._population(pool).to(self.device)
        net = self.net.to(self.device)
        with torch.inference_mode():
            code = net.encode(*tensors, controls)
            tensors[1] = torch.zeros_like(tensors[1])
            null = net.encode(*tensors, controls)
        return guided_velocity(net, code, null, self.guidance)

    def start(self, pool, n_cells, rng):
        """Return cells to start from: controls of a pool, or noise."""
        cells = self._controls(pool)
        if self.source == "noise":
            return rng.standard_normal((n_cells, cells.shape[1]), dtype=np.float32)
        return draw_cells(cells, n_cells, rng)

    def displacement(self, condition, pool):
        """Return by how much a condition moves the mean of a pool of controls.

        From the same cells each time, whatever else is asked for.
        """
        cells, n_cells = self._controls(pool), _REFERENCE_CELLS
        if self.source == "control" and not isinstance(pool, np.ndarray):
            n_cells = min(len(cells), n_cells)
        start = self.start(pool, n_cells, self._rng(pool))
        before = start if self.source == "control" else cells
        mean = before.mean(axis=0, dtype=np.float64) if len(before) else 0.0
        return self.move(start, condition, pool).mean(axis=0) - mean

    def _population(self, pool):
        """Return the cells that the network sees of a pool."""
        cells = take_population(self._controls(pool), self._rng(pool, 1))
        return torch.as_tensor(cells, dtype=torch.float32)[None]

    def _controls(self, pool):
        return pool if isinstance(pool, np.ndarray) else self.pools[pool]

    def _rng(self, pool, *key):
        """Return the same random numbers each time for a pool."""
        given = isinstance(pool, np.ndarray)
        return np.random.default_rng(self.seed if given else [self.seed, pool, *key])


def build_net(population, n_features, embedding_dim, **sizes):
    """Return an untrained network; `population` names its encoder of controls."""
    encoder = None
    if population is not None:
        encoder = POPULATION_ENCODERS[population](n_features, embedding_dim)
    widths = {"n_features": n_features, "embedding_dim": embedding_dim, **sizes}
    net = VelocityNet(population=encoder, **widths)
    net.architecture = {"population": population, **widths}
    return net


_NET = Fields(
    {
        "architecture": Fields(
            {
                "population": Maybe(Text(tuple(POPULATION_ENCODERS))),
                "n_features": Size("n_features"),
                "embedding_dim": Number(1, _WIDEST, whole=True),
                "n_elements": Size("n_elements"),
                "n_covariates": Size("n_covariates"),
                "hidden_dim": Number(1, _WIDEST, whole=True),
                "n_layers": Number(1, _DEEPEST, whole=True),
            }
        ),
        "weights": Mapping(Array(None)),
    }
)
# `_make_net` has checked it.
stored(lambda net: {})(VelocityNet)


def _take_net(net):
    weights = {name: value.cpu().numpy() for name, value in net.state_dict().items()}
    return {"architecture": net.architecture, "weights": weights}


def _make_net(**found):
    """Return the network; the weights in the file decide how large it can be."""
    _NET.read(found, "the network", Source())
    architecture, weights = found["architecture"], found["weights"]
    check_weights(build_net, architecture, weights)
    with torch.device("meta"):
        net = build_net(**architecture)
    expected = {name: tuple(v.shape) for name, v in net.state_dict().items()}
    found = {name: value.shape for name, value in weights.items()}
    if found != expected or any(v.dtype != np.float32 for v in weights.values()):
        raise ValueError(f"the network has weights of other shapes: {short(found)}")
    net.load_state_dict(
        {name: torch.from_numpy(value) for name, value in weights.items()}, assign=True
    )
    return net.eval()


def draw_cells(cells, n_cells, rng):
    """Return cells at random, none again before all were drawn; zeros of none."""
    if not len(cells):
        return np.zeros((n_cells, cells.shape[1]), cells.dtype)
    if n_cells <= len(cells):
        return cells[rng.choice(len(cells), n_cells, replace=False)]
    rounds, rest = divmod(n_cells, len(cells))
    order = np.concatenate(
        [
            np.tile(np.arange(len(cells)), rounds),
            rng.choice(len(cells), rest, replace=False),
        ]
    )
    return cells[rng.permutation(order)]


def draw_places(n_cells, numbers, rng):
    """Return places of cells, for each number none again before all were drawn."""
    drawn = [draw_cells(np.arange(n_cells), number, rng) for number in numbers]
    return np.concatenate(drawn)


def draw_like(pools, X, controls, rng):
    """Return the place of a control for each row: of its context and batch if any.

    Parameters
    ----------
    pools : ControlPools
    X, controls : DataFrame of shape (n_rows, n_columns), (n_controls, n_columns)
        Conditions.
    rng : numpy Generator
    """
    columns = pools.columns
    own, kept = (
        [tuple(map(str, key)) for key in take_labels(table, columns)]
        for table in (X, controls)
    )
    drawn = np.empty(len(own), dtype=np.intp)
    codes, levels = pd.factorize(pd.Series(own, dtype=object))
    for code, level in enumerate(levels):
        places = []
        while not len(places):
            places = [i for i, key in enumerate(kept) if key[: len(level)] == level]
            level = level[:-1]
        rows = np.flatnonzero(codes == code)
        drawn[rows] = np.asarray(places)[draw_places(len(places), [len(rows)], rng)]
    return drawn


def counts_of(model, drawn, moved, rng, spread=None):
    """Return counts of controls under conditions, by a fitted `CellScreenModel`.

    Parameters
    ----------
    model : CellScreenModel
    drawn : ndarray of int of shape (n_cells,)
        Which of the controls that it keeps each cell is made of.
    moved : tuple of two ndarray
        Of the conditions, from `moves_under`.
    rng : numpy Generator
    spread : float, default=None
        Variance of the cells' strengths; None is what was learnt in their context.
    """
    groups, moves = moved
    kept = model.controls_.iloc[model.cells_.places]
    back, target_sum = model.space_.decoder_[:-1], model.space_.target_sum

    def spread_in(context):
        if spread is not None:
            return spread
        return model.context_spreads_.get(context, model.spread_)

    return model.cells_.perturb(
        drawn,
        groups,
        lambda i: moves[i] @ back,
        model.flow_._flow.pools.contexts(kept),
        target_sum,
        rng,
        spread_in,
    )


def moves_under(model, drawn, conditions, amplitude):
    """Return what `moves_of` does, of controls that a `CellScreenModel` keeps.

    Parameters
    ----------
    model : CellScreenModel
    drawn : ndarray of int of shape (n_cells,)
        Which of its controls each cell is made of.
    conditions : DataFrame of shape (n_cells, n_columns)
    amplitude : {"expected", "typical"}
    """
    if amplitude not in ("expected", "typical"):
        raise ValueError(f"amplitude={amplitude!r} is not 'expected' or 'typical'.")
    kept = model.controls_.iloc[model.cells_.places]
    start = kept.iloc[drawn].reset_index(drop=True)
    stretch = model.amplitude_ if amplitude == "typical" else 1.0
    decode = None if model.decoder_ is None else model.decoder_.decode
    return moves_of(model.flow_._flow, start, conditions, stretch, decode)


def moves_of(flow, start, conditions, stretch=1.0, decode=None):
    """Return what happens to controls under conditions, as moves of their mean.

    A move is the difference of two expected points of one model, so that what the
    model gets wrong of controls cancels.

    Parameters
    ----------
    flow : FittedFlow
    start, conditions : DataFrame of shape (n_rows, n_columns)
        Of each cell, before and after.
    stretch : float, default=1
        Factor of moves by perturbations that were not measured, alone or with others.
    decode : callable, default=None
        From points of the flow to those of another space, in which moves are wanted.

    Returns
    -------
    groups : ndarray of int of shape (n_rows,)
        Row of `moves` of each cell.
    moves : ndarray of shape (n_groups, n_features)
    """
    both = pd.concat([start, conditions.add_suffix("_")], axis=1).astype(str)
    groups = both.groupby(list(both), sort=False).ngroup().to_numpy()
    first = np.unique(groups, return_index=True)[1]
    before, after = (flow.predict(X.iloc[first]) for X in (start, conditions))
    moves = (after - before).reshape(len(first), -1)
    seen = set(flow.reader.parts)
    keys = flow.reader.keys(conditions.iloc[first])
    moves[[seen.isdisjoint(parts) for _, parts, _ in keys]] *= stretch
    _check_finite(moves)
    if decode is None:
        return groups, moves
    decoded = []
    for row, move in zip(first, moves, strict=True):
        # Through a decoder that is not linear, the mean of cells and not their mean.
        cells, _ = flow.sample(start.iloc[[row]], _REFERENCE_CELLS)
        decoded.append((decode(cells[0] + move) - decode(cells[0])).mean(axis=0))
    return groups, np.array(decoded)


def points_of(flow, places, conditions, random_state):
    """Return points of the latent space, of the controls at `places` if possible."""
    if flow.generator.source == "control" and len(flow.pools.controls):
        points = flow.transport(conditions, flow.control_cells[places])
    else:
        points = flow.sample(conditions, 1, seed=random_state)[0][:, 0]
    _check_finite(points)
    return points.astype(np.float32)


def _check_finite(cells):
    if not np.isfinite(cells).all():
        raise ValueError(
            "The model gives cells with NaN or infinite values; fit it again, with a "
            "lower learning_rate or guidance."
        )


def find_amplitude(flow, controls):
    """Return how much larger measured effects are than predicted ones.

    Both as root mean squares: of measured effects, less what noise adds, and of the
    predictions for genes of the embedding that were never perturbed.

    Parameters
    ----------
    flow : FittedFlow
    controls : DataFrame of shape (n_controls, n_columns)

    Returns
    -------
    amplitude : float
        From 1 to 3; 1 if there were no controls.
    """
    if not len(flow.pools.controls):
        return 1.0
    sources, seen = flow.reader.embedding, set(flow.reader.parts)
    genes = sorted({str(gene) for source in sources for gene in source.genes_})
    genes = genes or [_NO_GENE]
    genes = [gene for gene in genes if gene not in seen][:: -(-len(genes) // _GENES)]
    noise = flow.control_cells.var(axis=0).sum() / flow.n_cells
    measured = np.square(flow.effects).sum(axis=1) - noise
    if not genes or not measured.mean() > 0:
        return 1.0
    schema, sizes = flow.reader.schema, []
    for row in np.unique(flow.pools.contexts(controls), return_index=True)[1]:
        start = controls.iloc[[row] * len(genes)].reset_index(drop=True).astype(object)
        asked = start.assign(**{schema.perturbation: genes})
        if schema.control is not None:
            asked[schema.control] = False
        if schema.dose is not None:  # a typical one, and not that of the controls
            asked[schema.dose] = np.expm1(flow.reader.dose[0])
        moves = flow.predict(asked) - flow.predict(start)
        sizes.append(np.square(moves.reshape(len(genes), -1)).sum(axis=1).mean())
    largest = measured.mean() / _LARGEST_AMPLITUDE**2
    return float(max(np.sqrt(measured.mean() / max(np.mean(sizes), largest)), 1.0))


def integrate(velocity, x, n_steps):
    """Return where cells are at time 1, by Heun's method with fixed steps.

    Parameters
    ----------
    velocity : callable
        ``velocity(x, t)`` with a number `t`; called twice a step.
    x : tensor
        Cells at time 0.
    n_steps : int

    Returns
    -------
    x : tensor
    """
    step = 1.0 / n_steps
    for i in range(n_steps):
        first = velocity(x, i * step)
        second = velocity(x + step * first, (i + 1) * step)
        x = x + (0.5 * step) * (first + second)
    return x


def guided_velocity(net, codes, null_codes, guidance):
    """Return ``velocity(x, t)`` of blocks of cells (k, m, n_features).

    Parameters
    ----------
    net : VelocityNet
    codes : tensor of shape (k, embedding_dim)
    null_codes : tensor of shape (k, embedding_dim)
        The same conditions without their perturbations.
    guidance : float
        1 is the velocity of the condition; more exaggerates what sets it apart.
    """

    def velocity(x, t):
        t = torch.full(x.shape[:-1], t, dtype=x.dtype, device=x.device)
        conditional = net(x, t, codes)
        if guidance == 1:
            return conditional
        free = net(x, t, null_codes)
        return free + guidance * (conditional - free)

    return velocity
