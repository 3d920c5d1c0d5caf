"""Flow matching: means, populations, and what must not change."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import Ridge

from sklperturb.compose import LatentTargetRegressor, PerturbationEffectRegressor
from sklperturb.flow import FlowMatchingRegressor
from sklperturb.metrics import energy_distance
from sklperturb.preprocessing import LookupEmbedding

N_GENES, N_CELLS, WIDTH = 30, 60, 4


@pytest.fixture(scope="module")
def cells():
    """Cells whose effects are linear in an embedding, in two batches that differ.

    Perturbed cells are shifted, and half of them spread out along the first axis.
    """
    rng = np.random.default_rng(0)
    names = [f"g{i:02d}" for i in range(N_GENES)]
    table = pd.DataFrame(rng.normal(size=(N_GENES, 3)), index=names)
    effects = table.to_numpy() @ rng.normal(size=(3, WIDTH))
    labels = np.repeat(["control", *names], [300] + [N_CELLS] * N_GENES)
    y = rng.normal(size=(len(labels), WIDTH))
    for name, effect in zip(names, effects, strict=True):
        rows = np.flatnonzero(labels == name)
        y[rows] += effect
        y[rows[::2], 0] *= 3
    batch = rng.choice(["b1", "b2"], len(labels))
    y[batch == "b2"] += 4.0
    effects[:, 0] *= 2  # half of the cells go three times as far
    X = pd.DataFrame({"target_gene": labels, "batch": batch})
    return X, y, table, pd.DataFrame(effects, index=names)


@pytest.fixture(scope="module")
def split(cells):
    X, y, *_ = cells
    held_out = ["g03", "g11", "g27"]
    train = ~X["target_gene"].isin(held_out).to_numpy()
    return X[train], y[train], held_out


@pytest.fixture(scope="module")
def fitted(cells, split):
    X, y, _ = split
    return make(cells[2]).fit(X, y)


def make(table, **parameters):
    defaults = {"max_steps": 200, "hidden_dim": 64, "random_state": 0}
    return FlowMatchingRegressor(
        LookupEmbedding(table, add_indicator=False), **(defaults | parameters)
    )


def test_unseen_perturbations_are_near_the_truth(cells, split, fitted):
    X, y, _, effects = cells
    for name in split[2]:
        rows = (X["target_gene"] == name).to_numpy()
        generated = fitted.sample(X[rows], 1)[:, 0]
        controls = y[(X["target_gene"] == "control").to_numpy()]
        distance = energy_distance(y[rows], generated, unbiased=True)
        shifted = energy_distance(
            y[rows], controls + effects.loc[name].to_numpy(), unbiased=True
        )
        # Better than the controls at their true place: the shape is learnt as well.
        assert distance < shifted
        assert distance < 0.5 * energy_distance(y[rows], controls, unbiased=True)


def test_prediction_is_control_mean_of_the_batch_plus_effect(cells, split, fitted):
    X, y, held_out = split
    new = pd.DataFrame({"target_gene": held_out, "batch": "b2"})
    controls = (X["target_gene"] == "control") & (X["batch"] == "b2")
    change = fitted.predict(new) - y[controls.to_numpy()].mean(axis=0)
    truth = cells[3].loc[held_out].to_numpy()
    assert np.corrcoef(change.ravel(), truth.ravel())[0, 1] > 0.97
    other = fitted.predict(new.assign(batch="b1"))
    np.testing.assert_allclose(fitted.predict(new) - other, 4.0, atol=0.5)
    control = fitted.predict(new.assign(target_gene="control"))
    np.testing.assert_allclose(control[0], y[controls.to_numpy()].mean(axis=0))


def test_populations_have_the_mean_that_is_predicted(split, fitted):
    new = pd.DataFrame({"target_gene": [*split[2], "g00"], "batch": "b1"})
    means = fitted.sample(new, 400).mean(axis=1)
    np.testing.assert_allclose(means, fitted.predict(new), atol=0.25)


def test_seen_perturbations_are_what_was_measured(split, fitted):
    X, y, _ = split
    rows = (X["target_gene"] == "g05").to_numpy()
    predicted = fitted.predict(X[rows]).mean(axis=0)
    np.testing.assert_allclose(predicted, y[rows].mean(axis=0), atol=0.35)


def test_counterfactuals_keep_what_a_cell_was(split, fitted):
    X, y, held_out = split
    controls = y[(X["target_gene"] == "control").to_numpy()][:50]
    rows = pd.DataFrame({"target_gene": [held_out[0]] * 50, "batch": "b1"})
    moved = fitted.transport(rows, controls)
    assert np.corrcoef(moved[:, 1], controls[:, 1])[0, 1] > 0.8
    unchanged = fitted.transport(rows.assign(target_gene="control"), controls)
    np.testing.assert_allclose(unchanged, controls, atol=1e-5)
    one = fitted.transport(rows[:1], controls[:1])
    np.testing.assert_allclose(one[0], moved[0], atol=1e-4)


def test_velocity_points_along_the_effect(cells, split, fitted):
    X, y, _ = split
    controls = y[(X["target_gene"] == "control").to_numpy()][:100]
    rows = pd.DataFrame({"target_gene": ["g01"] * 100, "batch": "b1"})
    mean = fitted.velocity(rows, controls, 0.0).mean(axis=0)
    effect = cells[3].loc["g01"].to_numpy()
    assert mean @ effect > 0.7 * np.linalg.norm(mean) * np.linalg.norm(effect)
    assert not fitted.velocity(rows.assign(target_gene="control"), controls, 0.5).any()


def test_same_seed_same_bits(cells, split):
    X, y, held_out = split
    new = pd.DataFrame({"target_gene": held_out, "batch": "b1"})
    first, second = (make(cells[2], max_steps=30).fit(X, y) for _ in range(2))
    assert np.array_equal(first.sample(new, 20), second.sample(new, 20))
    assert np.array_equal(first.predict(new), second.predict(new))
    again = first.sample(new, 20, random_state=1)
    assert not np.array_equal(again, first.sample(new, 20))


def test_new_batch_starts_at_its_own_controls(split, fitted):
    new = pd.DataFrame({"target_gene": [split[2][0]], "batch": "b1"})
    source = np.random.default_rng(1).normal(size=(200, WIDTH)) + 4.0
    here = fitted.sample(new, 200).mean(axis=1)
    there = fitted.sample(new, 200, source=source).mean(axis=1)
    np.testing.assert_allclose(there - here, 4.0, atol=0.5)
    with pytest.raises(ValueError, match="source has 2 columns, and y had 4"):
        fitted.sample(new, source=source[:, :2])


@pytest.mark.parametrize(
    "parameters",
    [
        {"source": "noise"},
        {"population_encoder": "deep_sets"},
        {"population_encoder": "knn_graph"},
        {"coupling": "independent"},
        {"mean_estimator": "none"},
        {"mean_estimator": "shift"},
        {"mean_estimator": Ridge()},
        {"guidance": 2.0},
        {"sigma": 0.1},
        {"condition_noise": 0.0, "condition_dropout": 0.0},
        {"match_batch": False},
    ],
    ids=str,
)
def test_options_work_and_predictions_do_not_depend_on_other_rows(
    cells, split, parameters
):
    X, y, held_out = split
    model = make(cells[2], max_steps=40, **parameters)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        model.fit(X, y)
        new = pd.DataFrame({"target_gene": [*held_out, "g01+g02"], "batch": "b1"})
        predicted = model.predict(new)
        sampled = model.sample(new, 8)
    assert np.isfinite(sampled).all() and sampled.shape == (4, 8, WIDTH)
    assert np.array_equal(model.predict(new[1:2]), predicted[1:2])
    assert clone(model).get_params()["max_steps"] == 40


def test_noise_has_no_counterfactuals(cells, split):
    X, y, held_out = split
    model = make(cells[2], max_steps=20, source="noise")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        model.fit(X, y)
    new = pd.DataFrame({"target_gene": held_out, "batch": "b1"})
    with pytest.raises(ValueError, match="no cell has a counterfactual"):
        model.transport(new, y[:3])


def test_combinations_add_up_in_any_order(split, fitted):
    new = pd.DataFrame(
        {"target_gene": ["g00+g01", "g01+g00", "g00", "g01", "control"], "batch": "b1"}
    )
    both, reverse, one, other, control = fitted.predict(new)
    np.testing.assert_allclose(both, reverse)
    sums = one + other - 2 * control
    # The flow has a say in what was not measured, so about the sum.
    assert np.linalg.norm(both - control - sums) < 0.5 * np.linalg.norm(sums)
    drawn = fitted.sample(new[:2], 50)
    np.testing.assert_allclose(drawn[0].mean(0), drawn[1].mean(0), atol=0.8)


def test_shift_is_the_mean_effect(cells, split):
    X, y, held_out = split
    model = make(cells[2], max_steps=5, mean_estimator="shift").fit(X, y)
    new = pd.DataFrame({"target_gene": held_out, "batch": "b1"})
    baseline = PerturbationEffectRegressor(match_batch=True).fit(X, y)
    np.testing.assert_allclose(model.predict(new), baseline.predict(new), atol=1e-4)


def test_any_regressor_gives_the_mean(cells, split):
    X, y, held_out = split
    model = make(cells[2], max_steps=5, mean_estimator=DummyRegressor()).fit(X, y)
    new = pd.DataFrame({"target_gene": held_out, "batch": "b1"})
    shift = make(cells[2], max_steps=5, mean_estimator="shift").fit(X, y)
    np.testing.assert_allclose(model.predict(new), shift.predict(new), atol=1e-6)
    assert model.mean_choice_ == "custom"


def test_in_a_latent_space_genes_come_back(cells, split):
    X, y, held_out = split
    genes = y @ np.random.default_rng(2).normal(size=(WIDTH, 12))
    model = LatentTargetRegressor(make(cells[2], max_steps=50), PCA(WIDTH))
    model.fit(X, genes)
    new = pd.DataFrame({"target_gene": held_out, "batch": "b1"})
    assert model.predict(new).shape == (3, 12)
    assert model.sample(new, n_cells=5).shape == (3, 5, 12)
    generated = model.sample(new, n_cells=300).mean(axis=1)
    spread = genes.std()
    np.testing.assert_allclose(generated, model.predict(new), atol=0.5 * spread)
    ridge = LatentTargetRegressor(Ridge())
    assert not hasattr(ridge, "sample")


def test_bad_input(cells, split):
    X, y, _ = split
    with pytest.raises(ValueError, match="All rows are controls"):
        make(cells[2]).fit(X.assign(target_gene="control"), y)
    with pytest.raises(ValueError, match="'mean_estimator' parameter"):
        make(cells[2], mean_estimator="mean").fit(X, y)
    doses = X.assign(dose="1+1")
    with pytest.raises(ValueError, match="is named as the dose"):
        make(cells[2], max_steps=1).fit(doses, y)


def test_wide_cells_are_moved_in_full(cells, split):
    X, y, _ = split
    rng = np.random.default_rng(3)
    wide = np.hstack([y, 0.1 * rng.normal(size=(len(y), 3))])
    wide[(X["target_gene"] == "g01").to_numpy(), -1] += 1.0
    model = make(cells[2], n_components=3, max_steps=50).fit(X, wide)
    assert model.net_.head.out_features == 3
    new = pd.DataFrame({"target_gene": ["g01", "g02"], "batch": "b1"})
    sampled = model.sample(new, 300)
    # An effect across the components is not lost, nor is the spread.
    assert sampled[0, :, -1].mean() - sampled[1, :, -1].mean() > 0.8
    assert 0.05 < sampled[1, :, -1].std() < 0.2
    np.testing.assert_allclose(sampled.mean(axis=1), model.predict(new), atol=0.6)


def test_shape_falls_back_where_cells_only_move():
    rng = np.random.default_rng(0)
    names = [f"g{i:02d}" for i in range(N_GENES)]
    table = pd.DataFrame(rng.normal(size=(N_GENES, 3)), index=names)
    labels = np.repeat(["control", *names], [600] + [N_CELLS] * N_GENES)
    y = rng.normal(size=(len(labels), 12))
    y[600:] += np.repeat(table.to_numpy() @ rng.normal(size=(3, 12)), N_CELLS, axis=0)
    X = pd.DataFrame({"target_gene": labels})
    # Without noise on the conditions the network invents shapes for unseen ones.
    model = make(table, condition_noise=0.0, validation_fraction=0.2).fit(X, y)
    assert model.shape_weight_ < 1
    forced = make(table, mean_estimator="kernel", max_steps=5).fit(X, y)
    assert forced.shape_weight_ == 1
