"""Errors by the number of experiments that were chosen."""

import numpy as np
import pandas as pd
import pytest

from sklperturb.inspection import DesignCurveDisplay
from sklperturb.linear_model import ProductKernelRidge
from sklperturb.model_selection import suggest_experiments

STEPS = np.array([0, 8, 16, 32, 64, 128, 256])


def drawn(n_repeats):
    """Errors that fall by one over n, of repeats that are spread evenly."""
    parts = [
        pd.DataFrame({"n": STEPS, "value": 1 / (1 + STEPS) + shift}).assign(design=name)
        for name in ("random", "$chosen")
        for shift in np.linspace(-0.1, 0.1, n_repeats)
    ]
    return pd.concat(parts, ignore_index=True)


def plan_of(screen, n=6, **options):
    X_test = screen.X[screen.X.columns].iloc[-12:].reset_index(drop=True)
    X, y = screen.X.iloc[:-12], np.asarray(screen.y)[:-12]
    estimator = options.pop("estimator", ProductKernelRidge())
    return suggest_experiments(estimator, X, y, X_test, n, **options)


def test_repeats_are_a_mean_with_a_band(pyplot):
    display = DesignCurveDisplay(table=drawn(5)).plot()
    summary = display.summary_.set_index(["design", "n"])
    # Designs as they are given, not by the alphabet.
    assert summary.index.unique(0).tolist() == ["random", "$chosen"]
    np.testing.assert_allclose(summary["value"], np.tile(1 / (1 + STEPS), 2))
    np.testing.assert_allclose(summary["value"] - summary["low"], 0.095)
    np.testing.assert_allclose(summary["high"] - summary["value"], 0.095)
    texts = [t.get_text() for t in display.ax_.get_legend().get_texts()]
    assert texts == ["random", "$chosen"]
    assert display.ax_.get_ylabel() == "MRRMSE (lower is better)"
    assert display.ax_.get_xlabel() == "experiments chosen"
    display.figure_.canvas.draw()


def test_a_few_repeats_have_no_band_but_given_ends_do(pyplot):
    few = DesignCurveDisplay(table=drawn(4)).plot().summary_
    assert few[["low", "high"]].isna().all(axis=None)
    table = drawn(1).assign(low=0.0, high=2.0)
    given = DesignCurveDisplay(table=table, metric="pearson", greater_is_better=True)
    assert (given.plot().summary_["high"] == 2).all()
    assert given.ax_.get_ylabel() == "Pearson (higher is better)"
    paths = [c.get_paths()[0].vertices[:, 1] for c in given.ax_.collections]
    assert all(path.min() == 0 and path.max() == 2 for path in paths)


def test_none_measured_has_a_place_beside_doublings(pyplot):
    ax = DesignCurveDisplay(table=drawn(1)).plot().ax_
    ax.figure.canvas.draw()
    ticks = [t.get_text() for t in ax.get_xticklabels()]
    assert ticks == ["0", "8", "16", "32", "64", "128", "256"]
    places = ax.transData.transform(np.column_stack([STEPS, 0 * STEPS]))[:, 0]
    np.testing.assert_allclose(np.diff(places)[1:], np.diff(places)[1])


def test_a_plan_begins_with_what_is_expected_before(pyplot, screen):
    plan = plan_of(screen)
    display = DesignCurveDisplay.from_plans(plan)
    summary = display.summary_
    assert summary["n"].tolist() == list(range(7))
    assert summary["value"].iloc[0] == plan.attrs["expected_error"]
    np.testing.assert_allclose(summary["value"].iloc[1:], plan["expected_error"])
    known = plan.attrs["calibration"]
    share = summary["high"] / summary["value"]
    np.testing.assert_allclose(share, known["high"] / known["ratio"])
    assert display.ax_.get_ylabel() == "expected MRRMSE (lower is better)"


def test_plans_are_drawn_by_what_they_cost(pyplot, screen):
    plans = {
        name: plan_of(screen, costs=np.arange(1.0, 13), calibrate=False, batch=name)
        for name in ("greedy", "top")
    }
    display = DesignCurveDisplay.from_plans(plans, by="cost")
    for name, plan in plans.items():
        of_plan = display.summary_[display.summary_["design"] == name]
        np.testing.assert_allclose(of_plan["n"].iloc[1:], plan["cost"])
    assert display.ax_.get_xlabel() == "cost"
    # No interval where nothing was calibrated.
    assert display.summary_["low"].isna().all()


def test_a_plan_that_asks_no_model_has_no_curve(pyplot, screen):
    plan = plan_of(screen, estimator=None, strategy="random")
    with pytest.raises(ValueError, match=r"'random' expects no error.*estimator"):
        DesignCurveDisplay.from_plans({"random": plan})
    with pytest.raises(ValueError, match="'money'"):
        DesignCurveDisplay.from_plans(plan, by="money")
