"""Generate cells of conditions with a trained velocity field."""

import numpy as np
import torch

from sklperturb.flow._sampler import guided_velocity, integrate
from sklperturb.flow._training import take_population

_CELLS_AT_ONCE = 4096
REFERENCE_CELLS = 256  # controls whose mean displacement is that of a condition


class Generator:
    """A trained velocity field and the controls that cells start from.

    Everything is in the units of the network.

    Parameters
    ----------
    net : VelocityNet
    pools : list of ndarray of shape (n_cells, n_features)
    scaler : callable
        Gives elements as the network knows them.
    source : {"control", "noise"}
    guidance : float
    n_steps : int
    device : str
    seed : int
    """

    def __init__(self, net, pools, scaler, source, guidance, n_steps, device, seed):
        self.net, self.pools, self.scaler = net, pools, scaler
        self.source, self.guidance, self.n_steps = source, guidance, n_steps
        self.device, self.seed = device, seed
        self._populations, self._references = {}, {}

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
