"""Experiments that are chosen: what is known of them by other means, and refusals."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from sklperturb.baseline import AdditiveRegressor
from sklperturb.conditions import PerturbationSchema
from sklperturb.datasets import make_chemical_screen
from sklperturb.linear_model import (
    GeneKnowledgeRidge,
    ProductKernelRidge,
    ResponseKernelRidge,
    TanimotoKernelRidge,
)
from sklperturb.metrics import rowwise_root_mean_squared_error
from sklperturb.model_selection import suggest_experiments
from sklperturb.utils._choices import DesignStrategy

NAMES = ["gain", "expected_error", "expected_error_unmeasured", "cost", "reason"]
CONTEXTS, COMPOUNDS = list("ABCD"), [f"p{i:02}" for i in range(15)]
GRID = pd.DataFrame(
    [(c, p) for c in CONTEXTS for p in COMPOUNDS], columns=["cell_type", "sm_name"]
)


class KnownProcess(RegressorMixin, BaseEstimator):
    """A Gaussian process of which nothing has to be learnt."""

    def __init__(self, factor=1.0):
        self.factor = factor

    def fit(self, X, y):
        self.X_, y = X, np.asarray(y)
        within = self.prior_covariance(X) + np.diag(self.noise_variance(X))
        self.coef_ = np.linalg.solve(within, y)
        return self

    def predict(self, X):
        return self.prior_covariance(X, self.X_) @ self.coef_

    def prior_covariance(self, X, X2=None):
        X2 = X if X2 is None else X2
        contexts, perturbations = (
            np.asarray(X[c])[:, None] == np.asarray(X2[c])
            for c in ("cell_type", "sm_name")
        )
        kernel = 0.3 * contexts + 1.0 * perturbations + 0.2 * contexts * perturbations
        return self.factor * kernel

    def noise_variance(self, X):
        return max(self.factor, 0.01) * np.where(X["cell_type"] == "A", 1.0, 0.4)


def drawn(n_genes, seed=0):
    """Return measurements of the whole grid, and others of the same responses."""
    rng = np.random.RandomState(seed)
    model = KnownProcess()
    root = np.linalg.cholesky(model.prior_covariance(GRID) + 1e-10 * np.eye(len(GRID)))
    truth = root @ rng.normal(size=(len(GRID), n_genes))
    noise = np.sqrt(model.noise_variance(GRID))[:, None]
    return [truth + noise * rng.normal(size=truth.shape) for _ in range(2)]


@pytest.fixture(scope="module")
def screen():
    return make_chemical_screen(4, 20, 30, n_shared=8, random_state=0)


def plan_of(rows, n, *, estimator=None, y=None, **options):
    """Return a plan for the grid, of which `rows` are measured."""
    y = drawn(60)[0] if y is None else y
    rest = GRID.drop(index=rows)
    estimator = KnownProcess() if estimator is None else estimator
    options = {"calibrate": False, **options}
    return suggest_experiments(estimator, GRID.loc[rows], y[rows], rest, n, **options)


def test_expected_errors_are_those_of_simulation():
    """With the model's own process, errors are what it says, within 3 %."""
    rows = np.arange(0, 60, 3)
    measured, again = drawn(2000)
    plan = plan_of(rows, 8, y=measured)
    rest = GRID.drop(index=rows)
    for n in (0, 4, 8):
        known = np.concatenate([rows, plan.index[:n]])
        model = KnownProcess().fit(GRID.loc[known], measured[known])
        errors = rowwise_root_mean_squared_error(again[rest.index], model.predict(rest))
        step = plan.attrs if n == 0 else plan.iloc[n - 1]
        assert step["expected_error"] == pytest.approx(errors.mean(), rel=0.03)
        left = np.isin(rest.index, plan.index[:n], invert=True)
        of_rest = rowwise_root_mean_squared_error(
            measured[rest.index], model.predict(rest)
        )[left].mean()
        assert step["expected_error_unmeasured"] == pytest.approx(of_rest, rel=0.03)
    gains = -np.diff([plan.attrs["expected_error"], *plan["expected_error"]])
    np.testing.assert_allclose(plan["gain"], gains)


def test_the_first_choice_is_that_of_brute_force():
    rows = np.arange(0, 60, 4)
    measured = drawn(5)[0]
    plan = plan_of(rows, 1, y=measured)
    rest = GRID.drop(index=rows)
    model, left = KnownProcess(), {}
    noise = model.noise_variance(rest)
    for candidate in rest.index:
        known = GRID.loc[[*rows, candidate]]
        within = model.prior_covariance(known) + np.diag(model.noise_variance(known))
        between = model.prior_covariance(rest, known)
        told = np.einsum("ij,ij->i", between, np.linalg.solve(within, between.T).T)
        variance = np.diag(model.prior_covariance(rest)) - told
        left[candidate] = np.sqrt(variance + noise).mean()
    assert left[plan.index[0]] == pytest.approx(min(left.values()), rel=1e-6)
    assert plan["expected_error"].iloc[0] == pytest.approx(min(left.values()), rel=1e-6)


def test_targets_decide():
    """Only what shares a context or a compound with the target tells of it."""
    targets = pd.DataFrame({"cell_type": ["B"] * 2, "sm_name": ["p03"] * 2})
    rows = GRID.index[GRID["sm_name"] == "p00"]
    plan = plan_of(rows, 3, targets=targets)
    assert plan.index[0] == GRID.index[(GRID == ["B", "p03"]).all(axis=1)][0]
    assert (plan["sm_name"] == "p03").all()
    assert "tells of itself" in plan["reason"].iloc[0]
    assert "1 compound in B, most of p03 in B" in plan["reason"].iloc[1]
    assert np.isnan(plan["expected_error_unmeasured"]).all()
    # One that is there twice counts twice.
    others = GRID[(GRID["cell_type"] == "C") & GRID["sm_name"].isin(["p05", "p06"])]
    many = pd.concat([others, others.iloc[:1], others.iloc[:1]])
    plan = plan_of(rows, 1, targets=many)
    assert plan["sm_name"].iloc[0] == others["sm_name"].iloc[0]


def test_same_seed_same_plan_and_the_order_of_rows_does_not_matter():
    rows = np.arange(0, 60, 7)
    once, again = (plan_of(rows, 9) for _ in range(2))
    pd.testing.assert_frame_equal(once, again)
    np.random.seed(0)
    state = np.random.get_state()[1].copy()
    plan_of(rows, 3, strategy="random")
    np.testing.assert_array_equal(state, np.random.get_state()[1])
    other = plan_of(rows, 9, random_state=1)
    # Equals are chosen otherwise; what is gained is the same.
    assert list(other.index) != list(once.index)
    np.testing.assert_allclose(other["gain"], once["gain"], rtol=1e-2)


def test_reasons_are_those_of_the_covariance():
    """Of three alike and one half alike, the choice tells most of the first of them."""

    class Alike(KnownProcess):
        def prior_covariance(self, X, X2=None):
            names = [
                pd.Index(list("kabcd")).get_indexer(t["sm_name"])
                for t in (X, X if X2 is None else X2)
            ]
            kernel = np.eye(5)
            kernel[1, 2:] = kernel[2:, 1] = 0.1, 0.5, 0.3
            return kernel[np.ix_(*names)]

    X = pd.DataFrame({"cell_type": "B", "sm_name": list("kabcd")})
    task = Alike(), X[:1], np.ones((1, 2)), X[1:2], 1
    plan = suggest_experiments(*task, targets=X[2:], calibrate=False)
    share = 1 - np.sqrt((1.4 - 0.5**2 / 1.4) / 1.4)
    told = f"tells of 2 compounds in B, most of c in B (error -{share:.0%})"
    assert plan["reason"].tolist() == [told]


def test_costs():
    rows = np.arange(0, 60, 7)
    rest = GRID.drop(index=rows)
    price = np.where(rest["cell_type"] == "D", 1.0, 50.0)
    plan = plan_of(rows, 5, costs=price)
    assert (plan["cell_type"] == "D").all()
    np.testing.assert_allclose(plan["cost"], np.arange(1, 6))
    priced = rest.assign(price=price)
    y = drawn(60)[0][rows]
    options = {"costs": "price", "calibrate": False}
    same = suggest_experiments(KnownProcess(), GRID.loc[rows], y, priced, 5, **options)
    assert list(same.index) == list(plan.index)
    for wrong, message in [
        (-price, "not above 0"),
        (price[:3], "3 values for"),
        ("prise", "is no column of the candidates"),
    ]:
        with pytest.raises(ValueError, match=message):
            plan_of(rows, 2, costs=wrong)


def test_limits():
    rows = np.arange(0, 60, 7)
    plan = plan_of(rows, 8, max_per={"cell_type": 2})
    assert plan["cell_type"].value_counts().max() == 2
    plan = plan_of(rows, 6, max_per={"cell_type": 3, "sm_name": 1})
    assert plan["sm_name"].is_unique
    with pytest.raises(ValueError, match=r"n=9 is more than the 8 .* max_per"):
        plan_of(rows, 9, max_per={"cell_type": 2})
    with pytest.raises(ValueError, match="which the candidates do not have"):
        plan_of(rows, 2, max_per={"plate": 2})
    with pytest.raises(ValueError, match="integer of 1 or more"):
        plan_of(rows, 2, max_per={"cell_type": 0})


def test_limits_that_end_a_plan_early():
    rest = pd.DataFrame({"cell_type": list("AAB"), "sm_name": ["x", "y", "x"]})
    limits = {"cell_type": 1, "sm_name": 1}
    with pytest.raises(ValueError, match=r"Only . of n=3|n=3 is more than the 2"):
        suggest_experiments(
            None, None, None, rest, 3, strategy="random", max_per=limits
        )


@pytest.mark.parametrize("strategy", DesignStrategy)
def test_whole_perturbations(strategy):
    rows = GRID.index[GRID["sm_name"] < "p05"]
    plan = plan_of(rows, 4, unit="perturbation", strategy=strategy)
    assert len(plan) == 16
    assert (plan.groupby("sm_name").size() == 4).all()
    np.testing.assert_allclose(plan["cost"], np.repeat([4, 8, 12, 16], 4))
    with pytest.raises(ValueError, match="than the 10 perturbations"):
        plan_of(rows, 11, unit="perturbation", strategy=strategy)


@pytest.mark.parametrize("strategy", DesignStrategy)
def test_strategies(strategy, screen):
    task = ProductKernelRidge(), screen.X, screen.y, screen.X_test
    options = {"strategy": strategy, "calibrate": False}
    plan = suggest_experiments(*task, len(screen.X_test), **options)
    assert list(plan.columns) == [*screen.X_test.columns, *NAMES]
    assert set(plan.index) == set(screen.X_test.index)
    pd.testing.assert_frame_equal(
        plan, suggest_experiments(*task, len(screen.X_test), **options)
    )
    assert (np.diff(plan["expected_error"]) <= 1e-9).all()
    assert plan["reason"].str.len().gt(10).all()
    assert plan.attrs["strategy"] == strategy


def test_top_takes_what_is_best_alone():
    rows = np.arange(0, 60, 7)
    top, greedy = (plan_of(rows, 12, batch=batch) for batch in ("top", "greedy"))
    assert top["gain"].iloc[0] == pytest.approx(greedy["gain"].iloc[0], rel=1e-3)
    assert top["expected_error"].iloc[-1] > greedy["expected_error"].iloc[-1]


def test_it_is_better_than_chance_on_the_models_own_process():
    rows = np.arange(0, 60, 10)
    chosen = plan_of(rows, 10)["expected_error"].iloc[-1]
    for seed in range(5):
        random = plan_of(rows, 10, strategy="random", random_state=seed)
        assert chosen < random["expected_error"].iloc[-1]


def test_usual_designs():
    rest = GRID.assign(mechanism=np.resize(list("xyz"), len(GRID)))
    rest = rest[rest["cell_type"] != "D"]
    nothing = None, None, None, rest
    plan = suggest_experiments(*nothing, 3, strategy="clusters", clusters="mechanism")
    assert set(plan["mechanism"]) == set("xyz")
    assert plan["reason"].iloc[0].startswith("of x")
    more = pd.concat([rest, GRID[GRID["cell_type"] == "D"].head(3)])
    plan = suggest_experiments(None, None, None, more, 16, strategy="one_context_first")
    assert plan["cell_type"].nunique() == 2
    assert plan["cell_type"].iloc[:15].nunique() == 1
    with pytest.raises(ValueError, match="is no column of the candidates"):
        suggest_experiments(*nothing, 3, strategy="clusters", clusters="target")


def test_k_centre_and_distance_by_structure():
    smiles = ["CCO", "CCCO", "CCCCO", "c1ccccc1N", "c1ccccc1NC", "c1ccccc1NCC"]
    rest = pd.DataFrame({"sm_name": list("uvwxyz"), "SMILES": smiles})
    for strategy in ("k_centre", "distance", "clusters"):
        plan = suggest_experiments(None, None, None, rest, 2, strategy=strategy)
        kinds = plan["SMILES"].str.startswith("c1")
        assert kinds.nunique() == 2, strategy
    known = rest.iloc[[1]]
    plan = suggest_experiments(
        None, known, np.zeros((1, 3)), rest.drop(1), 1, strategy="k_centre"
    )
    assert plan["SMILES"].iloc[0].startswith("c1")
    assert np.isnan(plan["gain"]).all()


def test_nothing_is_measured():
    smiles = ["CCO", "CCCO", "CCCCO", "c1ccccc1N", "c1ccccc1NC", "c1ccccc1NCC"]
    rest = pd.DataFrame({"sm_name": list("uvwxyz"), "SMILES": smiles})
    plan = suggest_experiments(TanimotoKernelRidge(), None, None, rest, 2)
    assert plan["SMILES"].str.startswith("c1").nunique() == 2
    assert plan["gain"].gt(0).all()


def test_nothing_is_measured_but_gene_sets_are_known():
    table = pd.DataFrame(np.repeat(np.eye(2), 3, axis=0), index=list("ABCDEF"))
    rest = pd.DataFrame({"target_gene": list("ABCDEF")})
    plan = suggest_experiments(GeneKnowledgeRidge([table]), None, None, rest, 2)
    assert len({name in "ABC" for name in plan["target_gene"]}) == 2
    assert "tells of 2 perturbations" in plan["reason"].iloc[0]


def test_a_pipeline_is_asked(screen):
    rename = FunctionTransformer(lambda X: X.rename(columns={"who": "sm_name"}))
    pipeline = make_pipeline(rename, ResponseKernelRidge())
    given = [X.rename(columns={"sm_name": "who"}) for X in (screen.X, screen.X_test)]
    schema = PerturbationSchema("who", context="cell_type")
    plan = suggest_experiments(
        pipeline, given[0], screen.y, given[1], 4, schema=schema, calibrate=False
    )
    plain = suggest_experiments(
        ResponseKernelRidge(), screen.X, screen.y, screen.X_test, 4, calibrate=False
    )
    assert list(plan.index) == list(plain.index)
    np.testing.assert_allclose(plan["gain"], plain["gain"])


@pytest.mark.filterwarnings("ignore:3 contexts of candidates")
def test_calibration_finds_a_model_that_exaggerates():
    rows = np.arange(0, 60, 2)
    measured = drawn(300)[0]
    options = {"y": measured, "calibrate": True}
    right = plan_of(rows, 2, **options)
    found = right.attrs["calibration"]
    assert found["ratio"] == pytest.approx(1, abs=0.05)
    assert found["low"] < found["ratio"] < found["high"]
    assert found["n_rows"] >= 10
    four = plan_of(rows, 2, estimator=KnownProcess(factor=4), **options)
    # Fifteen compounds say one half, and ten more count for one.
    expected = 0.5 ** (15 / 25)
    assert four.attrs["calibration"]["ratio"] == pytest.approx(expected, abs=0.05)
    plain = plan_of(rows, 2, estimator=KnownProcess(factor=4), y=measured)
    ratio = four.attrs["calibration"]["ratio"]
    for name in ("gain", "expected_error", "expected_error_unmeasured"):
        np.testing.assert_allclose(four[name], ratio * plain[name])
    few = plan_of(rows[:4], 2, **options)
    assert few.attrs["calibration"]["n_rows"] == 0
    assert "4 rows are measured" in few.attrs["calibration"]["why"]


def test_a_model_that_has_found_nothing_is_told():
    with pytest.warns(UserWarning, match="nothing that one condition tells of others"):
        plan_of(np.arange(0, 60, 5), 2, estimator=KnownProcess(factor=1e-12))


def test_unknown_contexts_are_told(screen):
    asked = screen.X_test.assign(cell_type="K562")
    asked = asked[~asked.duplicated(["cell_type", "sm_name"])]
    task = ResponseKernelRidge(), screen.X, screen.y, asked, 2
    with pytest.warns(UserWarning, match=r"never measured, such as \['K562'\]"):
        plan = suggest_experiments(*task, calibrate=False)
    assert (plan["gain"] > 0).all()


def test_what_is_wrong_is_told(screen):
    model, X, y, rest = ProductKernelRidge(), screen.X, screen.y, screen.X_test
    for given, message in [
        ((model, X, y, rest, len(rest) + 1), "candidates there are to choose from"),
        (
            (model, X, y, pd.concat([rest, X.head(2)]), 3),
            r"2 of \d+ candidates are mea",
        ),
        ((model, X, y, X, 3), "are measured already, such as"),
        ((model, X, y, pd.concat([rest, rest.head(2)]), 3), "are there twice"),
        (
            (model, X, y, rest.drop(columns="cell_type"), 3),
            r"lacks the columns \['cell",
        ),
        ((model, X, y, rest.iloc[:0], 3), "candidates has no rows"),
        ((AdditiveRegressor(), X, y, rest, 3), r"no prior_covariance. Use Response"),
        ((None, X, y, rest, 3), "needs an estimator"),
        ((model, X, y.head(3), rest, 3), "rows and y 3"),
        ((model, X, y, rest, 0), "'n' parameter"),
    ]:
        with pytest.raises(ValueError, match=message):
            suggest_experiments(*given)
    for options, message in [
        ({"batch": "top", "strategy": "distance"}, "batch='top' is for the strategies"),
        ({"clusters": "moa"}, "clusters='moa' is for strategy='clusters'"),
        ({"clusters": "moa", "strategy": "random"}, "choose that strategy"),
    ]:
        with pytest.raises(ValueError, match=message):
            suggest_experiments(model, X, y, rest, 3, **options)
    with pytest.raises(ValueError, match="targets has no rows"):
        suggest_experiments(model, X, y, rest, 3, targets=rest.iloc[:0])
    with pytest.raises(TypeError, match="candidates must be a data frame"):
        suggest_experiments(model, X, y, rest.to_numpy(), 3)
    both = pd.concat([rest, X.head(2)])
    plan = suggest_experiments(
        model, X, y, both, len(rest), skip_measured=True, calibrate=False
    )
    assert set(plan.index) == set(rest.index)
    with pytest.raises(ValueError, match=r"All .* candidates are measured already"):
        suggest_experiments(model, X, y, X, 3, skip_measured=True)


def test_costs_are_those_of_the_candidates_that_are_left(screen):
    rest = screen.X_test
    both = pd.concat([screen.X.head(2), rest])
    costs = np.arange(1.0, len(both) + 1)
    task = ProductKernelRidge(), screen.X, screen.y
    plan = suggest_experiments(
        *task, both, len(rest), costs=costs, skip_measured=True, calibrate=False
    )
    paid = np.diff(plan["cost"], prepend=0)
    expected = pd.Series(costs[2:], rest.index)[plan.index]
    np.testing.assert_allclose(paid, expected)


def test_disagreement_asks_any_model(screen):
    plan = suggest_experiments(
        AdditiveRegressor(),
        *(screen.X, screen.y, screen.X_test, 4),
        strategy="disagreement",
    )
    assert (plan["gain"] > 0).all()


class Wrong(KnownProcess):
    def prior_covariance(self, X, X2=None):
        return np.full((len(X), 1), np.nan)


@pytest.mark.filterwarnings("ignore:3 contexts of candidates")
def test_a_model_that_returns_something_else_is_told():
    with pytest.raises(
        ValueError, match="prior_covariance of Wrong must return finite"
    ):
        plan_of(np.arange(10), 1, estimator=Wrong())


@pytest.mark.slow
def test_ten_thousand_candidates():
    """96 of 10,000 with 400 measured: 30 s on two cores that do nothing else."""
    import time

    from sklperturb.utils._memory import ResourceMeter

    rng = np.random.RandomState(0)
    grid = pd.DataFrame(
        [(f"c{i}", f"p{j}") for i in range(10) for j in range(1040)],
        columns=["cell_type", "sm_name"],
    ).sample(frac=1, random_state=0)
    effects = rng.normal(size=(1040, 500))
    y = effects[grid["sm_name"].str[1:].astype(int)[:400]] + rng.normal(size=(400, 500))
    start = time.process_time()
    with ResourceMeter() as meter:
        plan = suggest_experiments(ResponseKernelRidge(), grid[:400], y, grid[400:], 96)
    assert len(plan) == 96
    assert meter.peak_memory_mb < 2000
    assert time.process_time() - start < 60
