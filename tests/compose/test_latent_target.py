import anndata
import numpy as np
import pandas as pd
import pytest
import sklearn
from numpy.testing import assert_allclose
from scipy import sparse
from sklearn.base import BaseEstimator, RegressorMixin, TransformerMixin, clone
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    cross_val_predict,
    cross_val_score,
)
from sklearn.pipeline import make_pipeline

from sklperturb.compose import LatentTargetRegressor
from sklperturb.metrics import mrrmse, neg_mrrmse_scorer
from sklperturb.model_selection import UnseenPairKFold
from sklperturb.neural_network import AutoencoderTransformer
from sklperturb.preprocessing import (
    TargetReducer,
    TargetStatisticsEncoder,
    make_condition_encoder,
)


@pytest.fixture(scope="module")
def toy():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 5))
    y = X @ rng.normal(size=(5, 30)) + 0.1 * rng.normal(size=(60, 30)) + 3.0
    return X, np.where(np.abs(y) < 0.3, 0.0, y)


def as_anndata(y, kind):
    matrix = sparse.csr_matrix(y) if kind.startswith("sparse") else y
    if kind.endswith("layer"):
        return anndata.AnnData(np.zeros_like(y), layers={"response": matrix})
    return anndata.AnnData(matrix)


def test_lossless_latent_space_changes_nothing(toy):
    X, y = toy
    direct = Ridge().fit(X, y).predict(X)
    assert_allclose(LatentTargetRegressor().fit(X, y).predict(X), direct, atol=1e-8)


def test_predictions_lie_in_the_latent_space(toy):
    X, y = toy
    model = LatentTargetRegressor(LinearRegression(), PCA(2)).fit(X, y)
    expected = PCA(2).fit(y)
    latent = LinearRegression().fit(X, expected.transform(y)).predict(X)
    assert_allclose(model.predict(X), expected.inverse_transform(latent))
    assert np.linalg.matrix_rank(model.predict(X) - expected.mean_) == 2


@pytest.mark.parametrize(
    "transformer",
    [
        None,
        PCA(3),
        TruncatedSVD(3),
        AutoencoderTransformer(3, max_epochs=60, random_state=0),
    ],
)
def test_transformers(toy, transformer):
    X, y = toy
    model = LatentTargetRegressor(Ridge(), transformer).fit(X, y)
    y_pred = model.predict(X)
    assert y_pred.shape == y.shape
    assert mrrmse(y, y_pred) < 0.9 * mrrmse(y, np.tile(y.mean(0), (len(y), 1)))


@pytest.mark.parametrize("kind", ["dense", "sparse", "dense layer", "sparse layer"])
def test_anndata_targets(toy, kind):
    X, y = toy
    given = as_anndata(y, kind)
    layer = "response" if kind.endswith("layer") else None
    svd = TruncatedSVD(3, algorithm="arpack", random_state=0)
    expected = LatentTargetRegressor(Ridge(), svd).fit(X, y)
    model = LatentTargetRegressor(Ridge(), svd, layer=layer).fit(X, given)
    assert_allclose(model.predict(X), expected.predict(X), rtol=1e-6)
    assert model.score(X, given) == pytest.approx(expected.score(X, y))
    folds = cross_val_predict(model, X, given, cv=4)
    assert_allclose(folds, cross_val_predict(expected, X, y, cv=4), rtol=1e-5)
    scores = cross_val_score(model, X, given, cv=4)
    assert_allclose(scores, cross_val_score(expected, X, y, cv=4), rtol=1e-5)


def test_frames_and_one_gene(toy):
    X, y = toy
    model = LatentTargetRegressor(Ridge(), PCA(3))
    of_frame = model.fit(X, pd.DataFrame(y).add_prefix("g")).predict(X)
    assert isinstance(of_frame, np.ndarray)
    assert_allclose(of_frame, model.fit(X, y).predict(X))
    assert LatentTargetRegressor().fit(X, y[:, 0]).predict(X).shape == (len(X),)
    assert LatentTargetRegressor().fit(X, y[:, :1]).predict(X).shape == (len(X), 1)


class NeedsNames(TransformerMixin, BaseEstimator):
    """Stands for an embedding that knows genes by name."""

    def fit(self, X, y=None):
        self.names_ = list(getattr(X, "var_names", getattr(X, "columns", [])))
        assert self.names_[0] == "g0"
        return self

    def transform(self, X):
        return np.asarray(X.X if hasattr(X, "X") else X)[:, ::-1]

    def inverse_transform(self, X):
        return anndata.AnnData(X[:, ::-1])


def test_as_is_gives_the_transformer_what_was_given(toy):
    X, y = toy
    names = [f"g{i}" for i in range(y.shape[1])]
    given = anndata.AnnData(y, var=pd.DataFrame(index=names))
    model = LatentTargetRegressor(Ridge(), NeedsNames(), target_format="as_is")
    expected = Ridge().fit(X, y).predict(X)
    assert_allclose(model.fit(X, given).predict(X), expected)
    frame = pd.DataFrame(y, columns=names)
    assert_allclose(model.fit(X, frame).predict(X), expected)
    with pytest.raises((AssertionError, IndexError)):
        clone(model).set_params(target_format="matrix").fit(X, given)


class Recorder(RegressorMixin, BaseEstimator):
    """Remember all that reached it."""

    def fit(self, X, y, sample_weight=None):
        self.X_, self.y_, self.sample_weight_ = X, y, sample_weight
        return self

    def predict(self, X):
        return np.tile(self.y_.mean(axis=0), (len(X), 1))


def test_the_response_never_enters_the_inputs(toy):
    """Other responses change what is learnt, not what the regressor reads."""
    X, y = toy
    frame = pd.DataFrame(X).add_prefix("x")
    shuffled = np.random.default_rng(1).permutation(y)
    for targets in (y, shuffled):
        model = LatentTargetRegressor(Recorder(), PCA(3)).fit(frame, targets)
        assert model.regressor_.X_ is frame
        assert_allclose(model.regressor_.y_, PCA(3).fit_transform(targets), atol=1e-9)


def test_noise_gives_no_skill(screen):
    """On responses that no input tells of, the training error must not vanish.

    A model whose inputs hold the response, as the published original's do, fits
    training rows of pure noise far better than their mean.
    """
    noise = np.random.default_rng(0).normal(size=screen.y.shape)
    model = LatentTargetRegressor(
        make_pipeline(make_condition_encoder(n_components=4), Ridge(10.0)), PCA(8)
    )
    skill = cross_val_score(model, screen.X, noise, cv=4)
    assert skill.max() < 0.05
    trained = model.fit(screen.X, noise).score(screen.X, noise)
    design = pd.get_dummies(screen.X[["cell_type", "sm_name"]])
    assert trained < LinearRegression().fit(design, noise).score(design, noise)


def test_folds_learn_the_latent_space_from_their_training_rows(screen):
    X, y = screen.X, screen.y.to_numpy()
    cv = UnseenPairKFold(3, random_state=0)
    model = LatentTargetRegressor(
        make_pipeline(make_condition_encoder(n_components=4), Ridge()), PCA(3)
    )
    scores = cross_val_score(model, X, y, cv=cv, scoring=neg_mrrmse_scorer)
    honest, leaking = [], []
    for train, test in cv.split(X, y):
        for rows, found in ((train, honest), (np.arange(len(y)), leaking)):
            pca = PCA(3).fit(y[rows])
            regressor = clone(model.regressor).fit(
                X.iloc[train], pca.transform(y[train])
            )
            y_pred = pca.inverse_transform(regressor.predict(X.iloc[test]))
            found.append(-mrrmse(y[test], y_pred))
    assert_allclose(scores, honest)
    assert np.abs(scores - leaking).min() > 1e-6


def test_nested_parameters(toy):
    X, y = toy
    grid = {"transformer__n_components": [1, 4], "regressor__alpha": [1e-3, 1e3]}
    search = GridSearchCV(
        LatentTargetRegressor(Ridge(), PCA()), grid, scoring=neg_mrrmse_scorer
    ).fit(X, y)
    assert search.best_params_ == {
        "transformer__n_components": 4,
        "regressor__alpha": 1e-3,
    }


def test_metadata_reaches_the_regressor(screen):
    X, y = screen.X, screen.y
    groups = pd.factorize(X["sm_name"])[0]
    weight = np.linspace(0.1, 1.0, len(X))
    encoder = TargetStatisticsEncoder(n_components=2, cv=GroupKFold(3))
    with sklearn.config_context(enable_metadata_routing=True):
        regressor = make_pipeline(
            encoder, Recorder().set_fit_request(sample_weight=True)
        )
        model = LatentTargetRegressor(regressor, PCA(2))
        model.fit(X, y, groups=groups, sample_weight=weight)
        with pytest.raises(TypeError, match="unexpected"):
            clone(model).fit(X, y, nonsense=weight)
    reached = model.regressor_[-1]
    assert_allclose(reached.sample_weight_, weight)
    splits = list(GroupKFold(3).split(X, y, groups))
    latent = PCA(2).fit_transform(y.to_numpy())
    encoded = clone(encoder).set_params(cv=splits).fit_transform(X, latent)
    assert_allclose(reached.X_, encoded, atol=1e-6)
    plain = LatentTargetRegressor(Recorder(), PCA(2)).fit(
        np.eye(len(y)), y, sample_weight=weight
    )
    assert plain.regressor_.sample_weight_ is weight


class MoreColumns(TargetReducer):
    """Decodes inputs and genes together, as the published original does."""

    def inverse_transform(self, X):
        genes = super().inverse_transform(X)
        return np.hstack([np.zeros((len(genes), 2)), genes])


def test_other_columns_than_the_genes_are_refused(toy):
    X, y = toy
    for check_inverse in (True, False):
        model = LatentTargetRegressor(
            Ridge(), MoreColumns(), check_inverse=check_inverse
        )
        with pytest.raises(ValueError, match="32 columns, and y has 30 genes"):
            model.fit(X, y)


class Useless(TargetReducer):
    def inverse_transform(self, X):
        return -super().inverse_transform(X)


def test_a_useless_latent_space_is_warned_of(toy, recwarn):
    X, y = toy
    LatentTargetRegressor(Ridge(), PCA(1)).fit(X, y)
    LatentTargetRegressor(Ridge(), Useless(), check_inverse=False).fit(X, y)
    LatentTargetRegressor().fit(X, np.ones_like(y))
    assert not [w for w in recwarn if issubclass(w.category, UserWarning)]
    with pytest.warns(UserWarning, match="Useless decodes"):
        LatentTargetRegressor(Ridge(), Useless()).fit(X, y)


def test_errors(toy):
    X, y = toy
    model = LatentTargetRegressor()
    with pytest.raises(ValueError, match="y is None"):
        model.fit(X, None)
    with pytest.raises(TypeError, match=r"[Ss]parse"):
        model.fit(X, sparse.csr_matrix(y))
    with pytest.raises(ValueError, match="needs an AnnData or a file, got ndarray"):
        LatentTargetRegressor(layer="response").fit(X, y)
    with pytest.raises(ValueError, match="no layer 'response'"):
        LatentTargetRegressor(layer="response").fit(X, as_anndata(y, "dense"))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        model.fit(X[:-1], y)


def test_score_knows_genes_by_their_names(toy):
    X, y = toy
    y = pd.DataFrame(y, columns=[f"G{i}" for i in range(y.shape[1])])
    model = LatentTargetRegressor(LinearRegression(), PCA(2)).fit(X, y)
    turned = y.iloc[:, np.roll(np.arange(y.shape[1]), 2)]
    assert model.score(X, turned) == pytest.approx(model.score(X, y))
    annotated = anndata.AnnData(turned)
    assert model.score(X, annotated) == pytest.approx(model.score(X, y))
