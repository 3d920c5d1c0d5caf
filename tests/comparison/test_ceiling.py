"""Scores of a comparison beside what a perfect model would have."""

import logging

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, RegressorMixin

from sklperturb.baseline import NoChangeRegressor
from sklperturb.cells import log_normalise
from sklperturb.comparison import compare, leaderboard
from sklperturb.datasets import make_genetic_screen
from sklperturb.evaluation import CellScorer
from sklperturb.inspection import noise_ceiling
from sklperturb.model_selection import UnseenPairKFold, UnseenPerturbationKFold
from sklperturb.models import make_cell_models
from sklperturb.persistence import read_card, save

COLUMNS = ["ceiling", "ceiling_low", "ceiling_high"]
COLUMNS += ["share_of_ceiling", "share_low", "share_high"]


class Oracle(RegressorMixin, BaseEstimator):
    """Predicts a share of the true means, which it is given."""

    def __init__(self, truth=None, share=1.0):
        self.truth = truth
        self.share = share

    def fit(self, X, y):
        return self

    def predict(self, X):
        return self.share * self.truth.loc[X["sm_name"]].to_numpy()


@pytest.fixture(scope="module")
def data():
    rng = np.random.RandomState(0)
    names = [f"p{i}" for i in range(60)]
    truth = pd.DataFrame(rng.normal(size=(60, 80)), names)
    X = pd.DataFrame({"sm_name": np.repeat(names, 3)})
    y = truth.loc[X["sm_name"]].to_numpy() + rng.normal(size=(180, 80))
    return X, y, truth


def run(data, scoring, **options):
    X, y, truth = data
    models = {"oracle": Oracle(truth), "half": Oracle(truth, 0.5)}
    cv = options.pop("cv", UnseenPerturbationKFold(4, random_state=0))
    found = compare(
        models, X, y, cv=cv, scoring=scoring, baselines=["no_change"], **options
    )
    return found.summary.set_index(["metric", "model"])


def test_a_perfect_model_is_at_the_ceiling(data):
    found = run(data, ["mrrmse", "mrmae", "pearson", "spearman"])
    for metric in found.index.levels[0]:
        rows = found.loc[metric]
        assert rows.loc["oracle", "share_of_ceiling"] == pytest.approx(1, abs=0.03)
        assert rows.loc["no_change", "share_of_ceiling"] == 0
        low, high = rows.loc["oracle", ["share_low", "share_high"]]
        assert low < rows.loc["oracle", "share_of_ceiling"] < high
        assert (rows["ceiling"] == rows["ceiling"].iloc[0]).all()
    # Half the truth: the error is sqrt(1 + 1/4) between sqrt(2) and 1.
    half = found.loc[("mrrmse", "half"), "share_of_ceiling"]
    assert half == pytest.approx((2**0.5 - 1.25**0.5) / (2**0.5 - 1), abs=0.03)


def test_shares_are_not_clipped_and_are_of_the_rows_with_a_ceiling(data):
    X, y, truth = data
    # Rows of which the ceiling is not known respond far more strongly.
    more = pd.DataFrame({"sm_name": [f"q{i}" for i in range(30)]})
    rng = np.random.RandomState(1)
    both = pd.concat([X, more], ignore_index=True)
    strong = 5 * rng.normal(size=(30, 80))
    extended = pd.concat([truth, pd.DataFrame(strong, more["sm_name"])])
    responses = np.vstack([y, strong + rng.normal(size=(30, 80))])
    found = run((both, responses, extended), "mrrmse").loc["mrrmse"]
    alone = run(data, "mrrmse").loc["mrrmse"]
    for column in ("ceiling", "share_of_ceiling"):
        assert found[column].to_numpy() == pytest.approx(alone[column].to_numpy())
    low, share, high = found.loc[
        "oracle", ["share_low", "share_of_ceiling", "share_high"]
    ]
    assert low < share < high
    worse = run((X, y, -truth), "mrrmse").loc["mrrmse"]
    assert worse.loc["oracle", "share_of_ceiling"] < -1


def test_without_a_second_measurement(data, caplog):
    X, y, truth = data
    with caplog.at_level(logging.INFO, "sklperturb"):
        found = run((X[::3], y[::3], truth), "mrrmse")
    assert found[COLUMNS].isna().all(axis=None)
    assert "No ceiling: every condition was measured once." in caplog.text
    assert run(data, "mrrmse", ceiling=None)[COLUMNS].isna().all(axis=None)


def test_a_missing_replicate_is_nobodys(data):
    X, y, truth = data
    donors = np.tile(["a", "b", "c"], 60).astype(object)
    donors[4::3] = None
    X = X.assign(donor_id=donors)
    found = run((X, y, truth), "mrrmse")
    known = X["donor_id"].notna().to_numpy()
    alone = run((X[known], y[known], truth), "mrrmse")
    assert found["ceiling"].to_numpy() == pytest.approx(alone["ceiling"], abs=1e-12)


@pytest.mark.parametrize("given", [False, True])
def test_a_ceiling_that_fails_costs_no_scores(data, monkeypatch, given):
    X, y, truth = data
    options = {}
    if given:
        options["ceiling"] = noise_ceiling(X, y)

    def fail(*args, **kwargs):
        raise RuntimeError("no luck")

    monkeypatch.setattr("sklperturb.comparison._ceilings.noise_ceiling", fail)
    with pytest.warns(UserWarning, match=r"No ceiling of pearson.*no luck"):
        comparison = compare(
            {"oracle": Oracle(truth)},
            *(X, y),
            cv=UnseenPerturbationKFold(3, random_state=0),
            scoring=["mrrmse", "pearson"],
            baselines=None,
            **options,
        )
    found = comparison.summary.set_index("metric")
    assert found["mean"].notna().all()
    assert found["ceiling"].notna().tolist() == [given, False]
    assert sum("no luck" in note for note in comparison.notes) == 2 - given


def test_a_missing_name_is_told_before_the_fits(data):
    X, y, _ = data
    X = X.assign(cell_type="T")
    X.loc[3, "cell_type"] = None
    fitted = []

    class Slow(NoChangeRegressor):
        def fit(self, X, y):
            fitted.append(len(X))
            return super().fit(X, y)

    with pytest.raises(ValueError, match="Missing values in the condition columns"):
        compare({"slow": Slow()}, X, y, cv=3, baselines=None)
    assert not fitted


def test_without_a_baseline_there_is_a_ceiling_but_no_share(data):
    X, y, truth = data
    cv = UnseenPerturbationKFold(4, random_state=0)
    found = compare({"oracle": Oracle(truth)}, X, y, cv=cv, baselines=None).summary
    assert found["ceiling"].notna().all() and found["share_of_ceiling"].isna().all()


def test_a_ceiling_from_halves_is_taken(data):
    _, _, truth = data
    rng = np.random.RandomState(2)
    X = pd.DataFrame({"sm_name": truth.index})
    halves = [truth.to_numpy() + rng.normal(size=truth.shape) for _ in range(2)]
    y = (halves[0] + halves[1]) / 2
    given = [
        noise_ceiling(X, y, scoring=name, halves=halves)
        for name in ("mrrmse", "pearson")
    ]
    found = run((X, y, truth), ["mrrmse", "pearson"], ceiling=given)
    shares = found["share_of_ceiling"].unstack()["oracle"]
    assert shares.to_numpy() == pytest.approx(1, abs=0.04)
    table = leaderboard(
        compare(
            {"oracle": Oracle(truth)},
            *(X, y),
            cv=UnseenPerturbationKFold(3, random_state=0),
            ceiling=given[0],
        )
    )
    assert table["ceiling"].iloc[0] == pytest.approx(given[0].value)
    for wrong, error, match in (
        (given[:1], ValueError, "is of 'mrrmse'"),
        (["mrrmse"], TypeError, "holds a str"),
    ):
        with pytest.raises(error, match=match):
            run((X, y, truth), "pearson", ceiling=wrong)
    with pytest.raises(ValueError, match="60 rows, and X has 59"):
        run((X[1:], y[1:], truth), "mrrmse", ceiling=given[0])


def test_a_ceiling_that_is_given_counts_where_others_cannot_be_made(data):
    _, _, truth = data
    rng = np.random.RandomState(2)
    X = pd.DataFrame({"sm_name": truth.index})
    halves = [truth.to_numpy() + rng.normal(size=truth.shape) for _ in range(2)]
    y = (halves[0] + halves[1]) / 2
    given = noise_ceiling(X, y, scoring="pearson", halves=halves)
    found = run((X, y, truth), ["mrrmse", "pearson"], ceiling=given)["ceiling"]
    assert found["pearson"].tolist() == pytest.approx([given.value] * 3)
    assert found["mrrmse"].isna().all()


def test_replicates_of_controls_alone_are_no_ceiling(data):
    _, _, truth = data
    rng = np.random.RandomState(0)
    X = pd.DataFrame({"sm_name": [*truth.index, *["DMSO"] * 20]})
    truth = pd.concat([truth, pd.DataFrame(0.0, ["DMSO"], truth.columns)])
    y = truth.loc[X["sm_name"]].to_numpy() + rng.normal(size=(80, 80))
    assert run((X, y, truth), "mrrmse")[COLUMNS].isna().all(axis=None)


@pytest.mark.parametrize("splitter", [UnseenPerturbationKFold, UnseenPairKFold])
def test_splitters_keep_replicates_together_and_an_int_does_not(data, splitter):
    X, y, truth = data
    X = X.assign(cell_type=np.where(np.arange(180) < 90, "B", "T"))
    if splitter is UnseenPairKFold:
        X["cell_type"] = "T"
        X = pd.concat([X, X.assign(cell_type="B")], ignore_index=True)
        y = np.vstack([y, y + 1])
    cv = splitter(3, random_state=0)
    arguments = {"baselines": None, "ceiling": "auto"}
    notes = compare({"oracle": Oracle(truth)}, X, y, cv=cv, **arguments).notes
    assert not any("replicates" in note for note in notes)
    shuffled = np.random.RandomState(0).permutation(len(X))
    X, y = X.iloc[shuffled], y[shuffled]
    with pytest.warns(UserWarning, match="replicates of rows that the same fold"):
        compare({"oracle": Oracle(truth)}, X, y, cv=3, **arguments)


def test_cells_have_a_second_measurement(monkeypatch):
    screen = make_genetic_screen(
        8,
        80,
        cells_per_perturbation=40,
        n_controls=80,
        embedding_dim=8,
        random_state=0,
    )
    y = log_normalise(screen.y.X).toarray()
    cv = UnseenPerturbationKFold(
        2, keep_controls="both", schema=screen.schema, random_state=0
    )
    scorer = CellScorer("discrimination")
    baselines, _ = make_cell_models(schema=screen.schema)
    found = compare(
        *({"shift": baselines["mean_shift"]}, screen.X, y),
        cv=cv,
        scoring=[scorer],
        baselines={"controls": baselines["controls"]},
        schema=screen.schema,
    ).summary
    assert found["ceiling"].between(0.5, 1).all()
    assert found["ceiling"].nunique() == 1
    with monkeypatch.context() as patch:
        patch.setattr(CellScorer, "second_measurement", None)
        with pytest.warns(UserWarning, match="No ceiling of discrimination"):
            found = compare(
                *({"shift": baselines["mean_shift"]}, screen.X, y),
                cv=cv,
                scoring=[scorer],
                baselines=None,
                schema=screen.schema,
            )
    assert found.summary["mean"].notna().all()
    assert found.summary["ceiling"].isna().all()
    test = next(iter(cv.split(screen.X)))[1]
    X, y = screen.X.iloc[test], y[test]
    own = CellScorer("discrimination", schema=screen.schema)
    scores = own.second_measurement(X, y)
    assert len(scores) == len(own.conditions(X)) and scores.notna().all(axis=None)
    # A condition with one cell cannot be measured again.
    label = X[screen.schema.perturbation]
    names = own.conditions(X)["perturbation"]
    lone = np.flatnonzero(label == names[0])[1:]
    kept = np.setdiff1d(np.arange(len(X)), lone)
    scores = own.second_measurement(X.iloc[kept], y[kept])
    assert scores["discrimination"].isna().tolist() == [True] + [False] * (
        len(scores) - 1
    )


def test_scores_for_a_card(data, tmp_path):
    X, y, truth = data
    comparison = compare(
        {"oracle": Oracle(truth)},
        *(X, y),
        cv=UnseenPerturbationKFold(3, random_state=0),
        scoring=["mrrmse", "pearson"],
        baselines=["no_change"],
    )
    scores = comparison.scores_of("oracle")
    summary = comparison.summary.set_index(["metric", "model"])
    assert scores["metric"].tolist() == ["mrrmse", "pearson"]
    assert scores["baseline"].iloc[0] == summary.loc[("mrrmse", "no_change"), "mean"]
    assert scores["ceiling"].iloc[1] == summary.loc[("pearson", "oracle"), "ceiling"]
    assert scores["held_out"].tolist() == ["60 perturbations"] * 2
    path = tmp_path / "model.skpt"
    save(NoChangeRegressor().fit(X, y), path, scores=scores)
    assert "| ceiling |" in read_card(path)
    with pytest.raises(ValueError, match="Did you mean 'oracle'"):
        comparison.scores_of("oracl")
