"""Averages over seeds, blends, and the steps that follow them."""

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.model_selection import KFold, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.tree import DecisionTreeRegressor, ExtraTreeRegressor

from sklperturb.baseline import (
    AdditiveRegressor,
    GroupStatisticRegressor,
    NoChangeRegressor,
)
from sklperturb.ensemble import (
    BlendRegressor,
    PseudoLabelRegressor,
    RescaledRegressor,
    ResidualRegressor,
    SeedEnsembleRegressor,
    SeenUnseenRegressor,
    StretchedRegressor,
    WeightedErrorRegressor,
)
from sklperturb.linear_model import BilinearGeneRegressor, ProductKernelRidge
from sklperturb.metrics import mrrmse, neg_mrrmse_scorer
from sklperturb.model_selection import UnseenPairKFold
from sklperturb.model_selection._meta import out_of_fold
from sklperturb.neural_network import TokenEmbeddingMLPRegressor
from sklperturb.preprocessing import make_condition_encoder

TREE = DecisionTreeRegressor(max_depth=3, random_state=0)


class Shrinking(RegressorMixin, BaseEstimator):
    """Predicts a known share of the truth that it finds in X."""

    def __init__(self, share=0.5):
        self.share = share

    def fit(self, X, y):
        self.coef_ = np.linalg.lstsq(X, y, rcond=None)[0]
        return self

    def predict(self, X):
        return self.share * (X @ self.coef_)


@pytest.fixture
def linear():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 4))
    return X, X @ rng.normal(size=(4, 6)) + 0.1 * rng.normal(size=(80, 6))


def test_seeds_differ_and_their_median_is_predicted(linear):
    X, y = linear
    model = SeedEnsembleRegressor(ExtraTreeRegressor(), 5, random_state=0).fit(X, y)
    seeds = {fitted.random_state for fitted in model.estimators_}
    assert len(seeds) == 5
    single = np.stack([fitted.predict(X[:3] + 0.1) for fitted in model.estimators_])
    expected = np.median(single, axis=0)
    np.testing.assert_allclose(model.predict(X[:3] + 0.1), expected)
    mean = SeedEnsembleRegressor(aggregate="mean", random_state=0).fit(X, y)
    np.testing.assert_allclose(mean.predict(X[:3] + 0.1), single.mean(axis=0))


def test_seeds_give_the_same_in_parallel_and_the_caller_is_left_alone(linear):
    X, y = linear
    inner = ExtraTreeRegressor(random_state=7)
    serial = SeedEnsembleRegressor(inner, 3, random_state=1).fit(X, y).predict(X)
    parallel = SeedEnsembleRegressor(inner, 3, random_state=1, n_jobs=2).fit(X, y)
    np.testing.assert_array_equal(serial, parallel.predict(X))
    assert inner.random_state == 7


def test_the_encoder_of_a_pipeline_is_fitted_once(screen):
    pipeline = make_pipeline(make_condition_encoder(n_components=3), Ridge())
    shared = SeedEnsembleRegressor(pipeline, 3, random_state=0)
    shared.fit(screen.X, screen.y)
    assert isinstance(shared.encoder_, Pipeline)
    assert all(isinstance(fitted, Ridge) for fitted in shared.estimators_)
    apart = SeedEnsembleRegressor(pipeline, 3, share_encoder=False, random_state=0)
    apart.fit(screen.X, screen.y)
    assert apart.encoder_ is None
    assert all(isinstance(fitted, Pipeline) for fitted in apart.estimators_)


@pytest.mark.parametrize("method", ["mrrmse", "spearman", "greedy", "nnls"])
def test_a_blend_is_not_taken_in_by_a_model_that_remembers(linear, method):
    X, _ = linear
    y = np.random.default_rng(1).normal(size=(80, 6))  # nothing to learn
    parts = [("tree", DecisionTreeRegressor(random_state=0)), ("zero", Shrinking(0.0))]
    blend = BlendRegressor(parts, method=method, random_state=0).fit(X, y)
    # Fitted rows are predicted without error: in-sample weights would be (1, 0).
    assert blend.weights_[0] < 0.3


def test_blend_takes_given_weights_folds_and_names(linear):
    X, y = linear
    parts = [("half", Shrinking(0.5)), ("zero", Shrinking(0.0))]
    given = BlendRegressor(parts, weights=[2.0, 0.0]).fit(X, y)
    assert given.estimators_[1] is None
    np.testing.assert_allclose(given.predict(X), 2 * given.estimators_[0].predict(X))
    learnt = BlendRegressor(parts, cv=KFold(4), method="nnls").fit(X, y)
    assert learnt.weights_[0] == pytest.approx(2, abs=0.01)
    learnt.set_params(half__share=0.25)
    assert learnt.get_params()["half__share"] == 0.25
    with pytest.raises(ValueError, match=r"0 or more, of shape \(2,\)"):
        BlendRegressor(parts, weights=[1.0]).fit(X, y)
    with pytest.raises(ValueError, match="Names provided are not unique"):
        BlendRegressor([parts[0], parts[0]]).fit(X, y)
    with pytest.raises(TypeError, match="no fit and"):
        BlendRegressor([("text", "ridge")]).fit(X, y)


def test_shrinkage_is_undone_and_no_more(linear):
    X, y = linear
    factors = [0.8, 1.0, 1.5, 2.0, 2.5]
    halved = RescaledRegressor(Shrinking(0.5), factors, random_state=0).fit(X, y)
    assert halved.factor_ == 2.0
    right = RescaledRegressor(Shrinking(1.0), factors, random_state=0).fit(X, y)
    assert right.factor_ == 1.0
    with pytest.raises(ValueError, match="non-empty list, each"):
        RescaledRegressor(factors=[0.0]).fit(X, y)


def test_clipping_is_to_the_range_of_the_training_rows(linear):
    X, y = linear
    clipped = RescaledRegressor(Shrinking(3.0), [1.0], clip=True).fit(X, y)
    assert clipped.errors_ == {}
    y_pred = clipped.predict(10 * X)
    assert (y_pred <= y.max(axis=0)).all()
    assert (y_pred >= y.min(axis=0)).all()
    chosen = RescaledRegressor(Shrinking(3.0), [1.0], random_state=0).fit(X, y)
    assert chosen.clip_
    assert set(chosen.errors_) == {(1.0, False), (1.0, True)}


def test_pseudo_labels_reach_the_fit_and_weigh_less(screen):
    X, y, X_test = screen.X, screen.y, screen.X_test
    seen = {}

    class Recording(GroupStatisticRegressor):
        def fit(self, X, y):
            seen["rows"], seen["y"] = len(X), y
            return super().fit(X, y)

    class Network(Recording):
        def __init__(self, max_epochs=1):
            super().__init__()
            self.max_epochs = max_epochs

    first = ProductKernelRidge()
    model = PseudoLabelRegressor(first, Network(), weight=0.5)
    model.fit(X, y, X_unlabeled=X_test)
    assert seen["rows"] == 2 * len(X) + len(X_test)
    labels = ProductKernelRidge().fit(X, y).predict(X_test)
    np.testing.assert_allclose(seen["y"][-len(X_test) :], labels)
    # What is not trained in epochs may leave out rows, whose copies would tell them.
    with pytest.warns(UserWarning, match="weight=0.5 cannot be told to it"):
        PseudoLabelRegressor(first, Recording()).fit(X, y, X_unlabeled=X_test)
    assert seen["rows"] == len(X) + len(X_test)
    assert model.n_pseudo_labelled_ == len(X_test)
    model.fit(X, y)
    assert seen["rows"] == len(X)
    with pytest.raises(ValueError, match=r"lacks the columns \['sm_name'"):
        model.fit(X, y, X_unlabeled=X_test[["cell_type"]])


def test_genes_are_known_by_their_names_inside():
    rng = np.random.RandomState(0)
    genes = [f"G{i}" for i in range(60)]
    loadings = rng.normal(size=(60, 3))
    y = pd.DataFrame(loadings @ loadings.T, columns=genes)
    y += 0.1 * rng.normal(size=y.shape)
    X = pd.DataFrame({"target_gene": genes})
    train, test = slice(0, 45), slice(45, 60)

    def error(model):
        fitted = model.fit(X[train], y[train], **options)
        return mrrmse(y[test], fitted.predict(X[test]))

    part, options = BilinearGeneRegressor(n_components=3), {}
    expected = error(part)
    assert expected < 0.5 * mrrmse(y[test], np.zeros((15, 60)))
    assert error(BlendRegressor([("a", part)])) == pytest.approx(expected)
    assert error(BlendRegressor([("a", part), ("b", part)])) < 1.2 * expected
    assert error(ResidualRegressor(part, part)) < 1.2 * expected
    for wrapper in (RescaledRegressor, StretchedRegressor, WeightedErrorRegressor):
        assert error(wrapper(part)) < 1.2 * expected
    options = {"X_unlabeled": X[test]}
    assert error(PseudoLabelRegressor(part, weight=1)) < 1.2 * expected


def test_pseudo_labels_use_sample_weights_where_they_can(linear):
    X, y = linear
    model = PseudoLabelRegressor(LinearRegression(), weight=0.25)
    # Labels on the fitted plane change nothing, whatever their weight.
    model.fit(X, y, X_unlabeled=10 * X)
    np.testing.assert_allclose(
        model.predict(X), LinearRegression().fit(X, y).predict(X)
    )
    with pytest.raises(ValueError, match="needs the 4 columns"):
        model.fit(X, y, X_unlabeled=X[:, :2])


def test_unlabelled_conditions_are_routed_through_cross_validation(screen):
    X, y = screen.X, screen.y
    cv = UnseenPairKFold(2, random_state=0)
    with sklearn.config_context(enable_metadata_routing=True):
        model = PseudoLabelRegressor(ProductKernelRidge(), weight=1)
        model.set_fit_request(X_unlabeled=True)
        scores = cross_val_score(
            model,
            X,
            y,
            cv=cv,
            scoring=neg_mrrmse_scorer,
            params={"X_unlabeled": screen.X_test},
        )
        fitted = Pipeline([("model", model)]).fit(X, y, X_unlabeled=screen.X_test)
    assert np.isfinite(scores).all()
    assert fitted["model"].n_pseudo_labelled_ == len(screen.X_test)


def test_rows_go_to_the_model_that_knows_their_perturbation(screen):
    known = GroupStatisticRegressor("perturbation")
    model = SeenUnseenRegressor(known, NoChangeRegressor()).fit(screen.X, screen.y)
    X = screen.X_test.iloc[:4].reset_index(drop=True)
    X.loc[[1, 3], "sm_name"] = "never measured"
    y_pred = model.predict(X)
    assert (y_pred[[1, 3]] == 0).all()
    expected = known.fit(screen.X, screen.y).predict(X.iloc[[0, 2]])
    np.testing.assert_allclose(y_pred[[0, 2]], expected)
    one_context = screen.X.drop_duplicates("sm_name")
    alone = SeenUnseenRegressor(known, NoChangeRegressor())
    alone.fit(
        one_context, np.asarray(screen.y)[screen.X.index.get_indexer(one_context.index)]
    )
    assert alone.seen_ is None
    assert (alone.predict(X) == 0).all()


def test_what_the_base_leaves_is_learnt(linear):
    X, y = linear
    base = Ridge(1000.0)
    model = ResidualRegressor(base, LinearRegression()).fit(X, y)
    np.testing.assert_allclose(model.base_.predict(X), base.fit(X, y).predict(X))
    np.testing.assert_allclose(
        model.predict(X), LinearRegression().fit(X, y).predict(X), atol=1e-10
    )
    nothing = ResidualRegressor(base, NoChangeRegressor()).fit(X, y)
    np.testing.assert_allclose(nothing.predict(X), base.predict(X))


def test_a_network_on_the_additive_model_errs_less_than_either(screen):
    network = TokenEmbeddingMLPRegressor(max_epochs=10, clip=False, random_state=0)
    base = AdditiveRegressor("joint")
    both = ResidualRegressor(base, network)
    single, alone, together = (
        mrrmse(screen.y_test, model.fit(screen.X, screen.y).predict(screen.X_test))
        for model in (network, base, both)
    )
    assert together < min(single, 1.02 * alone)


@pytest.mark.parametrize(("share", "expected"), [(1.0, 1.0), (2.0, 0.5), (-1.0, 0.0)])
def test_only_the_share_that_helps_is_added(linear, share, expected):
    X, y = linear
    model = ResidualRegressor(NoChangeRegressor(), Shrinking(share), cv=3)
    assert model.fit(X, y).share_ == pytest.approx(expected, abs=0.05)
    assert expected or model.share_ == 0  # not even a little
    np.testing.assert_allclose(
        model.predict(X), model.share_ * Shrinking(share).fit(X, y).predict(X)
    )


class RightInOneContext(RegressorMixin, BaseEstimator):
    """Predicts the numbers of a column, in all contexts but "A" the wrong way round."""

    def fit(self, X, y):
        return self

    def predict(self, X):
        sign = np.where(X["cell_type"] == "A", 1.0, -1.0)
        return np.outer(sign * X["number"], [1.0, 2.0])


def test_a_context_that_a_network_spoils_is_left_as_it_was():
    rng = np.random.default_rng(0)
    contexts = np.repeat(["A", "B"], [60, 20])
    X = pd.DataFrame({"cell_type": contexts, "sm_name": np.arange(80) % 20})
    X["number"] = rng.normal(size=80)
    y = np.outer(X["number"], [1.0, 2.0])
    model = ResidualRegressor(
        NoChangeRegressor(), RightInOneContext(), cv=3, by_context=True, random_state=0
    ).fit(X, y)
    assert model.context_shares_ == {"A": pytest.approx(1, abs=0.01), "B": 0.0}
    new = X.iloc[[0, -1, 5]].assign(cell_type=["A", "B", "C"])
    shares = np.array([model.context_shares_["A"], 0.0, model.share_])
    expected = shares[:, None] * RightInOneContext().predict(new)
    np.testing.assert_allclose(model.predict(new), expected)
    one_gene = clone(model).set_params(regressor=Ridge(), base=NoChangeRegressor())
    numbers = X.drop(columns="sm_name").assign(cell_type=1)
    with pytest.raises(ValueError, match="perturbation"):
        one_gene.fit(numbers, y[:, 0])


def test_folds_are_shuffled_for_any_integer(linear):
    X, y = linear
    folds = [
        out_of_fold([Ridge()], X, y, cv, random_state=0)[0] for cv in (3, np.int64(3))
    ]
    for (_, test), (_, other) in zip(*folds, strict=True):
        np.testing.assert_array_equal(test, other)
        assert (np.diff(test) > 1).any()
    with pytest.raises(ValueError, match="n_splits=0"):
        out_of_fold([Ridge()], X, y, 0)


@pytest.mark.parametrize(
    "model",
    [
        BlendRegressor([("tree", TREE), ("mean", Ridge())], weights=[0.5, 0.5]),
        PseudoLabelRegressor(TREE, n_rounds=2),
        RescaledRegressor(TREE, random_state=0),
        ResidualRegressor(TREE, Ridge()),
        ResidualRegressor(Ridge(), TREE, cv=3, random_state=0),
        SeedEnsembleRegressor(TREE, 3, random_state=0),
        StretchedRegressor(TREE, random_state=0),
        WeightedErrorRegressor(TREE, random_state=0),
    ],
    ids=lambda model: type(model).__name__,
)
def test_one_gene_as_a_column_is_that_gene_as_a_series(linear, model):
    """Trees drop the dimension of a single gene, and linear models keep it."""
    X, y = linear[0], linear[1][:, :1]
    asked = {}
    if isinstance(model, PseudoLabelRegressor):
        asked["X_unlabeled"] = X[:7] + 0.1
    column = clone(model).fit(X, y, **asked).predict(X)
    series = clone(model).fit(X, y.ravel(), **asked).predict(X)
    assert column.shape == y.shape and series.shape == (len(y),)
    np.testing.assert_allclose(column.ravel(), series)


def test_seen_and_unseen_rows_of_one_gene(screen):
    """One model gives a column, and the other drops that dimension."""
    X, y = screen.X[["cell_type", "sm_name"]], screen.y.iloc[:, :1]
    encoder = OneHotEncoder(handle_unknown="ignore")
    new = pd.concat([X.head(3), X.head(2).assign(sm_name=["new", "other"])])
    for models in (TREE, Ridge()), (Ridge(), TREE):
        model = SeenUnseenRegressor(*(make_pipeline(encoder, m) for m in models))
        column = clone(model).fit(X, y).predict(new)
        series = clone(model).fit(X, y.iloc[:, 0]).predict(new)
        assert column.shape == (5, 1) and series.shape == (5,)
        np.testing.assert_allclose(column.ravel(), series)
