"""Run a State Embedding model on a device."""

import weakref

import numpy as np
import torch

from sklperturb.modules._weights import check_device

# Bytes that the activations of a batch may take.
_CPU_BYTES, _GPU_BYTES = 2**28, 2**31
# Who shares a model, and keeps it alive; neither is part of anyone's state.
_runners = weakref.WeakValueDictionary()
_held = weakref.WeakKeyDictionary()


def runner_of(embedding):
    """Return the `Runner` of a fitted SEEmbedding.

    It is the same one for all that live at the same time and want the same model, and
    is kept as long as one of them lives.
    """
    checkpoint, device = embedding.checkpoint_, embedding.device
    precision = embedding.precision
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    device = check_device(device, "device='auto' or device='cpu'")
    if device.type == "meta":
        raise ValueError("device='meta' holds no values; pass device='auto'.")
    if precision == "auto":
        precision = "bfloat16" if device.type == "cuda" else "float32"
    key = (checkpoint.identity, str(device), precision)
    runner = _runners.get(key)
    if runner is None:
        runner = _runners[key] = Runner(checkpoint, device, precision)
    _held[embedding] = runner
    return runner


class Runner:
    """A model and the table of its genes on a device.

    Parameters
    ----------
    checkpoint : SECheckpoint
    device : torch.device
    precision : {"float32", "bfloat16"}
    """

    def __init__(self, checkpoint, device, precision):
        self._config = checkpoint.config
        self._checkpoint = checkpoint
        self._device = device
        self._dtype = getattr(torch, precision)
        with torch.inference_mode():
            self._net = checkpoint.make_net().to(device)
            # Projected once, and therefore in full precision.
            self._table = self._project(self._net.gene_table, checkpoint.genes)
            self._table = self._table.to(self._dtype)
            if self._dtype != torch.float32:
                self._net.lower(self._dtype)
        self._gene_inputs = (None, None)

    def _project(self, projection, genes, block=1024):
        """Project genes, reading the vectors of some at a time."""
        parts = (
            self._checkpoint.vectors(genes[i : i + block])
            for i in range(0, len(genes), block)
        )
        return torch.cat([projection(part.to(self._device)) for part in parts])

    def batch_size(self):
        """Return how many cells fit into the memory that a batch may take."""
        config = self._config
        budget = _CPU_BYTES if self._device.type == "cpu" else _GPU_BYTES
        values = (config.length + 1) * (8 * config.width + 2 * config.hidden_dim)
        return int(np.clip(budget // (values * self._dtype.itemsize), 1, 256))

    def embed(self, tokens, counts):
        """Return cell and data set embeddings, side by side.

        Parameters
        ----------
        tokens : ndarray of int of shape (n_cells, length)
        counts : ndarray of shape (n_cells, length)

        Returns
        -------
        embedding : ndarray of shape (n_cells, output_dim + dataset_dim), float32

        Raises
        ------
        ValueError
            If the embedding of a cell is not finite.
        """
        with torch.inference_mode():
            tokens, counts = self._tensors(tokens, counts)
            parts = self._net(self._table, tokens, counts)
            embedded = torch.cat(parts, dim=1).cpu().numpy()
        bad = ~np.isfinite(embedded).all(axis=1)
        if bad.any():
            raise ValueError(
                f"{self._checkpoint} gives NaN or infinite values for {bad.sum()} of "
                f"{len(bad)} cells; its weights, or the counts, are too large."
            )
        return embedded

    def decode(self, genes, cells, read_depth):
        """Return log1p counts of `genes` in `cells`.

        Parameters
        ----------
        genes : tuple of str
        cells : ndarray of shape (n_cells, output_dim + dataset_dim)
        read_depth : ndarray of shape (n_cells,)

        Returns
        -------
        log_counts : ndarray of shape (n_cells, n_genes), float32
        """
        with torch.inference_mode():
            if self._gene_inputs[0] != genes:
                inputs = self._project(self._net.gene_inputs, genes)
                self._gene_inputs = (genes, inputs)
            cells, read_depth = self._tensors(cells, read_depth)
            decoded = self._net.decode(self._gene_inputs[1], cells, read_depth)
            return decoded.cpu().numpy()

    def _tensors(self, *arrays):
        # Torch warns of arrays that it could not write to.
        arrays = (np.require(array, requirements="W") for array in arrays)
        return [torch.as_tensor(array, device=self._device) for array in arrays]
