import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.decomposition import PCA

from sklperturb.modules import Autoencoder
from sklperturb.neural_network import AutoencoderTransformer
from sklperturb.neural_network._batches import forward_rows


def curve(n_rows, seed):
    """Rows on a curve that no line follows: one latent coordinate says it all."""
    t = np.random.default_rng(seed).uniform(-1, 1, n_rows)
    waves = [np.cos(k * np.pi * t / 2) for k in (1, 2)]
    waves += [np.sin(k * np.pi * t / 2) for k in (1, 2)]
    loadings = np.random.default_rng(0).normal(size=(4, 40))
    return np.stack(waves, axis=1) @ loadings + 5.0


def error(transformer, y):
    rebuilt = transformer.inverse_transform(transformer.transform(y))
    return np.mean((rebuilt - y) ** 2) / np.mean((y - y.mean(axis=0)) ** 2)


@pytest.fixture(scope="module")
def fitted():
    model = AutoencoderTransformer(
        1,
        hidden_dim=64,
        n_layers=2,
        dropout=0.0,
        learning_rate=0.005,
        max_epochs=150,
        random_state=0,
    )
    return model.fit(curve(300, 1))


def test_follows_a_curve_that_pca_cannot(fitted):
    y = curve(100, 2)
    linear = error(PCA(1).fit(curve(300, 1)), y)
    assert linear > 0.3
    assert error(fitted, y) < 0.3 * linear


def test_a_linear_one_comes_close_to_pca():
    rng = np.random.default_rng(0)
    y = rng.normal(size=(200, 3)) @ rng.normal(size=(3, 50))
    model = AutoencoderTransformer(
        3, n_layers=0, dropout=0.0, learning_rate=0.01, random_state=0
    )
    assert error(model.fit(y), y) < 0.02


def test_lossless_reduction_keeps_the_error_over_genes(fitted):
    y = curve(300, 1)
    assert fitted.reducer_.n_components_ == 4
    reduced = fitted.reducer_.transform(y) / fitted._scale
    with torch.no_grad():
        inner = fitted.net_.module_(torch.tensor(reduced, dtype=torch.float32))
    latent_error = ((inner.numpy() - reduced) ** 2).sum() / (reduced**2).sum()
    assert error(fitted, y) == pytest.approx(latent_error, rel=1e-3)


def test_without_reduction():
    y = curve(60, 1)
    model = AutoencoderTransformer(2, reduction=None, max_epochs=60, random_state=0)
    assert error(model.fit(y), y) < 0.5
    assert model.reducer_ is None
    assert model.net_.module_.encoder[0].in_features == y.shape[1]


def test_best_weights_are_restored_from_a_copy(fitted):
    """The learning rate is far too high, so the last epoch is not the best one."""
    y = curve(100, 1)
    model = AutoencoderTransformer(
        2, learning_rate=0.3, max_epochs=40, patience=10, random_state=0
    ).fit(y)
    losses = model.net_.history[:, "valid_loss"]
    assert losses[-1] > min(losses)
    split = model.net_.get_split_datasets(
        *2 * [(model._reduce(y) / model._scale).astype(np.float32)]
    )[1]
    rows = np.stack([split[i][0].numpy() for i in range(len(split))])
    rebuilt = forward_rows(model.net_.module_, rows)
    assert np.mean((rebuilt - rows) ** 2) == pytest.approx(min(losses), rel=1e-3)


def test_dropout_is_off_after_training():
    y = curve(60, 1)
    model = AutoencoderTransformer(2, dropout=0.5, max_epochs=2, random_state=0)
    model.fit(y).net_.module_.train()
    assert np.array_equal(model.transform(y), model.transform(y))


def test_rows_are_independent_of_the_number_of_rows(fitted):
    y = curve(300, 3)
    latent = fitted.transform(y)
    assert np.array_equal(latent[200:], fitted.transform(y[200:]))
    assert latent.dtype == np.float64
    genes = fitted.inverse_transform(latent)
    assert_allclose(fitted.inverse_transform(latent[:3]), genes[:3], rtol=1e-10)


def test_pandas_output_and_names(screen):
    model = AutoencoderTransformer(3, max_epochs=2, random_state=0)
    frame = model.set_output(transform="pandas").fit_transform(screen.y)
    assert list(frame.columns) == [f"autoencodertransformer{i}" for i in range(3)]
    assert frame.index.equals(screen.y.index)
    assert model.inverse_transform(frame).shape == screen.y.shape


def test_net_params_override():
    y = curve(40, 1)
    model = AutoencoderTransformer(
        2, net_params={"max_epochs": 3, "module__hidden_dim": 7}, random_state=0
    ).fit(y)
    assert len(model.net_.history) == 3
    assert model.net_.module_.encoder[0].out_features == 7


def test_errors(fitted):
    with pytest.raises(ValueError, match="2 columns, and the latent space has 1"):
        fitted.inverse_transform(np.zeros((3, 2)))
    with pytest.raises(ValueError, match="'n_components' parameter"):
        AutoencoderTransformer(0).fit(np.eye(4))


def test_module_shapes():
    module = Autoencoder(12, 3, n_layers=0)
    assert len(module.encoder) == 1
    X = torch.randn(5, 12)
    assert torch.equal(module(X), module.decode(module.encode(X)))
