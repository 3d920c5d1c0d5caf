"""Ridge on cross-fitted target statistics."""

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import cross_val_score

from sklperturb.baseline import (
    AdditiveRegressor,
    GroupStatisticRegressor,
    NoChangeRegressor,
)
from sklperturb.datasets import make_chemical_screen
from sklperturb.linear_model import TargetEncodedRidge
from sklperturb.metrics import mrrmse, neg_mrrmse_scorer
from sklperturb.model_selection import UnseenPairKFold
from sklperturb.preprocessing import TargetReducer, TargetStatisticsEncoder


def test_better_than_simple_means_on_unseen_pairs():
    screen = make_chemical_screen(5, 60, 100, random_state=0)
    cv = UnseenPairKFold(4, random_state=0)
    errors = [
        -cross_val_score(
            model, screen.X, screen.y, cv=cv, scoring=neg_mrrmse_scorer
        ).mean()
        for model in (
            TargetEncodedRidge(),
            NoChangeRegressor(),
            GroupStatisticRegressor("context"),
            AdditiveRegressor(),
        )
    ]
    assert errors[0] < 0.97 * min(errors[1:])


def unlike_contexts():
    """Return (conditions, responses without noise, rows to hold out)."""
    rng = np.random.default_rng(0)
    context, compound = np.divmod(np.arange(5 * 60), 60)
    X = pd.DataFrame(
        {"cell_type": context.astype(str), "sm_name": compound.astype(str)}
    )
    strength = np.array([0.2, 0.6, 1.0, 1.5, 2.0])[context]
    truth = strength[:, None] * rng.normal(size=(60, 10))[compound]
    return X, truth, rng.random(len(X)) < 0.25


@pytest.mark.parametrize("interactions", [False, True])
def test_correction_is_that_of_ridge_on_the_encodings(interactions):
    X, y, held = unlike_contexts()
    X_test, X, y = X[held], X[~held], y[~held]
    # Shrunk too much, the statistics need a correction with and without interactions.
    model = TargetEncodedRidge(
        [10.0],
        n_statistics=4,
        interactions=interactions,
        scale_contexts=False,
        smooth=20.0,
    )
    model.fit(X, y)
    assert model.alpha_ == 10
    names = ["cell_type", "sm_name"]
    reducer = TargetReducer().fit(y)
    targets = reducer.transform(y)
    encoder = TargetStatisticsEncoder(["mean"], None, smooth=20.0)

    def additive_and_features(encoded, X):
        of_type, of_compound = np.hsplit(encoded, 2)
        features = [of_type[:, :4], of_compound[:, :4]]
        if interactions:
            for level in model.contexts_:
                inside = (X["cell_type"] == level).to_numpy()[:, None]
                features.append(inside * of_compound[:, :4])
        return of_type + of_compound, np.hstack(features)

    encoded = encoder.fit_transform(X[names], targets)
    additive, features = additive_and_features(encoded, X)
    centred = features - features.mean(axis=0)
    gram = centred.T @ centred + 10 * np.eye(features.shape[1])
    coef = np.linalg.solve(gram, centred.T @ (targets - additive))
    np.testing.assert_allclose(model.coef_, coef, atol=1e-6)
    encoded = encoder.transform(X_test[names])
    additive, new = additive_and_features(encoded, X_test)
    expected = reducer.inverse_transform(
        additive + (new - features.mean(axis=0)) @ coef
    )
    expected -= (1 - model.grand_mean_share_) * y.mean(axis=0)
    np.testing.assert_allclose(model.predict(X_test), expected, atol=1e-6)


def test_infinite_penalty_is_the_additive_model():
    rng = np.random.default_rng(0)
    context, compound = np.divmod(np.arange(120), 40)
    X = pd.DataFrame(
        {"cell_type": context.astype(str), "sm_name": compound.astype(str)}
    )
    y = rng.normal(size=(3, 20))[context] + rng.normal(size=(40, 20))[compound]
    model = TargetEncodedRidge([1e12], smooth=0.0, scale_contexts=False).fit(X, y)
    np.testing.assert_allclose(model.predict(X), y, atol=0.02)


def test_interactions_repeat_the_perturbation_for_each_context(screen):
    widths = []
    for interactions in (False, True):
        model = TargetEncodedRidge(n_statistics=3, interactions=interactions)
        widths.append(model.fit(screen.X, screen.y).coef_.shape[0])
    assert widths == [2 * 3, 2 * 3 + 4 * 3]


def test_interactions_find_contexts_that_answer_more_strongly():
    X, truth, held = unlike_contexts()
    y = truth + 0.3 * np.random.default_rng(1).normal(size=truth.shape)
    errors = [
        mrrmse(
            truth[held],
            TargetEncodedRidge(interactions=interactions, scale_contexts=False)
            .fit(X[~held], y[~held])
            .predict(X[held]),
        )
        for interactions in (False, True)
    ]
    assert errors[1] < 0.8 * errors[0]


def test_penalty_is_strong_where_there_is_only_noise():
    context, compound = np.divmod(np.arange(160), 40)
    X = pd.DataFrame(
        {"cell_type": context.astype(str), "sm_name": compound.astype(str)}
    )
    noise = np.random.default_rng(0).normal(size=(160, 30))
    assert TargetEncodedRidge(smooth=1.0).fit(X, noise).alpha_ >= 100
    few = compound < 3
    assert TargetEncodedRidge().fit(X[few], noise[few]).alpha_ == np.inf


def test_without_a_context_column(screen):
    model = TargetEncodedRidge(n_statistics=3)
    model.fit(screen.X[["sm_name"]], screen.y)
    y_pred = model.predict(screen.X_test[["sm_name"]])
    assert y_pred.shape == screen.y_test.shape
    assert np.isfinite(y_pred).all()
    assert model.coef_.shape[0] == 3


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({"alphas": []}, "alphas.*must be a non-empty list"),
        ({"alphas": [-1]}, r"alphas.*non-empty list.*Got \[-1\]"),
        ({"smooth": -1}, r"'smooth' .* Got -1"),
        (
            {"n_components": "most"},
            r"'n_components' .* Got 'most'",
        ),
    ],
)
def test_parameters_out_of_range(params, match, screen):
    with pytest.raises(ValueError, match=match):
        TargetEncodedRidge(**params).fit(screen.X, screen.y)
