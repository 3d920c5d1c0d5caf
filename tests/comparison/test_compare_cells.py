"""Models of cells on the same folds, scored by cells."""

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.exceptions import FitFailedWarning
from sklearn.utils import Bunch

from sklperturb.cells import log_normalise
from sklperturb.comparison import compare, leaderboard
from sklperturb.comparison._cells import select_cell_models, suggest_cell_cv
from sklperturb.comparison._evidence import dealt_units
from sklperturb.comparison._judge import CellJudge
from sklperturb.datasets import make_genetic_screen
from sklperturb.evaluation import CellScorer
from sklperturb.metrics import energy_distance
from sklperturb.model_selection import UnseenContextKFold, UnseenPerturbationKFold
from sklperturb.models import make_cell_models
from sklperturb.preprocessing import LookupEmbedding


class Oracle(RegressorMixin, BaseEstimator):
    """Knows all cells, as no model does; what the best score looks like."""

    def __init__(self, cells=None):
        self.cells = cells

    def fit(self, X, y):
        self.is_fitted_ = True
        return self

    def sample(self, X, n_cells):
        return self.cells.loc[X.index].to_numpy()[:, None]


def make(n_contexts, n_perturbations=12):
    screen = make_genetic_screen(
        n_perturbations,
        40,
        cells_per_perturbation=15,
        n_controls=40 * n_contexts,
        n_batches=1,
        embedding_dim=8,
        n_contexts=n_contexts,
        random_state=0,
    )
    logs = log_normalise(screen.y.X).toarray()
    return screen, pd.DataFrame(logs, screen.X.index, screen.target_names)


@pytest.fixture(scope="module")
def lines():
    return make(3)


def baselines(screen):
    found, _ = make_cell_models(schema=screen.schema)
    return {name: found[name] for name in ("controls", "mean_shift")}


def test_scores_are_those_of_a_loop_over_folds_and_contexts(lines):
    screen, y = lines
    cv = UnseenPerturbationKFold(2, keep_controls="both", random_state=0)
    found = compare(
        {"oracle": Oracle(y)},
        screen.X,
        y,
        cv=cv,
        baselines=baselines(screen),
        scoring=CellScorer("energy", "populations"),
        schema=screen.schema,
    )
    table = leaderboard(found).set_index("model")
    assert table.loc["oracle", "rank"] == 1
    assert table.loc["oracle", "mean"] == pytest.approx(0, abs=1e-6)
    assert table.loc["controls", "relative_to_zeros"] == pytest.approx(1)
    assert (table["unit"] == "perturbation").all() and (table["n_units"] == 12).all()
    expected = []
    context = screen.schema.context
    for train, test in cv.split(screen.X):
        model = baselines(screen)["mean_shift"]
        model.fit(screen.X.iloc[train], y.iloc[train])
        X, truth = screen.X.iloc[test], y.iloc[test].to_numpy()
        drawn = model.sample(X, 1)[:, 0]
        groups = X[~X["control"]].groupby([context, "target_gene"]).groups
        for labels in groups.values():
            rows = X.index.get_indexer(labels)
            expected.append(energy_distance(truth[rows], drawn[rows]))
    assert 24 < len(expected) <= 36
    assert table.loc["mean_shift", "mean"] == pytest.approx(np.mean(expected))
    folds = found.folds[found.folds["model"] == "mean_shift"]
    assert folds["n_rows"].sum() == len(expected)


def test_contexts_are_the_units_where_they_are_held_out(lines):
    screen, y = lines
    cv = UnseenContextKFold(3, keep_controls="both", random_state=0)
    metrics = [
        CellScorer(name, "populations", n_components=5)
        for name in ("energy", "discrimination")
    ]
    with pytest.warns(UserWarning, match="3 contexts are held out"):
        found = compare(
            {"oracle": Oracle(y)},
            screen.X,
            y,
            cv=cv,
            baselines=baselines(screen),
            scoring=metrics,
            schema=screen.schema,
        )
    summary = found.summary.set_index(["metric", "model"])
    assert set(summary["unit"]) == {"context"} and set(summary["n_units"]) == {3}
    assert summary.loc[("discrimination", "oracle"), "mean"] == 1
    assert summary.loc[("energy", "oracle"), "mean"] == pytest.approx(0, abs=1e-6)
    assert summary.loc[("discrimination", "oracle"), "greater_is_better"]
    assert np.isnan(summary.loc[("discrimination", "oracle"), "relative_to_zeros"])


def test_units_are_those_of_the_scores(lines):
    screen, _ = lines
    X = screen.X.sample(frac=1, random_state=0)
    judge = CellJudge([CellScorer("energy", "populations")], screen.schema, X)
    for kind, role in (
        (UnseenPerturbationKFold, "perturbation"),
        (UnseenContextKFold, "context"),
    ):
        cv = kind(3, keep_controls="both", random_state=0)
        folds = list(cv.split(X))
        unit, units = judge.units(X, folds, screen.schema, dealt_units(cv, X))
        conditions = [judge._conditions(X, test) for _, test in folds]
        names = pd.concat(conditions)[role].tolist()
        assert unit == role and len(units) == len(names)
        # One name for each unit, whatever units are called.
        assert len(set(zip(units, names, strict=True))) == len(set(names))
        assert len(set(units)) == len(set(names))


def test_finished_folds_are_kept(lines, tmp_path):
    screen, y = lines
    options = {
        "cv": UnseenPerturbationKFold(2, keep_controls="both", random_state=0),
        "baselines": baselines(screen),
        "scoring": CellScorer("energy", "populations"),
        "schema": screen.schema,
        "cache": tmp_path,
    }
    first, again = (compare({}, screen.X, y, **options) for _ in range(2))
    assert len(list(tmp_path.glob("*.json"))) == 4
    pd.testing.assert_frame_equal(first.folds, again.folds)
    # Other controls make other scores.
    name = screen.X.loc[~screen.is_control, screen.schema.perturbation].iloc[0]
    labels = [*screen.X.loc[screen.is_control, screen.schema.perturbation][:1], name]
    schema = replace(screen.schema, control=None, control_labels=labels)
    options["scoring"] = CellScorer("energy", "populations", schema=schema)
    compare({}, screen.X, y, **options)
    assert len(list(tmp_path.glob("*.json"))) == 8


def test_rows_and_cells_do_not_mix(lines):
    screen, y = lines
    energy = CellScorer("energy", "populations")
    for scoring in ([energy, "mrrmse"], [energy, CellScorer("discrimination")]):
        with pytest.raises(ValueError, match="mixes scores of rows and of cells"):
            compare({}, screen.X, y, baselines=baselines(screen), scoring=scoring)


def test_a_failed_model_has_no_score(lines):
    screen, y = lines
    with pytest.warns(FitFailedWarning, match="failed in fold"):
        found = compare(
            {"short": Oracle(y.iloc[:, :3])},
            screen.X,
            y,
            cv=UnseenPerturbationKFold(2, keep_controls="both", random_state=0),
            baselines=baselines(screen),
            scoring=CellScorer("energy", "populations"),
            error_score=np.nan,
        )
    assert leaderboard(found)["model"].iloc[-1] == "short"


def test_which_folds_are_suggested(lines):
    screen, _ = lines
    cv = suggest_cell_cv(screen)
    assert isinstance(cv, UnseenPerturbationKFold) and cv.keep_controls == "both"
    one, _ = make(3, 1)
    with pytest.warns(UserWarning, match="n_splits=5 becomes 3"):
        cv = suggest_cell_cv(one)
    assert isinstance(cv, UnseenContextKFold) and cv.n_splits == 3
    with pytest.raises(ValueError, match="is for signatures"):
        suggest_cell_cv(screen, "unseen-pair")
    alone, _ = make(1, 1)
    with pytest.raises(ValueError, match="needs two to hold out one"):
        suggest_cell_cv(alone)
    with pytest.raises(ValueError, match="there is no column of them"):
        suggest_cell_cv(alone, "unseen-context")


def test_genes_that_are_perturbed_alone_and_in_pairs_are_told(lines):
    screen, _ = lines
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        suggest_cell_cv(screen, "unseen-perturbation", 2)
    column = screen.schema.perturbation
    first, second = screen.X.loc[~screen.is_control, column].unique()[:2]
    names = screen.X[column].astype(str).to_numpy(dtype=object)
    names[np.flatnonzero(names == second)[:5]] = f"{first}+{second}"
    X = screen.X.assign(**{column: names})
    joined = Bunch(**screen | {"X": X})
    with pytest.warns(UserWarning, match="2 genes are perturbed alone and in comb"):
        suggest_cell_cv(joined, "unseen-perturbation", 2)


def test_which_models_fit(lines):
    screen, y = lines
    embedding = LookupEmbedding(screen.gene_embedding)
    models, found, left_out = select_cell_models(screen, y, embedding=embedding)
    assert set(left_out) == {"additive", "best"}
    assert {"ridge", "kernel", "bilinear", "flow"} <= set(models)
    assert "context_shift" in found
    models, _, left_out = select_cell_models(screen, y.to_numpy())
    assert list(models) == ["flow"] and "bilinear" in left_out
    assert list(select_cell_models(screen, y, ["bilinear"])[0]) == ["bilinear"]
    models, _, left_out = select_cell_models(screen, y, ["best"], embedding=embedding)
    assert models["best"].embedding is embedding and left_out == {}
    with pytest.raises(ValueError, match="'gan' is no model of cells"):
        select_cell_models(screen, y, ["gan"])


def test_the_scorer_says_which_label_is_of_controls(lines):
    """Whatever it is: units are of the cells that are scored."""
    screen, y = lines
    X = screen.X.drop(columns=screen.schema.control)
    X["target_gene"] = X["target_gene"].where(~screen.is_control, "mywt")
    named = replace(screen.schema, control=None, control_labels=("mywt",))
    cv = UnseenPerturbationKFold(2, keep_controls="both", schema=named, random_state=0)
    summaries = [
        compare(
            {"oracle": Oracle(y)},
            X,
            y,
            cv=cv,
            baselines=None,
            scoring=CellScorer("energy", "populations", **given),
            random_state=0,
        ).summary
        for given in ({"control": "mywt"}, {"schema": named})
    ]
    columns = ["mean", "ci_low", "ci_high", "n_units"]
    pd.testing.assert_frame_equal(*(table[columns] for table in summaries))
    assert (summaries[0]["n_units"] == 12).all()


def test_models_by_name_know_the_label_that_the_scorer_says(lines):
    screen, y = lines
    X = screen.X.drop(columns=screen.schema.control)
    X["target_gene"] = X["target_gene"].where(~screen.is_control, "mywt")
    named = replace(screen.schema, control=None, control_labels=("mywt",))
    cv = UnseenPerturbationKFold(2, keep_controls="both", schema=named, random_state=0)
    means = [
        compare(
            [],
            X,
            y,
            cv=cv,
            baselines=["mean_shift", "perturbation_mean"],
            scoring=CellScorer("energy", "populations", control="mywt"),
            schema=schema,
            random_state=0,
        ).summary["mean"]
        for schema in (None, named)
    ]
    pd.testing.assert_series_equal(*means)
