"""Ridge on the same perturbation's responses in other contexts."""

import numpy as np
import pandas as pd
import pytest

from sklperturb.baseline import AdditiveRegressor, GroupStatisticRegressor
from sklperturb.conditions._statistics import share_of_centre
from sklperturb.linear_model import ContextTransferRidge
from sklperturb.metrics import mrrmse

PLAIN = {"scale_contexts": False}


def make_transfer(seed=0):
    """Contexts "a", "b" and "n" are noise of their own; "c" is 0.8 a - 0.5 b."""
    rng = np.random.default_rng(seed)
    a, b, n = rng.normal(size=(3, 60, 30))
    c = 0.8 * a - 0.5 * b
    names = [f"p{i}" for i in range(60)]
    X = pd.concat(
        [pd.DataFrame({"cell_type": k, "sm_name": names}) for k in "abnc"],
        ignore_index=True,
    )
    y = np.vstack([a, b, n, c])
    held_out = (X["cell_type"] == "c") & (np.arange(len(X)) % 3 == 0)
    return X[~held_out], y[~held_out], X[held_out], y[held_out]


def test_weights_are_those_of_the_truth():
    X, y, X_new, truth = make_transfer()
    model = ContextTransferRidge(**PLAIN).fit(X, y)
    weights = model.weights_[list(model.contexts_).index("c")]
    # The mean over the three others is one more column: its weight counts for each.
    each = dict(zip(model.contexts_, weights[:-1] + weights[-1] / 3, strict=True))
    assert weights[list(model.contexts_).index("c")] == 0
    assert each["a"] == pytest.approx(0.8, abs=0.02)
    assert each["b"] == pytest.approx(-0.5, abs=0.02)
    assert each["n"] == pytest.approx(0.0, abs=0.02)
    error = mrrmse(truth, model.predict(X_new))
    assert error < 0.05
    for other in (AdditiveRegressor("joint"), GroupStatisticRegressor("perturbation")):
        assert mrrmse(truth, other.fit(X, y).predict(X_new)) > 10 * error


def test_a_context_that_was_not_measured_is_left_out_of_the_sum():
    X, y, X_new, _ = make_transfer()
    name = X_new["sm_name"].iloc[0]
    dropped = ((X["sm_name"] == name) & X["cell_type"].isin(["b", "n"])).to_numpy()
    model = ContextTransferRidge(alphas=[1e12], **PLAIN).fit(X[~dropped], y[~dropped])
    row = model.weights_[list(model.contexts_).index("c")]
    weights = dict(zip([*model.contexts_, "mean"], row, strict=True))
    mean = y[~dropped].mean(axis=0)
    only = y[((X["sm_name"] == name) & (X["cell_type"] == "a")).to_numpy()][0] - mean
    expected = model.grand_mean_share_ * mean
    expected += (weights["a"] + weights["mean"]) * only
    np.testing.assert_allclose(model.predict(X_new[:1])[0], expected, atol=1e-8)


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_kernel_moves_effects_between_genes(kernel):
    """In "c" the genes of "a" are shuffled, which no weight of contexts can do."""
    rng = np.random.default_rng(1)
    a = rng.normal(size=(80, 2)) @ rng.normal(size=(2, 20))
    c = a[:, rng.permutation(20)]
    cell_type, sm_name = np.repeat(["a", "c"], 80), np.tile(np.arange(80), 2)
    X = pd.DataFrame({"cell_type": cell_type, "sm_name": sm_name})
    y = np.vstack([a, c])
    train = np.arange(160) < 140
    model = ContextTransferRidge(kernel, alphas=(1e-3, 0.01), **PLAIN)
    model.fit(X[train], y[train])
    assert np.isfinite(model.alphas_).all()
    assert mrrmse(y[~train], model.predict(X[~train])) < 0.25
    without = ContextTransferRidge(kernel, alphas=[1e12], **PLAIN)
    without.fit(X[train], y[train])
    assert mrrmse(y[~train], without.predict(X[~train])) > 0.8


def test_kernel_ridge_written_out():
    X, y, X_new, _ = make_transfer()
    # Genes in reverse order are beyond the weights, so that the kernel has work.
    y = np.where((X["cell_type"] == "c").to_numpy()[:, None], y[:, ::-1], y)
    y = y + 0.1 * np.random.default_rng(2).normal(size=y.shape)
    model = ContextTransferRidge(alphas=[0.5], weight_alphas=[0.1], **PLAIN).fit(X, y)
    assert set(model.alphas_) <= {0.5, np.inf} and 0.5 in model.alphas_
    target = model.contexts_[model.alphas_ == 0.5][0]
    pairs = X.itertuples(index=False, name=None)
    table = dict(zip(pairs, y - y.mean(axis=0), strict=True))
    others = [k for k in model.contexts_ if k != target]

    def sources(name):
        rows = np.array([table.get((k, name), np.zeros(y.shape[1])) for k in others])
        n_measured = sum((k, name) in table for k in others)
        return np.vstack([rows, rows.sum(axis=0) / n_measured])

    shared = [name for k, name in table if k == target]
    gram = sum(sources(q) @ sources(q).T for q in shared)
    right = sum(sources(q) @ table[target, q] for q in shared)
    penalty = 0.1 * np.trace(gram) / len(gram)
    weights = np.linalg.solve(gram + penalty * np.eye(len(gram)), right)
    features = np.array([sources(q)[:-1].ravel() for q in shared])
    residual = np.array([table[target, q] - weights @ sources(q) for q in shared])
    scale = (features**2).sum(axis=1).mean()
    kernel = features @ features.T / scale
    dual_coef = np.linalg.solve(kernel + 0.5 * np.eye(len(kernel)), residual)
    query = X_new["sm_name"].iloc[0]
    expected = weights @ sources(query) + model.grand_mean_share_ * y.mean(axis=0)
    expected += sources(query)[:-1].ravel() @ features.T / scale @ dual_coef
    row = pd.DataFrame({"cell_type": [target], "sm_name": [query]})
    np.testing.assert_allclose(model.predict(row)[0], expected, atol=1e-8)


def test_what_was_not_seen(screen):
    model = ContextTransferRidge(**PLAIN).fit(screen.X, screen.y)
    y = screen.y.to_numpy()
    name = screen.X["sm_name"].iloc[0]
    new = screen.X[:3].assign(
        cell_type=[screen.X["cell_type"].iloc[0], "new", "new"],
        sm_name=["new", name, "new"],
    )
    effect, mean, overall = model.predict(new)
    codes = list(model.contexts_).index(new["cell_type"].iloc[0])
    shift = model.reducer_.inverse_transform(model.context_effects_)[codes]
    overall_share = model.grand_mean_share_
    centre = y.mean(axis=0)
    np.testing.assert_allclose(effect, shift - (1 - overall_share) * centre)
    rows = screen.X[screen.X["sm_name"] == name]
    by_context = (
        pd.DataFrame(y[rows.index]).groupby(rows["cell_type"].to_numpy()).mean()
    )
    deviation = model.mean_share_ * (by_context.mean().to_numpy() - centre)
    # Of the centre, a new context gets the share that contexts have in common.
    context, levels = pd.factorize(screen.X["cell_type"])
    in_common = share_of_centre(context, len(levels), y)
    assert 0 < in_common < overall_share < 1
    np.testing.assert_allclose(mean, in_common * centre + deviation)
    np.testing.assert_allclose(overall, in_common * centre)


def test_few_shared_perturbations_predict_the_mean(screen):
    model = ContextTransferRidge(min_shared=1000, **PLAIN).fit(screen.X, screen.y)
    assert np.isinf(model.weight_alphas_).all()
    X, y = screen.X, screen.y.to_numpy()
    row = screen.X_test[:1]
    rows = (X["sm_name"] == row["sm_name"].iloc[0]) & (
        X["cell_type"] != row["cell_type"].iloc[0]
    )
    by_context = pd.DataFrame(y[rows]).groupby(X["cell_type"][rows].to_numpy()).mean()
    centre, share = y.mean(axis=0), model.mean_share_
    expected = model.grand_mean_share_ * centre
    expected += share * (by_context.mean().to_numpy() - centre)
    np.testing.assert_allclose(model.predict(row)[0], expected)


@pytest.mark.parametrize(("shared", "low", "high"), [(1, 0.95, 1), (0, 0, 0.05)])
def test_the_share_of_the_mean_is_how_alike_contexts_respond(shared, low, high):
    rng = np.random.default_rng(0)
    context, perturbation = np.divmod(np.arange(20), 5)
    effects = 10 * rng.normal(size=(5, 300))
    y = shared * effects[perturbation] + rng.normal(size=(20, 300))
    X = np.column_stack([context, perturbation])
    assert low <= ContextTransferRidge(**PLAIN).fit(X, y).mean_share_ <= high


def test_one_context_gives_the_mean_of_each_perturbation(screen):
    X = screen.X[["sm_name"]]
    model = ContextTransferRidge(**PLAIN).fit(X, screen.y)
    expected = screen.y.groupby(X["sm_name"].to_numpy()).transform("mean")
    expected -= (1 - model.grand_mean_share_) * screen.y.mean()
    np.testing.assert_allclose(model.predict(X), expected)


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({"kernel": "poly"}, r"'kernel' .* Got 'poly'"),
        ({"alphas": []}, "alphas.*must be a non-empty list"),
        ({"weight_alphas": [0]}, r"weight_alphas.*non-empty list.*Got \[0\]"),
        ({"min_shared": 1}, r"'min_shared' .* Got 1"),
        ({"n_components": 0}, r"'n_components' .* Got 0"),
    ],
)
def test_parameters_out_of_range(params, match, screen):
    with pytest.raises(ValueError, match=match):
        ContextTransferRidge(**params).fit(screen.X, screen.y)
