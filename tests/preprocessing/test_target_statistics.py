"""Target statistics: their values, cross-fitting, shrinkage and balance."""

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.model_selection import GroupKFold, KFold, RepeatedKFold, ShuffleSplit

from sklperturb.datasets import PerturbationSchema
from sklperturb.preprocessing import TargetStatisticsEncoder

X_SMALL = pd.DataFrame({"cell_type": list("ABBAB"), "sm_name": list("uuvvv")})
Y_SMALL = np.array([[1.0, 0.0], [3.0, 2.0], [5.0, 0.0], [7.0, 4.0], [9.0, 2.0]])


def make_design(seed=0, n_contexts=4, n_compounds=8, n_replicates=2, n_genes=3):
    """Return a crossed design and noise."""
    rows = pd.MultiIndex.from_product(
        [
            [f"c{i}" for i in range(n_contexts)],
            [f"p{i}" for i in range(n_compounds)],
            range(n_replicates),
        ],
        names=["cell_type", "sm_name", "replicate"],
    )
    X = rows.to_frame(index=False).drop(columns="replicate")
    y = np.random.default_rng(seed).normal(size=(len(X), n_genes))
    return X, y


def plain(statistics, **params):
    """An encoder that neither shrinks, balances nor projects."""
    params = {"smooth": 0.0, "balance": False} | params
    return TargetStatisticsEncoder(statistics, n_components=None, **params)


def test_means_by_hand():
    encoded = plain(["mean"]).fit(X_SMALL, Y_SMALL).transform(X_SMALL)
    a, b = [4.0, 2.0], [17 / 3, 4 / 3]
    u, v = [2.0, 1.0], [7.0, 2.0]
    np.testing.assert_allclose(encoded, [a + u, b + u, b + v, a + v, b + v], rtol=1e-6)


def test_shrinkage_by_hand():
    encoder = plain(["mean"], smooth=2.0).fit(X_SMALL, Y_SMALL)
    overall = Y_SMALL.mean(axis=0)
    u = overall + 2 / (2 + 2) * ([2.0, 1.0] - overall)
    v = overall + 3 / (3 + 2) * ([7.0, 2.0] - overall)
    encoded = encoder.transform(X_SMALL)[:, 2:]
    np.testing.assert_allclose(encoded, [u, u, v, v, v], rtol=1e-6)
    assert encoder.smooth_ == [2.0, 2.0]


def test_cross_fitted_means_by_hand():
    folds = [([2, 3, 4], [0, 1]), ([0, 1], [2, 3, 4])]
    encoded = plain(["mean"], cv=folds).fit_transform(X_SMALL, Y_SMALL)
    overall = [5.0, 1.6]
    a, b = [7.0, 4.0], [7.0, 1.0]  # from the last three rows, for the first two
    expected = [a + overall, b + overall]
    a, b = [1.0, 0.0], [3.0, 2.0]
    expected += [b + overall, a + overall, b + overall]
    np.testing.assert_allclose(encoded, expected, rtol=1e-6, atol=1e-6)


def test_spread_and_quantiles_are_those_of_numpy():
    X, y = make_design()
    y += np.arange(len(y))[:, None] / 10
    encoder = plain(["std", "median", 0.2, 0.54]).fit(X, y)
    encoded = encoder.transform(X)
    for i, column in enumerate(["cell_type", "sm_name"]):
        blocks = np.split(encoded[:, 12 * i : 12 * (i + 1)], 4, axis=1)
        for level in X[column].unique():
            rows = (X[column] == level).to_numpy()
            expected = [
                y[rows].std(axis=0),
                np.median(y[rows], axis=0),
                np.quantile(y[rows], 0.2, axis=0),
                np.quantile(y[rows], 0.54, axis=0),
            ]
            for block, values in zip(blocks, expected, strict=True):
                np.testing.assert_allclose(block[rows][0], values, rtol=1e-4)


def test_spread_of_a_single_row_is_that_of_all_rows():
    X, y = make_design(n_replicates=1)
    X.loc[0, "sm_name"] = "once"
    encoded = plain(["std"]).fit(X, y).transform(X)
    np.testing.assert_allclose(encoded[0, 3:], y.std(axis=0), rtol=1e-5)


@pytest.mark.parametrize("statistic", ["mean", "std", "median", 0.25])
def test_encoding_of_a_row_ignores_its_own_response(statistic):
    X, y = make_design()
    encoder = plain([statistic], cv=KFold(4, shuffle=True, random_state=1))
    encoded = encoder.fit_transform(X, y)
    of_all = encoder.transform(X)
    for row in (0, 17, 63):
        changed = y.copy()
        changed[row] += [10.0, -10.0, 20.0]
        again = encoder.fit_transform(X, changed)
        np.testing.assert_allclose(again[row], encoded[row], atol=2e-3)
        # The change can be seen elsewhere, and without cross-fitting in the row.
        assert np.abs(again - encoded).max() > 0.05
        assert np.abs(encoder.transform(X)[row] - of_all[row]).max() > 0.05


def test_own_response_only_moves_the_constant_of_all_rows():
    X, y = make_design(n_compounds=30)
    encoder = TargetStatisticsEncoder(["mean"], n_components=None)
    encoded = encoder.fit_transform(X, y)
    changed = y.copy()
    changed[5] += 100.0
    again = encoder.fit_transform(X, changed)
    assert np.abs(again[5] - encoded[5]).max() < 1.1 * 100 / len(X)


@pytest.mark.parametrize("balance", [True, False])
def test_smoothing_finds_that_levels_are_noise(balance):
    X, y = make_design(n_contexts=6, n_compounds=20, n_genes=300)
    encoder = TargetStatisticsEncoder(["mean"], None, balance=balance).fit(X, y)
    assert min(encoder.smooth_) > 100
    spread = np.ptp(encoder.transform(X), axis=0).max()
    assert spread < 0.25 * np.ptp(plain(["mean"]).fit(X, y).transform(X), axis=0).max()


def test_smoothing_finds_that_levels_are_everything():
    X, y = make_design()
    levels = np.random.default_rng(1).normal(size=(8, 3))
    y = levels[pd.factorize(X["sm_name"])[0]]
    encoder = TargetStatisticsEncoder(["mean"], None).fit(X, y)
    assert encoder.smooth_[1] < 1e-6
    assert encoder.smooth_[0] > 100
    np.testing.assert_allclose(encoder.transform(X)[:, 3:], y, atol=1e-5)


def test_smoothing_is_the_ratio_of_variances():
    X, y = make_design(n_contexts=2, n_compounds=100, n_replicates=3, n_genes=200)
    levels = np.random.default_rng(1).normal(size=(100, 200))
    y = 2 * y + levels[pd.factorize(X["sm_name"])[0]]
    smooth = TargetStatisticsEncoder(["mean"]).fit(X, y).smooth_[1]
    assert smooth == pytest.approx(4.0, rel=0.05)


@pytest.mark.parametrize("n_components", [None, 2])
def test_unseen_level_gets_the_statistic_of_all_rows(n_components):
    X, y = make_design()
    y += 3
    encoder = TargetStatisticsEncoder(
        ["mean", "median", "std"], n_components, balance=False
    ).fit(X, y)
    new = pd.DataFrame({"cell_type": ["new"], "sm_name": ["new"]})
    expected = [y.mean(axis=0), np.median(y, axis=0), y.std(axis=0)]
    if n_components is not None:
        expected = [values @ encoder.reducer_.components_.T for values in expected]
    expected = np.tile(np.concatenate(expected), 2)
    np.testing.assert_allclose(encoder.transform(new)[0], expected, rtol=1e-4)


def test_balance_removes_the_effects_of_other_columns():
    # Compound v was measured in the loud cell type only.
    X = pd.DataFrame({"cell_type": list("ABABB"), "sm_name": list("uuwwv")})
    of_type, of_compound = {"A": 0.0, "B": 10.0}, {"u": 1.0, "w": 3.0, "v": 2.0}
    y = (X["cell_type"].map(of_type) + X["sm_name"].map(of_compound)).to_numpy()[
        :, None
    ]

    def by_compound(balance):
        encoder = plain(["mean"], balance=balance).fit(X, y)
        return encoder.transform(X)[[0, 2, 4], 1]

    u, w, v = by_compound(False)
    assert (u, w, v) == pytest.approx((6, 8, 12))
    u, w, v = by_compound(True)
    assert w - u == pytest.approx(2, abs=0.01)
    assert v - u == pytest.approx(1, abs=0.01)


def test_projection_is_that_of_the_full_statistics():
    X, y = make_design(n_genes=30)
    whole = TargetStatisticsEncoder(["mean", "std"], None).fit(X, y)
    short = TargetStatisticsEncoder(["mean", "std"], 5).fit(X, y)
    expected = [
        block @ short.reducer_.components_.T
        for block in np.split(whole.transform(X), 4, axis=1)
    ]
    np.testing.assert_allclose(short.transform(X), np.hstack(expected), atol=1e-5)


def test_feature_names():
    X, y = make_design(n_genes=2)
    y = pd.DataFrame(y, columns=["G1", "G2"])
    encoder = TargetStatisticsEncoder(["mean", 0.25], None, columns=["sm_name"])
    assert encoder.fit(X, y).get_feature_names_out().tolist() == [
        "sm_name_mean_G1",
        "sm_name_mean_G2",
        "sm_name_q0.25_G1",
        "sm_name_q0.25_G2",
    ]
    encoder = plain(["std"]).fit(X, y.to_numpy()[:, 0])
    assert list(encoder.get_feature_names_out()) == [
        "cell_type_std_y0",
        "sm_name_std_y0",
    ]
    encoder = TargetStatisticsEncoder(["median"], 1).fit(X, y)
    assert "cell_type_median_component0" in encoder.get_feature_names_out()


def test_columns_by_schema_and_position():
    X, y = make_design()
    renamed = X.rename(columns={"sm_name": "treatment", "cell_type": "line"})
    schema = PerturbationSchema(perturbation="treatment", context="line")
    expected = plain(["mean"]).fit(X, y).transform(X)
    encoder = plain(["mean"], schema=schema).fit(renamed, y)
    np.testing.assert_array_equal(encoder.transform(renamed), expected)
    assert encoder.columns_ == ["line", "treatment"]
    encoder = plain(["mean"]).fit(X.to_numpy(), y)
    np.testing.assert_array_equal(encoder.transform(X.to_numpy()), expected)
    assert encoder.columns_ == [0, 1]


@pytest.mark.parametrize(
    "cv", [RepeatedKFold(n_splits=3, n_repeats=2), ShuffleSplit(3, random_state=0)]
)
def test_every_row_must_be_held_out_once(cv):
    X, y = make_design()
    with pytest.raises(ValueError, match="hold out every row exactly once"):
        TargetStatisticsEncoder(cv=cv).fit_transform(X, y)


def test_groups_are_routed_to_the_splitter():
    X, y = make_design()
    groups = pd.factorize(X["sm_name"])[0]
    splits = list(GroupKFold(4).split(X, y, groups))
    expected = plain(["mean"], cv=splits).fit_transform(X, y)
    with sklearn.config_context(enable_metadata_routing=True):
        encoder = plain(["mean"], cv=GroupKFold(4))
        encoded = encoder.fit_transform(X, y, groups=groups)
    np.testing.assert_array_equal(encoded, expected)


def test_number_of_folds_is_capped_by_the_rows():
    X, y = make_design(n_contexts=2, n_compounds=1, n_replicates=1)
    assert TargetStatisticsEncoder(cv=5).fit_transform(X, y).shape[0] == 2


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({"statistics": []}, "statistics is empty"),
        ({"statistics": ["mode"]}, "Statistic 'mode' is not known; allowed are"),
        ({"statistics": [1.5]}, r"Statistic 1\.5 is not known"),
        ({"n_components": 0}, r"'n_components' .* Got 0 instead"),
        ({"n_components": 0.5}, r"'n_components' .* Got 0\.5 instead"),
        ({"smooth": -1}, r"'smooth' .* Got -1 instead"),
        ({"smooth": "none"}, r"'smooth' .* Got 'none' instead"),
        ({"columns": "sm_name"}, r"'columns' .* Got 'sm_name' instead"),
        ({"columns": ["dose"]}, r"\['dose'\] are not all in X, which has"),
        ({"columns": []}, "not all in X"),
    ],
)
def test_parameters_out_of_range(params, match):
    X, y = make_design()
    with pytest.raises(ValueError, match=match):
        TargetStatisticsEncoder(**params).fit(X, y)


def test_wrong_data():
    X, y = make_design()
    with pytest.raises(TypeError, match="schema must be a PerturbationSchema"):
        TargetStatisticsEncoder(schema="sm_name").fit(X, y)
    with pytest.raises(ValueError, match="at least 2 rows, got n_samples=1"):
        TargetStatisticsEncoder().fit_transform(X[:1], y[:1])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        TargetStatisticsEncoder().fit(X, y[1:])
    with pytest.raises(ValueError, match="dim 3"):
        TargetStatisticsEncoder().fit(X, y[:, :, None])
    with pytest.raises(ValueError, match="contains NaN"):
        TargetStatisticsEncoder().fit(X, np.where(y > 1, np.nan, y))
    fitted = TargetStatisticsEncoder().fit(X, y)
    X.loc[[2, 5], "sm_name"] = None
    with pytest.raises(ValueError, match=r"Missing values .*'sm_name': 2"):
        TargetStatisticsEncoder().fit(X, y)
    with pytest.raises(ValueError, match=r"Missing values .*'sm_name': 2"):
        fitted.transform(X)
    with pytest.raises(ValueError, match="0 sample"):
        fitted.transform(X[:0])
