"""t statistics as the targets of a regressor."""

import numpy as np
import pytest
from sklearn.compose import TransformedTargetRegressor
from sklearn.linear_model import LinearRegression

from sklperturb.compose import LatentTargetRegressor
from sklperturb.linear_model import ProductKernelRidge
from sklperturb.preprocessing import TScoreTransformer
from sklperturb.signatures import signed_log_p_from_t

DF = np.array([4.0, 20.0, np.inf])


def make_linear_t(seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(50, 4))
    return X, X @ rng.normal(scale=3, size=(4, 3))


@pytest.mark.parametrize("df", [2, 20, np.inf, DF])
def test_round_trip_and_formula(df):
    _, t = make_linear_t()
    response = signed_log_p_from_t(t, df)
    transformer = TScoreTransformer(df).fit(response)
    np.testing.assert_allclose(transformer.transform(response), t, rtol=1e-8)
    np.testing.assert_allclose(transformer.inverse_transform(t), response, rtol=1e-12)


@pytest.mark.parametrize("wrapper", [TransformedTargetRegressor, LatentTargetRegressor])
def test_what_is_linear_in_t_is_learnt_exactly(wrapper):
    X, t = make_linear_t()
    y = signed_log_p_from_t(t, DF)
    model = wrapper(LinearRegression(), transformer=TScoreTransformer(DF))
    np.testing.assert_allclose(model.fit(X, y).predict(X), y, rtol=1e-6, atol=1e-8)
    plain = LinearRegression().fit(X, y).predict(X)
    assert np.abs(plain - y).max() > 1


def test_one_gene():
    X, t = make_linear_t()
    y = signed_log_p_from_t(t[:, 0], 20)
    model = TransformedTargetRegressor(
        LinearRegression(), transformer=TScoreTransformer(20)
    )
    y_pred = model.fit(X, y).predict(X)
    assert y_pred.shape == y.shape
    np.testing.assert_allclose(y_pred, y, rtol=1e-6, atol=1e-8)


def test_clip_limits_what_comes_back():
    transformer = TScoreTransformer(20, clip=4).fit([[0.0]])
    back = transformer.inverse_transform([[-50.0], [0.5], [50.0]])
    assert back[[0, 2], 0].tolist() == [-4, 4]
    np.testing.assert_allclose(transformer.transform(back)[1], 0.5)


def test_conditions_go_through(screen):
    model = LatentTargetRegressor(ProductKernelRidge(), TScoreTransformer(20))
    y_pred = model.fit(screen.X, screen.y).predict(screen.X_test)
    assert y_pred.shape == screen.y_test.shape
    assert np.isfinite(y_pred).all()


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({"df": 0}, r"'df' .* Got 0 instead"),
        ({"df": np.nan}, r"'df' .* Got nan instead"),
        ({"df": [1.0, 2.0]}, r"df has shape \(2,\), and the responses have 3 genes"),
        ({"clip": 0}, r"'clip' .* Got 0 instead"),
    ],
)
def test_parameters_out_of_range(params, match):
    with pytest.raises(ValueError, match=match):
        TScoreTransformer(**params).fit(np.zeros((4, 3)))
