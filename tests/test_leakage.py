"""Why target encoders are fitted inside the folds, and cross-fitted.

The screen is noise plus weak effects. Margins are about half of the smallest
difference among the seeds 0 to 19.
"""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline

from sklperturb.metrics import mrrmse, neg_mrrmse_scorer
from sklperturb.model_selection import UnseenPairKFold
from sklperturb.preprocessing import TargetStatisticsEncoder

seeds = pytest.mark.parametrize("seed", [0, 1, 2])


def make_noisy_screen(seed, n_contexts=4, n_compounds=80, n_genes=20, effect=0.3):
    """Return X, y and, for pairs that are not in X, X_fresh, y_fresh."""
    rng = np.random.default_rng(seed)
    context, compound = np.divmod(np.arange(n_contexts * n_compounds), n_compounds)
    X = pd.DataFrame(
        {
            "cell_type": [f"cell type {c}" for c in context],
            "sm_name": [f"compound {p}" for p in compound],
        }
    )
    y = effect * rng.normal(size=(n_contexts, n_genes))[context]
    y += effect * rng.normal(size=(n_compounds, n_genes))[compound]
    y += rng.normal(size=y.shape)
    fresh = rng.random(len(X)) < 0.25
    return X[~fresh].reset_index(drop=True), y[~fresh], X[fresh], y[fresh]


def make_encoder():
    return TargetStatisticsEncoder(["mean"], n_components=None, smooth=0.0)


@seeds
def test_encoding_before_the_split_only_looks_better(seed):
    X, y, X_fresh, y_fresh = make_noisy_screen(seed)
    model = Ridge(30.0)
    folds = list(UnseenPairKFold(4, random_state=0).split(X))
    encoder = make_encoder().fit(X, y)
    encoded = encoder.transform(X)
    leaky = -cross_val_score(model, encoded, y, cv=folds, scoring=neg_mrrmse_scorer)
    pipeline = make_pipeline(make_encoder(), model)
    honest = -cross_val_score(pipeline, X, y, cv=folds, scoring=neg_mrrmse_scorer)
    gain = honest - leaky
    assert gain.mean() > 0.07
    assert gain.mean() > 3 * gain.std(ddof=1)
    assert gain.min() > 0

    y_leaky = model.fit(encoded, y).predict(encoder.transform(X_fresh))
    y_honest = pipeline.fit(X, y).predict(X_fresh)
    leaky_fresh, honest_fresh = mrrmse(y_fresh, y_leaky), mrrmse(y_fresh, y_honest)
    # The gain was no gain, and only the honest score says what comes.
    assert leaky_fresh > honest_fresh
    assert leaky_fresh - leaky.mean() > 0.09
    assert abs(honest_fresh - honest.mean()) < 0.1


@seeds
def test_cross_fitted_encodings_train_the_better_model(seed):
    X, y, X_fresh, y_fresh = make_noisy_screen(seed)
    encoder = make_encoder()
    crossed = encoder.fit_transform(X, y)
    own = encoder.fit(X, y).transform(X)
    new = encoder.transform(X_fresh)
    errors = [
        mrrmse(y_fresh, Ridge(30.0).fit(Z, y).predict(new)) for Z in (crossed, own)
    ]
    assert errors[1] - errors[0] > 0.02


@seeds
def test_a_row_cannot_be_read_out_of_its_own_encoding(seed):
    X, y, *_ = make_noisy_screen(seed, effect=0.0)
    n_genes = y.shape[1]
    encoder = make_encoder()

    def correlation(encoded):
        of_compound = encoded[:, n_genes:]
        return np.corrcoef(of_compound.ravel(), y.ravel())[0, 1]

    assert correlation(encoder.fit_transform(X, y)) < 0.1
    assert correlation(encoder.fit(X, y).transform(X)) > 0.4
