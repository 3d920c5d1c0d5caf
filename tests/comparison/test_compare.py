"""Models and baselines on the same folds."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.decomposition import PCA
from sklearn.exceptions import FitFailedWarning
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import Ridge
from sklearn.metrics import root_mean_squared_error
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from sklperturb.baseline import GroupStatisticRegressor, NoChangeRegressor
from sklperturb.comparison import compare, leaderboard
from sklperturb.compose import LatentTargetRegressor
from sklperturb.datasets import PerturbationSchema, make_chemical_screen
from sklperturb.ensemble import SeedEnsembleRegressor
from sklperturb.metrics import neg_mrrmse_scorer, rowwise_pearson_scorer
from sklperturb.model_selection import UnseenContextKFold, UnseenPairKFold
from sklperturb.models import select_models

FITS = []


class CountingMean(GroupStatisticRegressor):
    """Remembers each fit, to see what a cache saved."""

    def fit(self, X, y):
        FITS.append(len(X))
        return super().fit(X, y)


class Failing(RegressorMixin, BaseEstimator):
    def fit(self, X, y):
        raise RuntimeError("no luck")


@pytest.fixture(scope="module")
def screen():
    return make_chemical_screen(4, 20, 30, random_state=0)


@pytest.fixture(scope="module")
def cv():
    return UnseenPairKFold(3, random_state=0)


@pytest.fixture(scope="module")
def comparison(screen, cv):
    return compare(["additive_joint"], screen.X, screen.y, cv=cv)


def test_values_equal_a_loop_over_folds(screen, cv, comparison):
    y = screen.y.to_numpy()
    for fold, (train, test) in enumerate(cv.split(screen.X)):
        model = GroupStatisticRegressor("context").fit(screen.X.iloc[train], y[train])
        y_pred = model.predict(screen.X.iloc[test])
        expected = root_mean_squared_error(y[test].T, y_pred.T)
        rows = comparison.folds[comparison.folds["model"] == "context_mean"]
        row = rows[rows["fold"] == fold].iloc[0]
        assert row["value"] == pytest.approx(expected)
        assert row["n_rows"] == len(test)


def test_difference_is_paired_and_from_the_best_baseline(comparison):
    table = leaderboard(comparison).set_index("model")
    baselines = table[table["kind"] == "baseline"]
    best = baselines["mean"].idxmin()
    assert (comparison.summary["best_baseline"] == best).all()
    assert table.loc[best, "difference"] == 0
    np.testing.assert_allclose(
        table["difference"], table["mean"] - table.loc[best, "mean"], atol=1e-12
    )
    others = table.drop(index=best)
    assert (others["difference_low"] <= others["difference"]).all()
    assert (others["difference"] <= others["difference_high"]).all()


@pytest.mark.parametrize("baseline", ["ridge", "no_change"])
def test_what_is_passed_as_a_baseline_is_one(screen, cv, baseline):
    # Also where it stands among the models.
    models = ["product_kernel", "ridge", "no_change"]
    named = compare(models, screen.X, screen.y, cv=cv, baselines=[baseline, "ridge"])
    table = leaderboard(named).set_index("model")
    assert table["kind"].to_dict() == {
        "product_kernel": "kernel",
        "ridge": "baseline",
        "no_change": "baseline",
    }
    best = table.loc[["ridge", "no_change"], "mean"].idxmin()
    assert set(named.summary["best_baseline"]) == {best}
    assert set(named.folds.loc[named.folds["model"] == "ridge", "kind"]) == {"baseline"}
    assert table.loc["product_kernel", "difference"] == pytest.approx(
        table.loc["product_kernel", "mean"] - table.loc[best, "mean"]
    )
    assert named.scores_of("product_kernel")["baseline_name"].tolist() == [best]


def test_a_registered_model_does_not_take_the_place_of_a_baseline(screen, cv):
    with pytest.raises(ValueError, match="Two models are named 'ridge'"):
        compare(
            ["ridge"],
            *(screen.X, screen.y),
            cv=cv,
            baselines={"ridge": NoChangeRegressor()},
        )


def test_ranking_and_relative_error(comparison):
    table = leaderboard(comparison)
    assert table["rank"].tolist() == list(range(1, len(table) + 1))
    assert table["mean"].is_monotonic_increasing
    zeros = table.set_index("model").loc["no_change"]
    assert zeros["relative_to_zeros"] == pytest.approx(1.0)
    assert zeros["kind"] == "baseline"


def test_correlations_rank_downwards_and_several_metrics(screen, cv):
    comparison = compare(
        {"mean": GroupStatisticRegressor("perturbation")},
        screen.X,
        screen.y,
        cv=cv,
        scoring=[neg_mrrmse_scorer, rowwise_pearson_scorer],
        baselines=["no_change"],
    )
    table = leaderboard(comparison)
    assert table["metric"].tolist() == ["mrrmse"] * 2 + ["pearson"] * 2
    pearson = table[table["metric"] == "pearson"]
    assert pearson["model"].tolist() == ["mean", "no_change"]
    assert pearson["relative_to_zeros"].isna().all()
    assert pearson["kind"].tolist() == ["custom", "baseline"]


def test_mean_weighs_rows_and_not_folds(screen):
    n = len(screen.X)
    folds = [(np.arange(5, n), np.arange(5)), (np.arange(5), np.arange(5, n))]
    comparison = compare(
        ["gene_mean"], screen.X, screen.y, cv=folds, baselines=["no_change"]
    )
    rows = np.sqrt((screen.y.to_numpy() ** 2).mean(axis=1))
    zeros = leaderboard(comparison).set_index("model").loc["no_change"]
    assert zeros["mean"] == pytest.approx(rows.mean())


def test_processes_give_the_same_scores(screen, cv, comparison):
    parallel = compare(["additive_joint"], screen.X, screen.y, cv=cv, n_jobs=2)
    measured = ["fit_seconds", "peak_memory_mb"]
    for name in ("folds", "summary"):
        found, expected = getattr(parallel, name), getattr(comparison, name)
        pd.testing.assert_frame_equal(
            found.drop(columns=measured), expected.drop(columns=measured)
        )


def test_one_row_a_model_metric_and_fold_and_one_over_all_folds(screen, cv):
    comparison = compare(
        ["gene_mean"],
        screen.X,
        screen.y,
        cv=cv,
        scoring=["mrrmse", "pearson", "mrrmse"],
        baselines=["no_change"],
    )
    models, metrics = ["no_change", "gene_mean"], ["mrrmse", "pearson"]
    keys = [(m, n, f) for m in metrics for n in models for f in range(3)]
    folds = comparison.folds
    assert list(folds[["metric", "model", "fold"]].itertuples(index=False)) == keys
    summary = comparison.summary
    assert list(summary[["metric", "model"]].itertuples(index=False)) == list(
        dict.fromkeys(key[:2] for key in keys)
    )
    part = folds[(folds["model"] == "gene_mean") & (folds["metric"] == "mrrmse")]
    row = summary[(summary["model"] == "gene_mean") & (summary["metric"] == "mrrmse")]
    mean = np.average(part["value"], weights=part["n_rows"])
    assert row["mean"].item() == pytest.approx(mean)
    assert row["std"].item() == pytest.approx(part["value"].std())
    assert row["fit_seconds"].item() == pytest.approx(part["fit_seconds"].mean())
    assert row["peak_memory_mb"].item() == part["peak_memory_mb"].max()


def test_sets_of_models_are_those_of_the_registry(screen, cv, caplog):
    caplog.set_level("INFO", logger="sklperturb")
    X = screen.X.drop(columns=screen.schema.smiles)
    schema = PerturbationSchema.infer(X)
    comparison = compare(["gene_mean"], X, screen.y, cv=cv, schema=schema)
    entries, left_out = select_models("default", schema, kind="baseline")
    assert set(comparison.summary["model"]) == {entry.name for entry in entries}
    assert comparison.left_out == left_out
    assert "nearest_compound" in left_out
    reports = [record.getMessage() for record in caplog.records]
    assert sum("nearest_compound" in text for text in reports) == 1
    assert any("it needs a smiles column" in text for text in reports)


def test_leaderboard_refuses_a_table(comparison):
    with pytest.raises(TypeError, match=r"must be an instance of .*Comparison"):
        leaderboard(comparison.summary)


def test_cache_spares_finished_folds_and_notices_changes(screen, cv, tmp_path):
    def run(y, statistic="mean"):
        FITS.clear()
        comparison = compare(
            {"counting": CountingMean(statistic=statistic)},
            screen.X,
            y,
            cv=cv,
            baselines=["no_change"],
            cache=tmp_path / "folds",
        )
        return comparison, len(FITS)

    first, fits = run(screen.y)
    assert fits == 3
    again, fits = run(screen.y)
    assert fits == 0
    pd.testing.assert_frame_equal(first.folds, again.folds)
    pd.testing.assert_frame_equal(first.summary, again.summary)
    # A fold that was lost is fitted again, and only that one.
    files = sorted((tmp_path / "folds").glob("*.json"))
    assert all("rows" in json.loads(path.read_text()) for path in files)
    fits = []
    for path in files:
        path.unlink()
        fits.append(run(screen.y)[1])
    assert sorted(fits) == [0, 0, 0, 1, 1, 1]  # three folds are the baseline's
    assert run(screen.y + 1.0)[1] == 3
    assert run(screen.y, statistic="median")[1] == 3


def test_failure_names_model_and_fold(screen, cv):
    with pytest.raises(RuntimeError, match="no luck") as caught:
        compare({"broken": Failing()}, screen.X, screen.y, cv=cv, baselines=None)
    assert "'broken' in fold 0" in caught.value.__notes__[0]


def test_failed_model_comes_last(screen, cv):
    with pytest.warns(
        FitFailedWarning, match=r"'broken' failed in fold \d: RuntimeError"
    ):
        comparison = compare(
            {"broken": Failing()},
            screen.X,
            screen.y,
            cv=cv,
            error_score=np.nan,
            baselines=["gene_mean"],
        )
    table = leaderboard(comparison)
    assert table["model"].tolist() == ["gene_mean", "broken"]
    assert np.isnan(table["mean"].iloc[-1])


def test_no_baselines_leaves_differences_empty(screen, cv):
    comparison = compare(["ridge"], screen.X, screen.y, cv=cv, baselines=None)
    summary = comparison.summary
    assert summary["difference"].isna().all()
    assert summary["best_baseline"].isna().all()
    assert summary["relative_to_zeros"].notna().all()


ONE_HOT = make_pipeline(OneHotEncoder(handle_unknown="ignore"), Ridge())


@pytest.mark.parametrize(
    "model",
    [
        "ridge",
        "product_kernel",
        LatentTargetRegressor(GroupStatisticRegressor("context"), PCA(3)),
        SeedEnsembleRegressor(ONE_HOT, n_seeds=2),
        ONE_HOT,
        GridSearchCV(ONE_HOT, {"ridge__alpha": [1, 10]}, cv=2),
    ],
    ids=["ridge", "kernel", "latent", "ensemble", "scikit-learn", "search"],
)
def test_anndata_is_compared_as_its_numbers(screen, cv, model):
    anndata = pytest.importorskip("anndata")
    model = {"model": model}
    arguments = {"cv": cv, "baselines": None}
    plain = compare(model, screen.X, screen.y, **arguments)
    y = anndata.AnnData(sparse.csr_matrix(screen.y.to_numpy()))
    annotated = compare(model, screen.X, y, **arguments)
    columns = ["mean", "ci_low", "relative_to_zeros"]
    pd.testing.assert_frame_equal(
        annotated.summary[columns], plain.summary[columns], rtol=1e-5
    )


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"estimators": ["rige"]}, ValueError, "Did you mean 'ridge'"),
        ({"estimators": "ridge"}, ValueError, "'estimators' parameter .*'default'"),
        ({"baselines": 3, "estimators": []}, ValueError, "'baselines' parameter"),
        ({"estimators": ["ridge"], "confidence": 95}, ValueError, "'confidence'"),
        ({"estimators": ["ridge"], "error_score": "nan"}, ValueError, "'error_score'"),
        ({"estimators": [NoChangeRegressor()]}, TypeError, "list of names"),
        ({"estimators": {}, "baselines": None}, ValueError, "no models"),
        (
            {"estimators": {"gene_mean": NoChangeRegressor()}},
            ValueError,
            "Two models are named 'gene_mean'",
        ),
        ({"estimators": ["ridge"], "scoring": "mrrsme"}, ValueError, "mrrmse"),
        ({"estimators": ["ridge"], "cv": []}, ValueError, "no folds"),
    ],
)
def test_bad_requests(screen, arguments, error, match):
    with pytest.raises(error, match=match):
        compare(X=screen.X, y=screen.y, **arguments)


def test_held_out_contexts_are_resampled_and_few_are_told(screen):
    cv = UnseenContextKFold(3, random_state=0)
    with pytest.warns(UserWarning, match=r"4 contexts are held out\. .* fewer than 10"):
        comparison = compare(["gene_mean"], screen.X, screen.y, cv=cv)
    summary = comparison.summary
    assert set(summary["unit"]) == {"context"}
    assert set(summary["n_units"]) == {screen.X["cell_type"].nunique()}
    assert len(comparison.notes) == 1


class Oracle(RegressorMixin, BaseEstimator):
    """Knows the answers, times a factor."""

    def __init__(self, answers, factor=1.0):
        self.answers = answers
        self.factor = factor

    def fit(self, X, y):
        return self

    def predict(self, X):
        return self.factor * self.answers.loc[X.index].to_numpy()


@pytest.mark.parametrize(("factor", "told"), [(0.9, False), (-1.0, True)])
@pytest.mark.parametrize("scoring", ["mrrmse", "pearson"])
def test_that_no_model_is_better_is_told(cv, factor, told, scoring):
    # Where two or three of twenty compounds make all of the error, nothing is sure.
    screen = make_chemical_screen(4, 20, 30, strong_fraction=1.0, random_state=0)
    found = compare(
        {"oracle": Oracle(screen.y, factor)},
        screen.X,
        screen.y,
        cv=cv,
        scoring=scoring,
        baselines=["gene_mean"],
    )
    none_better = [n for n in found.notes if n.startswith("No model is better than")]
    assert bool(none_better) == told
    if told:
        assert (
            f"gene_mean on these folds ({scoring}): the best, oracle" in found.notes[0]
        )


def test_of_a_single_perturbation_nothing_is_shown(screen):
    rows = np.arange(3)
    X = screen.X.iloc[rows].assign(sm_name="one")
    folds = [(rows[1:], rows[:1])]
    found = compare(
        {"oracle": Oracle(screen.y)},
        X,
        screen.y.iloc[rows],
        cv=folds,
        baselines=["gene_mean"],
        schema=PerturbationSchema(perturbation="sm_name"),
    )
    assert found.notes[0].startswith("1 perturbation is held out.")
    assert "fewer than 3 they cannot be told" in found.notes[0]
    assert "with 1 perturbation to tell by" in found.notes[1]
    assert "(no interval)" in found.notes[1]
    ends = ["ci_low", "ci_high", "difference_low", "difference_high"]
    assert found.summary[ends].isna().all(axis=None)


def test_what_is_frozen_can_be_compared(screen, cv):
    fitted = NoChangeRegressor().fit(screen.X, screen.y)
    models = {"frozen": FrozenEstimator(fitted), "zeros": NoChangeRegressor()}
    found = compare(models, screen.X, screen.y, cv=cv, baselines=None)
    assert found.summary["mean"].nunique() == 1
