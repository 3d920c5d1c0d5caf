"""Which control cell travels to which perturbed cell."""

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment


def couple(x0, x1):
    """Reorder the cells of each block so that paths are short.

    Optimal transport with squared distance between as many cells as there are goals,
    block by block. A block holds one condition only: across conditions, the coupling
    would tell a cell's condition by where it starts.

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
