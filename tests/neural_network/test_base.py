"""What the base gives to every neural estimator."""

import copy
import sys

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback

from sklperturb.modules import MixedLoss, RowwiseRMSELoss
from sklperturb.neural_network import SequenceNetRegressor, TransformerRegressor
from sklperturb.neural_network._batches import TensorBatches, TensorDataset

SMALL = {"embedding_dim": 8, "n_heads": 2, "hidden_dim": 8, "n_layers": 1}


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 6))
    return X, X @ rng.normal(size=(6, 90)) + rng.normal(size=(40, 90))


def make(**params):
    return TransformerRegressor(
        **(SMALL | {"max_epochs": 4, "random_state": 0} | params)
    )


@pytest.mark.parametrize("loss", [torch.nn.MSELoss(), RowwiseRMSELoss(eps=0)])
def test_losses_in_the_full_basis_are_those_over_genes(data, loss):
    X, y = data
    model = make(target_components="full").fit(X, y)
    rng = np.random.default_rng(1)
    # Any prediction that the network can make lies in the basis.
    targets = model._encode_targets(y).astype(np.float64)
    guess = targets + rng.normal(size=targets.shape)
    in_basis = loss(torch.as_tensor(guess), torch.as_tensor(targets)).item()
    over_genes = loss(
        torch.as_tensor(model._decode_targets(guess)), torch.as_tensor(y)
    ).item()
    # A mean over fewer coordinates, in units of one scale.
    share = targets.shape[1] / y.shape[1]
    scale = model._target_scale
    if isinstance(loss, torch.nn.MSELoss):
        factor = scale**2 * share
    else:
        factor = scale * share**0.5
    assert in_basis * factor == pytest.approx(over_genes, rel=1e-6)
    absolute = torch.nn.L1Loss()
    in_basis = absolute(torch.as_tensor(guess), torch.as_tensor(targets)).item()
    over_genes = absolute(
        torch.as_tensor(model._decode_targets(guess)), torch.as_tensor(y)
    ).item()
    assert in_basis * scale * share != pytest.approx(over_genes, rel=1e-2)


def test_mixed_loss_is_its_four_parts():
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 5, 7, generator=generator, dtype=torch.float64)
    error = a - b
    p, q = a.sigmoid(), b.sigmoid()
    expected = (
        0.32 * (error**2).mean()
        + 0.24 * error.abs().mean()
        + 0.24 * torch.log(torch.cosh(error)).mean()
        - 0.20 * (q * p.log() + (1 - q) * (1 - p).log()).mean()
    )
    assert MixedLoss()(a, b).item() == pytest.approx(expected.item())
    assert torch.isfinite(MixedLoss()(1e4 * a, b))


class KeepWeights(Callback):
    """Keep a deep copy of the weights after every epoch."""

    def on_train_begin(self, net, **kwargs):
        self.weights_ = []

    def on_epoch_end(self, net, **kwargs):
        self.weights_.append(copy.deepcopy(net.module_.state_dict()))


class KeepingRegressor(TransformerRegressor):
    """Keeps weights before early stopping, which comes later, restores the best."""

    def _callbacks(self, monitor, validated):
        return [("keep", KeepWeights()), *super()._callbacks(monitor, validated)]


def test_early_stopping_restores_the_best_weights(data):
    X, y = data
    model = KeepingRegressor(
        **SMALL,
        learning_rate=0.05,
        max_epochs=200,
        patience=5,
        lr_patience=None,
        validation_fraction=0.3,
        random_state=0,
    ).fit(X, y)
    losses = model.net_.history[:, "valid_loss"]
    best = int(np.argmin(losses))
    last = len(losses) - 1
    assert last - best >= 4 and last < 199, "the test needs a run that was stopped"
    kept = dict(model.net_.callbacks_)["keep"]
    restored = model.net_.module_.state_dict()
    for name, value in kept.weights_[best].items():
        assert torch.equal(restored[name], value), name
    assert any(
        not torch.equal(restored[name], value)
        for name, value in kept.weights_[last].items()
    )


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("batch_size", [2, 3, 7, 64, -1])
def test_batches_cover_every_row_once_and_none_has_one_row(batch_size, shuffle):
    for n in range(2, 40):
        data = TensorDataset(np.arange(n)[:, None], np.arange(n)[:, None])
        batches = TensorBatches(data, batch_size, shuffle=shuffle)
        sizes = [len(X) for X, _ in batches]
        rows = np.concatenate([X.numpy().ravel() for X, _ in batches])
        assert len(batches) == len(sizes)
        assert min(sizes) > 1
        assert sorted(rows) == list(range(n))
        assert all(torch.equal(X, y) for X, y in batches)


def test_batches_of_a_subset_take_its_rows():
    data = TensorDataset(np.arange(10)[:, None])
    subset = torch.utils.data.Subset(data, [8, 3, 5, 1, 9])
    found = [X.numpy().ravel().tolist() for X, _ in TensorBatches(subset, 2)]
    assert found == [[8, 3], [5, 1, 9]]


@pytest.mark.parametrize("kind", ["transformer", "gru", "lstm", "conv"])
def test_a_row_is_predicted_alike_in_any_company(data, kind):
    X, y = data
    if kind == "transformer":
        model = TransformerRegressor(max_epochs=2, random_state=0)
    else:
        model = SequenceNetRegressor(kind, max_epochs=2, random_state=0)
    model.fit(X, y)
    many = np.vstack([X] * 5)  # more than one prediction batch
    expected = model.predict(many)
    for rows in ([3], [3, 1], range(39, -1, -1), range(200)):
        np.testing.assert_allclose(model.predict(many[rows]), expected[rows], rtol=1e-9)


def test_plateau_lowers_the_learning_rate(data):
    X, y = data
    noise = np.random.default_rng(2).normal(size=y.shape)
    params = {"learning_rate": 0.05, "max_epochs": 40, "patience": None}
    params |= {"validation_fraction": 0.3}

    def last_rate(lr_patience):
        model = make(**params, lr_patience=lr_patience).fit(X, noise)
        return model.net_.optimizer_.param_groups[0]["lr"]

    assert last_rate(None) == 0.05
    assert last_rate(2) <= 0.025


def test_gradient_clipping_acts(data):
    X, y = data

    def weights(clip):
        model = SequenceNetRegressor(
            "conv",
            gradient_clip=clip,
            dropout=0.0,
            max_epochs=1,
            net_params={"optimizer": torch.optim.SGD},
            learning_rate=1.0,
            random_state=0,
            batch_size=40,
            weight_decay=0.0,
            loss="mse",
        )
        module = model.fit(X, y).net_.module_
        return torch.cat([p.detach().ravel() for p in module.parameters()])

    fixed = weights(1e-9)
    # One step of plain gradient descent is as long as the gradient.
    assert (weights(1e-3) - fixed).norm().item() == pytest.approx(1e-3, rel=0.01)
    assert (weights(None) - fixed).norm().item() > 1e-2


def test_net_params_and_device_reach_skorch(data):
    X, y = data
    params = {"optimizer": torch.optim.SGD, "max_epochs": 2, "optimizer__momentum": 0.5}
    net = make(net_params=params).fit(X, y).net_
    assert type(net.optimizer_) is torch.optim.SGD
    assert net.optimizer_.param_groups[0]["momentum"] == 0.5
    assert len(net.history) == 2
    assert net.device == "cpu"
    with pytest.raises(ValueError, match="cannot be used: Invalid device string"):
        make(device="no such device").fit(X, y)


def test_progress_bar_is_for_terminals_only(data, capsys, monkeypatch):
    X, y = data
    make(verbose=1).fit(X, y)
    captured = capsys.readouterr()
    assert captured.err == "" and captured.out == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    make(verbose=1).fit(X, y)
    assert "Training" in capsys.readouterr().err
    make(verbose=0).fit(X, y)
    assert capsys.readouterr().err == ""


def test_text_columns_lead_to_an_encoder():
    X = np.array([["B", "drug"]] * 4, dtype=object)
    with pytest.raises(ValueError, match=r"put .*make_condition_encoder"):
        make().fit(X, np.ones((4, 2)))
    net = make().fit(np.eye(4)[:, :2], np.ones((4, 2)))
    with pytest.raises(ValueError, match=r"'B'.*put .*make_condition_encoder"):
        net.predict(X)
