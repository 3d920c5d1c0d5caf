"""Generate cells of conditions with a trained velocity field."""

from dataclasses import asdict

import numpy as np
import torch

from sklperturb.flow._conditions import ElementScaler
from sklperturb.flow._training import take_population
from sklperturb.modules import DeepSets, NeighborGraphSets, VelocityNet

POPULATION_ENCODERS = {"deep_sets": DeepSets, "knn_graph": NeighborGraphSets}

_CELLS_AT_ONCE = 4096
REFERENCE_CELLS = 256  # controls whose mean displacement is that of a condition


class Generator:
    """A trained velocity field and the controls that cells start from.

    Everything is in the units of the network.

    Parameters
    ----------
    net : VelocityNet
    architecture : dict
        What `build_net` made it from.
    pools : list of ndarray of shape (n_cells, n_features)
    scaler : ElementScaler
        Gives elements as the network knows them.
    source : {"control", "noise"}
    guidance : float
    n_steps : int
    device : str
    seed : int
    """

    def __init__(
        self, net, architecture, pools, scaler, source, guidance, n_steps, device, seed
    ):
        self.net, self.architecture, self.pools = net, architecture, pools
        self.scaler, self.source, self.guidance = scaler, source, guidance
        self.n_steps, self.device, self.seed = n_steps, device, seed
        self._populations, self._references = {}, {}

    @classmethod
    def from_state(cls, state, pools):
        """Return the generator of which `get_state` was taken, with its controls."""
        state = dict(state)
        weights = state.pop("weights")
        net = build_net(**state["architecture"])
        net.load_state_dict({k: torch.from_numpy(v) for k, v in weights.items()})
        state["scaler"] = ElementScaler(**state["scaler"])
        return cls(net.eval(), pools=pools, **state)

    def get_state(self):
        """Return all but the controls, as arrays and plain values."""
        weights = self.net.state_dict()
        return {
            "architecture": self.architecture,
            "weights": {name: value.cpu().numpy() for name, value in weights.items()},
            "scaler": asdict(self.scaler),
            "source": self.source,
            "guidance": self.guidance,
            "n_steps": self.n_steps,
            "device": self.device,
            "seed": self.seed,
        }

    def move(self, x, conditions, i, pool):
        """Return cells (m, n_features) at the end of the path of condition `i`."""
        velocity = self.field(conditions, i, pool)
        done = []
        with torch.inference_mode():
            for start in range(0, len(x), _CELLS_AT_ONCE):
                cells = x[start : start + _CELLS_AT_ONCE]
                cells = torch.as_tensor(np.ascontiguousarray(cells, np.float32))
                cells = cells[None].to(self.device)
                done.append(integrate(velocity, cells, self.n_steps)[0].cpu().numpy())
        return np.concatenate(done).astype(np.float64)

    def field(self, conditions, i, pool):
        """Return ``velocity(x, t)`` of condition `i` for cells (1, m, n_features).

        `pool` is the number of a pool of controls, or the control cells themselves.
        """
        elements = self.scaler(conditions.elements[i : i + 1])
        tensors = [
            torch.as_tensor(np.asarray(values, np.float32)).to(self.device)
            for values in (
                elements,
                conditions.mask[i : i + 1],
                conditions.covariates[i : i + 1],
            )
        ]
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
        cells = pool if isinstance(pool, np.ndarray) else self.pools[pool]
        if self.source == "noise":
            return rng.standard_normal((n_cells, cells.shape[1]), dtype=np.float32)
        return draw_cells(cells, n_cells, rng)

    def displacement(self, conditions, i, pool, cells=None):
        """Return by how much a condition moves the mean of its controls.

        The same cells each time, whatever else is asked for: those of the pool, or
        the controls `cells` that are given in its place.
        """
        if cells is None:
            cells, start = self.pools[pool], self._reference(pool)
        else:
            rng = np.random.default_rng(self.seed)
            pool, start = cells, self.start(cells, REFERENCE_CELLS, rng)
        if self.source == "control":
            mean = start.mean(axis=0, dtype=np.float64)
        else:
            mean = cells.mean(axis=0, dtype=np.float64) if len(cells) else 0.0
        return self.move(start, conditions, i, pool).mean(axis=0) - mean

    def _reference(self, pool):
        if pool not in self._references:
            rng = np.random.default_rng([self.seed, pool])
            n_cells = len(self.pools[pool])
            n_cells = REFERENCE_CELLS if self.source == "noise" else n_cells
            self._references[pool] = self.start(
                pool, min(n_cells, REFERENCE_CELLS), rng
            )
        return self._references[pool]

    def _population(self, pool):
        if isinstance(pool, np.ndarray):
            cells = take_population(pool, np.random.default_rng(self.seed))
            return torch.as_tensor(cells, dtype=torch.float32)[None]
        if pool not in self._populations:
            rng = np.random.default_rng([self.seed, pool, 1])
            cells = take_population(self.pools[pool], rng)
            self._populations[pool] = torch.as_tensor(cells, dtype=torch.float32)[None]
        return self._populations[pool]


def build_net(population, n_features, embedding_dim, **sizes):
    """Return an untrained network; `population` names its encoder of controls."""
    if population is not None:
        population = POPULATION_ENCODERS[population](n_features, embedding_dim)
    return VelocityNet(
        n_features, embedding_dim=embedding_dim, population=population, **sizes
    )


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
