"""The network on median responses of compound and cell type."""

import numpy as np
import pytest
import torch

from sklperturb.metrics import mrrmse
from sklperturb.modules import DualBranchNet
from sklperturb.neural_network import DualBranchRegressor
from sklperturb.preprocessing import TargetStatisticsEncoder

SMALL = {"n_top_genes": 5, "hidden_dim": 8, "max_epochs": 2, "random_state": 0}


def make(**params):
    return DualBranchRegressor(**(SMALL | params))


def test_learns_more_than_the_mean(screen):
    model = DualBranchRegressor(random_state=0).fit(screen.X, screen.y)
    mean = np.tile(screen.y.mean(), (len(screen.X_test), 1))
    error = mrrmse(screen.y_test, model.predict(screen.X_test))
    assert error < 0.95 * mrrmse(screen.y_test, mean)


def test_top_genes_are_those_of_largest_variance(screen):
    model = make().fit(screen.X, screen.y)
    variance = screen.y.to_numpy().var(axis=0)
    assert set(model.top_genes_) == set(np.argsort(variance)[-5:])
    assert list(model.top_genes_) == sorted(model.top_genes_)
    assert len(make(n_top_genes=10_000).fit(screen.X, screen.y).top_genes_) == 30


def inputs_of(model, X, y):
    """Return what the network was trained on and what it sees in predict."""
    seen = []

    class Spy(DualBranchRegressor):
        def _arrange(self, X):
            seen.append(X)
            return super()._arrange(X)

    Spy(**model.get_params()).fit(X, y).predict(X)
    return seen


def test_training_rows_are_cross_fitted(screen):
    model = make()
    trained, predicted = inputs_of(model, screen.X, screen.y)
    encoder = TargetStatisticsEncoder(
        ("median",), None, columns=["cell_type", "sm_name"]
    )
    top = model.fit(screen.X, screen.y).top_genes_
    expected = encoder.fit_transform(screen.X, screen.y.to_numpy()[:, top])
    context, perturbation = np.hsplit(expected, 2)

    def standardised(found, known):
        scale = np.where(known.std(axis=0) > 0, known.std(axis=0), 1)
        return (found - known.mean(axis=0)) / scale

    np.testing.assert_allclose(
        trained[:, :5], standardised(perturbation, perturbation), atol=1e-4
    )
    np.testing.assert_allclose(
        trained[:, 5:], standardised(context, context), atol=1e-4
    )
    whole = np.hsplit(encoder.transform(screen.X), 2)[1]
    np.testing.assert_allclose(
        predicted[:, :5], standardised(whole, perturbation), atol=1e-4
    )
    assert np.abs(trained - predicted).max() > 0.1


def test_a_row_does_not_see_its_own_response(screen):
    # One compound more, measured once, and far off: nobody else says so.
    X = screen.X.copy()
    X.loc[X.index[0], "sm_name"] = "alone"
    y = screen.y.to_numpy().copy()
    y[0] += 50
    trained, predicted = inputs_of(make(n_top_genes=30), X, y)
    others = np.abs(trained[1:, :30]).max()
    assert np.abs(trained[0, :30]).max() < others
    assert np.abs(predicted[0, :30]).max() > np.abs(trained[0, :30]).max()


def test_unseen_levels_get_the_statistics_of_all_rows(screen):
    model = make().fit(screen.X, screen.y)
    new = screen.X.iloc[:2].assign(sm_name="new", cell_type="new")
    rows = model._read(new)
    np.testing.assert_array_equal(rows[0], rows[1])
    assert np.isfinite(model.predict(new)).all()


def test_without_a_context_column(screen):
    X = screen.X[["sm_name"]]
    model = make().fit(X, screen.y)
    assert (model._read(X)[:, 5:] == model._read(X)[0, 5:]).all()
    assert np.ptp(model.predict(X), axis=0).max() > 1e-6


def test_context_enters_the_decoder_again():
    torch.manual_seed(0)
    module = DualBranchNet(3, 2, 4, hidden_dim=8).eval()
    with torch.no_grad():
        for name, value in module.context.named_parameters():
            if name.endswith("weight"):
                value.zero_()
    X = torch.randn(5, 5)
    moved = X.clone()
    moved[:, 3:] += 1
    assert (module(X) - module(moved)).abs().max() > 1e-4


def test_noise_is_added_in_training_only():
    torch.manual_seed(0)
    module = DualBranchNet(3, 2, 4, hidden_dim=8, dropout=0.0, input_noise=0.5)
    X = torch.randn(20, 5)
    module.train()
    assert not torch.equal(module(X), module(X))
    module.eval()
    assert torch.equal(module(X), module(X))
    module.input_noise = 0.0
    module.train()
    assert torch.equal(module(X), module(X))


def test_one_row_is_refused(screen):
    with pytest.raises(ValueError, match="at least 2 training rows, got n_samples=1"):
        make().fit(screen.X.iloc[:1], screen.y.iloc[:1])
    with pytest.raises(ValueError, match="at least 2 training rows"):
        make(validation_fraction=0.7).fit(screen.X.iloc[:3], screen.y.iloc[:3])


def test_predictions_repeat_and_ignore_company(screen):
    first, again = (
        make(hidden_dim=64).fit(screen.X, screen.y).predict(screen.X_test)
        for _ in range(2)
    )
    np.testing.assert_array_equal(first, again)
    model = make(hidden_dim=64).fit(screen.X, screen.y)
    np.testing.assert_allclose(model.predict(screen.X_test[3:4]), first[3:4], rtol=1e-9)
