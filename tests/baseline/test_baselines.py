"""The baselines against what pandas says."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.decomposition import PCA

from sklperturb.baseline import (
    AdditiveCombinationRegressor,
    AdditiveRegressor,
    GroupStatisticRegressor,
    NoChangeRegressor,
)
from sklperturb.datasets import PerturbationSchema

COLUMN = {"context": "cell_type", "perturbation": "sm_name"}


def grouped(screen, by):
    return screen.y.groupby(screen.X[COLUMN[by]].to_numpy())


def test_no_change(screen):
    model = NoChangeRegressor().fit(screen.X, screen.y)
    np.testing.assert_array_equal(model.predict(screen.X_test), 0 * screen.y_test)
    flat = NoChangeRegressor().fit(screen.X, screen.y.iloc[:, 0])
    assert flat.predict(screen.X_test).shape == (len(screen.X_test),)


@pytest.mark.parametrize("by", ["context", "perturbation"])
@pytest.mark.parametrize("statistic", ["mean", "median", 0.54])
def test_group_statistics_are_those_of_pandas(screen, by, statistic):
    model = GroupStatisticRegressor(by=by, statistic=statistic)
    y_pred = model.fit(screen.X, screen.y).predict(screen.X)
    groups = grouped(screen, by)
    if statistic == "mean":
        expected, overall = groups.transform("mean"), screen.y.mean()
    else:
        q = 0.5 if statistic == "median" else statistic
        expected = groups.transform(lambda values: values.quantile(q))
        overall = screen.y.quantile(q)
    np.testing.assert_allclose(y_pred, expected)
    unseen = screen.X[:1].assign(cell_type="new", sm_name="new")
    np.testing.assert_allclose(model.predict(unseen)[0], overall)


def test_statistic_of_all_rows(screen):
    model = GroupStatisticRegressor(statistic="median").fit(screen.X, screen.y)
    y_pred = model.predict(screen.X_test)
    np.testing.assert_allclose(y_pred, np.tile(screen.y.median(), (len(y_pred), 1)))


def test_denoised_statistic(screen):
    pca = PCA(4).fit(screen.y.to_numpy())
    y = pca.inverse_transform(pca.transform(screen.y.to_numpy()))
    expected = pd.DataFrame(y).groupby(screen.X["sm_name"]).transform("median")
    model = GroupStatisticRegressor("perturbation", "median", n_components=4)
    y_pred = model.fit(screen.X, screen.y).predict(screen.X)
    np.testing.assert_allclose(y_pred, expected, atol=1e-8)


def test_additive_means_are_those_of_pandas(screen):
    model = AdditiveRegressor().fit(screen.X, screen.y)
    grand = screen.y.mean()
    expected = (
        grouped(screen, "context").transform("mean")
        + grouped(screen, "perturbation").transform("mean")
        - grand
    )
    # The statistics are kept in single precision.
    np.testing.assert_allclose(model.predict(screen.X), expected, atol=1e-5)
    per_type = grouped(screen, "context").mean()
    known_type = screen.X[:1].assign(sm_name="new")
    expected = per_type.loc[known_type["cell_type"].iloc[0]]
    np.testing.assert_allclose(model.predict(known_type)[0], expected, atol=1e-5)
    unknown = known_type.assign(cell_type="new")
    np.testing.assert_allclose(model.predict(unknown)[0], grand)


def test_joint_effects_are_right_for_unbalanced_designs():
    rng = np.random.default_rng(0)
    of_type = 2 * rng.normal(size=(4, 50))
    of_compound = 2 * rng.normal(size=(40, 50))
    of_compound[:8] += 5  # strong compounds, and only these in all cell types
    context, compound = np.divmod(np.arange(160), 40)
    measured = (context == 0) | (compound < 8)
    X = pd.DataFrame(
        {"cell_type": context.astype(str), "sm_name": compound.astype(str)}
    )
    truth = of_type[context] + of_compound[compound]
    y = truth + 0.1 * rng.normal(size=truth.shape)

    def error(effects):
        model = AdditiveRegressor(effects).fit(X[measured], y[measured])
        return np.sqrt(np.mean((model.predict(X[~measured]) - truth[~measured]) ** 2))

    assert error("joint") < 0.3 * error("means")


def test_joint_and_means_agree_on_a_balanced_design():
    rng = np.random.default_rng(0)
    context, compound = np.divmod(np.arange(60), 20)
    X = pd.DataFrame(
        {"cell_type": context.astype(str), "sm_name": compound.astype(str)}
    )
    y = rng.normal(size=(3, 4))[context] + rng.normal(size=(20, 4))[compound]
    means, joint = (
        AdditiveRegressor(effects).fit(X, y).predict(X)
        for effects in ("means", "joint")
    )
    np.testing.assert_allclose(means, y, atol=1e-5)
    # Shrunken, so that the correlation is high and the size a little less.
    assert np.corrcoef(joint.ravel(), y.ravel())[0, 1] > 0.98
    assert 0.7 < joint.std() / y.std() <= 1


@pytest.mark.parametrize(
    "model",
    [
        AdditiveRegressor(),
        AdditiveRegressor("joint"),
        GroupStatisticRegressor("perturbation"),
        GroupStatisticRegressor("context"),
        NoChangeRegressor(),
    ],
    ids=repr,
)
def test_without_a_context_column(model, screen):
    y_pred = model.fit(screen.X[["sm_name"]], screen.y).predict(screen.X[["sm_name"]])
    assert y_pred.shape == screen.y.shape
    assert np.isfinite(y_pred).all()


def test_schema_names_other_columns(screen):
    X = screen.X.rename(columns={"sm_name": "treatment", "cell_type": "line"})
    schema = PerturbationSchema(perturbation="treatment", context="line")
    for model in (AdditiveRegressor(), GroupStatisticRegressor("context")):
        expected = model.fit(screen.X, screen.y).predict(screen.X)
        found = model.set_params(schema=schema).fit(X, screen.y).predict(X)
        np.testing.assert_array_equal(found, expected)
    assert list(model.contexts_) == sorted(set(X["line"]))


@pytest.mark.parametrize(
    ("model", "match"),
    [
        (AdditiveRegressor("both"), r"'effects' .* Got 'both'"),
        (
            GroupStatisticRegressor("sm_name"),
            r"'by' .* Got 'sm_name'",
        ),
        (
            GroupStatisticRegressor(statistic="mode"),
            r"'statistic' .* Got 'mode'",
        ),
        (
            GroupStatisticRegressor(statistic=2),
            r"'statistic' .* Got 2",
        ),
        (
            GroupStatisticRegressor(n_components=0),
            r"'n_components' .* Got 0",
        ),
        (
            AdditiveRegressor(schema=PerturbationSchema(perturbation="drug")),
            "perturbation is column 'drug', which X does not have",
        ),
    ],
    ids=repr,
)
def test_parameters_out_of_range(model, match, screen):
    with pytest.raises(ValueError, match=match):
        model.fit(screen.X, screen.y)


def test_no_known_column(screen):
    with pytest.raises(ValueError, match="is known as a perturbation"):
        AdditiveRegressor().fit(screen.X[["cell_type"]], screen.y)
    with pytest.raises(TypeError, match="schema must be a PerturbationSchema"):
        AdditiveRegressor(schema={"context": "cell_type"}).fit(screen.X, screen.y)


def test_a_combination_in_another_order_is_known():
    X = pd.DataFrame({"target_gene": ["A", "B", "A+B"]})
    model = AdditiveCombinationRegressor().fit(X, [1.0, 2.0, 4.0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = model.predict(pd.DataFrame({"target_gene": ["B + A", "ctrl+B"]}))
    assert found.tolist() == [3, 2]
    with pytest.warns(UserWarning, match="1 names .* Did you mean 'A' for 'a'"):
        model.predict(pd.DataFrame({"target_gene": ["a+B"]}))
