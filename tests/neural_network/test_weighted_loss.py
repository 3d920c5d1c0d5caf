import numpy as np
import pytest
from sklearn.model_selection import cross_val_score

from sklperturb.neural_network import (
    ConditionalGANRegressor,
    LatentNetRegressor,
    TokenEmbeddingMLPRegressor,
    TransformerRegressor,
)


@pytest.fixture(scope="module")
def data():
    """Half of the rows of a gene at 0 and half at 1, which no feature tells apart."""
    rng = np.random.default_rng(0)
    y = np.tile([[0.0, 0.0, 5.0], [1.0, 1.0, 5.1]], (40, 1))
    weights = np.tile([[3.0, 1.0, 1.0], [1.0, 3.0, 1.0]], (40, 1))
    X = rng.normal(size=(80, 2)).astype(np.float32)
    return np.zeros_like(X), y, weights


@pytest.mark.parametrize("target_components", ["full", 2, None])
def test_each_gene_is_fitted_with_the_weights_of_its_rows(data, target_components):
    X, y, weights = data
    model = LatentNetRegressor(
        loss="wmse",
        target_components=target_components,
        dropout=0.0,
        learning_rate=0.01,
        max_epochs=60,
        validation_fraction=0.0,
        patience=None,
        random_state=0,
    )
    # The best constant is the weighted mean, by gene and row. Rows at 0 have 3 of 5
    # parts in the first gene, and 1 of 5 in the second, once the rows' sums are equal.
    weighted = model.fit(X, y, target_weight=weights).predict(X)[0]
    if target_components is None:
        np.testing.assert_allclose(weighted[:2], [0.25, 0.75], atol=0.05)
    # A basis of rank 1 moves all genes together.
    plain = model.fit(X, y).predict(X)[0]
    np.testing.assert_allclose(plain[:2], 0.5, atol=0.05)
    again = model.fit(X, y, target_weight=7 * weights).predict(X)[0]
    np.testing.assert_allclose(again, weighted, atol=1e-4)


def test_weights_are_matched_with_their_genes(screen):
    y = screen.y
    X = np.random.default_rng(0).normal(size=(len(y), 4))
    weights = y.abs() + 0.01
    model = LatentNetRegressor(loss="wmse", max_epochs=2, random_state=0)
    expected = model.fit(X, y, target_weight=weights).predict(X)
    turned = weights.iloc[:, np.roll(np.arange(y.shape[1]), 3)]
    turned = model.fit(X, y, target_weight=turned).predict(X)
    np.testing.assert_allclose(turned, expected, atol=1e-4)


def test_loss_on_genes_is_the_same_in_a_basis():
    import torch

    from sklperturb.modules import WeightedMSELoss

    rng = np.random.default_rng(0)
    basis = torch.as_tensor(np.linalg.qr(rng.normal(size=(6, 3)))[0].T)
    outputs, targets = (torch.as_tensor(rng.normal(size=(4, 3))) for _ in "ab")
    weights = torch.as_tensor(rng.random((4, 6)))
    in_basis = WeightedMSELoss(basis)(outputs, torch.cat([targets, weights], 1))
    genes = torch.cat([targets @ basis, weights], 1)
    on_genes = WeightedMSELoss()(outputs @ basis, genes)
    torch.testing.assert_close(in_basis, on_genes)
    expected = (weights * ((outputs - targets) @ basis) ** 2).mean()
    torch.testing.assert_close(in_basis, expected)


@pytest.mark.parametrize("validation_fraction", [0.0, 0.3])
def test_weights_stay_with_their_rows(screen, validation_fraction):
    y = screen.y.to_numpy()
    options = {"loss": "wmse", "max_epochs": 3, "random_state": 0}
    options["validation_fraction"] = validation_fraction
    X = np.random.default_rng(0).normal(size=(len(y), 4))
    model = TransformerRegressor(hidden_dim=8, n_heads=2, **options)
    ones = model.fit(X, y, target_weight=np.ones(y.shape)).predict(X)
    # Weights all alike are none, but for the scale of the loss, in a full basis.
    rows = np.linspace(1, 5, len(y))[:, None]
    scaled = model.fit(X, y, target_weight=rows * np.ones(y.shape)).predict(X)
    np.testing.assert_allclose(ones, scaled, atol=1e-5)
    other = model.fit(X, y, target_weight=np.abs(y) + 0.01).predict(X)
    assert np.abs(other - ones).max() > 1e-3


def test_folds_cut_the_weights(screen):
    model = TokenEmbeddingMLPRegressor(loss="wmse", max_epochs=2, random_state=0)
    weights = np.abs(screen.y.to_numpy()) + 0.1
    given = {"target_weight": weights}
    scores = cross_val_score(model, screen.X, screen.y, cv=2, params=given)
    assert np.isfinite(scores).all()


def test_messages(data):
    X, y, weights = data
    with pytest.raises(ValueError, match="pass loss='wmse'"):
        TransformerRegressor().fit(X, y, target_weight=weights)
    with pytest.raises(ValueError, match="pass loss='wmse'"):
        ConditionalGANRegressor().fit(X, y, target_weight=weights)
    model = TransformerRegressor(loss="wmse")
    for wrong in (weights[:, :2], -weights, 0 * weights):
        with pytest.raises(ValueError, match="target_weight has shape"):
            model.fit(X, y, target_weight=wrong)
