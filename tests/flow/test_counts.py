"""Counts: into a latent space, and back."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklperturb.datasets import make_genetic_screen
from sklperturb.flow import CountSpace
from sklperturb.flow._state import Object, read_state, write_state


@pytest.fixture(scope="module")
def counts():
    return make_genetic_screen(
        12, 150, cells_per_perturbation=60, n_controls=200, depth=2000, random_state=0
    )


@pytest.fixture(scope="module")
def space(counts):
    return CountSpace(10, n_top_genes=100).fit(counts.y)


def dense(matrix):
    return matrix.toarray() if sparse.issparse(matrix) else np.asarray(matrix)


def test_components_are_those_of_pca(counts):
    space = CountSpace(5).fit(counts.y)
    values = dense(counts.y.X).astype(float)
    logs = np.log1p(values / values.sum(axis=1, keepdims=True) * 1e4)
    expected = PCA(5, svd_solver="full").fit(logs)
    np.testing.assert_allclose(
        np.abs(np.sum(space.components_ * expected.components_, axis=1)), 1, atol=1e-6
    )
    latent = space.transform(counts.y)
    np.testing.assert_allclose(
        space.inverse_transform(latent),
        np.clip(expected.inverse_transform(expected.transform(logs)), 0, 12),
        atol=1e-6,
    )


def test_drawn_counts_are_like_the_measured_ones(counts, space):
    measured = dense(counts.y.X)
    latent = space.transform(counts.y)
    drawn = dense(space.sample_counts(latent, space.library_sizes_, random_state=0))
    assert np.array_equal(drawn, np.round(drawn)) and drawn.min() >= 0
    high = measured.mean(axis=0) > 0.1
    means = drawn.mean(axis=0)[high] / measured.mean(axis=0)[high]
    assert 0.95 < np.median(means) < 1.05
    spread = drawn.var(axis=0)[high] / measured.var(axis=0)[high]
    assert 0.8 < np.median(spread) < 1.25
    zeros = (drawn == 0).mean(axis=0), (measured == 0).mean(axis=0)
    assert np.abs(zeros[0] - zeros[1]).mean() < 0.03
    totals = drawn.sum(axis=1) / space.library_sizes_
    assert 0.95 < np.median(totals) < 1.05


def test_storage_makes_no_difference(counts, space):
    rows = dense(counts.y.X)
    again = CountSpace(10, n_top_genes=100).fit(rows)
    np.testing.assert_allclose(
        again.transform(sparse.csr_array(rows)), space.transform(counts.y), atol=1e-6
    )


def test_bad_counts(counts, space):
    with pytest.raises(ValueError, match="must hold raw counts"):
        CountSpace(5).fit(np.log1p(dense(counts.y.X)))
    with pytest.raises(ValueError, match="n_components=500 must be"):
        CountSpace(500).fit(counts.y)
    with pytest.raises(ValueError, match="'n_components' parameter"):
        CountSpace(0).fit(counts.y)
    with pytest.raises(ValueError, match="feature names should match"):
        space.transform(counts.y[:, :20])
    with pytest.raises(ValueError, match="Feature names must be in the same"):
        space.transform(counts.y[:, ::-1])
    with pytest.raises(ValueError, match="has 20 features, but CountSpace"):
        CountSpace(5).fit(dense(counts.y.X)).transform(dense(counts.y.X)[:, :20])
    with pytest.raises(ValueError, match="library_sizes has shape"):
        space.sample_counts(np.zeros((3, 10)), [1.0])
    for size in (1e20, np.nan):
        with pytest.raises(ValueError, match="more counts than any cell has"):
            space.sample_counts(np.zeros((1, 10)), [size])


class OfAnyNumbers(CountSpace):
    """Counts of whatever numbers scikit-learn's checks come with."""

    def fit(self, X, y=None):
        return super().fit(as_counts(X), y)

    def transform(self, X):
        return super().transform(as_counts(X))


def as_counts(X):
    """Return numbers as counts; what cannot become numbers is left to the estimator."""
    if sparse.issparse(X):
        X = X.tocsr().copy()
        X.data = np.rint(20 * X.data)
        return X
    values = np.asarray(X)
    if values.dtype == object:
        try:
            values = values.astype(np.float64)
        except (TypeError, ValueError):
            return X
    counts = np.rint(20 * values) if values.dtype.kind in "fiu" else values
    if isinstance(X, pd.DataFrame):
        return pd.DataFrame(counts, X.index, X.columns)
    return counts


@parametrize_with_checks([OfAnyNumbers(1)])
def test_scikit_learn(estimator, check):
    check(estimator)


def test_a_transformer_like_others(counts):
    values = pd.DataFrame(dense(counts.y.X), columns=counts.y.var_names)
    space = clone(CountSpace(3)).set_params(n_top_genes=50)
    latent = space.set_output(transform="pandas").fit_transform(values)
    assert list(latent) == ["countspace0", "countspace1", "countspace2"]
    assert space.top_genes_.shape == (50,)
    scaled = make_pipeline(CountSpace(3), StandardScaler()).fit_transform(counts.y)
    np.testing.assert_allclose(scaled.std(axis=0), 1)


def test_state_is_plain_and_complete(counts, space, tmp_path):
    of_array = CountSpace(2).fit(dense(counts.y.X))
    write_state(tmp_path / "state.npz", {"space": space, "of_array": of_array})
    state = read_state(
        tmp_path / "state.npz", dict.fromkeys(("space", "of_array"), Object(CountSpace))
    )
    again = state["space"]
    assert again.genes_.equals(space.genes_)
    assert again.get_params() == space.get_params()
    assert list(again.feature_names_in_) == list(counts.y.var_names)
    latent = space.transform(counts.y)
    assert np.array_equal(again.transform(counts.y), latent)
    drawn = (s.sample_counts(latent, random_state=0) for s in (space, again))
    assert np.array_equal(*map(dense, drawn))
    assert state["of_array"].genes_ is None


def test_a_cell_too_large_to_be_read_again_is_refused(counts):
    cells = counts.y[:50].copy()
    cells.X = sparse.csr_array(cells.X, dtype=np.float64)
    cells.X.data[0] = 3e12
    with pytest.raises(ValueError, match=r"has 3e.12 counts"):
        CountSpace(2).fit(cells)
