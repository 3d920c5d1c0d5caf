"""Predictions of held-out rows that a comparison returns."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.decomposition import PCA
from sklearn.exceptions import FitFailedWarning
from sklearn.model_selection import cross_val_predict

from sklperturb.baseline import GroupStatisticRegressor
from sklperturb.comparison import compare
from sklperturb.compose import LatentTargetRegressor
from sklperturb.datasets import make_chemical_screen
from sklperturb.evaluation import CellScorer
from sklperturb.metrics import mrrmse
from sklperturb.model_selection import UnseenPairKFold, UnseenPerturbationKFold


class Counting(GroupStatisticRegressor):
    """Remembers each fit, to see what a cache saved."""

    fits = []

    def fit(self, X, y):
        self.fits.append(len(X))
        return super().fit(X, y)


class Named(GroupStatisticRegressor):
    """Predicts a table, whose genes are in another order."""

    def fit(self, X, y):
        self.genes_ = list(y.columns)
        return super().fit(X, y)

    def predict(self, X):
        return pd.DataFrame(super().predict(X), columns=self.genes_).iloc[:, ::-1]


class FailsOn(RegressorMixin, BaseEstimator):
    """Fails in the fold that trains on so many rows."""

    def __init__(self, n_train):
        self.n_train = n_train

    def fit(self, X, y):
        if len(X) == self.n_train:
            raise RuntimeError("no luck")
        self.n_genes_ = y.shape[1]
        return self

    def predict(self, X):
        return np.ones((len(X), self.n_genes_))


@pytest.fixture(scope="module")
def screen():
    return make_chemical_screen(4, 20, 30, random_state=0)


@pytest.fixture(scope="module")
def pairs(screen):
    contexts = sorted(screen.X["cell_type"].unique())[:2]
    return UnseenPairKFold(3, contexts=contexts, random_state=0)


def predicted(screen, cv, model=None, y=None, **options):
    options = {"baselines": None, "return_predictions": True} | options
    model = GroupStatisticRegressor("context") if model is None else model
    y = screen.y if y is None else y
    return compare({"model": model}, screen.X, y, cv=cv, **options)


def test_rows_are_predicted_by_the_fold_that_held_them_out(screen, pairs):
    found = predicted(screen, pairs)
    y_pred = found.predictions["model"]
    assert y_pred.shape == screen.y.shape and y_pred.dtype == np.float32
    tested = np.zeros(len(screen.X), dtype=bool)
    for fold, (train, test) in enumerate(pairs.split(screen.X)):
        model = GroupStatisticRegressor("context")
        model.fit(screen.X.iloc[train], screen.y.iloc[train])
        expected = model.predict(screen.X.iloc[test])
        np.testing.assert_allclose(y_pred[test], expected, rtol=1e-6)
        rows = found.held_out.loc[found.held_out["fold"] == fold, "row"]
        assert rows.tolist() == test.tolist()
        tested[test] = True
    assert 0 < tested.sum() < len(tested)
    assert np.isnan(y_pred[~tested]).all() and np.isfinite(y_pred[tested]).all()
    # What is returned is what was scored.
    score = mrrmse(screen.y.to_numpy()[tested], y_pred[tested])
    assert found.summary["mean"].item() == pytest.approx(score)


def test_equals_cross_val_predict_where_that_works(screen):
    cv = UnseenPerturbationKFold(3, random_state=0)
    model = GroupStatisticRegressor("context")
    expected = cross_val_predict(model, screen.X, screen.y, cv=cv)
    y_pred = predicted(screen, cv, model).predictions["model"]
    np.testing.assert_allclose(y_pred, expected, rtol=1e-6)


def test_a_row_of_several_folds_has_the_mean_of_their_predictions(screen):
    n = len(screen.X)
    folds = [
        (np.arange(10, n), np.arange(10)),
        (np.arange(20, n), np.arange(5, 20)),
    ]
    y_pred = predicted(screen, folds).predictions["model"]
    each = [predicted(screen, [fold]).predictions["model"] for fold in folds]
    assert not np.allclose(each[0][5:10], each[1][5:10])
    expected = (each[0][5:10] + each[1][5:10]) / 2
    np.testing.assert_allclose(y_pred[5:10], expected, rtol=1e-6)
    np.testing.assert_array_equal(y_pred[:5], each[0][:5])
    np.testing.assert_array_equal(y_pred[10:20], each[1][10:20])
    assert np.isnan(y_pred[20:]).all()


def test_genes_are_in_the_order_of_the_responses(screen, pairs):
    named = predicted(screen, pairs, Named("context")).predictions["model"]
    np.testing.assert_array_equal(named, predicted(screen, pairs).predictions["model"])


def test_processes_and_a_cache_give_the_same(screen, pairs, tmp_path):
    expected = predicted(screen, pairs).predictions["model"]
    for options in ({"n_jobs": 2}, {"cache": tmp_path}, {"cache": tmp_path}):
        y_pred = predicted(screen, pairs, **options).predictions["model"]
        np.testing.assert_array_equal(y_pred, expected)


def test_a_cache_keeps_predictions_beside_scores(screen, pairs, tmp_path):
    def fits(**options):
        Counting.fits.clear()
        predicted(screen, pairs, Counting(), cache=tmp_path, **options)
        return len(Counting.fits)

    # Scores alone do not tell what was predicted.
    assert fits(return_predictions=False) == 3
    assert not list(tmp_path.glob("*.npz"))
    assert fits() == 3
    assert fits() == 0
    assert fits(return_predictions=False) == 0
    names = [{p.stem for p in tmp_path.glob(f"*.{kind}")} for kind in ("npz", "json")]
    assert names[0] == names[1] and len(names[0]) == 3


def _rewritten(change):
    def damage(path):
        with np.load(path) as file:
            y_pred = file["y_pred"]
        np.savez(path, y_pred=change(y_pred))

    return damage


def _flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        _flip,
        lambda path: path.write_bytes(path.read_bytes()[:-50]),
        lambda path: path.write_bytes(b""),
        lambda path: np.savez(path, other=np.zeros(3)),
        _rewritten(lambda y_pred: y_pred[1:]),
        _rewritten(lambda y_pred: y_pred[:, 1:]),
        _rewritten(lambda y_pred: y_pred.astype(float)),
        _rewritten(lambda y_pred: y_pred * np.float32(np.nan)),
        _rewritten(lambda y_pred: y_pred.astype(object)),
    ],
)
def test_damaged_predictions_are_made_again(screen, pairs, tmp_path, damage):
    expected = predicted(screen, pairs, cache=tmp_path).predictions["model"]
    path = sorted(tmp_path.glob("*.npz"))[0]
    damage(path)
    with pytest.warns(UserWarning, match=rf"{path.name}.*The fold is fitted again"):
        found = predicted(screen, pairs, cache=tmp_path).predictions["model"]
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(
        predicted(screen, pairs, cache=tmp_path).predictions["model"], expected
    )


def test_where_a_model_failed_nothing_is_predicted(screen):
    n = len(screen.X)
    folds = [(np.arange(5, n), np.arange(5)), (np.arange(7, n), np.arange(3, 7))]
    with pytest.warns(FitFailedWarning):
        found = predicted(screen, folds, FailsOn(n - 7), error_score=np.nan)
    y_pred = found.predictions["model"]
    assert (y_pred[:3] == 1).all() and np.isnan(y_pred[3:]).all()


def test_a_table_has_the_names_of_rows_and_genes(screen, pairs):
    labels = [f"s{i}" for i in range(len(screen.X))]
    X, y = screen.X.set_axis(labels), screen.y.set_axis(labels)
    found = compare(
        ["gene_mean"], X, y, cv=pairs, baselines=None, return_predictions=True
    )
    table = found.prediction_table("gene_mean")
    rows = np.sort(found.held_out["row"])
    assert table.index.tolist() == [labels[row] for row in rows]
    assert table.columns.tolist() == screen.y.columns.tolist()
    np.testing.assert_array_equal(table, found.predictions["gene_mean"][rows])
    with pytest.raises(ValueError, match="'gene_meen' is no model"):
        found.prediction_table("gene_meen")
    bare = predicted(screen, pairs, y=screen.y.to_numpy()).prediction_table("model")
    assert bare.columns.tolist() == list(range(30))


def test_anndata_has_names_too(screen, pairs):
    anndata = pytest.importorskip("anndata")
    y = anndata.AnnData(sparse.csr_matrix(screen.y.to_numpy()))
    y.var_names = screen.y.columns
    model = LatentTargetRegressor(GroupStatisticRegressor("context"), PCA(3))
    found = predicted(screen, pairs, model, y)
    plain = predicted(screen, pairs, model, screen.y.to_numpy())
    np.testing.assert_allclose(
        found.predictions["model"], plain.predictions["model"], atol=1e-5
    )
    assert found.genes.tolist() == screen.y.columns.tolist()


def test_predictions_are_not_kept_unasked(screen, pairs):
    found = predicted(screen, pairs, return_predictions=False)
    assert found.predictions == {}
    with pytest.raises(ValueError, match="pass return_predictions=True to compare"):
        found.prediction_table("model")


def test_generated_cells_are_no_predictions(screen, pairs):
    scoring = CellScorer("energy", "populations")
    with pytest.raises(ValueError, match="no predicted response for each row"):
        predicted(screen, pairs, scoring=scoring)
