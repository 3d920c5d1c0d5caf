"""Batches cut from tensors, without a Python loop over rows."""

import copy
from itertools import pairwise

import numpy as np
import torch
from torch.utils.data import Dataset, Subset


class TensorDataset(Dataset):
    """Inputs and targets held as tensors.

    skorch's own dataset hands out one row at a time, which takes longer than the
    networks of this field take to compute on it. All rows lie on the device, so that
    no batch is copied there.
    """

    def __init__(self, X, y=None, device="cpu"):
        self.X = _as_tensor(X).to(device)
        self.y = (torch.zeros(len(X)) if y is None else _as_tensor(y)).to(device)

    def __len__(self):
        return len(self.X)

    def __getitem__(self, rows):
        return self.X[rows], self.y[rows]


class TensorBatches:
    """Iterate over a dataset, or a subset of one, in batches of tensors.

    A last batch of a single row joins the one before it: batch normalisation has no
    spread to work with in one row.
    """

    def __init__(self, dataset, batch_size, shuffle=False):
        self.dataset = dataset
        self.batch_size = batch_size
        self.shuffle = shuffle

    def __len__(self):
        return max(len(self._bounds()) - 1, 0)

    def __iter__(self):
        data, rows = self.dataset, torch.arange(len(self.dataset))
        if self.shuffle:
            rows = rows[torch.randperm(len(rows))]
        if isinstance(data, Subset):
            data, rows = data.dataset, torch.as_tensor(np.asarray(data.indices))[rows]
        bounds = self._bounds()
        if len(bounds) == 2 and not isinstance(self.dataset, Subset):
            yield data.X, data.y  # all rows at once: no order to shuffle, no copy
            return
        # Drawn on the CPU, so that the order is the same on every device.
        rows = rows.to(data.X.device)
        for start, stop in pairwise(bounds):
            yield data[rows[start:stop]]

    def _bounds(self):
        n = len(self.dataset)
        step = n if self.batch_size == -1 else self.batch_size
        bounds = [*range(0, n, max(step, 1)), n]
        if len(bounds) > 2 and bounds[-1] - bounds[-2] == 1:
            del bounds[-2]
        return bounds


def forward_rows(module, *inputs, rows_at_once=1024):
    """Return a trained module's outputs, (n_rows, n_outputs), in double precision.

    In single precision a row's result depends in its last digits on where in the batch
    it stands and how many rows come with it; in double precision what is left of that
    is far below anything that counts. Networks of conditions are small enough for it.
    """
    module = copy.deepcopy(module).cpu().double().eval()
    tensors = [torch.as_tensor(np.array(values, np.float64)) for values in inputs]
    with torch.no_grad():
        batches = zip(*(t.split(rows_at_once) for t in tensors), strict=True)
        return torch.cat([module(*batch) for batch in batches]).numpy()


def _as_tensor(values):
    values = np.ascontiguousarray(values, dtype=np.float32)
    return torch.as_tensor(values if values.flags.writeable else values.copy())
