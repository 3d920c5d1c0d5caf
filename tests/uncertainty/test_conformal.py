"""Intervals around predictions, and when they do not hold."""

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.linear_model import Ridge

import sklperturb
from sklperturb.baseline import AdditiveRegressor, NoChangeRegressor
from sklperturb.datasets import make_chemical_screen
from sklperturb.inspection import ConformalRegressor, ExchangeabilityWarning
from sklperturb.model_selection import UnseenPairKFold, UnseenPerturbationKFold
from sklperturb.uncertainty._conformal_asked import _warn_of_shift


def noise(n_perturbations, n_genes=40, contexts="AB", seed=0, sizes=(0.2, 3.0)):
    """Return conditions whose responses are noise, of a size by perturbation."""
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(
        [(c, f"p{i}") for i in range(n_perturbations) for c in contexts],
        columns=["cell_type", "sm_name"],
    )
    size = np.exp(rng.uniform(*np.log(sizes), size=n_perturbations))
    size = np.repeat(size, len(contexts))[:, None]
    return X, size * rng.normal(size=(len(X), n_genes))


@pytest.fixture(scope="module")
def fitted():
    X, y = noise(120)
    rows = X["sm_name"].str[1:].astype(int) < 80
    model = ConformalRegressor(
        NoChangeRegressor(), cv=UnseenPerturbationKFold(4, random_state=0)
    )
    return model.fit(X[rows], y[rows]), X[~rows], y[~rows]


@pytest.mark.parametrize("confidence", [0.5, 0.9])
def test_coverage(fitted, confidence):
    model, X, y = fitted
    lower, upper = model.predict_interval(X, confidence)
    inside = (lower <= y) & (y <= upper)
    by_perturbation = pd.Series(inside.mean(axis=1)).groupby(X["sm_name"].to_numpy())
    shares = by_perturbation.mean()
    # New perturbations are covered, some more and some less, by what strength tells.
    assert abs(shares.mean() - confidence) < 3 * shares.std() / np.sqrt(len(shares))
    np.testing.assert_allclose(lower + upper, 2 * model.predict(X), atol=1e-12)


def test_intervals_are_wider_where_errors_are_larger():
    X, y = noise(60, contexts="ABC")
    model = ConformalRegressor(NoChangeRegressor()).fit(X, y)
    assert model.held_out_kinds_ == {"pair": 1.0}
    lower, upper = model.predict_interval(X)
    width = (upper - lower).mean(axis=1)
    assert np.corrcoef(np.log(width), np.log(np.std(y, axis=1)))[0, 1] > 0.9


def test_no_row_is_judged_by_itself(monkeypatch):
    from sklperturb.uncertainty import _conformal

    judged = []

    class Watched(_conformal.ErrorScale):
        def fit(self, features, errors, units):
            self.seen = set(np.ravel(errors).tolist())
            return super().fit(features, errors, units)

        def __call__(self, features):
            judged.append(self)
            return super().__call__(features)

    monkeypatch.setattr(_conformal, "ErrorScale", Watched)
    kept = []
    quantiles = _conformal.calibrated_quantiles

    def watched(scores, units, levels):
        kept.append((scores, units))
        return quantiles(scores, units, levels)

    monkeypatch.setattr(_conformal, "calibrated_quantiles", watched)
    X, y = noise(25)
    model = ConformalRegressor(NoChangeRegressor()).fit(X, y)
    [(scores, _)] = kept
    assert scores.shape == y.shape
    assert len(judged) == 10
    all_errors = set(np.ravel(y).tolist())
    for scale in judged:
        assert len(all_errors - {-e for e in scale.seen} - scale.seen) >= 40 * 2 * 2
    assert model.error_scale_.seen | {-e for e in model.error_scale_.seen} >= all_errors


def test_folds_hold_out_what_is_usual(screen):
    X, y = screen.X, screen.y
    pairs = ConformalRegressor(AdditiveRegressor(), confidence=0.5).fit(X, y)
    assert set(pairs.held_out_kinds_) == {"pair"}
    one = X["cell_type"] == "NK cells"
    new = ConformalRegressor(AdditiveRegressor(), confidence=0.5).fit(X[one], y[one])
    assert set(new.held_out_kinds_) == {"perturbation"}
    again = ConformalRegressor(
        AdditiveRegressor(), confidence=0.5, cv=UnseenPairKFold(5, random_state=0)
    )
    for ours, theirs in zip(
        again.fit(X, y).predict_interval(X), pairs.predict_interval(X), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_what_was_not_held_out_is_told():
    X, y = noise(40)
    model = ConformalRegressor(AdditiveRegressor()).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ExchangeabilityWarning)
        model.predict_interval(X)
    new = pd.DataFrame({"cell_type": ["A", "new"], "sm_name": ["other", "p1"]})
    with pytest.warns(ExchangeabilityWarning, match="1 of 2 rows ask for a pert") as w:
        model.predict_interval(new)
    assert "a context that was not measured, as did none" in str(w[0].message)
    assert model.abstain(new).all() and not model.abstain(X).any()
    both = new.assign(sm_name=["other", "another"])
    with pytest.warns(ExchangeabilityWarning, match="perturbation and a context that"):
        model.predict_interval(both)


def test_a_kind_that_was_rarely_held_out_is_told():
    X, y = noise(40)
    folds = list(UnseenPairKFold(5, random_state=0).split(X))
    one = X["sm_name"] == "p3"
    folds.append((np.flatnonzero(~one), np.flatnonzero(one)))
    model = ConformalRegressor(AdditiveRegressor(), cv=folds).fit(X, y)
    assert model.held_out_kinds_["perturbation"] == pytest.approx(2 / 82)
    new = pd.DataFrame({"cell_type": list("AB"), "sm_name": ["other", "another"]})
    with pytest.warns(ExchangeabilityWarning, match="as did 2% of those"):
        model.predict_interval(new)


def test_a_shift_is_told():
    X, y = noise(60, contexts="ABC")
    number = X["sm_name"].str[1:].astype(int)
    y[number >= 40] *= 30
    asked = (number >= 40) & (X["cell_type"] == "C")
    weak = (number < 20) & (X["cell_type"] == "C")
    keep = ~asked & ~weak
    cv = UnseenPairKFold(5, contexts=["C"], random_state=0)
    model = ConformalRegressor(NoChangeRegressor(), cv=cv).fit(X[keep], y[keep])
    with pytest.warns(ExchangeabilityWarning, match="larger errors"):
        model.predict_interval(X[asked])
    with warnings.catch_warnings():
        warnings.simplefilter("error", ExchangeabilityWarning)
        model.predict_interval(X[weak])


def test_far_structures_are_told():
    pytest.importorskip("rdkit")
    chains = ["C" * n + "O" for n in range(2, 32)]
    rings = [f"c1ccc(c({'C' * n})c1)S(=O)(=O)N" for n in range(1, 13)]
    X = pd.DataFrame({"sm_name": chains + rings, "SMILES": chains + rings})
    rows = X["SMILES"].isin(chains)
    y = np.random.default_rng(0).normal(size=(len(X), 20))
    model = ConformalRegressor(NoChangeRegressor()).fit(X[rows], y[rows])
    with pytest.warns(ExchangeabilityWarning, match="12 of 12 pert.*farther from"):
        model.predict_interval(X[~rows])
    assert model.abstain(X[~rows]).mean() > 0.9
    assert not model.abstain(X[rows]).any()


def test_contexts_have_quantiles_of_their_own():
    X, y = noise(400, n_genes=10, sizes=(1.0, 1.001))
    y[(X.index % 8 == 1)] *= 20  # a fourth of what is measured in B
    rows = X["sm_name"].str[1:].astype(int) < 200
    cv = UnseenPerturbationKFold(5, random_state=0)
    model = ConformalRegressor(NoChangeRegressor(), cv=cv)
    shares = {}
    for by_context in (False, True):
        model.set_params(by_context=by_context).fit(X[rows], y[rows])
        lower, upper = model.predict_interval(X[~rows])
        inside = ((lower <= y[~rows]) & (y[~rows] <= upper)).mean(axis=1)
        shares[by_context] = np.array(
            [inside[(X["cell_type"] == c)[~rows]].mean() for c in "AB"]
        )
    assert model.quantiles_.shape == (3, len(model.levels_))
    assert np.abs(shares[True] - 0.9).max() < 0.04
    assert np.abs(shares[False] - 0.9).max() > np.abs(shares[True] - 0.9).max() + 0.02
    fewer = (X["cell_type"] == "A") | (X["sm_name"].str[1:].astype(int) < 10)
    with pytest.warns(UserWarning, match=r"1 contexts \('B'\) fewer than 20"):
        model.fit(X[fewer & rows], y[fewer & rows])
    assert model.grouped_contexts_ == [0]


def test_structures_under_two_names_are_one_perturbation():
    pytest.importorskip("rdkit")
    smiles = [f"{'C' * (1 + n // 2)}O" for n in range(24)]
    X = pd.DataFrame({"sm_name": [f"n{n}" for n in range(24)], "SMILES": smiles})
    y = np.random.default_rng(0).normal(size=(24, 5))
    model = ConformalRegressor(NoChangeRegressor(), confidence=0.5).fit(X, y)
    assert model.n_perturbations_ == 12


def test_too_few_perturbations():
    X, y = noise(6, n_genes=1)
    with pytest.warns(UserWarning, match="6 perturbations were held out, too few"):
        model = ConformalRegressor(NoChangeRegressor(), confidence=0.99).fit(X, y)
    with pytest.warns(UserWarning, match="cover 0.99: they are infinite"):
        lower, upper = model.predict_interval(X)
    assert np.isneginf(lower).all() and np.isposinf(upper).all()
    assert np.isfinite(model.predict_interval(X, 0.5)).all()
    with pytest.raises(ValueError, match="1 perturbation"):
        model.fit(X[:2], y[:2])


@pytest.mark.parametrize("wrong", [0, 1, 90, "0.9", None])
def test_confidence(fitted, wrong):
    model, X, _ = fitted
    if wrong is None:
        narrow, usual, wide = (
            model.predict_interval(X, c)[1] for c in (0.5, 0.9, 0.95)
        )
        assert (narrow < usual).all() and (usual < wide).all()
        np.testing.assert_array_equal(usual, model.predict_interval(X)[1])
        return
    with pytest.raises(ValueError, match="above 0 and below 1"):
        model.predict_interval(X, wrong)


def test_other_tables(fitted):
    polars = pytest.importorskip("polars")
    model, X, y = fitted
    expected = model.predict_interval(X)
    for ours, theirs in zip(
        model.predict_interval(polars.DataFrame(X.to_dict("list"))),
        expected,
        strict=True,
    ):
        np.testing.assert_array_equal(ours, theirs)
    listed = ConformalRegressor(NoChangeRegressor()).fit(X.to_numpy().tolist(), y)
    framed = ConformalRegressor(NoChangeRegressor()).fit(X, y)
    np.testing.assert_allclose(
        listed.predict_interval(X.to_numpy().tolist()), framed.predict_interval(X)
    )
    one = ConformalRegressor(NoChangeRegressor()).fit(X, y[:, 0])
    assert one.predict_interval(X)[0].shape == (len(X),)


def test_rows_of_sparse_matrices_are_perturbations():
    rng = np.random.default_rng(0)
    X = sparse.random_array((60, 5), density=0.5, format="csr", rng=rng)
    y = X @ rng.normal(size=(5, 3)) + rng.normal(size=(60, 3))
    model = ConformalRegressor(Ridge()).fit(X, y)
    lower, upper = model.predict_interval(X)
    assert model.n_perturbations_ == 60
    assert np.mean((lower <= y) & (y <= upper)) > 0.85


def test_a_file_keeps_intervals(fitted, tmp_path):
    model, X, y = fitted
    sklperturb.save(model, tmp_path / "model.skpt", X=X, y=y)
    again = sklperturb.load(tmp_path / "model.skpt")
    np.testing.assert_array_equal(
        again.predict_interval(X, 0.7), model.predict_interval(X, 0.7)
    )
    np.testing.assert_array_equal(again.distance(X), model.distance(X))


def test_jobs_do_not_matter(screen):
    fits = [
        ConformalRegressor(AdditiveRegressor(), confidence=0.5, n_jobs=n)
        for n in (None, 2)
    ]
    one, two = (f.fit(screen.X, screen.y).quantiles_ for f in fits)
    np.testing.assert_array_equal(one, two)


def test_rows_do_not_depend_on_each_other():
    made = make_chemical_screen(4, 30, 20, random_state=0)
    model = ConformalRegressor(AdditiveRegressor()).fit(made.X, made.y)
    lower, _ = model.predict_interval(made.X_test)
    alone, _ = model.predict_interval(made.X_test[5:6])
    np.testing.assert_allclose(alone[0], lower[5])


@pytest.mark.parametrize(("n_far", "told"), [(14, False), (20, True)])
def test_a_few_far_perturbations_are_not_worth_telling(n_far, told):
    """Of 100, where 5 are expected: both are more than chance, and only one matters."""
    names = np.repeat([f"p{i}" for i in range(100)], 2)
    distances = np.repeat(np.arange(100) < n_far, 2) + 0.0
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        _warn_of_shift(distances, 0.5, names, "are farther", "Measure more.")
    assert [str(w.message)[:22] for w in caught] == ["20 of 100 perturbation"] * told


class Asked(RegressorMixin, BaseEstimator):
    """Keeps what it is told of the conditions to predict."""

    told = []

    def fit(self, X, y, X_unlabeled=None):
        self.told.append((len(X), X_unlabeled))
        self.mean_ = np.mean(y, axis=0)
        return self

    def predict(self, X):
        return np.tile(self.mean_, (len(X), 1))


def test_every_fit_knows_what_is_to_be_predicted(monkeypatch):
    X, y = noise(30, n_genes=3)
    monkeypatch.setattr(Asked, "told", told := [])
    # As many rows as training has: they are not cut to those of a fold.
    asked = X.assign(cell_type="C")
    ConformalRegressor(Asked()).fit(X, y, X_unlabeled=asked)
    assert len(told) == 6 and {n for n, _ in told} > {len(X)}
    for _, given in told:
        pd.testing.assert_frame_equal(given, asked)
    del told[:]
    ConformalRegressor(Asked()).fit(X, y)
    assert all(given is None for _, given in told)
    with pytest.raises(ValueError, match="fit of NoChangeRegressor does not take it"):
        ConformalRegressor(NoChangeRegressor()).fit(X, y, X_unlabeled=asked)
