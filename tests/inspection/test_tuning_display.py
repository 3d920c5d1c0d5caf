"""Pictures of searches."""

import numpy as np
import optuna
import pandas as pd
import pytest
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV

from sklperturb.inspection import TuningDisplay
from sklperturb.metrics import neg_mrrmse_scorer
from sklperturb.tuning import PerturbationSearchCV
from sklperturb.tuning._trial_table import importance

X = np.random.default_rng(0).normal(size=(40, 3))
Y = np.column_stack([X @ [1.0, 2.0, 0.5], X[:, 0]])


@pytest.fixture(scope="module")
def search():
    return PerturbationSearchCV(
        Ridge(),
        {"alpha": [0.1, 10.0, 1000.0], "fit_intercept": [True, False]},
        cv=4,
        scoring="mrrmse",
        n_trials=8,
        pruner="wilcoxon",
        random_state=0,
        verbose=0,
    ).fit(X, Y)


def invented(n_trials=20, noise=0.0):
    """Return trials of an error that one parameter alone decides."""
    rng = np.random.default_rng(0)
    params = pd.DataFrame(
        {
            "main": rng.uniform(0, 1, n_trials),
            "idle": rng.uniform(0, 1, n_trials),
            "choice": rng.choice(["a", "$b"], n_trials),
        }
    )
    value = 1 + params["main"] + noise * rng.normal(size=n_trials)
    trials = pd.DataFrame(
        {"trial": range(n_trials), "state": "COMPLETE", "value": value}
    )
    return {"trials": trials, "params": params, "metric": "mrrmse"}


def test_history_has_the_sign_of_the_metric(pyplot, search):
    display = TuningDisplay.from_search(search)
    complete = search.cv_results_["state"] == "COMPLETE"
    expected = -search.cv_results_["mean_test_score"][complete]
    assert expected.min() > 0
    drawn = np.array(display.ax_.containers[0][0].get_ydata(), dtype=float)
    np.testing.assert_allclose(drawn, expected)
    assert display.ax_.get_ylabel() == "MRRMSE (lower is better)"
    steps = next(
        line for line in display.ax_.lines if line.get_label() == "best so far"
    )
    best = np.minimum.accumulate(expected)
    np.testing.assert_allclose(steps.get_ydata(), [*best, best[-1]])
    caption = display.ax_.get_title(loc="left")
    assert f"the best is {search.best_index_}: {-search.best_score_:.4g}" in caption
    assert "standard deviation over 4 folds" in caption


def test_whiskers_are_over_folds_less_what_they_share(pyplot, search):
    display = TuningDisplay.from_search(search)
    (bars,) = display.ax_.containers[0][2]
    lengths = [np.ptp(segment[:, 1]) / 2 for segment in bars.get_segments()]
    results = search.cv_results_
    folds = np.array([results[f"split{i}_test_score"] for i in range(4)])
    folds = folds[:, results["state"] == "COMPLETE"]
    left = folds - folds.mean(axis=1, keepdims=True)
    n = folds.shape[1]
    expected = left.std(axis=0, ddof=1) * np.sqrt(n / (n - 1))
    np.testing.assert_allclose(lengths, expected, atol=1e-12)


def test_study_and_search_show_the_same(pyplot, search):
    of_search = TuningDisplay.from_search(search)
    of_study = TuningDisplay.from_study(search.study_, scoring=neg_mrrmse_scorer)
    pd.testing.assert_frame_equal(
        of_study.trials, of_search.trials, check_dtype=False, rtol=1e-9
    )
    pd.testing.assert_frame_equal(of_study.folds, of_search.folds)
    assert of_study.metric == "mrrmse" and not of_study.greater_is_better
    assert of_study.curves == of_search.curves
    unnamed = TuningDisplay.from_study(search.study_)
    assert unnamed.ax_.get_ylabel() == "Score (higher is better)"


def test_curves_end_where_trials_do(pyplot, search):
    display = TuningDisplay.from_search(search, kind="curves")
    ends = {n: list(c.values()) for n, c in display.curves.items() if c}
    folds = -search.cv_results_["split0_test_score"]
    for number, values in ends.items():
        assert values[0] == pytest.approx(folds[number])
    assert len(display.ax_.lines) == len(ends)


def test_trials_without_a_score_are_marked(pyplot):
    given = invented(6)
    trials = given["trials"]
    trials.loc[[1, 2], ["state", "value"]] = ["PRUNED", np.nan]
    trials.loc[3, ["state", "value"]] = ["FAIL", np.nan]
    display = TuningDisplay(**given, greater_is_better=False).plot()
    labels = [t.get_text() for t in display.ax_.get_legend().get_texts()]
    assert {"ended early (2)", "failed (1)"} <= set(labels)
    assert len(display.ax_.containers[0][0].get_ydata()) == 3


def test_a_trial_far_off_does_not_hide_the_others(pyplot):
    given = invented()
    given["trials"].loc[4, "value"] = 1e6
    display = TuningDisplay(**given, greater_is_better=False).plot()
    assert display.ax_.get_ylim()[1] < 3
    labels = [t.get_text() for t in display.ax_.get_legend().get_texts()]
    assert "complete, beyond the edge" in labels
    display.plot(kind="slices")
    assert "1 far off left out" in display.ax_.get_title(loc="left")


def test_importance_finds_what_matters(pyplot):
    display = TuningDisplay(**invented(60, noise=0.05), greater_is_better=False)
    display.plot(kind="importance")
    table = display.importances_
    assert table.index[0] == "main"
    assert table.loc["main", "importance"] > 0.7
    assert table.loc[["idle", "choice"], "importance"].max() < 0.1
    assert (table["low"] <= table["high"]).all()
    widths = [bar.get_width() for bar in display.ax_.patches]
    np.testing.assert_allclose(widths, table["importance"])


def test_importance_is_a_share_of_the_variance():
    grid = np.stack(np.meshgrid(range(15), range(15)), axis=-1).reshape(-1, 2)
    params = pd.DataFrame(grid, columns=["a", "b"])
    # Two main effects, of which the first has four times the variance.
    table = importance(params, 2 * params["a"].to_numpy() + params["b"].to_numpy())
    np.testing.assert_allclose(table["importance"], [0.8, 0.2], atol=0.06)


def test_slices_have_one_axis_a_parameter(pyplot, search):
    display = TuningDisplay(**invented(), greater_is_better=False).plot(kind="slices")
    assert [ax.get_xlabel() for ax in display.axes_] == ["main", "idle", "choice"]
    x, y = display.axes_[0].lines[0].get_data()
    np.testing.assert_allclose(x, display.params["main"])
    np.testing.assert_allclose(y, display.trials["value"])
    star = display.axes_[0].lines[1]
    assert star.get_ydata() == display.trials["value"].min()
    ticks = [t.get_text() for t in display.axes_[2].get_xticklabels()]
    assert ticks == ["$b", "a"]
    display.figure_.canvas.draw()
    axes = TuningDisplay.from_search(search, kind="slices").axes_
    assert axes[0].get_xscale() == "log"


def test_searches_of_scikit_learn(pyplot):
    search = GridSearchCV(
        Ridge(),
        {"alpha": [0.1, 10.0]},
        scoring={"r2": "r2", "mse": "neg_mean_squared_error"},
        refit="r2",
    ).fit(X, Y)
    display = TuningDisplay.from_search(search)
    assert display.ax_.get_ylabel() == "R2 (higher is better)"
    display = TuningDisplay.from_search(search, metric="mse")
    assert display.ax_.get_ylabel() == "Mean squared error (lower is better)"
    assert (display.trials["value"] > 0).all()
    with pytest.raises(ValueError, match="Did you mean 'mse'"):
        TuningDisplay.from_search(search, metric="msee")


def test_what_cannot_be_drawn_is_said(pyplot, search):
    with pytest.raises(ValueError, match="not fitted"):
        TuningDisplay.from_search(GridSearchCV(Ridge(), {}))
    with pytest.raises(ValueError, match=r"no kind of plot.*'history'"):
        TuningDisplay.from_search(search, kind="histroy")
    display = TuningDisplay(**invented(4))
    with pytest.raises(ValueError, match="8 complete trials"):
        display.plot(kind="importance")
    with pytest.raises(ValueError, match="No values were reported"):
        display.plot(kind="curves")
    with pytest.raises(ValueError, match="Got 1 axes for 2 slices"):
        display.plot(pyplot.subplots()[1], kind="slices")
    same = invented(3)
    same["params"] = same["params"][["main"]] * 0
    with pytest.raises(ValueError, match="No parameter differs among 3 trials"):
        TuningDisplay(**same).plot(kind="slices")
    with pytest.raises(ValueError, match="one value to maximise"):
        TuningDisplay.from_study(optuna.create_study(direction="minimize"))


def test_nothing_is_complete(pyplot):
    given = invented(2)
    given["trials"]["value"] = np.nan
    given["trials"]["state"] = "FAIL"
    display = TuningDisplay(**given).plot()
    assert display.ax_.get_title(loc="left") == "2 trials"
