import numpy as np
import pytest
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold

from sklperturb.ensemble import RescaledRegressor, Stretch, StretchedRegressor
from sklperturb.metrics import mrrmse


class Compressed(RegressorMixin, BaseEstimator):
    """Knows the response, and predicts its row with the root of its strength."""

    def fit(self, X, y):
        return self

    def predict(self, X):
        strength = np.sqrt((X**2).mean(axis=1, keepdims=True))
        return X / np.sqrt(strength)


@pytest.fixture
def screen():
    rng = np.random.default_rng(0)
    return rng.normal(size=(80, 12)) * rng.lognormal(0, 1, size=(80, 1))


def test_compression_of_strong_responses_is_undone(screen):
    model = StretchedRegressor(Compressed(), random_state=0).fit(screen, screen)
    assert model.stretch_.exponent == pytest.approx(1, abs=0.01)
    np.testing.assert_allclose(model.predict(screen), screen, rtol=0.05)
    constant = RescaledRegressor(Compressed(), np.linspace(0.5, 3, 26), clip=False)
    constant.fit(screen, screen)
    assert mrrmse(screen, model.predict(screen)) < 0.1 * mrrmse(
        screen, constant.predict(screen)
    )


def test_what_is_right_is_left(screen):
    rng = np.random.default_rng(1)
    stretch = Stretch.learn(screen, screen + 1e-3 * rng.normal(size=screen.shape))
    assert stretch.scale == pytest.approx(1, abs=0.01)
    assert stretch.exponent == pytest.approx(0, abs=0.01)


def test_the_stretch_is_learnt_from_rows_that_were_not_fitted():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 60)), rng.normal(size=(40, 5))  # nothing to learn
    model = StretchedRegressor(Ridge(alpha=1e-6), cv=KFold(4)).fit(X, y)
    # Fitted rows are predicted without error, and would ask for a scale of one.
    assert model.stretch_.scale < 0.3


def test_beyond_the_strengths_seen_the_factor_stays():
    stretch = Stretch(2.0, 1.0, low=1.0, typical=2.0, high=4.0)
    rows = np.array([[0.1], [1.0], [2.0], [4.0], [40.0]])
    np.testing.assert_allclose(
        stretch(rows) / rows, [[1.0], [1.0], [2.0], [4.0], [4.0]]
    )
    np.testing.assert_allclose(stretch(rows.ravel()), stretch(rows).ravel())
    assert Stretch()(rows) == pytest.approx(rows)


def test_nothing_predicted_is_nothing_to_stretch():
    truth = np.ones((5, 3))
    stretch = Stretch.learn(truth, np.zeros((5, 3)))
    assert stretch == Stretch()
    np.testing.assert_array_equal(stretch(np.zeros((5, 3))), np.zeros((5, 3)))
    some = np.vstack([np.zeros((2, 3)), truth])
    found = Stretch.learn(np.vstack([np.zeros((2, 3)), 2 * truth]), some)(some)
    np.testing.assert_allclose(found, 2 * some, rtol=1e-3)


def test_a_given_stretch_fits_once(screen):
    given = Stretch(1.5)
    model = StretchedRegressor(Ridge(), stretch=given).fit(screen, screen)
    assert model.stretch_ is given
    np.testing.assert_allclose(
        model.predict(screen), 1.5 * model.estimator_.predict(screen)
    )
