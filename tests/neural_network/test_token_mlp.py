"""The network on learnt codes of compounds and cell types."""

import numpy as np
import pandas as pd
import pytest
import torch

from sklperturb.datasets import PerturbationSchema
from sklperturb.metrics import mrrmse
from sklperturb.modules import TokenMLP
from sklperturb.neural_network import TokenEmbeddingMLPRegressor

SMALL = {"hidden_dim": 16, "max_epochs": 3, "random_state": 0}


def make(**params):
    return TokenEmbeddingMLPRegressor(**(SMALL | params))


def test_learns_effects_of_both_columns(screen):
    model = TokenEmbeddingMLPRegressor(random_state=0).fit(screen.X, screen.y)
    mean = np.tile(screen.y.mean(), (len(screen.X_test), 1))
    error = mrrmse(screen.y_test, model.predict(screen.X_test))
    assert error < 0.95 * mrrmse(screen.y_test, mean)


def test_codes_are_levels_and_zero_is_unknown(screen):
    model = make().fit(screen.X, screen.y)
    assert model.columns_ == ["cell_type", "sm_name"]
    codes = model._read(screen.X)
    for j, (column, levels) in enumerate(
        zip(model.columns_, model.categories_, strict=True)
    ):
        assert list(levels[codes[:, j].astype(int) - 1]) == list(screen.X[column])
        assert codes[:, j].min() == 1
    new = screen.X.iloc[:4].assign(sm_name="new")
    codes_new = model._read(new)
    assert (codes_new[:, 1] == 0).all()
    assert (codes_new[:, 0] == codes[:4, 0]).all()


def test_unseen_level_gets_the_unknown_code(screen):
    model = make().fit(screen.X, screen.y)
    new = screen.X.iloc[:3].assign(sm_name="new")
    before = model.predict(new)
    known = model.predict(screen.X)
    with torch.no_grad():
        model.net_.module_.embeddings[1].weight[0] += 1.0
    assert np.abs(model.predict(new) - before).max() > 1e-3
    np.testing.assert_array_equal(model.predict(screen.X), known)


def test_unknown_code_is_trained_by_category_dropout(screen):
    def shift(category_dropout):
        start, end = (
            make(
                category_dropout=category_dropout,
                max_epochs=1,
                batch_size=10,
                weight_decay=0.0,
                learning_rate=rate,
            )
            .fit(screen.X, screen.y)
            .net_.module_.embeddings[1]
            .weight[0]
            .detach()
            for rate in (1e-12, 0.1)
        )
        return (end - start).abs().max().item()

    assert shift(0.0) < 1e-6
    assert shift(0.3) > 1e-3


def test_unknown_stands_for_a_typical_level():
    # Compounds shift all genes by -1 or 1, half of them each.
    rng = np.random.default_rng(0)
    names = np.repeat([f"c{i}" for i in range(20)], 6)
    X = pd.DataFrame({"cell_type": np.tile(list("ABC"), 40), "sm_name": names})
    sign = np.repeat(np.tile([-1.0, 1.0], 10), 6)
    y = 3 + sign[:, None] + 0.01 * rng.normal(size=(120, 5))
    model = TokenEmbeddingMLPRegressor(
        category_dropout=0.2, hidden_dim=64, max_epochs=40, loss="mse", random_state=0
    ).fit(X, y)
    unseen = model.predict(X.iloc[:3].assign(sm_name="new"))
    assert np.abs(unseen - 3).max() < 0.6
    assert np.sign(model.predict(X) - 3)[:, 0].tolist() == sign.tolist()


def test_category_dropout_is_per_column_and_in_training_only():
    torch.manual_seed(0)
    module = TokenMLP([3, 4], [2, 2], 0, 1, category_dropout=0.5)
    seen = [[], []]
    for table, codes in zip(module.embeddings, seen, strict=True):
        table.register_forward_hook(lambda _, args, __, to=codes: to.append(args[0]))
    X = torch.ones(400, 2)
    module.train()(X)
    first, second = (codes[0] for codes in seen)
    assert 0.4 < (first == 0).float().mean() < 0.6
    assert 0.15 < ((first == 0) & (second == 1)).float().mean() < 0.35
    module.eval()(X)
    assert all((codes[1] == 1).all() for codes in seen)


def test_one_cycle_ends_with_the_last_batch(screen):
    for net_params in (None, {"max_epochs": 5, "batch_size": 10}):
        model = make(batch_size=16, learning_rate=0.1, net_params=net_params)
        net = model.fit(screen.X, screen.y).net_
        schedule = dict(net.callbacks_)["one_cycle"].schedule_
        n_batches = sum(len(epoch["batches"]) for epoch in net.history)
        assert schedule.total_steps == n_batches
        # One step for each batch: from lr / 25 over lr to next to nothing.
        assert schedule.last_epoch == n_batches - 1
        assert net.optimizer_.param_groups[0]["lr"] < 1e-4


@pytest.mark.parametrize("clip", [True, False])
def test_clip_keeps_predictions_in_the_training_range(screen, clip):
    model = make(clip=clip).fit(screen.X, screen.y)
    with torch.no_grad():
        model.net_.module_.head.bias += 1000  # far off in every direction
    y_pred = model.predict(screen.X_test)
    low, high = screen.y.min().to_numpy(), screen.y.max().to_numpy()
    assert ((y_pred >= low).all() and (y_pred <= high).all()) == clip


def test_numeric_columns(screen):
    rng = np.random.default_rng(0)
    X = screen.X[["cell_type", "sm_name"]].assign(
        a=rng.normal(size=len(screen.X)), b=7.0
    )
    plain = make().fit(X, screen.y)
    rest = make(numeric_columns="rest").fit(X, screen.y)
    assert plain.numeric_columns_ == [] and rest.numeric_columns_ == ["a", "b"]
    assert rest.net_.module_.blocks[0].in_features == (
        plain.net_.module_.blocks[0].in_features + 2
    )
    scaled = make(numeric_columns=["a", "b"]).fit(
        X.assign(a=100 * X["a"] + 5), screen.y
    )
    np.testing.assert_allclose(
        scaled.predict(X.assign(a=100 * X["a"] + 5)), rest.predict(X), atol=1e-3
    )
    other = rest.predict(X.assign(a=X["a"] + 3))
    assert np.abs(other - rest.predict(X)).max() > 1e-3
    np.testing.assert_array_equal(plain.predict(X.assign(a=0)), plain.predict(X))


def test_columns_by_schema_and_by_list(screen):
    X = screen.X[["cell_type", "sm_name"]]
    expected = make().fit(X, screen.y).predict(X)
    renamed = X.set_axis(["line", "agent"], axis=1)
    schema = PerturbationSchema(perturbation="agent", context="line")
    for params in ({"schema": schema}, {"columns": ["line", "agent"]}):
        model = make(**params).fit(renamed, screen.y)
        np.testing.assert_array_equal(model.predict(renamed), expected)
    only = make(columns=["sm_name"]).fit(X, screen.y)
    assert [len(levels) for levels in only.categories_] == [X["sm_name"].nunique()]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"columns": ["absent"]}, "must be columns of X"),
        ({"columns": []}, "at least one of them categorical"),
        ({"numeric_columns": ["SMILES"]}, "numbers only"),
        ({"batch_size": 1}, "batch_size"),
        ({"embedding_dim": "big"}, "embedding_dim"),
    ],
)
def test_wrong_parameters_are_named(screen, params, message):
    with pytest.raises(ValueError, match=message):
        make(**params).fit(screen.X, screen.y)


def test_one_row_is_refused(screen):
    with pytest.raises(ValueError, match="at least 2 training rows, got n_samples=1"):
        make().fit(screen.X.iloc[:1], screen.y.iloc[:1])


def test_nan_in_a_numeric_column_is_refused(screen):
    X = screen.X[["cell_type", "sm_name"]].assign(a=np.nan)
    with pytest.raises(ValueError, match="NaN or infinity"):
        make(numeric_columns=["a"]).fit(X, screen.y)


def test_same_seed_same_bits_and_another_seed_differs(screen):
    state = torch.get_rng_state()
    first, again, other = (
        make(random_state=seed).fit(screen.X, screen.y).predict(screen.X_test)
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3
    assert torch.equal(torch.get_rng_state(), state)
