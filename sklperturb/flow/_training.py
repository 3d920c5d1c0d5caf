"""Train a velocity field on blocks of cells, each of one condition."""

import copy
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

from sklperturb.utils._progress import ProgressBar

_VALIDATION_CELLS = 64  # of each held-out perturbation
_POPULATION_CELLS = 128  # controls that stand for their population
_EVERY = 100  # steps between two looks at held-out perturbations


@dataclass
class Populations:
    """Measured cells by condition, and the controls that belong to them.

    Attributes
    ----------
    cells : ndarray of shape (n_cells, n_features), float32
    members : list of list of (int, ndarray of int)
        For each condition, the numbers of its pools of controls, and its cells there.
    pools : list of ndarray of shape (n_controls, n_features), float32
    elements, mask, covariates : ndarray
        Conditions as numbers, see `Conditions`.
    """

    cells: np.ndarray
    members: list
    pools: list
    elements: torch.Tensor
    mask: torch.Tensor
    covariates: torch.Tensor


class Blocks:
    """Draw blocks of cells: conditions with equal chances, then cells of each.

    Cells of a block come from one pool of controls (a batch of a context), drawn by
    its number of cells. Where there are too few, cells are drawn repeatedly.
    """

    def __init__(self, data, source, rng):
        self.data, self.source, self.rng = data, source, rng
        sizes = [np.array([len(rows) for _, rows in m]) for m in data.members]
        self._shares = [np.cumsum(s) / s.sum() for s in sizes]
        self._waiting = np.empty(0, dtype=np.intp)

    def conditions(self, candidates, k):
        """Return k of the candidates; all come before one comes again."""
        while len(self._waiting) < k:
            more = self.rng.permutation(candidates)
            self._waiting = np.concatenate([self._waiting, more])
        chosen, self._waiting = self._waiting[:k], self._waiting[k:]
        return chosen

    def draw(self, conditions, m):
        """Return x0, x1 of shape (k, m, n_features) and the pools."""
        data, rng = self.data, self.rng
        x0 = np.empty((len(conditions), m, data.cells.shape[1]), np.float32)
        x1 = np.empty_like(x0)
        pools = []
        for i, condition in enumerate(conditions):
            at = np.searchsorted(self._shares[condition], rng.random(), side="right")
            pool, rows = data.members[condition][at]
            x1[i] = data.cells[rows[_some(rng, len(rows), m)]]
            if self.source == "control":
                controls = data.pools[pool]
                x0[i] = controls[_some(rng, len(controls), m)]
            pools.append(pool)
        if self.source == "noise":
            x0 = rng.standard_normal(x0.shape, dtype=np.float32)
        return torch.from_numpy(x0), torch.from_numpy(x1), pools

    def populations(self, pools):
        """Return a sample of each pool, (k, n_cells, n_features)."""
        return torch.from_numpy(
            np.stack([take_population(self.data.pools[p], self.rng) for p in pools])
        )


def take_population(pool, rng):
    """Return the cells that stand for a pool of controls."""
    return pool[_some(rng, len(pool), _POPULATION_CELLS)]


def n_looks_of(n_steps):
    """Return how many looks at held-out perturbations there are in a training."""
    return -(-n_steps // _EVERY)


def train(net, data, train_conditions, valid_conditions, recipe, rng, task, looks=None):
    """Train `net` in place, and return the losses.

    The weights that remain are running means, of the step at which held-out
    perturbations were matched best.

    Parameters
    ----------
    net : VelocityNet
    data : Populations
    train_conditions, valid_conditions : ndarray of int
    recipe : Bunch
        Parameters of `FlowMatchingRegressor`, and `stop_at`, the step after which the
        training ends; the learning rate falls to zero at `max_steps` all the same.
    rng : numpy.random.Generator
    task : FitTask
        Of the training; callbacks are told of the steps up to each look.
    looks : list, default=None
        The weights at each look are appended to it.

    Returns
    -------
    history : list of dict with step, train_loss and, if held out, valid_loss

    Raises
    ------
    ValueError
        If the loss is no longer finite.
    """
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    blocks = Blocks(data, recipe.source, rng)
    check = None
    if len(valid_conditions):
        check = _validation(blocks, valid_conditions, recipe, generator)
    net.to(recipe.device).train()
    average = copy.deepcopy(net).eval()
    weights, averages = list(net.parameters()), list(average.parameters())
    optimizer = torch.optim.AdamW(
        weights,
        recipe.learning_rate,
        fused=recipe.device.split(":")[0] in ("cpu", "cuda"),
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, recipe.max_steps)
    best, best_weights, waited = np.inf, None, 0
    total = torch.zeros((), dtype=torch.float64, device=recipe.device)
    history = []
    k, m = recipe.conditions_per_batch, recipe.cells_per_condition
    with ProgressBar(recipe.stop_at if recipe.verbose else 0, "Training") as bar:
        for step in range(1, recipe.stop_at + 1):
            if step % _EVERY == 1:
                steps = task.part("steps").begin()
            conditions = blocks.conditions(train_conditions, k)
            batch = _batch(blocks, conditions, m, recipe, generator)
            loss = _loss(net, batch, data, conditions, recipe, generator)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.detach()  # read at a look: to read it, a GPU is waited for
            decay = min(recipe.ema_decay, (1 + step) / (10 + step))
            with torch.no_grad():
                torch._foreach_lerp_(averages, weights, 1 - decay)
            told = step % 20 == 0 and not bar.disable
            bar.advance(f"loss {loss.item():.4f}" if told else "")
            if step % _EVERY and step != recipe.stop_at:
                continue
            mean_loss = total.item()
            if not np.isfinite(mean_loss):
                raise ValueError(
                    f"The training diverged: by step {step} the loss is not finite. "
                    f"Lower learning_rate={recipe.learning_rate}."
                )
            n_steps = step - (history[-1]["step"] if history else 0)
            history.append({"step": step, "train_loss": mean_loss / n_steps})
            total.zero_()
            if looks is not None:
                looks.append(copy.deepcopy(average.state_dict()))
            if check is not None:
                history[-1]["valid_loss"] = valid = check(average)
                if valid < best:
                    best, waited = valid, 0
                    best_weights = copy.deepcopy(average.state_dict())
                else:
                    waited += 1
            has_waited = recipe.patience is not None and waited >= recipe.patience
            if steps.end() or has_waited:
                break
    net.load_state_dict(best_weights or average.state_dict())
    net.cpu().eval()
    return history


def _batch(blocks, conditions, m, recipe, generator):
    x0, x1, pools = blocks.draw(conditions, m)
    if recipe.coupling == "ot":
        x0 = couple(x0, x1)
    t = torch.rand(x0.shape[:2], generator=generator)
    return x0, x1, t, pools, blocks


def couple(x0, x1):
    """Reorder the cells of each block so that paths are short.

    Optimal transport with squared distance between as many cells as there are goals,
    block by block. A block holds one condition only: across conditions, a cell's
    condition would show in where it starts.

    Parameters
    ----------
    x0, x1 : tensor of shape (k, m, n_features)
        Cells to start from and goals.

    Returns
    -------
    x0 : tensor of shape (k, m, n_features)
        The same cells; the i-th of a block belongs to the i-th goal.
    """
    # |a - b|^2 = |a|^2 + |b|^2 - 2 ab, and an assignment can only change the last.
    gains = torch.bmm(x1, x0.transpose(1, 2)).cpu().numpy()
    order = np.stack([linear_sum_assignment(g, maximize=True)[1] for g in gains])
    rows = torch.arange(len(x0))[:, None]
    return x0[rows, torch.as_tensor(order)]


def _loss(net, batch, data, conditions, recipe, generator):
    x0, x1, t, pools, blocks = batch
    device = recipe.device
    elements, mask = data.elements[conditions], data.mask[conditions]
    if recipe.condition_noise and net.training:
        noise = torch.randn(elements.shape, generator=generator)
        elements = elements + recipe.condition_noise * noise
    if recipe.condition_dropout and net.training:
        kept = torch.rand(len(mask), 1, generator=generator) >= recipe.condition_dropout
        mask = mask * kept
    controls = None
    if net.population is not None:
        controls = _sent(blocks.populations(pools), device)
    x = torch.lerp(x0, x1, t[..., None])
    if recipe.sigma:
        x = x + recipe.sigma * torch.randn(x.shape, generator=generator)
    code = net.encode(
        _sent(elements, device),
        _sent(mask, device),
        _sent(data.covariates[conditions], device),
        controls,
    )
    velocity = net(_sent(x, device), _sent(t, device), code)
    return torch.nn.functional.mse_loss(velocity, _sent(x1 - x0, device))


def _sent(values, device):
    """Return a tensor of the CPU on a device; a GPU gets it while it computes."""
    if torch.device(device).type != "cuda":
        return values.to(device)
    return values.pin_memory().to(device, non_blocking=True)


def _validation(blocks, conditions, recipe, generator):
    """Return a function that gives the loss on the same cells and times each time."""
    batch = _batch(blocks, conditions, _VALIDATION_CELLS, recipe, generator)
    state = generator.get_state()

    @torch.no_grad()
    def check(net):
        fixed = torch.Generator().set_state(state)
        # The populations are fixed as well, and the training's draws go on unchanged.
        frozen = Blocks(blocks.data, blocks.source, np.random.default_rng(0))
        again = (*batch[:-1], frozen)
        return _loss(net, again, blocks.data, conditions, recipe, fixed).item()

    return check


def _some(rng, n, m):
    """Return m of n numbers, none of them twice where there are enough."""
    if n == m:
        return np.arange(n)
    return rng.choice(n, m, replace=n < m)
