"""The recommended recipe: what its weights are learnt on, and its budget."""

import warnings
from collections import Counter
from functools import partial
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, RegressorMixin

from sklperturb.datasets import make_chemical_screen
from sklperturb.ensemble._blend import centred_ranks
from sklperturb.ensemble._weights import Spectrum
from sklperturb.linear_model import ResponseKernelRidge
from sklperturb.metrics import mean_rowwise_spearman, mrrmse
from sklperturb.models import BestRegressor, _best, _learning
from sklperturb.models._best import _kinds, _measured
from sklperturb.models._learning import EDGES, learn_weights, moments_of
from sklperturb.models._parts import PLANS, Part, Plan
from sklperturb.models._trials import trial_folds


def test_weights_are_learnt_on_the_contexts_that_are_left_to_predict(screen):
    larger = make_chemical_screen(4, 60, 5, n_shared=12, random_state=0)
    X, schema = larger.X, larger.schema
    model = BestRegressor(schema=schema)
    codes = model._start_fit(X, larger.y)[:2]
    model._measured = _measured(*codes, model)
    targets = sorted(set(larger.X_test["cell_type"]))
    assert model._target_contexts(None) == targets
    assert model._target_contexts(larger.X_test) == targets
    assert model._target_contexts(X) == sorted(set(X["cell_type"]))
    alike = np.ones(larger.y.shape)
    cv = trial_folds(X, alike, schema, targets, 3, 0)
    assert cv.contexts == targets
    compounds = X["sm_name"].to_numpy()
    for train, test in cv.split(X):
        assert set(X["cell_type"].iloc[test]) <= set(targets)
        assert set(compounds[test]) <= set(compounds[train])
    # Too few pairs in the targets: all contexts have a say; too few at all: none.
    few = trial_folds(screen.X, screen.y, screen.schema, targets, 3, 0)
    assert few.contexts is None
    assert trial_folds(X.iloc[:3], alike[:3], schema, targets, 3, 0) is None


@pytest.mark.parametrize("factor", [0.2, 5.0])
def test_weights_are_learnt_elsewhere_if_the_measured_pairs_are_special(factor):
    screen = make_chemical_screen(4, 60, 5, n_shared=12, random_state=0)
    X, schema = screen.X, screen.schema
    compounds, contexts = X["sm_name"].to_numpy(), X["cell_type"].to_numpy()
    targets = sorted(set(screen.X_test["cell_type"]))
    special = set(compounds[np.isin(contexts, targets)])
    y = np.where(np.isin(compounds, list(special)), factor, 1.0)
    folds = trial_folds(X, y, schema, targets, 3, 0)
    assert folds
    for train, test in folds:
        (context,) = set(contexts[test])
        assert context not in targets
        # What is left of the context is what the targets have, as in the task ahead.
        assert set(compounds[train][contexts[train] == context]) <= special
        assert not special & set(compounds[test])
        assert set(compounds[test]) <= set(compounds[train])
        assert sorted([*train, *test]) == list(range(len(X)))


LINEAR = ["response", "ridge", "transfer"]


def test_weights_and_estimates_are_told_by_kind_of_row():
    screen = make_chemical_screen(6, 60, 30, n_shared=20, random_state=0)
    asked = pd.concat([screen.X_test, screen.X.assign(sm_name="new").iloc[:3]])
    model = BestRegressor(parts=[*LINEAR, "context"], random_state=0)
    model.fit(screen.X, screen.y, X_unlabeled=asked)
    assert list(model.weights_.columns)[::5] == ["1-10", "201-"]
    assert {"seen", "unseen"} <= set(model.weights_.index.get_level_values("kind"))
    assert set(model.parts_["seen"]) <= set(LINEAR)
    # Parts without a weight are not trained again.
    used = model.weights_.loc["seen"].any(axis=1)
    assert set(used.index[used]) <= set(model.parts_["seen"])
    estimate = model.estimates_.loc["seen"]
    assert estimate["low"] < estimate["mrrmse"] < estimate["high"]
    error = mrrmse(screen.y_test, model.predict(screen.X_test))
    assert 0.8 * estimate["low"] < error < 1.25 * estimate["high"]


def test_nothing_is_learnt_for_what_is_not_asked_for():
    screen = make_chemical_screen(4, 40, 10, n_shared=12, random_state=0)
    model = BestRegressor(parts=LINEAR + ["context"], random_state=0)
    model.fit(screen.X, screen.y, X_unlabeled=screen.X_test)
    assert list(model.estimates_.index) == ["seen"]
    new = screen.X.assign(sm_name="new").iloc[:3]
    model.fit(screen.X, screen.y, X_unlabeled=new)
    assert list(model.estimates_.index) == ["unseen"]
    # It is predicted all the same, by the first part as it is.
    assert list(model.parts_["seen"]) == ["response"]
    first = ResponseKernelRidge(schema=screen.schema).fit(screen.X, screen.y)
    np.testing.assert_allclose(
        model.predict(screen.X_test), first.predict(screen.X_test), atol=1e-6
    )


def test_kinds_count_the_other_contexts_of_a_perturbation():
    measured = np.array([[1, 0, 1], [1, 0, 1], [1, 1, 0]], bool)
    context, perturbation = (
        np.array([0, 0, 1, 1, 2, -1, 0]),
        np.r_[0, 1, 1, 2, 2, 0, -1],
    )
    # Two others, one, one, one, two, three; never measured.
    np.testing.assert_array_equal(
        _kinds(measured, context, perturbation), [2, 1, 1, 1, 2, 3, 0]
    )


def test_a_kind_of_its_own_gets_weights_of_its_own():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(80, 40))
    first, second = (truth + rng.normal(size=truth.shape) for _ in range(2))
    kinds = np.repeat([1, 2], 40)
    first[kinds == 2] = rng.normal(size=(40, 40))  # knows nothing of these
    second[kinds == 1] = rng.normal(size=(40, 40))
    predictions = {"a": (1, first), "b": (1, second)}
    folds = [(np.arange(80), np.arange(80))]
    held_out = moments_of(predictions, truth, None, None, folds, kinds, 40)
    learnt = learn_weights(held_out, "mrrmse")
    ofs = {kind: weights.mean(axis=1) for kind, weights in learnt.weights.items()}
    assert ofs[1][0] > ofs[None][0] > ofs[2][0]
    assert ofs[2][1] > ofs[None][1] > ofs[1][1]


@pytest.mark.parametrize("scoring", ["spearman", "mse"])
def test_what_is_asked_for_is_made_best(screen, scoring):
    models = [
        BestRegressor(parts=LINEAR, scoring=name, random_state=0)
        for name in ("mrrmse", scoring)
    ]
    predictions = [m.fit(screen.X, screen.y).predict(screen.X_test) for m in models]
    assert not np.allclose(*predictions)
    sizes = [np.sqrt((p**2).mean()) for p in predictions]
    assert 0.3 < sizes[1] / sizes[0] < 3


def test_networks_have_the_seeds_of_the_plan(screen, monkeypatch):
    monkeypatch.setitem(PLANS, "fast", Plan(2, 1, 2))
    model = BestRegressor(parts=["network"], random_state=0).fit(screen.X, screen.y)
    network = model.parts_["seen"]["network"]
    assert len(network.regressor_.estimators_) == 2
    shared = BestRegressor(parts=["network"], n_jobs=2, random_state=0)
    shared.fit(screen.X, screen.y)
    np.testing.assert_allclose(
        shared.predict(screen.X_test), model.predict(screen.X_test), atol=1e-3
    )


def test_a_time_limit_leaves_out_what_takes_too_long(screen, caplog):
    model = BestRegressor(0.01, random_state=0)
    with caplog.at_level("INFO", "sklperturb"):
        model.fit(screen.X, screen.y)
    # There is always one, however short the time, and no more are begun.
    assert list(model.parts_["seen"]) == ["ridge"]
    assert "There is no time for network." in caplog.text
    assert caplog.text.count("Learning the weight of") == 2


class Timed(RegressorMixin, BaseEstimator):
    """A mean whose fits take so many seconds of a clock of its own."""

    now, fits = 0.0, Counter()

    def __init__(self, name, seconds):
        self.name, self.seconds = name, seconds

    def fit(self, X, y):
        Timed.now += self.seconds
        Timed.fits[self.name] += 1
        self.mean_ = np.mean(y, axis=0)
        return self

    def predict(self, X):
        return np.tile(self.mean_, (len(X), 1))


def timed_parts(costs):
    return {
        name: Part(partial(lambda model, _: model, Timed(name, seconds)), cost=cost)
        for name, (cost, seconds) in costs.items()
    }


@pytest.mark.parametrize(
    ("seen", "unseen", "fits"),
    [
        # Five folds and a fit at the end. What is quick comes first, and what is known
        # to be slow is not begun.
        (
            {"usual": (1, 1.0), "slow": (4, 4.0), "quick": (0.5, 0.5)},
            {"context": (0.1, 0.1)},
            {"quick": 6, "usual": 6, "context": 6},
        ),
        # Slower than expected, which a single fit tells.
        (
            {"quick": (0.5, 0.5), "usual": (1, 4.0)},
            {"context": (0.1, 0.1)},
            {"quick": 6, "usual": 1, "context": 6},
        ),
        # Of two kinds, one has no more than half of the time.
        (
            {"quick": (0.5, 0.5), "usual": (1, 1.0), "slow": (9, 9.0)},
            {"structure": (1.5, 1.5), "context": (0.1, 0.1)},
            {"quick": 6, "usual": 6, "context": 6},
        ),
    ],
)
def test_a_time_limit_is_kept(monkeypatch, seen, unseen, fits):
    monkeypatch.setattr(_best, "seen_parts", lambda *_: timed_parts(seen))
    monkeypatch.setattr(_best, "unseen_parts", lambda *_: timed_parts(unseen))
    clock = SimpleNamespace(perf_counter=lambda: Timed.now)
    monkeypatch.setattr(_learning, "time", clock)
    monkeypatch.setattr(Timed, "now", 0.0)
    monkeypatch.setattr(Timed, "fits", Counter())
    larger = make_chemical_screen(4, 40, 5, n_shared=20, random_state=0)
    y = larger.y + 5.0  # so that all means have a weight
    BestRegressor(14, random_state=0).fit(larger.X, y)
    assert Timed.fits == fits
    assert Timed.now <= 14


@pytest.mark.parametrize("budget", ["huge", None, 0, -1.0, True, (1, 2)])
def test_a_budget_that_is_none_is_refused(screen, budget):
    message = r"pass one of \['fast', 'thorough'\], or a number of seconds"
    with pytest.raises(ValueError, match=message):
        BestRegressor(budget).fit(screen.X, screen.y)


def test_parts_that_there_are_none_of_are_refused(screen):
    with pytest.raises(ValueError, match=r"pass some of \[.*'ridge', 'transfer'"):
        BestRegressor(parts=["kernel"]).fit(screen.X, screen.y)


def test_few_shared_perturbations_in_many_target_contexts_give_folds():
    # Of 16 pairs to hold out, but only of 4 perturbations: too few for 5 folds.
    pairs = [(c, p) for c in "ABCDE" for p in "uvwx"] + [("A", p) for p in "yz"]
    X = pd.DataFrame(pairs, columns=["cell_type", "sm_name"])
    schema = make_chemical_screen(4, 20, 5, random_state=0).schema
    cv = trial_folds(X, np.ones((len(X), 2)), schema, list("ABCD"), 5, 0)
    assert len(list(cv.split(X))) == 5  # of all contexts


def test_names_are_asked_for_as_text(screen):
    X = screen.X.assign(cell_type=pd.factorize(screen.X["cell_type"])[0])
    X = X.assign(sm_name=pd.factorize(X["sm_name"])[0])
    model = BestRegressor(parts=["ridge", "context"], random_state=0)
    model.fit(X, screen.y, X_unlabeled=X.astype(str))
    assert list(model.estimates_.index) == ["seen"]


def test_responses_that_are_all_zero_are_predicted_as_zero(screen):
    model = BestRegressor(parts=[*LINEAR, "context"], random_state=0)
    y_pred = model.fit(screen.X, 0 * screen.y).predict(screen.X_test)
    np.testing.assert_array_equal(y_pred, np.zeros(screen.y_test.shape))


def test_parts_that_predict_nothing_well_are_not_replaced_by_others(monkeypatch):
    screen = make_chemical_screen(4, 20, 5, random_state=0)

    def nothing(held_out, scoring):
        learnt = learn_weights(held_out, scoring)
        learnt.weights = {kind: 0 * w for kind, w in learnt.weights.items()}
        return learnt

    monkeypatch.setattr("sklperturb.models._best.learn_weights", nothing)
    asked = screen.X_test
    model = BestRegressor(parts=["ridge", "context"], random_state=0)
    model.fit(screen.X, screen.y, X_unlabeled=asked)
    assert not model.predict(asked).any()


def test_ranks_of_one_gene_are_refused(screen):
    model = BestRegressor(parts=["ridge"], scoring="spearman", random_state=0)
    with pytest.raises(ValueError, match="y has one gene"):
        model.fit(screen.X, np.asarray(screen.y)[:, :1])


def _heavy_tails(rng, n_rows, n_genes=40):
    """Return responses of very different sizes, and what two parts predict.

    One part knows weak responses, which are most, the other the strong ones.
    """
    basis = rng.normal(size=(8, n_genes)) / 3
    y = rng.normal(size=(n_rows, 8)) @ basis
    size = np.exp(rng.normal(size=(n_rows, 1)))
    strong = size > 1.5

    def part(knows):
        noise = rng.normal(size=(n_rows, 8)) @ basis
        return size * np.where(knows, y + 0.3 * noise, 0.2 * y + noise)

    parts = np.stack([part(~strong), part(strong)])
    return size * (y + 0.1 * rng.standard_t(2, size=y.shape)), parts


def _scores_on_other_rows(seed):
    """Return Spearman, MRRMSE and MSE of new rows by each scoring, one row each."""
    y, predicted = _heavy_tails(np.random.default_rng(seed), 1600)
    known, new = np.arange(400), np.arange(400, 1600)
    folds = [(known[known % 4 != k], known[known % 4 == k]) for k in range(4)]
    order = np.concatenate([test for _, test in folds])
    held_out = moments_of(
        {name: (1, part[order]) for name, part in zip("ab", predicted, strict=True)},
        y[known],
        centred_ranks(y[known]),
        np.full(40, 40**-0.5),
        folds,
        np.ones(len(order), int),
        40,
    )
    spectrum, scores = Spectrum(y[known], EDGES), []
    for scoring in ("spearman", "mrrmse", "mse"):
        learnt = learn_weights(held_out, scoring)
        y_pred = spectrum.weigh(predicted[:, new], learnt.weights[None])
        y_pred, truth = learnt.stretch(y_pred), y[new]
        squared = np.mean((truth - y_pred) ** 2)
        order = mean_rowwise_spearman(truth, y_pred)
        scores.append((order, mrrmse(truth, y_pred), squared))
    return np.array(scores)


def test_what_is_asked_for_is_better_on_other_rows():
    of_seeds = np.array([_scores_on_other_rows(seed) for seed in range(6)])
    order, error, squared = of_seeds.transpose(2, 1, 0)
    assert (order[0] > np.maximum(order[1], order[2]) + 0.05).all()
    for errors, asked, other in ((error, 1, 2), (squared, 2, 1)):
        assert (errors[asked] < 0.9 * errors[0]).all()
        # The two are near to each other: what is asked for wins most of the time.
        assert (errors[asked] < errors[other]).sum() >= 4
        assert np.log(errors[asked] / errors[other]).mean() < -0.0005


def test_parts_for_what_was_seen_leave_the_context_for_the_rest(screen):
    model = BestRegressor(parts=["ridge"], random_state=0).fit(screen.X, screen.y)
    assert list(model.parts_["unseen"]) in ([], ["context"])
    new = screen.X.iloc[:4].assign(sm_name="never measured")
    assert "context" in model.weights_.loc["unseen"].index
    assert model.predict(new).any()
    only = BestRegressor(parts=["context"], random_state=0).fit(screen.X, screen.y)
    assert not only.parts_["seen"] and only.predict(screen.X_test).any()


def test_contexts_are_looked_for_by_their_text():
    screen = make_chemical_screen(4, 60, 5, n_shared=12, random_state=0)
    number = {name: n for n, name in enumerate(sorted(set(screen.X["cell_type"])))}
    X = screen.X.assign(cell_type=screen.X["cell_type"].map(number))
    targets = sorted({number[name] for name in screen.X_test["cell_type"]})
    same = np.ones(screen.y.shape)
    folds = [
        list(trial_folds(X, same, screen.schema, names, 3, 0).split(X))
        for names in (targets, list(map(str, targets)), list(map(float, targets)))
    ]
    for other in folds[1:]:
        for (_, test), (_, also) in zip(folds[0], other, strict=True):
            np.testing.assert_array_equal(test, also)


def test_what_is_known_of_genes_predicts_those_never_measured():
    rng = np.random.RandomState(0)
    genes = [f"G{i}" for i in range(60)]
    table = pd.DataFrame(rng.normal(size=(60, 3)), genes)
    y = table.to_numpy() @ rng.normal(size=(3, 20)) + rng.normal(size=20)
    X = pd.DataFrame({"cell_type": "A", "target_gene": genes})
    new = np.arange(60) >= 40
    model = BestRegressor(parts=["genes", "context"], sources=[table], random_state=0)
    model.fit(X[~new], y[~new], X_unlabeled=X[new])
    error = mrrmse(y[new], model.predict(X[new]))
    assert error < 0.6 * mrrmse(y[new], np.tile(y[~new].mean(axis=0), (20, 1)))
    assert next(iter(model.parts_["unseen"])) == "genes"


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("neg_mrrmse", "mrrmse"),
        ("rowwise_spearman", "spearman"),
        ("neg_mean_squared_error", "mse"),
    ],
)
def test_scorers_are_taken_by_their_names(screen, name, short):
    found = [
        BestRegressor(parts=["response", "ridge"], scoring=each, random_state=0)
        .fit(screen.X, screen.y)
        .weights_
        for each in (name, short)
    ]
    pd.testing.assert_frame_equal(*found)


def test_many_rows_are_not_compared_with_each_other(screen, monkeypatch):
    tried = []

    def note(parts, *_):
        tried.append(set(parts))
        raise InterruptedError

    def fit(**params):
        with pytest.raises(InterruptedError):
            BestRegressor(**params).fit(screen.X, screen.y, X_unlabeled=screen.X_test)
        return tried[-1]

    monkeypatch.setattr(_best, "held_out_predictions", note)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "best leaves out")
        assert "response" in fit()
    monkeypatch.setattr(_best, "MOST_ROWS", len(screen.y) - 1)
    with pytest.warns(UserWarning, match="leaves out the parts response.*parts="):
        many = fit()
    assert many and not many & {"response", "boosting"}
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "best leaves out")
        assert "response" in fit(parts=["response", "ridge"])
