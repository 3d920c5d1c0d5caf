"""Carry cells along a velocity field."""

import torch


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
