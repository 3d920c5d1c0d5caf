"""Each of the toolkit's checks catches the mistake that it is meant for."""

import itertools

import numpy as np
import pytest
from sklearn.base import BaseEstimator, TransformerMixin, _fit_context
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline

from sklperturb.baseline import AdditiveRegressor, NoChangeRegressor
from sklperturb.preprocessing import make_condition_encoder
from sklperturb.testing import check_perturbation_estimator, perturbation_checks
from sklperturb.utils._callbacks import CallbackSupportMixin, begin_fit


class PeeksAtOtherRows(AdditiveRegressor):
    def predict(self, X):
        y_pred = super().predict(X)
        return 0.99 * y_pred + 0.01 * y_pred.mean(axis=0)


class DependsOnOrder(AdditiveRegressor):
    def predict(self, X):
        y_pred = super().predict(X)
        return y_pred * (1 + 1e-3 * np.arange(len(y_pred))[:, None])


class UsesGlobalState(AdditiveRegressor):
    def fit(self, X, y):
        super().fit(X, y)
        self.grand_mean_ = self.grand_mean_ + 1e-3 * np.random.rand()
        return self


# Counted and not drawn, since two draws can be the same.
FITS = itertools.count(1)


class IgnoresItsSeed(AdditiveRegressor):
    def __init__(self, effects="means", *, schema=None, random_state=None):
        super().__init__(effects, schema=schema)
        self.random_state = random_state

    def fit(self, X, y):
        super().fit(X, y)
        self.grand_mean_ = self.grand_mean_ * (1 + 1e-14 * next(FITS))
        return self


class SeedsTorch(AdditiveRegressor):
    def fit(self, X, y):
        torch = pytest.importorskip("torch")
        torch.manual_seed(0)
        return super().fit(X, y)


class ChangesX(AdditiveRegressor):
    def fit(self, X, y):
        super().fit(X, y)
        X["cell_type"] = X["cell_type"].str.upper()
        return self


class ChangesXInPredict(AdditiveRegressor):
    def predict(self, X):
        y_pred = super().predict(X)
        X["prediction"] = y_pred[:, 0]
        return y_pred


class CentresYInPlace(AdditiveRegressor):
    def fit(self, X, y):
        super().fit(X, y)
        y -= y.mean(axis=0)
        return self


class FailsOnUnseenCompounds(AdditiveRegressor):
    def predict(self, X):
        unknown = ~X["sm_name"].isin(self.perturbations_)
        if unknown.any():
            raise KeyError(X["sm_name"][unknown].iloc[0])
        return super().predict(X)


class NaNForUnseenContexts(AdditiveRegressor):
    def predict(self, X):
        y_pred = super().predict(X)
        y_pred[~X["cell_type"].isin(self.contexts_).to_numpy()] = np.nan
        return y_pred


class NeedsY(AdditiveRegressor):
    def predict(self, X, y):
        return super().predict(X)


class KeepsTheCallersArray(AdditiveRegressor):
    def fit(self, X, y):
        super().fit(X, y)
        self.y_ = y
        return self

    def predict(self, X):
        return super().predict(X) + np.asarray(self.y_).mean(axis=0)


class CannotBePickled(AdditiveRegressor):
    def fit(self, X, y):
        super().fit(X, y)
        self.hook_ = lambda: None
        return self


class ForgetsInPickle(AdditiveRegressor):
    def __getstate__(self):
        state = super().__getstate__()
        return state | {"grand_mean_": state["grand_mean_"] + 1}


class ClonesItsSizes(AdditiveRegressor):
    def __sklearn_clone__(self):
        copy = type(self)(self.effects, schema=self.schema)
        if hasattr(self, "grand_mean_"):
            copy.grand_mean_ = self.grand_mean_
        return copy


class CountsColumns(AdditiveRegressor):
    def fit(self, X, y):
        super().fit(X, y)
        self.grand_mean_ = self.grand_mean_ + X.shape[1]
        return self


class ReadsTextOnly(AdditiveRegressor):
    def fit(self, X, y):
        text = (X["sm_name"].dtype == object) * 1.0
        super().fit(X, y)
        self.grand_mean_ = self.grand_mean_ + text
        return self


class AcceptsMissingNames(AdditiveRegressor):
    def fit(self, X, y):
        return super().fit(X.fillna("?"), y)

    def predict(self, X):
        return super().predict(X.fillna("?"))


class AlwaysTwoDimensions(AdditiveRegressor):
    def predict(self, X):
        return super().predict(X).reshape(len(X), -1)


class Float32(AdditiveRegressor):
    def predict(self, X):
        return super().predict(X).astype(np.float32)


class FirstGeneOnly(AdditiveRegressor):
    def fit(self, X, y):
        return super().fit(X, np.asarray(y).reshape(len(y), -1)[:, 0])


class NeedsEveryContext(AdditiveRegressor):
    def fit(self, X, y):
        super().fit(X, y)
        if len(X) < 40:
            raise ValueError("too few rows")
        return self


class Encoder(TransformerMixin, BaseEstimator):
    """The length of the perturbation's name: right, if of little use."""

    def fit(self, X, y=None):
        if X["sm_name"].isna().any():
            raise ValueError("missing")
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X):
        if X["sm_name"].isna().any():
            raise ValueError("missing")
        return X["sm_name"].astype(object).str.len().to_numpy(float)[:, None]

    def get_feature_names_out(self, input_features=None):
        return np.array(["length"], dtype=object)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.categorical = True
        return tags


class FitTransformIsWider(Encoder):
    def fit_transform(self, X, y=None):
        return np.hstack([self.fit(X, y).transform(X)] * 2)


class TooManyNames(Encoder):
    def get_feature_names_out(self, input_features=None):
        return np.array(["length", "width"], dtype=object)


class HasNoSetOutput(Encoder, auto_wrap_output_keys=None):
    pass


class StandardisesInTransform(Encoder):
    def transform(self, X):
        Z = super().transform(X)
        return Z - Z.mean(axis=0)


class ForgetsCallbacks(AdditiveRegressor):
    def fit(self, X, y):
        params = self.get_params(deep=False)
        vars(self).clear()
        vars(self).update(params)
        return super().fit(X, y)


class TellsNoEnd(CallbackSupportMixin, AdditiveRegressor):
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y):
        begin_fit(self, X, y)
        return super().fit(X, y)


class TellsOfAnUnfittedCopy(CallbackSupportMixin, AdditiveRegressor):
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y):
        task = begin_fit(self, X, y)
        super().fit(X, y)
        task.end(X, y, fitted=lambda: {"grand_mean_": 0 * self.grand_mean_})
        return self


BROKEN = [
    (PeeksAtOtherRows, "check_row_independence", "without the others"),
    (DependsOnOrder, "check_row_independence", "in another order"),
    (UsesGlobalState, "check_random_state", "global generator of numpy was used"),
    (SeedsTorch, "check_random_state", "global generator of torch was used"),
    (IgnoresItsSeed, "check_random_state", "do not give the same bits"),
    (ChangesX, "check_inputs_unchanged", "X after fit.*cell_type"),
    (ChangesXInPredict, "check_inputs_unchanged", "X after predict"),
    (CentresYInPlace, "check_inputs_unchanged", "y after fit"),
    (NeedsY, "check_training_data_not_needed", r"requires \['y'\] besides X"),
    (KeepsTheCallersArray, "check_training_data_not_needed", "follow changes"),
    (CannotBePickled, "check_serialisation", "pickle"),
    (ForgetsInPickle, "check_serialisation", "a pickled copy differs"),
    (ClonesItsSizes, "check_clone_after_fit", r"carries \['grand_mean_'\]"),
    (ForgetsCallbacks, "check_callbacks", "lost the task of another fit"),
    (TellsNoEnd, "check_callbacks", "that began are not those that ended"),
    (TellsOfAnUnfittedCopy, "check_callbacks", "given at the end is another"),
    (CountsColumns, "check_categories_and_extra_columns", "unused ones"),
    (ReadsTextOnly, "check_categories_and_extra_columns", "dtype category"),
    (FailsOnUnseenCompounds, "check_unseen_levels", "a new compound"),
    (NaNForUnseenContexts, "check_unseen_levels", "not finite.*new cell type"),
    (AcceptsMissingNames, "check_missing_perturbation", "no ValueError in fit"),
    (AlwaysTwoDimensions, "check_predictions", "y with one dimension"),
    (Float32, "check_predictions", "dtype float32"),
    (FirstGeneOnly, "check_predictions", r"shape \(47,\) for y of shape"),
    (NeedsEveryContext, "check_cross_validation", "too few rows"),
    (FitTransformIsWider, "check_transform_shapes", r"\(47, 2\), transform \(47, 1\)"),
    (TooManyNames, "check_transform_shapes", "2 feature names for 1 columns"),
    (HasNoSetOutput, "check_set_output", "set_output"),
    (StandardisesInTransform, "check_row_independence", "without the others"),
]


@pytest.mark.parametrize(
    ("kind", "name", "message"), BROKEN, ids=[kind.__name__ for kind, *_ in BROKEN]
)
def test_mistake_is_caught(kind, name, message):
    if kind is SeedsTorch:
        pytest.importorskip("torch")
    if name == "check_callbacks":
        pytest.importorskip("sklearn.callback")
    check = dict(perturbation_checks(kind()))[name]
    with pytest.raises(Exception, match=message):
        check()


def test_every_check_is_shown_to_fail():
    names = {
        name
        for estimator in (NoChangeRegressor(), Encoder())
        for name, _ in perturbation_checks(estimator)
    }
    assert names == {name for _, name, _ in BROKEN}


def test_the_name_of_the_check_is_in_the_message():
    message = "PeeksAtOtherRows fails check_row_independence: outputs change"
    with pytest.raises(AssertionError, match=message):
        check_perturbation_estimator(PeeksAtOtherRows())


@pytest.mark.parametrize(
    "estimator",
    [
        Encoder(),
        Ridge(),
        make_pipeline(make_condition_encoder(n_components=3), Ridge()),
        make_condition_encoder(n_components=None),
    ],
    ids=["encoder", "numeric", "pipeline", "column_transformer"],
)
def test_right_estimators_pass(estimator):
    for name, check in perturbation_checks(estimator):
        if name == "check_serialisation" and isinstance(estimator, Encoder):
            continue  # a worker process cannot import this test file
        check()


def test_neither_regressor_nor_transformer():
    with pytest.raises(TypeError, match="neither a regressor nor a transformer"):
        list(perturbation_checks(LogisticRegression()))
