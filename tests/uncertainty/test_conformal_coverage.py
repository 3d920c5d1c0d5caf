"""The table of what intervals cover."""

import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.tree import DecisionTreeRegressor

from sklperturb.baseline import AdditiveRegressor
from sklperturb.datasets import make_chemical_screen
from sklperturb.inspection import ConformalRegressor, coverage_curve
from sklperturb.model_selection import UnseenPairKFold
from sklperturb.uncertainty._conformal_coverage import coverage_of


@pytest.fixture(scope="module")
def screen():
    return make_chemical_screen(4, 40, 30, random_state=0)


@pytest.fixture(scope="module")
def model(screen):
    return ConformalRegressor(AdditiveRegressor()).fit(screen.X, screen.y)


def test_is_what_intervals_cover(model, screen):
    X, y = screen.X_test, screen.y_test.to_numpy()
    curve = coverage_curve(model, X, y, confidences=[0.5, 0.9], by="context")
    lower, upper = model.predict_interval(X, 0.9)
    inside = ((lower <= y) & (y <= upper)).mean(axis=1)
    whole = curve[(curve["group"] == "all") & (curve["confidence"] == 0.9)].iloc[0]
    by_perturbation = X.assign(inside=inside).groupby("sm_name")["inside"].mean()
    assert whole["coverage"] == pytest.approx(by_perturbation.mean())
    assert whole["low"] < whole["coverage"] < whole["high"]
    assert whole["width"] == pytest.approx((upper - lower).mean())
    assert whole["n_rows"] == len(X)
    assert whole["n_perturbations"] == X["sm_name"].nunique()
    assert curve["group"].unique().tolist() == ["all", "B cells", "Myeloid cells"]
    rows = (X["cell_type"] == "B cells").to_numpy()
    one = curve[(curve["group"] == "B cells") & (curve["confidence"] == 0.9)].iloc[0]
    assert one["coverage"] == pytest.approx(inside[rows].mean())


def test_genes_in_another_order_are_matched_by_name(model, screen):
    X, y = screen.X_test, screen.y_test
    order = np.roll(np.arange(y.shape[1]), 7)
    pd.testing.assert_frame_equal(
        coverage_curve(model, X, y.iloc[:, order]), coverage_curve(model, X, y)
    )


def test_intervals_from_anywhere(model, screen):
    X, y = screen.X_test, screen.y_test
    levels = [0.9, 0.5]
    found = coverage_of(
        y,
        {level: model.predict_interval(X, level) for level in levels},
        perturbations=X["sm_name"],
        groups=X["cell_type"],
    )
    expected = coverage_curve(model, X, y, confidences=sorted(levels), by="context")
    np.testing.assert_allclose(
        found.drop(columns="group").astype(float),
        expected.drop(columns="group").astype(float),
    )
    with pytest.raises(ValueError, match="must be of the shape of y_true"):
        coverage_of(y, {0.5: (y[:3], y[:3])})


def test_folds(screen):
    cv = UnseenPairKFold(3, random_state=0)
    model = ConformalRegressor(AdditiveRegressor(), cv=UnseenPairKFold(3))
    curve = coverage_curve(model, screen.X, screen.y, by="kind", cv=cv)
    assert not hasattr(model, "estimator_")
    whole = curve[curve["group"] == "all"]
    assert (whole["n_rows"] == len(screen.X)).all()
    assert set(curve["group"]) == {"all", "pair"}
    assert (whole["coverage"].diff().dropna() > 0).all()
    assert whole.set_index("confidence").loc[0.9, "coverage"] == pytest.approx(
        0.9, abs=0.05
    )


def test_what_is_wrong_is_told(model, screen):
    X, y = screen.X_test, screen.y_test
    with pytest.raises(TypeError, match="wrap it in a ConformalRegressor"):
        coverage_curve(AdditiveRegressor(), X, y)
    with pytest.raises(ValueError, match="Did you mean 'context'"):
        coverage_curve(model, X, y, by="contexts")
    with pytest.raises(ValueError, match="above 0 and below 1"):
        coverage_curve(model, X, y, confidences=[0.5, 90])


def test_one_gene_as_a_column_is_that_gene_as_a_series(screen):
    """scikit-learn's trees drop the dimension of a single output."""
    tree = DecisionTreeRegressor(max_depth=4, random_state=0)
    estimator = make_pipeline(OneHotEncoder(handle_unknown="ignore"), tree)
    X, y = screen.X[["cell_type", "sm_name"]], screen.y.iloc[:, [0]]
    column = ConformalRegressor(estimator).fit(X, y)
    series = ConformalRegressor(estimator).fit(X, y.iloc[:, 0])
    found, expected = (
        coverage_curve(model, X, given)
        for model, given in ((column, y), (series, y.iloc[:, 0]))
    )
    pd.testing.assert_frame_equal(found, expected)
    assert column.predict(X).shape == y.shape
    lower, upper = column.predict_interval(X, 0.9)
    assert lower.shape == upper.shape == y.shape
    flat = series.predict_interval(X, 0.9)
    np.testing.assert_allclose([lower[:, 0], upper[:, 0]], flat)
    # Whichever of the two forms is asked about.
    crossed = coverage_curve(series, X, y)
    pd.testing.assert_frame_equal(crossed, expected)
