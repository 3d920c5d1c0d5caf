"""The error by the number of perturbations to learn from."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, RegressorMixin

from sklperturb.inspection import PerturbationLearningCurveDisplay
from sklperturb.inspection._learning_curve import _subsets
from sklperturb.model_selection import UnseenPairKFold, UnseenPerturbationKFold


class Counter(RegressorMixin, BaseEstimator):
    """Predicts how many perturbations it was fitted on."""

    def fit(self, X, y):
        self.n_outputs_ = np.asarray(y).shape[1]
        self.count_ = X.iloc[:, 1].nunique() if X.shape[1] > 1 else len(X)
        return self

    def predict(self, X):
        return np.full((len(X), self.n_outputs_), float(self.count_))


def curve(screen, **options):
    options = {"cv": UnseenPerturbationKFold(2, random_state=0)} | options
    return PerturbationLearningCurveDisplay.from_estimator(
        options.pop("estimator", "ridge"), screen.X, screen.y, **options
    )


def test_models_learn_from_as_many_perturbations_as_is_said(pyplot, screen):
    X = screen.X[[screen.schema.context, screen.schema.perturbation]]
    y = np.full((len(X), 3), 0.5)
    display = PerturbationLearningCurveDisplay.from_estimator(
        Counter(),
        X,
        y,
        cv=UnseenPerturbationKFold(2, random_state=0),
        sizes=[2, 0.5, 1.0],
    )
    y_pred = display.table["value"] + y[0, 0]
    np.testing.assert_allclose(y_pred, display.table["n_perturbations"])
    of_folds = display.table.groupby("size", sort=False)["n_perturbations"].mean()
    assert display.summary_["n_perturbations"].tolist() == of_folds.tolist()
    assert of_folds.tolist() == [2, 5, 10]
    assert display.ax_.get_xlabel() == "perturbations learnt from"
    caption = display.ax_.get_title(loc="left")
    assert f"{len(X)} rows held out in 2 folds" in caption


def test_models_share_rows_that_grow(screen):
    cv = UnseenPerturbationKFold(2, random_state=0)
    train, test = next(iter(cv.split(screen.X)))
    asked = (screen.X, train, test, 0, [2, 0.5, 1.0], screen.schema)
    small, half, full = _subsets(*asked, 0)
    assert set(small["train"]) < set(half["train"]) < set(full["train"])
    np.testing.assert_array_equal(full["train"], train)
    assert all((subset["test"] == test).all() for subset in (small, half, full))
    again, other = _subsets(*asked, 0)[1], _subsets(*asked, 1)[1]
    np.testing.assert_array_equal(half["train"], again["train"])
    assert set(half["train"]) != set(other["train"])


def test_perturbations_that_are_tested_too_stay(screen):
    context = screen.X[screen.schema.context].iloc[0]
    cv = UnseenPairKFold(4, contexts=[context], random_state=0)
    train, test = next(iter(cv.split(screen.X)))
    names = screen.X[screen.schema.perturbation].to_numpy()
    (subset,) = _subsets(screen.X, train, test, 0, [1], screen.schema, 0)
    tested = set(names[test])
    assert tested < set(names[subset["train"]])
    assert subset["n_perturbations"] == len(tested) + 1
    assert subset["n_perturbations"] == len(set(names[subset["train"]]))


def test_controls_stay_and_do_not_count(screen):
    X = pd.DataFrame({"target_gene": ["control", "A", "B", "C", "D", "control", "E"]})
    from sklperturb.conditions import resolve_schema

    schema = resolve_schema(None, X)
    train, test = np.arange(6), np.array([6])
    (subset,) = _subsets(X, train, test, 0, [2], schema, 0)
    assert {0, 5} < set(subset["train"]) and len(subset["train"]) == 4
    assert subset["n_perturbations"] == 2


def test_several_models_have_a_curve_each(pyplot, screen):
    display = curve(
        screen,
        estimator={"$a": "gene_mean", "b": "additive_joint"},
        sizes=[0.5, 1.0],
        scoring="spearman",
    )
    texts = [t.get_text() for t in display.ax_.get_legend().get_texts()]
    assert texts == ["$a", "b"]
    assert display.ax_.get_ylabel() == "Spearman (higher is better)"
    one = curve(
        screen, estimator="additive_joint", sizes=[0.5, 1.0], scoring="spearman"
    )
    b = display.summary_[display.summary_["model"] == "b"]
    np.testing.assert_allclose(b["mean"], one.summary_["mean"])
    display.figure_.canvas.draw()


def test_spread_is_without_what_all_sizes_of_a_fold_share(pyplot):
    table = pd.DataFrame(
        {
            "model": "m",
            "size": [1, 2] * 3,
            "n_perturbations": [1, 2] * 3,
            "fold": [0, 0, 1, 1, 2, 2],
            "value": [1.0, 0.5, 11.0, 10.5, 31.0, 30.5],
            "n_rows": [1, 1, 2, 2, 1, 1],
        }
    )
    summary = PerturbationLearningCurveDisplay(table=table).plot().summary_
    np.testing.assert_allclose(summary["std"], 0, atol=1e-9)
    np.testing.assert_allclose(summary["mean"], [13.5, 13.0])  # of rows
    alone = PerturbationLearningCurveDisplay(table=table[:2]).plot()
    assert alone.summary_["std"].isna().all()
    assert "Whiskers" not in alone.ax_.get_title(loc="left")


@pytest.mark.parametrize("size", [0, 0.0, 1.5, 11, -1, True, False, "all"])
def test_sizes_are_checked(pyplot, screen, size):
    with pytest.raises(ValueError, match=r"allowed are shares above 0.*from 1 to"):
        curve(screen, sizes=[size])


def test_nothing_can_be_left_out(pyplot, screen):
    rows = np.arange(len(screen.X))
    with pytest.raises(ValueError, match="UnseenPerturbationKFold"):
        curve(screen, cv=[(rows, rows)])
