"""The predicted signature of one condition against the measured one."""

import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyRegressor

from sklperturb.baseline import AdditiveRegressor
from sklperturb.comparison import compare
from sklperturb.conditions import PerturbationSchema
from sklperturb.inspection import SignatureDisplay
from sklperturb.model_selection import UnseenPairKFold


def boxes_of(display):
    from matplotlib.text import Text

    # Without the lines to the points.
    return [Text.get_window_extent(label) for label in display.labels_.values()]


def test_values_behind_the_artists(pyplot, predicted):
    condition = dict(zip(predicted.X, predicted.X.iloc[3], strict=True))
    display = SignatureDisplay.from_predictions(
        predicted.y_true,
        predicted.y_pred,
        X=predicted.X,
        condition=condition,
        n_top=4,
        unit="signed -log10 p",
        name="a $model",
    )
    y_true, y_pred = predicted.y_true.to_numpy()[3], predicted.y_pred[3]
    x, y = display.genes_.get_data()
    np.testing.assert_allclose(x, y_pred)
    np.testing.assert_allclose(y, y_true)
    np.testing.assert_array_equal(*display.line_.get_data())
    assert display.correlation == pytest.approx(np.corrcoef(y_true, y_pred)[0, 1])
    assert display.error == pytest.approx(np.sqrt(np.mean((y_true - y_pred) ** 2)))
    top = np.argsort(-np.abs(y_true))[:4]
    named = {label.get_text() for label in display.labels_.values()}
    assert named <= {f"G{i}" for i in top} and len(named) >= 3
    up, down = (points.get_ydata() for points in display.top_)
    assert (up > 0).all() and (down < 0).all()
    assert sorted([*up, *down]) == pytest.approx(sorted(y_true[top]))
    ax = display.ax_
    assert ax.get_xlabel() == "predicted signed -log10 p"
    assert ax.get_ylabel() == "measured signed -log10 p"
    title = ax.get_title(loc="left")
    assert title.startswith("a $model\n4-[(E)-") and "n = 12 genes" in title
    assert f"{display.correlation:.2f}" in title
    display.figure_.canvas.draw()


@pytest.mark.parametrize("rank_by", ["predicted", "error"])
def test_genes_may_be_ranked_otherwise(pyplot, rank_by):
    y_true, y_pred = np.array([5.0, 0, 1, 0]), np.array([5.0, 4, 0, 0])
    display = SignatureDisplay(y_true=y_true, y_pred=y_pred, genes=list("abcd"))
    display.plot(n_top=1, rank_by=rank_by)
    names = [label.get_text() for label in display.labels_.values()]
    assert names == [{"predicted": "a", "error": "b"}[rank_by]]
    with pytest.raises(ValueError, match=r"'errors' is no ranking .* 'error'"):
        display.plot(rank_by="errors")


@pytest.mark.parametrize("n_genes", [300, 18211])
def test_names_lie_in_the_axes_and_apart(pyplot, n_genes):
    rng = np.random.default_rng(n_genes)
    y_true = rng.standard_t(2, n_genes)
    y_pred = 0.5 * y_true + rng.normal(size=n_genes)
    genes = [f"ENSG{i:011d}" for i in range(n_genes)]
    display = SignatureDisplay.from_predictions(y_true, y_pred, genes=genes, n_top=15)
    display.figure_.canvas.draw()
    boxes, frame = boxes_of(display), display.ax_.get_window_extent()
    assert len(boxes) >= 10
    for i, box in enumerate(boxes):
        assert frame.contains(box.x0, box.y0) and frame.contains(box.x1, box.y1)
        assert not any(box.overlaps(other) for other in boxes[:i])
        assert not box.overlaps(display.ax_.get_legend().get_window_extent())
    assert bool(display.genes_.get_rasterized()) == (n_genes > 2000)
    if n_genes > 2000:
        assert display.genes_.get_array().sum() == pytest.approx(n_genes)


def test_replicates_are_averaged_and_parts_of_a_condition_do_not_do(pyplot):
    X = pd.DataFrame({"cell_type": list("AAB"), "sm_name": ["u", "u", "u"]})
    y_true, y_pred = np.arange(9.0).reshape(3, 3), np.ones((3, 3)) * [[1], [3], [9]]
    condition = {"perturbation": "u", "context": "A"}
    draw = SignatureDisplay.from_predictions
    display = draw(y_true, y_pred + np.arange(3), X=X, condition=condition)
    np.testing.assert_allclose(display.y_true, [1.5, 2.5, 3.5])
    np.testing.assert_allclose(display.y_pred, [2, 3, 4])
    assert "u in A (mean of 2 rows)" in display.ax_.get_title(loc="left")
    with pytest.raises(ValueError, match="of 2 different conditions, such as 'u in A'"):
        draw(y_true, y_pred, X=X, condition={"sm_name": "u"})
    with pytest.raises(
        ValueError, match=r"No row has perturbation='U'; there are \['u'\].*Did"
    ):
        draw(y_true, y_pred, X=X, condition={"perturbation": "U"})
    with pytest.raises(ValueError, match="neither a column of X nor a role"):
        draw(y_true, y_pred, X=X, condition={"compound": "u"})
    with pytest.raises(ValueError, match="3 rows, and a signature is of one condition"):
        draw(y_true, y_pred, X=X)
    with pytest.raises(ValueError, match="3 rows, and a signature is of one condition"):
        draw(y_true, y_pred)
    with pytest.raises(ValueError, match="condition=3 is no position"):
        draw(y_true, y_pred, condition=3)
    with pytest.raises(ValueError, match="pass X"):
        draw(y_true, y_pred, condition=condition)
    with pytest.raises(TypeError, match="is a float; pass the position"):
        draw(y_true, y_pred, X=X, condition=1.5)
    X["cell_type"] = ["A", "A", "B"]
    X["sm_name"] = ["u", "u", "v"]
    with pytest.raises(ValueError, match="though its parts occur apart"):
        draw(y_true, y_pred, X=X, condition={"sm_name": "v", "cell_type": "A"})
    y_pred[2] = np.nan
    with pytest.raises(ValueError, match="is NaN: nothing was predicted"):
        draw(y_true, y_pred, X=X, condition=2)


def test_columns_need_no_known_names(pyplot):
    X = pd.DataFrame({"line": ["A", "B"], "what": ["u", "u"]})
    schema = PerturbationSchema("what", "line")
    y = np.arange(6.0).reshape(2, 3)
    display = SignatureDisplay.from_predictions(
        y, y, X=X, schema=schema, condition={"context": "B", "what": "u"}
    )
    np.testing.assert_allclose(display.y_true, y[1])
    with pytest.raises(ValueError, match="known as a perturbation"):
        SignatureDisplay.from_predictions(y, y, X=X, condition=0)


def test_a_single_signature_has_the_names_of_its_series(pyplot):
    y_true = pd.Series([1.0, -2.0, 0.5], index=["x", "y", "z"])
    display = SignatureDisplay.from_predictions(y_true, y_true / 2, n_top=1)
    assert [label.get_text() for label in display.labels_.values()] == ["y"]
    with pytest.raises(ValueError, match=r"genes has shape \(2,\)"):
        SignatureDisplay.from_predictions(y_true, y_true, genes=["a", "b"])


def test_genes_that_are_not_predicted_count_as_zero(pyplot):
    with pytest.warns(UserWarning, match="1 NaN values, which count as 0"):
        display = SignatureDisplay.from_predictions([1.0, 2.0], [1.0, np.nan])
    assert display.error == pytest.approx(np.sqrt(2))
    with pytest.raises(ValueError, match="y_true holds NaN"):
        SignatureDisplay.from_predictions([1.0, np.nan], [1.0, 2.0])


def test_genes_are_matched_by_name(pyplot):
    y_true = pd.DataFrame([[1.0, -2.0, 0.5]], columns=["x", "y", "z"])
    y_pred = y_true[["z", "x", "y"]]
    display = SignatureDisplay.from_predictions(y_true, y_pred)
    assert display.error == 0


def test_from_estimator_predicts_one_condition(pyplot, screen):
    model = AdditiveRegressor().fit(screen.X, screen.y)
    names = screen.X[["sm_name", "cell_type"]]
    for condition in (5, names.iloc[5].to_dict()):
        display = SignatureDisplay.from_estimator(
            model, screen.X, screen.y, condition=condition
        )
        np.testing.assert_allclose(display.y_pred, model.predict(screen.X)[5])
        assert names["sm_name"].iloc[5] in display.condition
        assert display.name == "AdditiveRegressor" and not display.held_out


def test_only_folds_that_hold_it_out_are_fitted(pyplot, screen):
    X, y = screen.X, screen.y
    folds = [(np.arange(10, len(X)), np.arange(10)), (np.arange(10), np.arange(10, 20))]
    fits = []

    class Counting(DummyRegressor):
        def fit(self, X, y):
            fits.append(len(X))
            return super().fit(X, y)

    display = SignatureDisplay.from_estimator(Counting(), X, y, condition=4, cv=folds)
    assert fits == [len(X) - 10]
    expected = y.iloc[10:].mean().to_numpy()
    np.testing.assert_allclose(display.y_pred, expected, rtol=1e-5)
    np.testing.assert_allclose(display.y_true, y.iloc[4])
    assert display.ax_.get_xlabel() == "predicted response, held out"
    with pytest.raises(ValueError, match="No fold of cv holds out condition=30"):
        SignatureDisplay.from_estimator(Counting(), X, y, condition=30, cv=folds)


def test_from_comparison(pyplot, screen):
    cv = UnseenPairKFold(2, random_state=0)
    comparison = compare(
        ["ridge"],
        screen.X,
        screen.y,
        cv=cv,
        baselines=["additive"],
        return_predictions=True,
    )
    row = int(comparison.held_out["row"].iloc[0])
    draw = SignatureDisplay.from_comparison
    display = draw(comparison, screen.X, screen.y, "ridge", condition=row)
    np.testing.assert_allclose(display.y_pred, comparison.predictions["ridge"][row])
    assert display.held_out and display.name == "ridge"
    with pytest.raises(ValueError, match=r"'rigde' is no model .* 'ridge'"):
        draw(comparison, screen.X, screen.y, "rigde", condition=row)
    with pytest.raises(ValueError, match="pass the X and y that were given"):
        draw(comparison, screen.X[:5], screen.y[:5], "ridge", condition=0)
    without = compare(["ridge"], screen.X, screen.y, cv=cv, baselines=None)
    with pytest.raises(ValueError, match="return_predictions=True"):
        draw(without, screen.X, screen.y, "ridge", condition=row)


def test_a_name_needs_folds(pyplot, screen):
    with pytest.raises(ValueError, match="'ridge' is the name of a model"):
        SignatureDisplay.from_estimator("ridge", screen.X, screen.y, condition=0)
