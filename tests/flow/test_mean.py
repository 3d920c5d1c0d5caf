"""Means of flows: what is known of genes and contexts, and no more than it is worth."""

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import sklperturb
from sklperturb.datasets import PerturbationSchema, make_genetic_screen
from sklperturb.flow import CellScreenModel, FlowMatchingRegressor
from sklperturb.flow._conditions import Conditions
from sklperturb.flow._diagnostics import Trial, choose_share
from sklperturb.flow._mean import MeanEffect, _Kernels
from sklperturb.flow._populations import make_folds
from sklperturb.linear_model._calibration import shrunken_factor
from sklperturb.linear_model._knowledge import fit_knowledge
from sklperturb.preprocessing import LookupEmbedding
from sklperturb.utils._intervals import mean_interval

N_GENES, N_OUT = 40, 15


def conditions(vectors, ends, names=None, contexts=None, controls=None):
    n = len(vectors)
    names = [f"g{i:02d}" for i in range(n)] if names is None else names
    contexts = [""] * n if contexts is None else contexts
    keys = [(c, (name,), 0.0) for c, name in zip(contexts, names, strict=True)]
    controls = np.zeros((n, N_OUT)) if controls is None else controls
    parts = vectors[:, None], np.ones((n, 1)), np.zeros((n, 0)), ends, controls
    return Conditions(keys, *parts)


def fit(known, effects):
    return MeanEffect.fit("auto", known, effects, np.zeros(len(effects)))


@pytest.fixture(scope="module")
def told():
    """Effects that two sources tell, of which each lacks some genes, and noise."""
    rng = np.random.default_rng(0)
    true = rng.normal(size=(N_GENES, 4))
    effects = 1 + true @ rng.normal(size=(4, N_OUT))
    effects += 0.3 * rng.normal(size=effects.shape)
    first, second = true.copy(), 100 * true @ rng.normal(size=(4, 6))
    first[::4], second[1::4] = 0.0, 0.0
    noise = rng.normal(size=(N_GENES, 30))
    return np.hstack([first, second, noise]), (4, 10, 40), effects


def test_sources_are_weighed_and_stand_in_for_each_other(told):
    vectors, ends, effects = told
    new, seen = np.arange(10), np.arange(10, N_GENES)
    known = conditions(vectors, ends)
    mean = fit(known.take(seen), effects[seen])
    assert mean.choice == "kernel"
    error = np.square(mean.predict(known.take(new)) - effects[new]).sum(axis=1)
    shift = np.square(effects[seen].mean(axis=0) - effects[new]).sum(axis=1)
    # Genes that the first or the second source lacks are predicted as well.
    for lacking in (slice(0, None, 4), slice(1, None, 4), slice(None)):
        assert error[lacking].mean() < 0.5 * shift[lacking].mean()
    low, high = mean.cv_intervals["kernel less shift"]
    change = mean.cv_errors["kernel"] - mean.cv_errors["shift"]
    assert low < change < high < 0


def test_nothing_is_made_of_noise(told):
    vectors, _, effects = told
    rng = np.random.default_rng(1)
    worse = []
    for _ in range(8):
        order = rng.permutation(N_GENES)
        known = conditions(vectors[order, 10:], (30,))
        mean = fit(known.take(np.arange(25)), effects[:25])
        error = np.square(mean.predict(known)[25:] - effects[25:]).sum()
        shift = np.square(effects[:25].mean(axis=0) - effects[25:]).sum()
        worse.append(error / shift)
    assert np.mean(worse) < 1.03 and max(worse) < 1.1


def test_no_effect_is_predicted_where_there_is_none():
    rng = np.random.default_rng(0)
    effects = rng.normal(size=(60, N_OUT))
    mean = fit(conditions(rng.normal(size=(60, 3)), (3,)), effects)
    new = conditions(rng.normal(size=(5, 3)), (3,), names=list("abcde"))
    assert np.square(mean.predict(new)).mean() < 0.05
    assert mean.cv_errors["kernel"] < 1.01


def test_the_controls_of_a_new_context_tell_its_effect():
    rng = np.random.default_rng(0)
    place = np.repeat(np.linspace(-2, 2, 9), 2)
    controls = place[:, None] * np.ones(N_OUT)
    effects = 3 + np.outer(place, np.ones(N_OUT)) + 0.1 * rng.normal(size=(18, N_OUT))
    names = ["a", "b"] * 9
    contexts = [f"line{i // 2}" for i in range(18)]
    known = conditions(np.zeros((18, 2)), (), names, contexts, controls)
    held_out = [12, 13]
    seen = np.delete(np.arange(18), held_out)
    mean = fit(known.take(seen), effects[seen])
    found = mean.predict(known.take(np.array(held_out)))
    overall = effects[seen].mean(axis=0)
    error = np.square(found - effects[held_out]).sum()
    assert error < 0.2 * np.square(overall - effects[held_out]).sum()
    assert mean.cv_errors["kernel"] < mean.cv_errors["shift"] < 1


def test_shrunken_factor():
    rng = np.random.default_rng(0)
    direction, groups = rng.normal(size=(30, 8)), np.arange(30) // 2
    truth = 0.4 * direction + 0.1 * rng.normal(size=direction.shape)
    assert shrunken_factor(truth, direction, groups, prior=1.0) == pytest.approx(
        0.4, abs=0.05
    )
    unrelated = [
        shrunken_factor(rng.normal(size=(30, 8)), direction, groups, prior=0.0)
        for _ in range(40)
    ]
    assert np.mean(np.array(unrelated) == 0) > 0.6
    assert shrunken_factor(truth, 0 * direction, groups, prior=1.0) == 1.0
    assert shrunken_factor(9 * direction, direction, groups, prior=1.0) == 1.5


def test_mean_interval_is_over_units():
    values, units = np.array([1.0, 3, 2, 4, 9, 9]), [0, 0, 1, 1, 2, 2]
    means = np.array([2.0, 3.0, 9.0])
    expected = stats.t.interval(0.95, 2, means.mean(), stats.sem(means))
    mean, *interval = mean_interval(values, units)
    assert mean == means.mean()
    np.testing.assert_allclose(interval, expected)
    assert mean_interval(values[:2], [0, 0]) == (2.0, -np.inf, np.inf)


def test_each_perturbation_is_held_out_once_with_all_that_has_it():
    singles = [("k", (name,), 0.0) for name in "abcdefgh"]
    pairs = [("k", ("a", "b"), 0.0), ("l", ("c", "d"), 0.0), ("l", ("a",), 0.0)]
    keys = singles + pairs
    units, folds = make_folds(keys, np.random.default_rng(0))
    tested = np.sum([test for _, test in folds], axis=0)
    assert tested.tolist() == [1] * 8 + [0, 0, 1]
    assert units[0] == units[-1]
    for held_out, test in folds:
        asked = {p for i in np.flatnonzero(test) for p in keys[i][1]}
        seen = {p for i in np.flatnonzero(~held_out) for p in keys[i][1]}
        assert not asked & seen
    few = [(c, (p,), 0.0) for c in "klm" for p in "ab"]
    units, folds = make_folds(few, np.random.default_rng(0))
    assert units.tolist() == [0, 0, 1, 1, 2, 2]
    assert [test.sum() for _, test in folds] == [2, 2, 2]
    assert make_folds(few[:4], np.random.default_rng(0))[1] == []


def test_a_shape_needs_evidence():
    rng = np.random.default_rng(0)
    units = np.repeat(np.arange(10), 2)
    before, noise = rng.normal(size=20), 0.1 * rng.normal(size=(2, 20))
    shares = (0.0, 0.5, 1.0)

    def chosen(half, whole):
        energies = np.transpose([before, before + half, before + whole])
        trial = Trial(np.arange(20), energies, np.zeros((20, 1)))
        return choose_share(trial, shares, units)

    share, gains = chosen(noise[0] - 0.2, noise[1] - 0.5)
    assert share == 1.0 and gains["shape_change_high"] < 0
    assert chosen(noise[0], noise[1])[0] == 0.0
    # Of one perturbation, however large.
    assert chosen(-5.0 * (units == 3), -5.0 * (units == 3))[0] == 0.0
    assert choose_share(None, shares, units) == (0.0, {})


def test_few_perturbations_are_not_validated_and_that_is_said():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"target_gene": np.repeat(["control", "KLF1", "MYC"], 40)})
    with pytest.warns(UserWarning, match="not validated"):
        model = FlowMatchingRegressor(max_steps=5).fit(X, rng.normal(size=(120, 2)))
    assert model.guards_ == {} and model.shape_weight_ == 0


def test_contexts_are_held_out_where_perturbations_are_few():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {
            "perturbation": np.tile(np.repeat(["control", "stim"], 30), 6),
            "cell_type": np.repeat([f"line{i}" for i in range(6)], 60),
        }
    )
    place = np.repeat(np.linspace(-3, 3, 6), 60)
    y = rng.normal(size=(360, 3)) + 4 * place[:, None]
    y[(X["perturbation"] == "stim").to_numpy()] += 5
    schema = PerturbationSchema("perturbation", context="cell_type")
    model = FlowMatchingRegressor(max_steps=5, schema=schema, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        model.fit(X, y)
    assert model.guards_["energy"] < 0.2 * model.guards_["energy_controls"]
    assert "shape_change_low" in model.guards_
    assert model.mean_cv_errors_["shift"] < 0.1
    new = pd.DataFrame({"perturbation": ["stim"], "cell_type": ["line9"]})
    controls = 20 + rng.normal(size=(50, 3))
    cells = model.sample(new, 50, source=controls)[0]
    np.testing.assert_allclose(cells.mean(axis=0), controls.mean(axis=0) + 5, atol=1)


def test_several_sources_are_saved(tmp_path):
    screen = make_genetic_screen(
        12, 64, cells_per_perturbation=20, n_controls=40, random_state=0
    )
    wide = np.random.default_rng(0).normal(size=(11, 90))
    sources = [
        screen.gene_embedding,
        pd.DataFrame(wide, index=screen.gene_embedding.index[1:12]),
    ]
    flow = FlowMatchingRegressor(n_components=3, max_steps=3, hidden_dim=8)
    model = CellScreenModel(sources, n_components=4, flow=flow)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        sklperturb.save(model.fit(screen.X, screen.y), tmp_path / "model.skpt")
        again = sklperturb.load(tmp_path / "model.skpt")
        names = [*screen.gene_embedding.index[:3], screen.gene_embedding.index[-1]]
        expected, found = (m.predict(names, 5).X.toarray() for m in (model, again))
    assert np.array_equal(found, expected)
    assert len(again.embedding) == 2 and again.flow_.mean_choice_
    assert (
        again.flow_.mean_cv_intervals_.keys() == model.flow_.mean_cv_intervals_.keys()
    )


def test_a_list_of_sources_and_a_name_are_told_apart():
    table = LookupEmbedding(pd.DataFrame(np.eye(3), index=list("abc")))
    X = pd.DataFrame({"target_gene": np.repeat(["control", *"abcde"], 12)})
    y = np.random.default_rng(0).normal(size=(72, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        one, same = (
            FlowMatchingRegressor(e, max_steps=3, random_state=0).fit(X, y)
            for e in (table, [table])
        )
    assert np.array_equal(one.predict(X), same.predict(X))


def test_combinations_that_share_a_gene_are_left_out_together(told, monkeypatch):
    """Of perturbations that is; where contexts are left out, these are the groups."""
    vectors, ends, effects = told
    contexts = [f"c{i % 4}" for i in range(N_GENES)]
    known = conditions(vectors, ends, contexts=contexts)
    pairs = [tuple(sorted({f"g{i % 9}", f"g{(i + 1) % 9}"})) for i in range(N_GENES)]
    known.keys[:] = [(c, p, 0.0) for c, p in zip(contexts, pairs, strict=True)]
    given = []
    monkeypatch.setattr(
        "sklperturb.flow._mean.fit_knowledge",
        lambda *args, sharing, **rest: given.append(sharing) or fit_knowledge(*args),
    )
    for unit in (1, 0):
        units = pd.factorize(pd.Series([key[unit] for key in known.keys]))[0]
        _Kernels.fit(known, effects, units)
    of_genes, of_contexts = given
    assert of_contexts is None and len(of_genes) == 9
    for rows in of_genes:
        assert set.intersection(*(set(pairs[row]) for row in rows))
