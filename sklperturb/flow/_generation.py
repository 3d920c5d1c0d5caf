"""Generate cells of conditions with a trained velocity field."""

from dataclasses import dataclass, field

import numpy as np
import torch

from sklperturb.files._fields import Array, Fields, Mapping, Maybe, Number, Size, Text
from sklperturb.files._reading import short
from sklperturb.flow._conditions import ElementScaler
from sklperturb.flow._state import Object, stored
from sklperturb.flow._training import take_population
from sklperturb.modules import DeepSets, NeighborGraphSets, VelocityNet

POPULATION_ENCODERS = {"deep_sets": DeepSets, "knn_graph": NeighborGraphSets}

_CELLS_AT_ONCE = 4096
# Of networks and paths that a file may ask for.
_WIDEST, _DEEPEST, _MOST_STEPS = 100_000, 200, 100_000
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


def _take_net(net):
    weights = {name: value.cpu().numpy() for name, value in net.state_dict().items()}
    return {"architecture": net.architecture, "weights": weights}


def _make_net(architecture, weights):
    """Return the network; the weights in the file decide how large it can be."""
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


stored(
    _take_net,
    _make_net,
    architecture=Fields(
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
    weights=Mapping(Array(None)),
)(VelocityNet)


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
