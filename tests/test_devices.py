"""Trainings on a GPU; where there is none, on a device that holds no values.

What torch calls "meta" computes shapes only. It stands in for a GPU: a number that is
read from it is an error, and a copy between it and the CPU can be seen.
"""

import anndata
import numpy as np
import pandas as pd
import pytest
import torch
from skorch import NeuralNetRegressor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sklperturb import load, save
from sklperturb.embedding import SECheckpoint, SEEmbedding
from sklperturb.flow import FlowMatchingRegressor, _training
from sklperturb.neural_network import (
    ConditionalGANRegressor,
    DualBranchRegressor,
    LatentNetRegressor,
    SequenceNetRegressor,
    TokenEmbeddingMLPRegressor,
    TransformerRegressor,
)
from sklperturb.neural_network._gan import _AdversarialNet

needs_gpu = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="torch finds no GPU"
)
SIZE = {"max_epochs": 3, "batch_size": 8, "random_state": 0}
NETWORKS = [
    DualBranchRegressor(**SIZE),
    LatentNetRegressor(**SIZE, target_components=None),
    SequenceNetRegressor(**SIZE),
    TokenEmbeddingMLPRegressor(**SIZE),
    TransformerRegressor(**SIZE),
    ConditionalGANRegressor(**SIZE),
]
NO_VALUES = (NotImplementedError, RuntimeError)


def named(model):
    return type(model).__name__


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    X = np.eye(8, dtype=np.float32)[rng.integers(8, size=40)]
    return X, X @ rng.normal(size=(8, 12)) + 0.1 * rng.normal(size=(40, 12))


@pytest.fixture(scope="module")
def cells():
    """Cells of four genes in two contexts, and the controls of these."""
    rng = np.random.default_rng(0)
    index = pd.MultiIndex.from_product(
        [["a", "b"], ["non-targeting", "A", "B", "C", "D"], range(30)],
        names=["cell_line", "target_gene", "cell"],
    )
    X = index.to_frame(index=False)[["cell_line", "target_gene"]]
    y = rng.normal(size=(len(X), 5))
    y[X["target_gene"] == "A", 0] += 3
    return X, y


class Crossings(TorchDispatchMode):
    """Count what goes from one device to another while `counting`."""

    counting, n = False, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        leaves = tree_leaves((args, kwargs, found))
        tensors = [t for t in leaves if isinstance(t, torch.Tensor) and t.dim()]
        if self.counting and len({t.device.type for t in tensors}) > 1:
            self.n += 1
        return found


@pytest.fixture
def counted(monkeypatch):
    """Return a function that counts the calls of a method, and what they copy."""

    def counted(owner, name):
        crossings, method = Crossings(), getattr(owner, name)
        crossings.calls = 0

        def wrapped(*args, **kwargs):
            crossings.counting = True
            try:
                return method(*args, **kwargs)
            finally:
                crossings.counting = False
                crossings.calls += 1

        monkeypatch.setattr(owner, name, wrapped)
        return crossings

    return counted


@pytest.mark.skipif(torch.cuda.is_available(), reason="torch finds a GPU")
def test_a_device_that_is_not_there_is_told(table, cells):
    message = "device='cuda' cannot be used: .* Pass device='cpu'"
    for model, data in (
        (TransformerRegressor(**SIZE, device="cuda"), table),
        (ConditionalGANRegressor(**SIZE, device="cuda"), table),
        (FlowMatchingRegressor(device="cuda"), cells),
    ):
        with pytest.raises(ValueError, match=message):
            model.fit(*data)
    with pytest.raises(ValueError, match="'gpu' cannot be used"):
        TransformerRegressor(**SIZE, device="gpu").fit(*table)


@pytest.mark.parametrize("model", NETWORKS[:-1], ids=named)
def test_a_step_neither_copies_nor_waits(model, table, counted):
    crossings = counted(NeuralNetRegressor, "train_step")
    changed = {"device": "meta", "target_components": None, "validation_fraction": 0.0}
    params = model.get_params()
    params |= {name: value for name, value in changed.items() if name in params}
    with crossings, pytest.raises(NO_VALUES):
        model.__class__(**params).fit(*table)
    # skorch reads the loss after each batch, which ends this training after the first.
    assert (crossings.calls, crossings.n) == (1, 0)


def test_an_epoch_of_the_gan_neither_copies_nor_waits(table, counted):
    crossings = counted(_AdversarialNet, "_step_critic")
    model = ConditionalGANRegressor(**SIZE, validation_fraction=0.0, critic_steps=2)
    with crossings, pytest.raises(NO_VALUES):
        model.set_params(device="meta", target_components=None).fit(*table)
    assert (crossings.calls, crossings.n) == (10, 0)


def test_steps_of_the_flow_wait_for_nothing(cells, counted):
    crossings = counted(_training, "_loss")
    model = FlowMatchingRegressor(max_steps=60, hidden_dim=16, random_state=0)
    with crossings, pytest.raises(NO_VALUES):
        model.set_params(device="meta").fit(*cells)
    assert crossings.calls == 60


@needs_gpu
@pytest.mark.parametrize("model", NETWORKS, ids=named)
def test_networks_on_a_gpu(model, table, tmp_path):
    model = model.__class__(**model.get_params() | {"device": "cuda", "max_epochs": 30})
    before = torch.cuda.get_rng_state()
    predicted = model.fit(*table).predict(table[0])
    assert torch.equal(torch.cuda.get_rng_state(), before)
    again = model.fit(*table).predict(table[0])
    np.testing.assert_allclose(again, predicted, rtol=1e-4, atol=1e-5)
    on_cpu = model.__class__(**model.get_params() | {"device": "cpu"})
    errors = [
        np.square(found - table[1]).mean()
        for found in (predicted, on_cpu.fit(*table).predict(table[0]))
    ]
    assert errors[0] < 1.5 * errors[1] + 0.05
    save(model, tmp_path / "model.skpt")
    np.testing.assert_array_equal(
        load(tmp_path / "model.skpt").predict(table[0]), again
    )


@needs_gpu
def test_training_steps_on_a_gpu_do_not_wait(table, monkeypatch):
    step = NeuralNetRegressor.train_step

    def unsynchronised(*args, **kwargs):
        torch.cuda.set_sync_debug_mode("error")
        try:
            return step(*args, **kwargs)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(NeuralNetRegressor, "train_step", unsynchronised)
    TokenEmbeddingMLPRegressor(**SIZE, device="cuda").fit(*table)


@needs_gpu
@pytest.mark.parametrize("source", ["control", "noise"])
def test_the_flow_on_a_gpu(cells, source):
    model = FlowMatchingRegressor(
        max_steps=100, hidden_dim=16, source=source, device="cuda", random_state=0
    )
    predicted = model.fit(*cells).predict(cells[0])
    on_cpu = model.__class__(**model.get_params() | {"device": "cpu"}).fit(*cells)
    np.testing.assert_allclose(predicted, on_cpu.predict(cells[0]), atol=0.05)
    assert np.isfinite(model.sample(cells[0][:10], 3)).all()


@needs_gpu
def test_state_embedding_on_a_gpu(tmp_path):
    rng = np.random.default_rng(0)
    counts = rng.poisson(20.0, size=(40, 50)).astype(np.float32)
    genes = pd.DataFrame(index=[f"GENE{i + 1}" for i in range(50)])
    cells = anndata.AnnData(counts, var=genes)
    checkpoint = SECheckpoint.create(tmp_path / "small.ckpt", random_state=0)
    found = {
        (device, precision): SEEmbedding(
            checkpoint, device=device, precision=precision
        ).fit_transform(cells)
        for device, precision in (
            ("cpu", "float32"),
            ("cuda", "float32"),
            ("cuda", "bfloat16"),
        )
    }
    expected = found["cpu", "float32"]
    np.testing.assert_allclose(found["cuda", "float32"], expected, atol=2e-3)
    rounded = found["cuda", "bfloat16"]
    cosine = (rounded * expected).sum(axis=1)
    cosine /= np.linalg.norm(rounded, axis=1) * np.linalg.norm(expected, axis=1)
    assert cosine.min() > 0.99


@needs_gpu
def test_decoding_on_a_gpu(tmp_path):
    rng = np.random.default_rng(0)
    cells = anndata.AnnData(
        rng.poisson(20.0, size=(40, 50)).astype(np.float32),
        var=pd.DataFrame(index=[f"GENE{i + 1}" for i in range(50)]),
    )
    checkpoint = SECheckpoint.create(tmp_path / "small.ckpt", random_state=0)
    exact, rounded = (
        SEEmbedding(checkpoint, device=device, include_dataset_token=True).fit(cells)
        for device in ("cpu", "cuda")
    )
    embedded = exact.transform(cells)
    expected = exact.inverse_transform(embedded)
    found = rounded.inverse_transform(embedded)
    assert np.abs(found - expected).max() < 0.05 * np.ptp(expected)
